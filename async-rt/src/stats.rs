//! Counters: of the tasks while a runtime lives, and of its end, readable afterwards.

use std::sync::atomic::{AtomicU64, Ordering};

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Completed,
    Panicked,
    Cancelled,
}

impl Outcome {
    /// The word for it in events.
    #[cfg(feature = "tracing")]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Panicked => "panicked",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Every admitted task is live or in exactly one of the other three.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TaskCounts {
    pub(crate) spawned: u64,
    pub(crate) completed: u64,
    pub(crate) panicked: u64,
    pub(crate) cancelled: u64,
}

impl TaskCounts {
    /// A task has ended.
    #[inline]
    pub(crate) fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Completed => self.completed += 1,
            Outcome::Panicked => self.panicked += 1,
            Outcome::Cancelled => self.cancelled += 1,
        }
    }
}

impl TaskCounts {
    /// Tasks that have ended, however.
    pub(crate) fn ended(&self) -> u64 {
        self.completed + self.panicked + self.cancelled
    }
}

/// What the end of an engine found.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ShutdownCounts {
    /// Tasks whose future was dropped.
    pub(crate) cancelled: usize,
    /// Foreign wakes that came after the last look.
    pub(crate) undrained: usize,
    /// Tasks whose memory waits for a waker, a handle or a claim.
    pub(crate) outstanding: usize,
    /// Tasks inside their own poll, which ends the process.
    pub(crate) running: usize,
    /// Tasks that destructors were still spawning when the time was up.
    pub(crate) spawning: usize,
}

/// What a runtime has done so far. `spawned = live + completed + panicked + cancelled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeStats {
    /// Tasks spawned, ever. The futures of `block_on` are none.
    pub spawned: u64,
    /// Tasks that have not ended.
    pub live: u64,
    /// Tasks that ended with an output.
    pub completed: u64,
    /// Tasks that panicked, in a poll or in the destructor of their future.
    pub panicked: u64,
    /// Tasks that were aborted, or dropped by the end of the runtime.
    pub cancelled: u64,
    /// Timers that are armed.
    pub timers: usize,
    /// Descriptors that are watched.
    pub descriptors: usize,
}

/// The counters of a runtime's end. Hold the `Arc` that
/// [`Runtime::shutdown_stats`](crate::Runtime::shutdown_stats) returns, drop the runtime, and take a
/// snapshot.
#[derive(Debug, Default)]
pub struct ShutdownStatsAtomics {
    pub(crate) tasks_cancelled: AtomicU64,
    pub(crate) unbalanced: AtomicU64,
    pub(crate) undrained: AtomicU64,
    pub(crate) ended: AtomicU64,
}

impl ShutdownStatsAtomics {
    /// The runtime has ended.
    pub(crate) fn note(&self, counts: &ShutdownCounts) {
        // Relaxed: plain counts; whoever reads them has learned of the end by other means.
        let set =
            |counter: &AtomicU64, value: usize| counter.store(value as u64, Ordering::Relaxed);
        set(&self.tasks_cancelled, counts.cancelled);
        set(&self.unbalanced, counts.outstanding);
        set(&self.undrained, counts.undrained);
        set(&self.ended, 1);
    }

    /// The counters now; all zero before the runtime has ended.
    pub fn snapshot(&self) -> ShutdownStats {
        // Relaxed: plain counts, written before whoever reads them learns of the end.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ShutdownStats {
            aborted_unwinds: 0,
            leaked_box_tasks: 0,
            unbalanced_normal_shutdowns: read(&self.unbalanced),
            cross_queue_undrained: read(&self.undrained),
            tasks_cancelled: read(&self.tasks_cancelled),
            ended: read(&self.ended) != 0,
        }
    }
}

/// A snapshot of [`ShutdownStatsAtomics`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShutdownStats {
    /// Always zero: this runtime never aborts the process, not even in an unwind.
    pub aborted_unwinds: u64,
    /// Always zero: the last reference to a task frees it, on any thread.
    pub leaked_box_tasks: u64,
    /// Tasks whose memory outlived the runtime, because a waker, a handle or another reference to
    /// them did. Harmless, and freed with that reference; their futures are dropped.
    pub unbalanced_normal_shutdowns: u64,
    /// Foreign wakes that arrived while the runtime was ending, after its last look. Harmless: the
    /// tasks they were for are gone.
    pub cross_queue_undrained: u64,
    /// Tasks that had not ended by themselves, and whose futures were dropped.
    pub tasks_cancelled: u64,
    /// Whether the runtime has ended.
    pub ended: bool,
}

impl ShutdownStats {
    /// Whether the runtime ended with nothing left: no task cut short, no reference still out.
    pub fn is_clean(&self) -> bool {
        let left = self.unbalanced_normal_shutdowns + self.cross_queue_undrained;
        self.ended && left + self.tasks_cancelled == 0
    }
}
