//! Which engine runs on this thread: the test by which a wake finds out that it is local.
#![expect(unsafe_code, reason = "a thread local cannot hold a borrow; `enter` keeps it honest")]

use super::{Engine, SharedPtr};
#[cfg(lastout_loom)]
use crate::sync::thread_local;
use std::cell::Cell;
use std::ptr;

// Not null only inside `enter`, and then it points to the engine borrowed there.
#[cfg(not(lastout_loom))]
thread_local! { static ENGINE: Cell<*const Engine> = const { Cell::new(ptr::null()) }; }
#[cfg(lastout_loom)]
thread_local! { static ENGINE: Cell<*const Engine> = Cell::new(ptr::null()); }

/// Runs `work` as the owner's loop of `engine`: wakes inside it take the local path.
pub(super) fn enter<R>(engine: &Engine, work: impl FnOnce() -> R) -> R {
    struct Restore(*const Engine);
    impl Drop for Restore {
        fn drop(&mut self) {
            ENGINE.with(|current| current.set(self.0));
        }
    }
    let _restore = Restore(ENGINE.with(|current| current.replace(engine)));
    work()
}

/// Runs `work` with the engine entered on this thread, if its shared half is `shared`.
#[inline]
pub(super) fn with_owner<R>(shared: SharedPtr, work: impl FnOnce(&Engine) -> R) -> Option<R> {
    let engine = ENGINE.with(Cell::get);
    if engine.is_null() {
        return None;
    }
    // SAFETY: `enter` borrows the engine for as long as the pointer is set.
    let engine = unsafe { &*engine };
    (engine.shared == shared).then(|| work(engine))
}

/// The shared half of the engine entered on this thread.
pub(super) fn current() -> Option<SharedPtr> {
    let engine = ENGINE.with(Cell::get);
    // SAFETY: as in `with_owner`.
    (!engine.is_null()).then(|| unsafe { &*engine }.shared)
}
