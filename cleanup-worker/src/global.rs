//! The worker that every process has: made on first use, on a thread of its own, never dropped.

use crate::config::Config;
use crate::driver::ensure_running;
use crate::error::{FlushError, Rejected};
use crate::handle::CleanupHandle;
use crate::shared::Shared;
use crate::task::Cleanup;
use crate::waiting::{Flush, FlushGuard};
use std::sync::OnceLock;
use std::time::Duration;

/// Made outside of the lock and only moved in under it, so that nothing slow, and no `fork` of
/// another thread, comes between.
static GLOBAL: OnceLock<CleanupHandle> = OnceLock::new();

#[inline]
fn global() -> &'static CleanupHandle {
    match GLOBAL.get() {
        Some(handle) => handle,
        None => make(),
    }
}

#[cold]
fn make() -> &'static CleanupHandle {
    let made = CleanupHandle::of(Shared::new(Config::default()));
    GLOBAL.get_or_init(move || made)
}

/// Submits to the process-wide worker: before anything was initialised, outside every runtime, in
/// an unwind, in the destructor of a thread-local, after any runtime is gone.
///
/// # Errors
/// When the worker is full, or there is no memory. The task comes back.
#[inline]
pub fn submit<T: Cleanup>(task: T) -> Result<(), Rejected<T>> {
    global().submit(task)
}

/// A handle of the process-wide worker.
pub fn handle() -> CleanupHandle {
    global().clone()
}

/// Starts the process-wide worker, so that the first submit finds it running. Idempotent, and two
/// atomic loads once it runs. Never needed: the first submit starts the worker too.
pub fn init_worker() {
    let shared = global().shared();
    shared.check_process();
    ensure_running(shared);
}

/// Whether the process-wide worker has a thread. It gets one with the first submit.
pub fn is_running() -> bool {
    GLOBAL.get().is_some_and(CleanupHandle::is_running)
}

/// Flushes the process-wide worker: see [`CleanupHandle::flush`].
pub fn flush(timeout: Duration) -> Flush {
    global().flush(timeout)
}

/// Flushes the process-wide worker, blocking this thread.
///
/// # Errors
/// As [`CleanupHandle::flush_blocking`].
pub fn flush_blocking(timeout: Duration) -> Result<(), FlushError> {
    global().flush_blocking(timeout)
}

/// Flushes the process-wide worker when the guard is dropped: the last thing in `main`.
pub fn flush_guard(timeout: Duration) -> FlushGuard {
    global().flush_guard(timeout)
}
