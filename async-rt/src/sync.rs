//! The one door to atomics, locks and thread locals: std, or loom in model builds.
//!
//! Every file that foreign threads reach takes these names from here and nowhere else, so that a
//! model explores exactly the code that ships.

#[cfg(not(lastout_loom))]
pub(crate) use std::{
    cell::Cell,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering},
    },
};

#[cfg(lastout_loom)]
pub(crate) use loom::{
    cell::{Cell, UnsafeCell},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering},
    },
    thread_local,
};

/// A cell that two threads reach in turn; a model reports accesses that are not ordered.
#[cfg(not(lastout_loom))]
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(lastout_loom))]
impl<T> UnsafeCell<T> {
    /// Lends the address of the content; only what the caller does with it can be unsafe.
    #[inline]
    pub(crate) fn with_mut<R>(&self, work: impl FnOnce(*mut T) -> R) -> R {
        work(self.0.get())
    }
}

/// Locks, even if a thread panicked while it held the lock: the states kept here are valid
/// between any two statements, because no user code runs under a lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// `strong`, or `weak` in a model build that was asked for the mutant `_name`.
#[cfg(not(lastout_loom))]
pub(crate) const fn ord(_name: &str, strong: Ordering, _weak: Ordering) -> Ordering {
    strong
}

/// `true`, or `false` in a model build that was asked for the mutant `_name`.
#[cfg(not(lastout_loom))]
pub(crate) const fn on(_name: &str) -> bool {
    true
}

#[cfg(lastout_loom)]
pub(crate) use mutant::{on, ord};

#[cfg(lastout_loom)]
mod mutant {
    use super::Ordering;
    use std::sync::OnceLock;

    fn is(name: &str) -> bool {
        static WANTED: OnceLock<Option<String>> = OnceLock::new();
        WANTED.get_or_init(|| std::env::var("LASTOUT_MUTANT").ok()).as_deref() == Some(name)
    }

    pub(crate) fn ord(name: &str, strong: Ordering, weak: Ordering) -> Ordering {
        if is(name) { weak } else { strong }
    }

    pub(crate) fn on(name: &str) -> bool {
        !is(name)
    }
}
