//! The one reader of a source: it asks for room, reads, appends, and says how the source ended.
//!
//! A pump owns the source and the room that it reads into, and holds no lock while it reads. There
//! is one for async sources, a task, and one for blocking sources, a thread. Both end the stream
//! exactly once, also when they are torn down.

#[cfg(feature = "tokio")]
pub(crate) mod task;
#[cfg(feature = "blocking")]
pub(crate) mod thread;

use crate::event::End;
use crate::shared::{Shared, Turn};
use crate::state::Orders;
use crate::trace;
use bytes::BytesMut;
use std::sync::Arc;
use std::time::Instant;

/// What a pump may read at most after it was told to drain: a source that is written to all the
/// time would never run dry, and no pipe holds more than this without privileges.
const DRAIN_MOST: u64 = 1024 * 1024;

/// The room of a pump, and its duty to end the stream, whatever happens to it.
#[derive(Debug)]
pub(crate) struct Duty {
    shared: Arc<Shared>,
    name: Option<Arc<str>>,
    room: BytesMut,
    chunk_size: usize,
    /// The most that the pump may still read under [`Orders::Drain`].
    drain_left: u64,
    is_done: bool,
}

impl Duty {
    pub(crate) fn new(shared: Arc<Shared>, name: Option<Arc<str>>, chunk_size: usize) -> Self {
        let room = shared.lock().room();
        trace::event!(DEBUG, name, "pump starts");
        Self { shared, name, room, chunk_size, drain_left: DRAIN_MOST, is_done: false }
    }

    /// Appends what was read. `Err` is the end when the pump shall stop.
    fn push(&mut self) -> Result<Turn, End> {
        let size = self.room.len() as u64;
        let (orders, turn) = self.shared.push(&mut self.room);
        match orders {
            Orders::Run => return Ok(turn),
            Orders::Stop => return Err(End::Closed),
            Orders::Drain => {}
        }
        self.drain_left = self.drain_left.saturating_sub(size);
        if self.drain_left == 0 { Err(End::Closed) } else { Ok(turn) }
    }

    /// Ends the stream.
    fn finish(mut self, end: End) {
        self.end(end);
    }

    fn end(&mut self, end: End) {
        self.is_done = true;
        trace::event!(DEBUG, self.name, "pump ends: {end}");
        self.shared.finish(end, std::mem::take(&mut self.room), Instant::now());
    }
}

impl Drop for Duty {
    /// A pump that is dropped before the source ended was torn down from outside.
    fn drop(&mut self) {
        if !self.is_done {
            self.end(End::Aborted);
        }
    }
}
