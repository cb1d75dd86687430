//! The words of the plan: what it knows of the worker, and what it may ask the engine to do.

use crate::lease::WorkerId;
use crate::registry::PeriodicRecord;
use std::time::{Duration, Instant};

/// What does not change while the worker runs.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Jobs claimed and not reported at most, for each queue.
    pub(super) places: Vec<usize>,
    /// Turns under way at once.
    pub(super) turns: usize,
    /// Claims and reports in one turn.
    pub(super) size: usize,
    /// The time between two rounds of housekeeping.
    pub(super) house: Duration,
    /// Whether ended jobs are deleted.
    pub(super) prunes: bool,
}

/// What the engine holds: claimed and not reported, for each queue; and reports that wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) taken: &'a [usize],
    pub(super) reports: usize,
}

/// A call to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Register under a new lease.
    Enlist,
    /// Give back what the store thinks the worker holds and the worker does not.
    Reconcile,
    /// Look for work and cancellations, without a write.
    Look,
    Chore(Chore),
    Turn(Asked),
}

/// One step of housekeeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chore {
    /// Take back what the dead held; these are proven dead.
    Sweep(Vec<WorkerId>),
    /// Enqueue a periodic job whose time came at this time of the store.
    Fire(PeriodicRecord, i64),
    /// Delete what ended long ago.
    Prune,
}

/// What a turn asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// How many of each queue.
    pub(super) claims: Vec<usize>,
    pub(super) promote: bool,
    /// Nobody has seen that there is work; a poke said so.
    pub(super) guess: bool,
    /// The signs of work that there had been when it was sent.
    pub(super) epoch: u64,
    pub(super) sent: Instant,
}

impl Asked {
    pub(super) fn is_claim(&self) -> bool {
        self.claims.iter().any(|count| *count > 0)
    }
}
