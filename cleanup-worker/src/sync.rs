//! Where this crate takes its atomics, cells, locks and `Arc` from: std, or loom in model builds.
//!
//! The queue and everything around it is written once and runs in both worlds: under the cfg
//! `lastout_loom` the same types come from loom, which then explores the interleavings of the models
//! in `src/model/`. Two things are offered on top:
//!
//! - [`ord`] and [`on`] let one model build stand for every recorded mutant. A model build reads
//!   `LASTOUT_MUTANT` from the environment; elsewhere both are `const fn`s that return the strong
//!   choice, so a normal build has no branch left of them.
//! - [`process`] holds std's atomics in both worlds. It is for words that belong to the process and
//!   not to a worker (loom has no statics), and no model depends on them.
//!
//! Wakers are std's in both worlds, because `std::task::Wake` is defined on std's `Arc`: what a
//! waker shares uses [`process`] and [`std::sync::Arc`].

#[cfg(not(lastout_loom))]
mod world {
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};
    pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
    pub(crate) use std::thread::yield_now;
    pub(crate) use std::thread_local;

    /// std's cell with loom's access by closure, so that loom can see each access begin and end.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Runs `access` with the pointer; the caller that dereferences it owns the cell for that long.
        #[inline]
        pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
            access(self.0.get())
        }
    }

    /// Writes an atomic pointer that no other thread can reach any more. Loom checks that claim.
    #[inline]
    pub(crate) fn write_owned<T>(pointer: &mut AtomicPtr<T>, value: *mut T) {
        *pointer.get_mut() = value;
    }

    /// The `strong` ordering: mutants exist in model builds only.
    #[inline]
    pub(crate) const fn ord(
        _mutant: &'static str,
        strong: std::sync::atomic::Ordering,
        _weak: std::sync::atomic::Ordering,
    ) -> std::sync::atomic::Ordering {
        strong
    }

    /// Whether the step is taken: always, as mutants exist in model builds only.
    #[inline]
    pub(crate) const fn on(_mutant: &'static str) -> bool {
        true
    }
}

#[cfg(lastout_loom)]
mod world {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};
    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
    pub(crate) use loom::thread::yield_now;
    use std::sync::LazyLock;
    use std::sync::atomic::Ordering;

    /// Loom's, behind std's syntax.
    macro_rules! local {
        ($(#[$doc:meta])* static $name:ident: $type:ty = const { $value:expr };) => {
            loom::thread_local! { $(#[$doc])* static $name: $type = $value; }
        };
    }
    pub(crate) use local as thread_local;

    /// Writes an atomic pointer that no other thread can reach any more: the model fails if one can.
    pub(crate) fn write_owned<T>(pointer: &mut AtomicPtr<T>, value: *mut T) {
        pointer.with_mut(|slot| *slot = value);
    }

    /// The mutant that this run of the models is about, if any.
    static MUTANT: LazyLock<Option<String>> =
        LazyLock::new(|| std::env::var("LASTOUT_MUTANT").ok());

    /// The `weak` ordering under the mutant of that name, else the `strong` one.
    pub(crate) fn ord(mutant: &'static str, strong: Ordering, weak: Ordering) -> Ordering {
        if on(mutant) { strong } else { weak }
    }

    /// Whether the step is taken: not under the mutant of that name.
    pub(crate) fn on(mutant: &'static str) -> bool {
        MUTANT.as_deref() != Some(mutant)
    }
}

pub(crate) use world::*;

/// std's atomics in both worlds, for words that belong to the process or to a waker.
pub(crate) mod process {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
}

/// Locks, even if a panic poisoned the lock: no code of a user runs under any lock of this crate,
/// and each critical section leaves its data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Keeps its content away from the cache lines of its neighbours. Two lines, because the
/// prefetcher of current x86 fetches lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}
