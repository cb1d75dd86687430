//! The numbers of a worker.

use std::time::Duration;

/// A snapshot of a worker, taken under its lock: the numbers belong together.
///
/// At every moment, quiet or not, `accepted` is the sum of the five outcomes, of what is queued and
/// of what is in flight: see [`is_balanced`](Self::is_balanced).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Tasks that came in.
    pub accepted: u64,
    /// Tasks that ended well.
    pub completed: u64,
    /// Tasks that ended with an error.
    pub failed: u64,
    /// Tasks that panicked, or whose destructor did when they were complete.
    pub panicked: u64,
    /// Tasks that ran out of their time and were dropped.
    pub timed_out: u64,
    /// Tasks that a shutdown gave up.
    pub abandoned: u64,
    /// Tasks that were handed back, because the worker was full or closed or there was no memory; not part of
    /// `accepted`.
    pub refused: u64,
    /// Tasks waiting to start.
    pub queued: u64,
    /// Tasks started and not ended.
    pub in_flight: u64,
    /// Age of the oldest task that has not ended, counted from when the worker first saw it.
    pub oldest: Option<Duration>,
    /// Weight reserved by guards that are armed. One that was forgotten stays here for ever.
    pub armed: u64,
    /// Weight reserved in all; for a moment also what a submit tries that is then refused as full.
    pub used: u64,
    /// The most that can be reserved.
    pub capacity: u64,
    /// How often a submit had to wake the worker.
    pub wakes: u64,
    /// How often the worker was given a thread or a runtime to run on: usually 1, and 1 more for each runtime that
    /// it outlived, or when a submit that stopped in the middle went on after the end.
    pub starts: u64,
    /// How often the system refused the worker a thread.
    pub start_failures: u64,
    /// Blocking closures that go on although their task has ended, or has dropped the call.
    pub stuck_blocking: u64,
}

impl Stats {
    /// The tasks that ended, in whichever way.
    pub fn ended(&self) -> u64 {
        self.completed + self.failed + self.panicked + self.timed_out + self.abandoned
    }

    /// Whether every accepted task is accounted for.
    pub fn is_balanced(&self) -> bool {
        self.accepted == self.ended() + self.queued + self.in_flight
    }
}
