//! The place where one sleeper leaves its waker.
//!
//! A sleeper registers here first and looks for what it waits for afterwards; whoever brings that
//! looks here afterwards. One of the two comes to the lock second, and sees what the other did before.

use crate::contain;
use crate::sync::{Mutex, lock};
use std::task::Waker;

/// A waker behind a short lock, which is taken only to sleep and to wake.
pub(super) struct Seat(Mutex<Option<Waker>>);

impl Seat {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The sleeper will be woken through `waker`.
    pub(super) fn register(&self, waker: &Waker) {
        if lock(&self.0).as_ref().is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        let fresh = waker.clone();
        let before = lock(&self.0).replace(fresh);
        contain::discard(before);
    }

    /// Wakes the sleeper, if there is one.
    pub(super) fn wake(&self) {
        let waker = lock(&self.0).take();
        waker.into_iter().for_each(contain::wake);
    }

    /// The sleeper is gone, or did not fall asleep: its waker keeps nothing alive.
    pub(super) fn clear(&self) {
        let waker = lock(&self.0).take();
        contain::discard(waker);
    }
}
