//! Both ends of a service that is one body of code: the word to end, and how it ended.

use crate::supervisor::clock::block_on;
use crate::supervisor::drain::{Drained, Failure};
use crate::supervisor::error::say;
use crate::supervisor::stop::{Level, Stop};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tells the body of a [`Task`](crate::supervisor::Task) or [`Thread`](crate::supervisor::Thread) that
/// it should end. It can be awaited on any executor.
#[derive(Debug, Clone)]
pub struct Stopping {
    body: Arc<Body>,
}

impl Stopping {
    /// Resolves when the service should end. A future that is dropped before leaves nothing behind: each
    /// connection of a server may await its own.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: it can be awaited again.
    pub async fn asked(&self) {
        self.body.stop.reached(Level::Drain).await;
    }

    /// Blocks the thread until the service should end.
    pub fn asked_blocking(&self) {
        block_on(|_| self.asked());
    }

    /// Whether the service should end.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.body.stop.level() > Level::Run
    }

    /// The number of those who wait in [`asked`](Self::asked).
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.body.stop.waiting()
    }
}

/// What the owner of a service and its body share.
#[derive(Debug, Default)]
pub(crate) struct Body {
    stop: Stop,
    /// Raised when it has ended.
    over: Stop,
    end: Mutex<Option<End>>,
}

/// How a body ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Returned,
    Failed(String),
    /// It was dropped before its end.
    Aborted,
}

impl Body {
    pub(crate) fn stopping(self: &Arc<Self>) -> Stopping {
        Stopping { body: Arc::clone(self) }
    }

    pub(crate) fn ask(&self) {
        self.stop.raise(Level::Drain);
    }

    /// Notes how it ended; the first word counts.
    pub(crate) fn end(&self, result: Result<Result<(), Failure>, String>) {
        self.note(match result {
            Ok(Ok(())) => End::Returned,
            Ok(Err(error)) => End::Failed(say(error)),
            Err(panic) => End::Failed(format!("it panicked: {panic}")),
        });
    }

    fn note(&self, end: End) {
        self.lock().get_or_insert(end);
        self.over.raise(Level::Drain);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().is_some()
    }

    async fn how(&self) -> End {
        self.over.reached(Level::Drain).await;
        self.lock().clone().unwrap_or(End::Aborted)
    }

    /// Waits for the end, as a drain.
    pub(crate) async fn drained(&self, what: &'static str) -> Drained {
        match self.how().await {
            End::Returned => Drained::new().ended(what, 1),
            // It is gone, though not as it should be.
            End::Failed(_) | End::Aborted => Drained::new().forced(what, 1),
        }
    }

    /// Resolves when it has ended without being asked to.
    pub(crate) async fn ended(&self) -> Result<(), Failure> {
        let end = self.how().await;
        if self.stop.level() > Level::Run {
            return pending().await;
        }
        match end {
            End::Returned => Ok(()),
            End::Failed(error) => Err(error.into()),
            End::Aborted => Err("it was aborted".into()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<End>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Owned by the running body. If the body is dropped, that counts as an abort.
pub(crate) struct Witness(pub(crate) Arc<Body>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.note(End::Aborted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[test]
    fn a_wait_that_is_dropped_leaves_nothing_behind() {
        let stopping = Arc::new(Body::default()).stopping();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..1_000 {
            assert!(pin!(stopping.asked()).poll(&mut cx).is_pending());
        }
        assert_eq!(stopping.waiting(), 0);
        let mut asked = pin!(stopping.asked());
        assert!(asked.as_mut().poll(&mut cx).is_pending());
        assert_eq!(stopping.waiting(), 1);
        stopping.body.ask();
        assert!(asked.as_mut().poll(&mut cx).is_ready());
    }
}
