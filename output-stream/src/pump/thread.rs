//! The pump of a blocking source: a thread with a name.

use super::{Duty, Pushed};
use crate::event::EndReason;
use crate::shared::Turn;
use crate::state::{Admit, Orders};
use std::io::{self, Read};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::Instant;

/// Starts the thread.
///
/// It cannot be interrupted inside a read. A stream that is closed meanwhile ends at once for its
/// subscribers, and the thread ends after that read.
#[expect(clippy::disallowed_methods, reason = "the one place that starts pump threads")]
pub(crate) fn start(duty: Duty, source: impl Read + Send + 'static) -> io::Result<JoinHandle<()>> {
    let name = format!("pump {}", duty.name.as_deref().unwrap_or("stream"));
    thread::Builder::new().name(name).spawn(move || run(duty, source))
}

fn run(mut duty: Duty, mut source: impl Read) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut buffer = vec![0; duty.chunk_size.min(duty.room.capacity())];
    let end = loop {
        let most = buffer.len().min(duty.room.capacity());
        match source.read(&mut buffer[..most]) {
            Ok(0) => break EndReason::Eof,
            Ok(n) => duty.room.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => break EndReason::ReadError(Arc::new(error)),
        }
        match duty.push(|| 0) {
            Pushed::Stop | Pushed::Enough => break EndReason::Closed,
            Pushed::Go(Turn::Ask) if !admission(&duty, &mut cx) => break EndReason::Closed,
            Pushed::Go(_) => {}
        }
    };
    // The source goes first: who sees the end may rely on its descriptor being closed.
    drop(source);
    duty.finish(end);
}

/// Waits until the readers have made room; `false` when the stream is to stop.
fn admission(duty: &Duty, cx: &mut Context<'_>) -> bool {
    let mut yielded = false;
    loop {
        let now = Instant::now();
        let (admit, orders) = duty.shared.poll_admit(cx, now, yielded);
        if orders == Orders::Stop {
            return false;
        }
        match admit {
            Admit::Go => return true,
            Admit::Yield => thread::yield_now(),
            Admit::Blocked { until: None } => thread::park(),
            Admit::Blocked { until: Some(until) } => {
                thread::park_timeout(until.saturating_duration_since(now));
            }
        }
        yielded = admit == Admit::Yield;
    }
}

/// Wakes the thread that it names.
pub(crate) struct Unpark(pub(crate) Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
