//! The words of people who run a store: queues with their limits and pauses.

use std::fmt;

/// A queue that has a limit or is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueRecord {
    /// Its name.
    pub queue: String,
    /// How many of its jobs run at once over all workers; `None` for no limit.
    pub max_running: Option<u32>,
    /// Who paused it, and when; `None` while it is not paused.
    pub paused: Option<Pause>,
}

impl QueueRecord {
    /// A queue with its limit and its pause.
    pub fn new(queue: String, max_running: Option<u32>, paused: Option<Pause>) -> Self {
        Self { queue, max_running, paused }
    }
}

/// Why nothing of a queue is claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pause {
    /// Who paused it, as they named themselves.
    pub by: String,
    /// When, in milliseconds since the epoch on the clock of the store.
    pub at_ms: i64,
}

impl Pause {
    /// A pause by `by` at `at_ms`.
    pub fn new(by: String, at_ms: i64) -> Self {
        Self { by, at_ms }
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "paused by {}", self.by)
    }
}
