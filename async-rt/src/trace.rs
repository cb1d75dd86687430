//! Events for `tracing`: of tasks at the level trace, of panics and of a runtime's end at debug.
//! Without the feature the functions are empty.

use crate::task::ShutdownCounts;

#[cfg(feature = "tracing")]
mod events {
    use super::ShutdownCounts;
    const TARGET: &str = "lastout_async_rt";

    pub(crate) fn spawned(task: usize) {
        tracing::trace!(target: TARGET, task, "task spawned");
    }

    pub(crate) fn ended(task: usize, outcome: &'static str) {
        tracing::trace!(target: TARGET, task, outcome, "task ended");
    }

    pub(crate) fn panicked(task: usize) {
        tracing::debug!(target: TARGET, task, "task panicked");
    }

    pub(crate) fn runtime_ended(counts: &ShutdownCounts) {
        let ShutdownCounts { cancelled, undrained, outstanding } = counts;
        tracing::debug!(target: TARGET, cancelled, undrained, outstanding, "runtime ended");
    }
}

#[cfg(not(feature = "tracing"))]
mod events {
    use super::ShutdownCounts;

    pub(crate) const fn spawned(_task: usize) {}
    pub(crate) const fn ended(_task: usize, _outcome: &'static str) {}
    pub(crate) const fn panicked(_task: usize) {}
    pub(crate) const fn runtime_ended(_counts: &ShutdownCounts) {}
}

pub(crate) use events::{ended, panicked, runtime_ended, spawned};
