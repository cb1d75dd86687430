//! Which runtime runs on this thread: the test by which a wake finds out that it is local.
#![expect(unsafe_code, reason = "a thread local cannot hold a borrow; `enter` keeps it honest")]

use super::header::Header;
use super::schedule::Schedule;
use super::shared::SharedPtr;
#[cfg(lastout_loom)]
use crate::sync::thread_local;
use std::cell::Cell;
use std::ptr;

// Not null only inside `enter`, and then it points to what is borrowed there.
#[cfg(not(lastout_loom))]
thread_local! { static CURRENT: Cell<*const Schedule> = const { Cell::new(ptr::null()) }; }
#[cfg(lastout_loom)]
thread_local! { static CURRENT: Cell<*const Schedule> = Cell::new(ptr::null()); }

/// Runs `work` as the owner's loop: wakes inside it take the local path.
pub(super) fn enter<R>(schedule: &Schedule, work: impl FnOnce() -> R) -> R {
    struct Restore(*const Schedule);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.with(|current| current.set(self.0));
        }
    }
    let _restore = Restore(CURRENT.with(|current| current.replace(schedule)));
    work()
}

/// Runs `work` with the runtime that runs on this thread, if its shared half is `shared`.
#[inline]
pub(super) fn with_owner<R>(
    shared: SharedPtr<Header>,
    work: impl FnOnce(&Schedule) -> R,
) -> Option<R> {
    let schedule = CURRENT.with(Cell::get);
    if schedule.is_null() {
        return None;
    }
    // SAFETY: `enter` borrows it for as long as the pointer is set.
    let schedule = unsafe { &*schedule };
    (schedule.shared == shared).then(|| work(schedule))
}

/// The shared half of the runtime that runs on this thread.
pub(super) fn current() -> Option<SharedPtr<Header>> {
    let schedule = CURRENT.with(Cell::get);
    // SAFETY: as in `with_owner`.
    (!schedule.is_null()).then(|| unsafe { &*schedule }.shared)
}
