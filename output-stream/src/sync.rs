//! The lock of this crate: std normally, loom in model builds.
//!
//! `on("iN.what")` guards a step that a recorded mutation may skip; see CONTRIBUTING.md.

#[cfg(lastout_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(lastout_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

/// `false` when the model build was asked to skip the step called `what`.
#[cfg(lastout_loom)]
pub(crate) fn on(what: &str) -> bool {
    std::env::var("LASTOUT_MUTANT").as_deref() != Ok(what)
}

/// Always `true` outside model builds.
#[cfg(not(lastout_loom))]
pub(crate) const fn on(_what: &str) -> bool {
    true
}
