//! Both ends of a service that is one body of code: the word to end, and how it ended.

use crate::supervisor::drain::{Drained, Failure};
use crate::supervisor::error::chain;
use crate::supervisor::stop::{Level, Stop};
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Tells the body of a [`Task`](crate::supervisor::Task) or [`Thread`](crate::supervisor::Thread) that
/// it should end. It can be awaited on any executor.
#[derive(Debug, Clone)]
pub struct Stopping {
    body: Arc<Body>,
}

impl Stopping {
    /// Resolves when the service should end.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: it can be awaited again.
    pub async fn asked(&self) {
        self.body.stop.reached(Level::Drain).await;
    }

    /// Whether the service should end.
    pub fn is_asked(&self) -> bool {
        self.body.stop.level() > Level::Run
    }
}

/// What the owner of a service and its body share.
#[derive(Debug, Default)]
pub(crate) struct Body {
    stop: Stop,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    end: Option<End>,
    wakers: Vec<Waker>,
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
            Ok(Err(error)) => End::Failed(chain(&*error)),
            Err(panic) => End::Failed(format!("it panicked: {panic}")),
        });
    }

    fn note(&self, end: End) {
        let wakers = {
            let mut state = self.lock();
            state.end.get_or_insert(end);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().end.is_some()
    }

    async fn ended(&self) -> End {
        poll_fn(|cx| {
            let mut state = self.lock();
            if let Some(end) = &state.end {
                return Poll::Ready(end.clone());
            }
            if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Waits for the end, as a drain.
    pub(crate) async fn drained(&self, what: &'static str) -> Drained {
        match self.ended().await {
            End::Returned => Drained::new().ended(what, 1),
            // It is gone, though not as it should be.
            End::Failed(_) | End::Aborted => Drained::new().forced(what, 1),
        }
    }

    /// Resolves when it has ended without being asked to.
    pub(crate) async fn failed(&self) -> Failure {
        let end = self.ended().await;
        if self.stop.level() > Level::Run {
            return pending().await;
        }
        match end {
            End::Returned => "it ended without being asked to".into(),
            End::Failed(error) => error.into(),
            End::Aborted => "it was aborted".into(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Owned by the running body: should it vanish without a word, that is one, too.
pub(crate) struct Witness(pub(crate) Arc<Body>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.note(End::Aborted);
    }
}
