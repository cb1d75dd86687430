//! What a worker tells about tasks that did not simply complete.

use crate::error::{FlushError, RejectReason};
use std::error::Error;
use std::time::Duration;

/// What happened to a task, or to a flush.
///
/// The hook runs where that happened, in the middle of it: a task that the hook submits may be refused, and
/// the hook is called again for that.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The task was handed back.
    Refused {
        /// The label of the task, empty if it has none.
        label: &'static str,
        /// Why.
        reason: RejectReason,
    },
    /// The task ended with an error.
    Failed {
        /// The label of the task, empty if it has none.
        label: &'static str,
        /// From when the worker first saw the task.
        age: Duration,
        /// What the task gave.
        error: &'a (dyn Error + Send + Sync + 'static),
    },
    /// The task panicked, or its destructor did.
    Panicked {
        /// The label of the task, empty if it has none.
        label: &'static str,
        /// From when the worker first saw the task.
        age: Duration,
        /// What the panic said.
        message: &'a str,
    },
    /// The task ran out of its time and was dropped.
    TimedOut {
        /// The label of the task, empty if it has none.
        label: &'static str,
        /// From when the worker first saw the task.
        age: Duration,
    },
    /// A shutdown gave the task up, or it came after the end.
    Abandoned {
        /// The label of the task, empty if it has none.
        label: &'static str,
        /// From when the worker first saw the task.
        age: Duration,
    },
    /// A [`FlushGuard`](crate::FlushGuard) was dropped and could not wait for all tasks.
    Unflushed {
        /// Why.
        error: FlushError,
    },
}

pub(crate) type Hook = dyn Fn(&Event<'_>) + Send + Sync;

/// Tells the hook, inside a panic barrier, and `tracing`.
pub(crate) fn emit(event: &Event<'_>, hook: Option<&Hook>) {
    trace(event);
    if let Some(hook) = hook {
        let _ = crate::contain::contain(|| hook(event));
    }
}

#[cfg(feature = "tracing")]
fn trace(event: &Event<'_>) {
    const TARGET: &str = "lastout_cleanup_worker";
    // A subscriber is code of a user as well.
    let _ = crate::contain::contain(|| match event {
        Event::Refused { label, reason } => {
            tracing::warn!(target: TARGET, label, ?reason, "cleanup refused");
        }
        Event::Failed { label, age, error } => {
            tracing::warn!(target: TARGET, label, ?age, error = %error, "cleanup failed");
        }
        Event::Panicked { label, age, message } => {
            tracing::error!(target: TARGET, label, ?age, message, "cleanup panicked");
        }
        Event::TimedOut { label, age } => {
            tracing::warn!(target: TARGET, label, ?age, "cleanup timed out");
        }
        Event::Abandoned { label, age } => {
            tracing::warn!(target: TARGET, label, ?age, "cleanup abandoned");
        }
        Event::Unflushed { error } => {
            tracing::warn!(target: TARGET, error = %error, "cleanups not flushed");
        }
    });
}

#[cfg(not(feature = "tracing"))]
fn trace(_event: &Event<'_>) {}
