//! What a blocking pool says about itself: its counts, and the closures that run.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// What the blocking pool of a runtime has done so far.
/// `accepted = waiting + running + completed + panicked + cancelled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BlockingStats {
    /// Closures accepted, ever. A refused one is not counted.
    pub accepted: u64,
    /// Closures that wait for a thread.
    pub waiting: u64,
    /// Closures that run.
    pub running: u64,
    /// Closures that returned.
    pub completed: u64,
    /// Closures that panicked.
    pub panicked: u64,
    /// Closures that were aborted, or were waiting when the runtime ended. None of them ran.
    pub cancelled: u64,
    /// Threads that exist.
    pub threads: u64,
}

impl BlockingStats {
    /// Closures that have run to their end.
    pub(crate) fn ended(self) -> u64 {
        self.completed + self.panicked
    }
}

/// A closure that runs on a thread of the blocking pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningClosure {
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// For how long it has run.
    pub running_for: Duration,
}

impl fmt::Display for RunningClosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spawned_at, running_for } = self;
        write!(f, "blocking closure spawned at {spawned_at} has run for {running_for:?}")
    }
}
