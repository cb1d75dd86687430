//! The way to submit: cheap to clone, usable on any thread at any time.

use crate::armed::Armed;
use crate::driver::ensure_running;
use crate::error::{FlushError, Rejected};
use crate::options::Options;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::submit;
use crate::sweep;
use crate::sync::Arc;
use crate::task::Cleanup;
use crate::waiting::{Flush, FlushGuard, Goal};
use std::fmt;
use std::time::Duration;

/// Submits and arms cleanups on one worker.
///
/// Everything here may be called from any thread: outside every runtime, during unwinding, in the
/// destructor of a thread-local. Submitting never panics and never blocks; a refused task is told to the event
/// hook on the thread that submits it.
pub struct CleanupHandle {
    shared: Arc<Shared>,
    lazy: bool,
}

impl CleanupHandle {
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { shared, lazy: false }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Hands a task over. It costs one allocation and two atomic operations, and a wake when the
    /// worker sleeps.
    ///
    /// # Errors
    /// When the worker is full or closed, or there is no memory. The task comes back.
    #[inline]
    pub fn submit<T: Cleanup>(&self, task: T) -> Result<(), Rejected<T>> {
        let options = task.options();
        self.submit_with(task, options)
    }

    /// Hands a task over with options that replace the task's own.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    #[inline]
    pub fn submit_with<T: Cleanup>(&self, task: T, options: Options) -> Result<(), Rejected<T>> {
        submit::submit(&self.shared, task, options, self.lazy)
    }

    /// Reserves all that is needed to hand the task over later: dropping the guard then submits it
    /// with one atomic swap, no allocation, and no way to be refused.
    ///
    /// # Errors
    /// When the worker is full or closed, or there is no memory. The task comes back, here, where
    /// the caller can still do something about it.
    pub fn arm<T: Cleanup>(&self, task: T) -> Result<Armed<T>, Rejected<T>> {
        let options = task.options();
        self.arm_with(task, options)
    }

    /// Arms a guard with options that replace the task's own.
    ///
    /// # Errors
    /// As [`arm`](Self::arm).
    pub fn arm_with<T: Cleanup>(&self, task: T, options: Options) -> Result<Armed<T>, Rejected<T>> {
        submit::arm(&self.shared, task, options, self.lazy).map(Armed::new)
    }

    /// A handle for latency-critical threads: its submits do not wake the worker. While such a handle
    /// exists, or a guard armed by one, the worker looks every
    /// [`lazy_interval`](crate::Builder::lazy_interval).
    #[must_use]
    pub fn lazy(&self) -> Self {
        self.shared.check_process();
        ensure_running(&self.shared);
        self.shared.lazy_begins();
        Self { shared: Arc::clone(&self.shared), lazy: true }
    }

    /// Waits until every task whose submit happened before this call has ended.
    ///
    /// From inside a cleanup it does not wait for that cleanup, nor for others that are themselves
    /// waiting. The timeout is real time.
    pub fn flush(&self, timeout: Duration) -> Flush {
        Flush::new(&self.shared, Goal::Unlined, timeout)
    }

    /// Flushes, blocking this thread.
    ///
    /// # Errors
    /// When the time runs out, when the worker cannot be started, or at once when blocking here would
    /// keep the worker from running: [`FlushError::WouldDeadlock`].
    pub fn flush_blocking(&self, timeout: Duration) -> Result<(), FlushError> {
        self.flush(timeout).block()
    }

    /// Flushes when it is dropped.
    pub fn flush_guard(&self, timeout: Duration) -> FlushGuard {
        FlushGuard::new(Arc::clone(&self.shared), timeout)
    }

    /// The numbers of the worker.
    pub fn stats(&self) -> Stats {
        sweep::stats(&self.shared)
    }

    /// Whether the worker has a thread, or a runtime, to run on. It gets one with the first submit.
    pub fn is_running(&self) -> bool {
        self.shared.check_process();
        self.shared.is_running()
    }

    /// Whether submits are refused because the worker was shut down.
    pub fn is_closed(&self) -> bool {
        self.shared.gate().snapshot().is_closed()
    }
}

impl Clone for CleanupHandle {
    fn clone(&self) -> Self {
        if self.lazy {
            self.shared.lazy_begins();
        }
        Self { shared: Arc::clone(&self.shared), lazy: self.lazy }
    }
}

impl Drop for CleanupHandle {
    fn drop(&mut self) {
        if self.lazy {
            self.shared.lazy_ends();
        }
    }
}

impl fmt::Debug for CleanupHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanupHandle")
            .field("closed", &self.is_closed())
            .field("lazy", &self.lazy)
            .finish_non_exhaustive()
    }
}
