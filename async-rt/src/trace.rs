//! Events for `tracing`: of tasks at the level trace, of panics and of a runtime's end at debug.
//! Without the feature the functions are empty.
//!
//! A subscriber is foreign code: each event comes when the engine is whole, and its panics end here.

use crate::stats::{Outcome, ShutdownCounts};

#[cfg(feature = "tracing")]
mod events {
    use super::{Outcome, ShutdownCounts};
    use crate::contain;
    const TARGET: &str = "lastout_async_rt";

    pub(crate) fn spawned(task: usize) {
        contain::run(|| tracing::trace!(target: TARGET, task, "task spawned"));
    }

    pub(crate) fn ended(task: usize, outcome: Outcome) {
        let word = outcome.word();
        contain::run(|| match outcome {
            Outcome::Panicked => tracing::debug!(target: TARGET, task, "task panicked"),
            _ => tracing::trace!(target: TARGET, task, outcome = word, "task ended"),
        });
    }

    pub(crate) fn runtime_ended(counts: &ShutdownCounts) {
        let ShutdownCounts { cancelled, undrained, outstanding, .. } = counts;
        contain::run(|| {
            tracing::debug!(target: TARGET, cancelled, undrained, outstanding, "runtime ended");
        });
    }
}

#[cfg(not(feature = "tracing"))]
mod events {
    use super::{Outcome, ShutdownCounts};

    pub(crate) const fn spawned(_task: usize) {}
    pub(crate) const fn ended(_task: usize, _outcome: Outcome) {}
    pub(crate) const fn runtime_ended(_counts: &ShutdownCounts) {}
}

pub(crate) use events::{ended, runtime_ended, spawned};
