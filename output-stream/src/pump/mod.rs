//! The one reader of a source: it asks for room, reads, appends, and says how the source ended.
//!
//! A pump owns the source and the room that it reads into, and holds no lock while it reads. There
//! is one for async sources, a task, one for blocking sources, a thread, and one for pipes that the
//! thread of the caller waits for. All end the stream exactly once, also when they are torn down.

#[cfg(feature = "process")]
pub(crate) mod caller;
#[cfg(feature = "tokio")]
pub(crate) mod task;
#[cfg(feature = "blocking")]
pub(crate) mod thread;

use crate::event::EndReason;
use crate::shared::{Shared, Turn};
use crate::state::Orders;
use crate::trace;
use bytes::BytesMut;
use std::sync::Arc;
use std::time::Instant;

/// What a pump may read after it was told to drain, if its source does not say that it has more: a source
/// that is written to all the time would never run dry.
const DRAIN_MOST: u64 = 1024 * 1024;

/// What a pump does after a push.
enum Pushed {
    /// It reads on, after this.
    Go(Turn),
    /// It stops at once.
    Stop,
    /// It has read everything that was there when it was told to drain.
    Enough,
}

/// The room of a pump, and its duty to end the stream, whatever happens to it.
#[derive(Debug)]
pub(crate) struct Duty {
    shared: Arc<Shared>,
    name: Option<Arc<str>>,
    room: BytesMut,
    chunk_size: usize,
    /// The most that the pump may still read under [`Orders::Drain`]; known from the first read on that
    /// comes after it.
    drain_left: Option<u64>,
    is_done: bool,
}

impl Duty {
    pub(crate) fn new(shared: Arc<Shared>, name: Option<Arc<str>>, chunk_size: usize) -> Self {
        let room = shared.lock().room();
        trace::event!(DEBUG, name, "pump starts");
        Self { shared, name, room, chunk_size, drain_left: None, is_done: false }
    }

    /// Appends what was read; what the source has beyond that, it says itself.
    fn push(&mut self, available: impl FnOnce() -> u64) -> Pushed {
        let size = self.room.len() as u64;
        let (orders, turn) = self.shared.push(&mut self.room);
        match orders {
            Orders::Run => return Pushed::Go(turn),
            Orders::Stop => return Pushed::Stop,
            Orders::Drain => {}
        }
        let left = match self.drain_left {
            Some(left) => left.saturating_sub(size),
            None => available().max(DRAIN_MOST),
        };
        self.drain_left = Some(left);
        if left == 0 { Pushed::Enough } else { Pushed::Go(turn) }
    }

    /// Ends the stream.
    fn finish(mut self, reason: EndReason) {
        self.end(reason);
    }

    fn end(&mut self, reason: EndReason) {
        self.is_done = true;
        trace::event!(DEBUG, self.name, "pump ends: {reason}");
        self.shared.finish(reason, std::mem::take(&mut self.room), Instant::now());
    }
}

impl Drop for Duty {
    /// A pump that is dropped before the source ended was torn down from outside.
    fn drop(&mut self) {
        if !self.is_done {
            self.end(EndReason::Aborted);
        }
    }
}
