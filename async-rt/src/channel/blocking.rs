//! How a plain thread waits for what a task would await: it polls, and parks in between.

use crate::handle::Handle;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Wakes a parked thread.
struct Unparks(Thread);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// A blocking call may be made here, even if it would not have to wait.
///
/// # Panics
/// Inside a runtime, whose tasks would all stand still.
#[track_caller]
pub(crate) fn assert_outside() {
    assert!(
        Handle::try_current().is_none(),
        "a blocking call inside a runtime stops all its tasks: await instead"
    );
}

/// What `poll` becomes ready with; `None` when `timeout` passes first. It polls at least once.
///
/// # Panics
/// Inside a runtime.
#[track_caller]
pub(crate) fn wait<R>(
    timeout: Option<Duration>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>,
) -> Option<R> {
    assert_outside();
    // A time beyond what the clock counts is no bound.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let waker = Waker::from(Arc::new(Unparks(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = poll(&mut cx) {
            return Some(output);
        }
        match deadline {
            None => thread::park(),
            Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                _ => return None,
            },
        }
    }
}

/// As [`wait`], for the output of a future.
///
/// # Panics
/// Inside a runtime.
#[track_caller]
pub(crate) fn output<F: Future>(timeout: Option<Duration>, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    wait(timeout, |cx| future.as_mut().poll(cx))
}
