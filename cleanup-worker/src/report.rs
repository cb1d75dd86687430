//! What a shutdown says when it is over.

use crate::stats::Stats;
use std::time::Duration;

/// How a shutdown went. [`is_clean`](Self::is_clean) is what a test asserts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it says what was left behind"]
pub struct ShutdownReport {
    pub(crate) stats: Stats,
    pub(crate) left_behind: Vec<LeftBehind>,
}

impl ShutdownReport {
    /// The numbers at the end.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// All that did not come to its own end, oldest first within each reason.
    pub fn left_behind(&self) -> &[LeftBehind] {
        &self.left_behind
    }

    /// Whether every accepted task was run to its end, and nothing goes on.
    pub fn is_clean(&self) -> bool {
        self.left_behind.is_empty()
    }
}

/// One thing that a shutdown left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftBehind {
    /// The label of the task, empty if it has none or if it is not a task.
    pub label: &'static str,
    /// From when the worker first saw the task.
    pub age: Duration,
    /// What became of it.
    pub reason: LeftReason,
}

/// Why something was left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftReason {
    /// The time ran out: the task was dropped, before or in the middle of its work.
    Abandoned,
    /// The time ran out while the task was being polled: it holds the worker's thread, and is
    /// dropped when that poll returns. Counted as abandoned.
    StillPolled,
    /// Blocking closures go on whose tasks ended before them.
    BlockingClosures {
        /// How many.
        count: u64,
    },
    /// Guards are still armed. When they are dropped, their tasks are dropped too, as abandoned.
    Armed {
        /// The sum of their weights.
        weight: u64,
    },
    /// A producer stopped in the middle of its submit. The worker's thread stays until it goes on.
    StalledProducer,
    /// The worker's thread did not come to its end in the time that was left.
    Thread,
    /// The owner was shut down from a place where waiting would have kept the worker from running: it
    /// goes on with all tasks that it accepted, and ends by itself.
    Unattended {
        /// How many tasks had not ended.
        pending: u64,
    },
}
