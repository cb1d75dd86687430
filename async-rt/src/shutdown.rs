//! `ShutdownHandle` and `ShutdownSignal`: the word that it is time to end, for any number of waiters.

use crate::cancel::{CancellationToken, Cancelled};
use crate::handle::Handle;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Triggers the shutdown of a runtime's work and observes it, from any thread. It only says the
/// word: tasks listen to it by [`signal`](Self::signal) and end themselves.
#[derive(Debug, Clone)]
pub struct ShutdownHandle {
    token: CancellationToken,
}

impl ShutdownHandle {
    pub(crate) fn new() -> Self {
        Self { token: CancellationToken::new() }
    }

    /// Says that it is time to end. Further calls do nothing.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Whether it has been triggered.
    pub fn is_shutdown(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until it is triggered; any number may wait, in any task, on any thread.
    pub fn signal(&self) -> ShutdownSignal {
        ShutdownSignal { waiting: self.token.cancelled() }
    }

    /// The token behind it, to hang tokens of your own below.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }
}

/// Ready when shutdown has been triggered.
///
/// # Cancel safety
/// Cancel safe: the word is not lost.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct ShutdownSignal {
    waiting: Cancelled,
}

impl ShutdownSignal {
    /// The signal of the runtime that runs on this thread.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn current() -> Self {
        Handle::current().shutdown_handle().signal()
    }
}

impl Future for ShutdownSignal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.waiting).poll(cx)
    }
}
