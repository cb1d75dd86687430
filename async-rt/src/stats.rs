//! Counters: of the tasks while a runtime lives, and of its end, readable afterwards.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a runtime has done so far. `spawned = live + completed + panicked + cancelled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeStats {
    /// Tasks spawned, ever. The future of each `block_on` is one.
    pub spawned: u64,
    /// Tasks that have not ended.
    pub live: u64,
    /// Tasks that ended with an output.
    pub completed: u64,
    /// Tasks that panicked.
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
    /// Always zero: this runtime never aborts the process, also not in an unwind.
    pub aborted_unwinds: u64,
    /// Always zero: whoever drops the last reference to a task frees it, on any thread.
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
