//! How one side of a channel sleeps until the other has changed something.
//!
//! ```text
//!   sleeper: leave the waker, set SLEEPS, fence, look for the change
//!   ringer:  make the change, fence, look for SLEEPS
//! ```
//!
//! One of the two sees what the other did. The sleeper writes the word only to sleep, so in a stream
//! the ringer reads a cache line that no side writes. Its fence is what costs: after [`RINGS`]
//! changes without a sleeper it says so (`QUIET`) and leaves the fence out; from then on the
//! sleeper makes it, on all threads, and the next ring ends the quiet. So the dear fence is paid once
//! for many cheap changes, and never where each change is slept for.
//!
//! - **I12** A side that sleeps is woken by the change that it sleeps for.
//! - **I15**, the part of this file: either a change is seen by a side that has stopped, or the ringer
//!   hears that it has stopped.

use super::sleepers::Seat;
use crate::sync::{AtomicUsize, Ordering, fence, on};
use crate::sys::barrier;
use std::task::Waker;

/// The sleeper sleeps, or nearly did. Set by the sleeper, taken by the ringer.
const SLEEPS: usize = 1;
/// The ringer makes no fence. Set and taken by the ringer.
const QUIET: usize = 2;
/// The sleeper takes no more. Set once, by the sleeper.
const STOPPED: usize = 4;

/// Changes without a sleeper before the ringer is quiet. In models every second one is.
const RINGS: u32 = if cfg!(lastout_loom) { 1 } else { 1024 };

/// The shared part.
pub(super) struct Bell {
    /// `SLEEPS`, `QUIET` and `STOPPED`.
    word: AtomicUsize,
    seat: Seat,
}

/// The ringer's part: the changes since a sleeper was seen, up to [`RINGS`], which mean `QUIET`.
#[derive(Default)]
pub(super) struct Ringer(u32);

impl Bell {
    pub(super) fn new() -> Self {
        Self { word: AtomicUsize::new(0), seat: Seat::new() }
    }

    /// The waker of the sleeper, for what is not rung for.
    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Called by the ringer after each change: wakes the sleeper, if it sleeps; whether it has stopped.
    #[inline]
    pub(super) fn ring(&self, ringer: &mut Ringer) -> bool {
        if !on("i12.ring") {
        } else if ringer.0 == RINGS {
            barrier::left_out();
        } else {
            self.ring_aloud(ringer);
        }
        self.word.load(Ordering::Relaxed) & (SLEEPS | STOPPED) != 0 && self.answer(ringer)
    }

    #[inline]
    fn ring_aloud(&self, ringer: &mut Ringer) {
        ringer.0 += 1;
        if ringer.0 == RINGS {
            self.become_quiet(ringer);
        }
        // ORDERING: pairs with `fence` of the sleeper. What it did before its own is seen here, or it
        // sees the change.
        fence(Ordering::SeqCst);
    }

    #[cold]
    fn become_quiet(&self, ringer: &mut Ringer) {
        if barrier::can_be_left_out() {
            // A sleeper that has not seen it came before, and the load of `ring` sees that sleeper.
            self.word.fetch_or(QUIET, Ordering::Relaxed);
        } else {
            ringer.0 = 0;
        }
    }

    #[cold]
    fn answer(&self, ringer: &mut Ringer) -> bool {
        // ORDERING: pairs with `fence` of a sleeper that sees the end of the quiet: it sees what was
        // changed in it. Models have no mutant for it: their quiet has fences.
        fence(Ordering::SeqCst);
        let before = self.word.fetch_and(!(SLEEPS | QUIET), Ordering::Relaxed);
        ringer.0 = 0;
        if before & SLEEPS != 0 {
            self.seat.wake();
        }
        before & STOPPED != 0
    }

    /// Called by the sleeper: it may sleep until `waker` is called, unless what it sleeps for
    /// `is_there`; then it has not fallen asleep.
    pub(super) fn sleep(&self, waker: &Waker, is_there: impl FnOnce() -> bool) -> bool {
        // The waker is published by its lock: a ringer that sees `SLEEPS` takes the lock later.
        self.seat.register(waker);
        let before = self.word.fetch_or(SLEEPS, Ordering::Relaxed);
        if before & SLEEPS == 0 && on("i12.sleep") {
            fence_for(before);
        }
        if !is_there() || !on("i12.meanwhile") {
            return true;
        }
        self.seat.clear();
        false
    }

    /// Called by the sleeper: it takes no more. Each later change hears of it; each earlier one is seen.
    pub(super) fn stop(&self) {
        let before = self.word.fetch_or(STOPPED, Ordering::Relaxed);
        if on("i15.stop") {
            fence_for(before);
        }
    }
}

/// The fence of the sleeper, which is the ringer's as well while that one is quiet.
fn fence_for(before: usize) {
    if before & QUIET == 0 {
        // ORDERING: pairs with the fence of `ring_aloud`.
        fence(Ordering::SeqCst);
    } else {
        barrier::on_all_threads();
    }
}
