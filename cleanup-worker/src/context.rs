//! What a cleanup can ask of the worker that runs it.

use crate::blocking::BlockingCall;
use crate::clock::Key;
use crate::error::BlockingError;
use crate::handle::CleanupHandle;
use crate::shared::Shared;
use crate::sync::Arc;
use crate::waiting::Inside;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Handed to [`Cleanup::run`](crate::Cleanup::run): blocking calls, sleeps and the worker's handle,
/// none of which needs a runtime.
#[derive(Clone)]
pub struct CleanupContext {
    shared: Arc<Shared>,
    inside: Inside,
}

impl CleanupContext {
    pub(crate) fn new(shared: Arc<Shared>, inside: Inside) -> Self {
        Self { shared, inside }
    }

    /// Runs a closure that blocks, on the worker's pool, and gives its value.
    ///
    /// When the system refuses the pool its first thread, the closure runs on the worker's own:
    /// slower for the others, but done.
    ///
    /// # Errors
    /// When the closure panics, or the worker has ended.
    ///
    /// # Cancel safety
    /// A closure that has not started is dropped with the future. One that runs cannot be stopped: it
    /// goes on, and [`Stats::stuck_blocking`](crate::Stats::stuck_blocking) counts it meanwhile.
    pub fn blocking<R, F>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<R, BlockingError>> + Send + 'static
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        BlockingCall::new(Arc::clone(&self.shared), self.inside, work)
    }

    /// Waits, by the clock of the worker; a worker that has ended ends the sleep.
    ///
    /// # Cancel safety
    /// Nothing is lost: a sleep that is dropped is over.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        Sleep {
            due: crate::clock::after(self.shared.config.clock.now(), duration),
            shared: Arc::clone(&self.shared),
            key: None,
        }
    }

    /// What the clock of the worker shows.
    pub(crate) fn now(&self) -> Instant {
        self.shared.config.clock.now()
    }

    /// A handle of this worker, to submit more.
    pub fn handle(&self) -> CleanupHandle {
        CleanupHandle::of(Arc::clone(&self.shared))
    }
}

impl fmt::Debug for CleanupContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanupContext").finish_non_exhaustive()
    }
}

struct Sleep {
    shared: Arc<Shared>,
    due: Instant,
    key: Option<Key>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.config.clock.now() >= self.due {
            return Poll::Ready(());
        }
        self.cancel();
        let waker = cx.waker().clone();
        let key = self.shared.state().wake_at(self.due, waker);
        // Without a worker nothing would end the sleep.
        if key.is_none() {
            return Poll::Ready(());
        }
        self.key = key;
        // Polled elsewhere than on the driver, the driver has to hear of the new time.
        self.shared.side().ready.kick.wake();
        Poll::Pending
    }
}

impl Sleep {
    fn cancel(&mut self) {
        if let Some(key) = self.key.take() {
            let old = self.shared.state().cancel(key);
            crate::contain::drop_quietly(old);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}
