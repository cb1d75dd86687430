//! Where the lock of `signal` comes from: std, or loom in model builds.
//!
//! [`on`] lets one model build stand for every recorded mutant: such a build reads `LASTOUT_MUTANT` from
//! the environment. Elsewhere it is a `const fn`, and nothing of it is left in the code.

#[cfg(not(lastout_loom))]
mod world {
    pub(crate) use std::sync::{Mutex, MutexGuard};

    /// Whether the step is taken: always, as mutants exist in model builds only.
    #[inline]
    pub(crate) const fn on(_mutant: &'static str) -> bool {
        true
    }
}

#[cfg(lastout_loom)]
mod world {
    pub(crate) use loom::sync::{Mutex, MutexGuard};
    use std::sync::LazyLock;

    /// The mutant that this run of the models is about, if any.
    static MUTANT: LazyLock<Option<String>> =
        LazyLock::new(|| std::env::var("LASTOUT_MUTANT").ok());

    /// Whether the step is taken: not under the mutant of that name.
    pub(crate) fn on(mutant: &'static str) -> bool {
        MUTANT.as_deref() != Some(mutant)
    }
}

pub(crate) use world::*;

/// Locks, even if a panic poisoned the lock: no user code runs under it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
