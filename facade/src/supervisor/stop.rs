//! The level of a stop: run, drain, force, abandon. It only rises.

use crate::supervisor::contain;
use crate::supervisor::waiters::{Place, Waiters};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// How far a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Level {
    #[default]
    Run,
    /// Each member is asked, and has its deadline.
    Drain,
    /// Each member is ended at once.
    Force,
    /// Nothing is waited for any more: what has not ended is left behind.
    Abandon,
}

/// The level, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    level: Level,
    /// The first signal that came.
    signal: Option<&'static str>,
    waiters: Waiters,
}

impl Stop {
    pub(crate) fn level(&self) -> Level {
        self.lock().level
    }

    /// Raises the level; never lowers it.
    pub(crate) fn raise(&self, level: Level) {
        self.change(|_| level);
    }

    /// A signal came: one step up.
    #[cfg(feature = "signals")]
    pub(crate) fn signalled(&self, name: &'static str) {
        self.lock().signal.get_or_insert(name);
        self.step();
    }

    /// The first signal that came.
    pub(crate) fn signal(&self) -> Option<&'static str> {
        self.lock().signal
    }

    /// One step up.
    pub(crate) fn step(&self) {
        self.change(|level| match level {
            Level::Run => Level::Drain,
            Level::Drain => Level::Force,
            Level::Force | Level::Abandon => Level::Abandon,
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
            state.waiters.take()
        };
        contain::wake_all(wakers);
    }

    /// Resolves when the level is at least `level`. Dropped, it leaves nothing behind.
    pub(crate) fn reached(&self, level: Level) -> Reached<'_> {
        Reached { stop: self, level, place: None }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiters.len()
    }
}

/// Waits for a level.
#[derive(Debug)]
pub(crate) struct Reached<'a> {
    stop: &'a Stop,
    level: Level,
    place: Option<Place>,
}

impl Future for Reached<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { stop, level, place } = self.get_mut();
        let waker = cx.waker().clone();
        let mut state = stop.lock();
        let (poll, unused) = match state.level >= *level {
            true => (Poll::Ready(()), Some(waker)),
            false => (Poll::Pending, state.waiters.wait(place, waker)),
        };
        drop(state);
        drop(unused);
        poll
    }
}

impl Drop for Reached<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.stop.lock().waiters.leave(place);
            drop(waker);
        }
    }
}
