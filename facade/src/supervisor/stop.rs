//! The level of a stop: run, drain, force. It only rises.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// How far a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Level {
    #[default]
    Run,
    Drain,
    Force,
}

/// The level, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    level: Level,
    /// Each waker once; woken outside of the lock when the level rises.
    wakers: Vec<Waker>,
}

impl Stop {
    pub(crate) fn level(&self) -> Level {
        self.lock().level
    }

    /// Raises the level; never lowers it.
    pub(crate) fn raise(&self, level: Level) {
        self.change(|_| level);
    }

    /// One step: from running to draining, from draining to forcing.
    pub(crate) fn step(&self) {
        self.change(|level| match level {
            Level::Run => Level::Drain,
            Level::Drain | Level::Force => Level::Force,
        });
    }

    fn change(&self, next: impl FnOnce(Level) -> Level) {
        let wakers = {
            let mut state = self.lock();
            let next = next(state.level);
            if next <= state.level {
                return;
            }
            state.level = next;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Resolves when the level is at least `level`.
    pub(crate) async fn reached(&self, level: Level) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.level >= level {
                return Poll::Ready(());
            }
            if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
