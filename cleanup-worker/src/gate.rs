//! Room for tasks: one word that says how much is taken, by whom, and whether the gate is closed.
//!
//! ```text
//!   bit 63     bits 32–62        bits 0–31
//!   closed     armed weight      submitted weight (on its way in, queued, in flight)
//! ```
//!
//! Every transition is one read-modify-write, so the thread that brings the submitted weight to zero
//! behind a closed gate knows it from the value it replaced ([`Drained`]).
//!
//! - **I5** Armed weight becomes submitted weight when the armed node is taken, in one step: between
//!   the drop of a guard and the end of its task the room is never free.

use crate::sync::{AtomicU64, Padded, on};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

const CLOSED: u64 = 1 << 63;
const ARMED_SHIFT: u32 = 32;
const SUBMITTED: u64 = u32::MAX as u64;
const ARMED: u64 = (u32::MAX as u64 >> 1) << ARMED_SHIFT;

/// The largest capacity: leaves room in each half for what refused producers hold for a moment.
pub(crate) const MAX_CAPACITY: u32 = 1 << 30;

#[derive(Debug)]
pub(crate) struct Gate {
    word: Padded<AtomicU64>,
    capacity: u64,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    Full,
    Closed,
}

/// Whether this transition brought the submitted weight to zero behind a closed gate: then the waiters
/// for that are to be nudged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) struct Drained(bool);

impl Drained {
    pub(crate) fn is_so(self) -> bool {
        self.0
    }
}

/// What the word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot(u64);

impl Snapshot {
    pub(crate) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    pub(crate) fn submitted(self) -> u64 {
        self.0 & SUBMITTED
    }

    pub(crate) fn armed(self) -> u64 {
        (self.0 & ARMED) >> ARMED_SHIFT
    }

    fn used(self) -> u64 {
        self.submitted() + self.armed()
    }

    /// Nothing is on its way in, queued or in flight, and nothing can come but from a guard.
    pub(crate) fn is_drained(self) -> bool {
        self.is_closed() && self.submitted() == 0
    }
}

impl Gate {
    pub(crate) fn new(capacity: u32) -> Self {
        Self { word: Padded(AtomicU64::new(0)), capacity: u64::from(capacity.min(MAX_CAPACITY)) }
    }

    /// Takes room for a submit. May refuse as full while a larger task is being refused.
    #[inline]
    pub(crate) fn submit(&self, weight: u32) -> Result<(), (NoRoom, Drained)> {
        self.reserve(u64::from(weight), u64::from(weight))
    }

    /// Takes room for an armed guard.
    pub(crate) fn arm(&self, weight: u32) -> Result<(), (NoRoom, Drained)> {
        let weight = u64::from(weight);
        self.reserve(weight, weight << ARMED_SHIFT)
    }

    #[inline]
    fn reserve(&self, weight: u64, bits: u64) -> Result<(), (NoRoom, Drained)> {
        if weight > self.capacity {
            return Err((self.reason(NoRoom::Full), Drained(false)));
        }
        let before = Snapshot(self.word.fetch_add(bits, Relaxed));
        let closed = before.is_closed() && on("i2.closed");
        if closed || before.used() + weight > self.capacity {
            let drained = self.subtract(bits);
            let reason = if closed { NoRoom::Closed } else { NoRoom::Full };
            return Err((reason, drained));
        }
        Ok(())
    }

    fn reason(&self, otherwise: NoRoom) -> NoRoom {
        if self.snapshot().is_closed() { NoRoom::Closed } else { otherwise }
    }

    /// An armed node was taken from the inbox.
    pub(crate) fn armed_to_submitted(&self, weight: u32) {
        if on("i5.armed") {
            let weight = u64::from(weight);
            let change = weight.wrapping_sub(weight << ARMED_SHIFT);
            self.word.fetch_add(change, Relaxed);
        }
    }

    /// A guard that came over a fork was dropped in this process, which has reserved nothing for it: it
    /// takes its room whether there is some or not, as a guard cannot be refused.
    pub(crate) fn inherited_to_submitted(&self, weight: u32) {
        self.word.fetch_add(u64::from(weight), Relaxed);
    }

    /// A submitted task has ended.
    pub(crate) fn release(&self, weight: u32) -> Drained {
        self.subtract(u64::from(weight))
    }

    /// A guard was disarmed.
    pub(crate) fn disarm(&self, weight: u32) -> Drained {
        self.subtract(u64::from(weight) << ARMED_SHIFT)
    }

    fn subtract(&self, bits: u64) -> Drained {
        // ORDERING: releases what the task did to the thread that reads "drained" in `snapshot`.
        let before = self.word.fetch_sub(bits, AcqRel);
        Drained(Snapshot(before - bits).is_drained())
    }

    pub(crate) fn close(&self) {
        // ORDERING: orders what the closer did before against producers that are refused.
        self.word.fetch_or(CLOSED, AcqRel);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        // ORDERING: acquires from `subtract`.
        Snapshot(self.word.load(Acquire))
    }

    /// In a forked child, where the tasks of the parent do not exist: everything is free again. Gives the
    /// weight of the guards that were armed at the fork.
    pub(crate) fn reset(&self) -> u64 {
        let before = self.snapshot();
        self.word.store(before.0 & CLOSED, Relaxed);
        before.armed()
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;
    use crate::config::MAX_WEIGHT;

    #[test]
    fn room_is_exact_and_comes_back() {
        let gate = Gate::new(3);
        gate.submit(2).unwrap();
        assert_eq!(gate.arm(2).unwrap_err().0, NoRoom::Full);
        gate.arm(1).unwrap();
        assert_eq!(gate.submit(1).unwrap_err().0, NoRoom::Full);
        gate.armed_to_submitted(1);
        assert_eq!((gate.snapshot().submitted(), gate.snapshot().armed()), (3, 0));
        assert_eq!(gate.release(3), Drained(false));
        gate.submit(3).unwrap();
    }

    #[test]
    fn the_last_one_behind_a_closed_gate_knows_it() {
        let gate = Gate::new(10);
        gate.submit(1).unwrap();
        gate.submit(4).unwrap();
        gate.arm(2).unwrap();
        gate.close();
        assert_eq!(gate.submit(1).unwrap_err().0, NoRoom::Closed);
        assert_eq!(gate.release(1), Drained(false));
        assert_eq!(gate.release(4), Drained(true));
        assert!(gate.snapshot().is_drained());
        assert_eq!(gate.snapshot().armed(), 2);
    }

    #[test]
    fn no_capacity_refuses_all_and_the_largest_refuses_no_weight() {
        assert_eq!(Gate::new(0).submit(1).unwrap_err().0, NoRoom::Full);
        let gate = Gate::new(u32::MAX);
        assert_eq!(gate.capacity(), u64::from(MAX_CAPACITY));
        for _ in 0..MAX_CAPACITY / MAX_WEIGHT {
            gate.submit(MAX_WEIGHT).unwrap();
        }
        assert_eq!(gate.submit(1).unwrap_err().0, NoRoom::Full);
    }
}
