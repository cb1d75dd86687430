//! Signals: what wakes a sleeper, and why it was woken, as one value.
//!
//! A wake-up without its reason gets lost as soon as two places wait for it: one of them takes the
//! wake-up, and the reason is for the other one. Here the reason is what is kept: a raised signal stays
//! raised until somebody takes it, whoever was woken.
//!
//! Invariants, each with a model of the same number:
//! - I1: raising a signal wakes every sleeper that was registered before.
//! - I2: a sleeper looks and registers under one lock: it never sleeps over a raised signal.
//! - I3: a raised signal is taken exactly once, and dropping a sleeper takes none.

use crate::sync::{Mutex, lock, on};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// One reason to wake up, or several at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Signal(u8);

impl Signal {
    /// There may be work in the store.
    pub(crate) const POKED: Self = Self(1);
    /// Something in this process changed: a request, a report, the lease.
    pub(crate) const CHANGED: Self = Self(2);
    pub(crate) const ALL: Self = Self(3);

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A set of raised signals, and who sleeps until one of them is raised.
pub(crate) struct Signals(Mutex<State>);

#[derive(Default)]
struct State {
    raised: u8,
    next: u64,
    sleepers: Vec<(u64, Waker)>,
}

impl Default for Signals {
    fn default() -> Self {
        Self(Mutex::new(State::default()))
    }
}

impl Signals {
    /// Raises `signal` and wakes whoever sleeps.
    pub(crate) fn raise(&self, signal: Signal) {
        let mut state = lock(&self.0);
        if state.raised & signal.0 == signal.0 {
            // Whoever slept when it was raised was woken then, and nobody falls asleep over it.
            return;
        }
        state.raised |= signal.0;
        let woken = if on("i1.wake") { std::mem::take(&mut state.sleepers) } else { Vec::new() };
        drop(state);
        for (_, waker) in woken {
            waker.wake();
        }
    }

    /// Takes the raised ones of `wanted`.
    pub(crate) fn take(&self, wanted: Signal) -> Signal {
        let mut state = lock(&self.0);
        let taken = state.raised & wanted.0;
        if on("i3.take") {
            state.raised &= !taken;
        }
        Signal(taken)
    }

    /// Waits until one of `wanted` is raised, and takes what is raised of them.
    ///
    /// # Cancel safety
    ///
    /// Nothing is taken by a future that is dropped.
    pub(crate) fn raised(&self, wanted: Signal) -> Raised<'_> {
        Raised { signals: self, wanted, id: None }
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}

/// The wait for a signal.
#[derive(Debug)]
pub(crate) struct Raised<'a> {
    signals: &'a Signals,
    wanted: Signal,
    id: Option<u64>,
}

impl Future for Raised<'_> {
    type Output = Signal;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Signal> {
        // Cloned and dropped outside of the lock: a waker is foreign code.
        let waker = cx.waker().clone();
        let signals = self.signals;
        if !on("i2.look") {
            // The mutant looks, lets go of the lock, and registers later.
            let taken = signals.take(self.wanted);
            if taken != Signal::default() {
                return Poll::Ready(taken);
            }
        }
        let mut state = lock(&signals.0);
        let taken = if on("i2.look") { state.raised & self.wanted.0 } else { 0 };
        if taken != 0 {
            state.raised &= !taken;
            return Poll::Ready(Signal(taken));
        }
        let id = *self.id.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        let old = match state.sleepers.iter_mut().find(|(sleeper, _)| *sleeper == id) {
            Some((_, kept)) => Some(std::mem::replace(kept, waker)),
            None => {
                state.sleepers.push((id, waker));
                None
            }
        };
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id else {
            return;
        };
        let mut state = lock(&self.signals.0);
        let at = state.sleepers.iter().position(|(sleeper, _)| *sleeper == id);
        let gone = at.map(|at| state.sleepers.swap_remove(at));
        drop(state);
        drop(gone);
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;
    use std::pin::pin;

    #[test]
    fn a_dropped_sleeper_leaves_nothing_and_takes_nothing() {
        let signals = Signals::default();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            let mut raised = Box::pin(signals.raised(Signal::ALL));
            assert!(raised.as_mut().poll(&mut cx).is_pending());
            assert!(raised.as_mut().poll(&mut cx).is_pending(), "registered once");
            assert_eq!(lock(&signals.0).sleepers.len(), 1);
        }
        assert!(lock(&signals.0).sleepers.is_empty());
        let dropped = signals.raised(Signal::ALL);
        signals.raise(Signal::POKED);
        drop(dropped);
        let mut other = pin!(signals.raised(Signal::CHANGED));
        assert!(other.as_mut().poll(&mut cx).is_pending(), "not its signal");
        assert_eq!(signals.take(Signal::ALL), Signal::POKED);
        signals.raise(Signal::CHANGED);
        assert_eq!(other.poll(&mut cx), Poll::Ready(Signal::CHANGED));
    }
}
