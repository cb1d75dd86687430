//! What a worker tells about tasks that did not simply complete.

use crate::error::{FlushError, RejectReason};
use std::cell::Cell;
use std::error::Error;
use std::time::Duration;

/// What happened to a task, or to a flush.
///
/// The hook runs on the thread where that happened, in the middle of it. A hook sees the results of its own
/// calls: while it runs, a task that is refused to its thread, and a flush guard that fails on its thread, are
/// told to no hook, so hooks never call themselves. [`Stats::refused`](crate::Stats::refused) counts such tasks
/// all the same.
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

crate::sync::thread_local! {
    /// Whether a hook, or a subscriber, runs on this thread. No accepted submit touches it.
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

/// Tells the hook, inside a panic barrier, and `tracing`.
pub(crate) fn emit(event: &Event<'_>, hook: Option<&Hook>) {
    if hook.is_none() && !cfg!(feature = "tracing") {
        return;
    }
    let within = TELLING.try_with(|telling| telling.replace(true)).unwrap_or_default();
    // Those two come from calls. Told to the hook that made the call, it might make the same call for ever.
    if !(within && matches!(event, Event::Refused { .. } | Event::Unflushed { .. })) {
        trace(event);
        if let Some(hook) = hook {
            let _ = crate::contain::contain(|| hook(event));
        }
    }
    let _ = TELLING.try_with(|telling| telling.set(within));
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
