//! `ShutdownHandle` and `ShutdownSignal`: the word that it is time to end, for any number of waiters,
//! and the report of the end, for those who wait for it.

use crate::cancel::{CancellationToken, Cancelled};
use crate::report::Report;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// Triggers the shutdown of a runtime's work and observes it, from any thread. It only says the
/// word: tasks listen to it by [`signal`](Self::signal) and end themselves, and
/// [`Runtime::shutdown_blocking`](crate::Runtime::shutdown_blocking) ends the runtime.
#[derive(Debug, Clone)]
pub struct ShutdownHandle {
    token: CancellationToken,
    end: Arc<End>,
}

/// The end of the runtime, once it has come.
#[derive(Debug)]
struct End {
    /// Set before `came` is cancelled.
    report: Mutex<Option<Report>>,
    came: CancellationToken,
}

impl ShutdownHandle {
    pub(crate) fn new() -> Self {
        let end = Arc::new(End { report: Mutex::new(None), came: CancellationToken::new() });
        Self { token: CancellationToken::new(), end }
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

    /// Waits until the runtime has ended, and returns how; any number may wait, on any thread and
    /// under any executor. A task of the runtime itself is dropped by that end.
    ///
    /// # Cancel safety
    /// Cancel safe: the report stays.
    pub async fn ended(&self) -> Report {
        self.end.came.cancelled().await;
        self.report().unwrap_or_default()
    }

    /// How the runtime ended; `None` before its end.
    pub fn report(&self) -> Option<Report> {
        self.end.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The runtime has ended.
    pub(crate) fn end_with(&self, report: Report) {
        *self.end.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
        self.end.came.cancel();
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

impl Future for ShutdownSignal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.waiting).poll(cx)
    }
}
