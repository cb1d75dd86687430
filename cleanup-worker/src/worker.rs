//! Who owns a worker: a `CleanupWorker`, with the verbs of its end, or the process, whose worker is made
//! on first use, on a thread of its own, and never dropped.

use crate::config::{Builder, Config};
use crate::driver::ensure_running;
use crate::error::{BuildError, FlushError, Rejected};
use crate::handle::CleanupHandle;
use crate::report::Report;
use crate::shared::Shared;
use crate::shutdown::{Patience, Shutdown};
use crate::stats::Stats;
use crate::sync::Arc;
use crate::task::Cleanup;
use crate::waiting::{Flush, FlushGuard, Goal, Line};
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

/// Owns a worker and decides when it ends.
///
/// Dropping it without a [`shutdown`](Self::shutdown) is a blocking one with the
/// [`drop_deadline`](Builder::drop_deadline), 1 s unless built otherwise. Where blocking would be a
/// deadlock (in a task of its own, or where it keeps the runtime of the worker from running), the drop
/// closes the worker and leaves it to finish what it accepted.
///
/// A worker ends once:
///
/// ```compile_fail,E0382
/// # use std::time::Duration;
/// # let worker = lastout_cleanup_worker::CleanupWorker::builder().build().unwrap();
/// let first = worker.drain_blocking(Duration::ZERO);
/// let second = worker.kill_blocking(Duration::ZERO);
/// ```
#[must_use = "dropping it shuts the worker down"]
pub struct CleanupWorker {
    handle: CleanupHandle,
    ended: bool,
}

impl Builder {
    /// Starts the worker.
    ///
    /// A thread that the system refuses is no error: the worker accepts up to its capacity, counts
    /// [`start_failures`](crate::Stats::start_failures), and each later submit tries again.
    ///
    /// # Errors
    /// When a limit is 0 that must not be, the name cannot name a thread, or there is no current
    /// runtime to run on.
    pub fn build(self) -> Result<CleanupWorker, BuildError> {
        let shared = Shared::new(self.check()?);
        ensure_running(&shared);
        Ok(CleanupWorker::new(shared))
    }
}

impl CleanupWorker {
    /// A builder with the defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn new(shared: Arc<Shared>) -> Self {
        Self { handle: CleanupHandle::of(shared), ended: false }
    }

    /// The handle that submits and arms tasks. Clone it for every place that tasks come from.
    pub fn handle(&self) -> &CleanupHandle {
        &self.handle
    }

    /// The numbers of the worker.
    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// Refuses new tasks from here on. What was accepted goes on, and armed guards can still be dropped.
    pub fn close(&self) {
        let shared = self.handle.shared();
        shared.check_process();
        shared.gate().close();
    }

    /// Closes the worker, waits until all that it accepted has ended, gives up what has not at the
    /// deadline, and says so.
    ///
    /// What was given up is dropped on a thread of the worker, or on this one where the system gives none, and gets
    /// at least 200 ms for it: a destructor on another thread that takes longer is named and goes on.
    ///
    /// Awaited inside a task of this very worker, it waits for the other tasks, and leaves the worker to end
    /// by itself after that task: [`LeftReason::Unattended`](crate::LeftReason::Unattended). So does the
    /// form that blocks, at once.
    ///
    /// # Cancel safety
    /// Dropped before it is done, it goes on as the drop of the owner does.
    pub async fn drain(self, deadline: Duration) -> Report {
        self.end(Patience::Drain, deadline).await
    }

    /// Does what [`drain`](Self::drain) does, and blocks this thread meanwhile.
    pub fn drain_blocking(self, deadline: Duration) -> Report {
        self.end_blocking(Patience::Drain, deadline)
    }

    /// Ends the worker as [`drain`](Self::drain) does: a cleanup cannot be asked to end sooner.
    ///
    /// # Cancel safety
    /// As [`drain`](Self::drain).
    pub async fn shutdown(self, deadline: Duration) -> Report {
        self.end(Patience::Drain, deadline).await
    }

    /// Does what [`shutdown`](Self::shutdown) does, and blocks this thread meanwhile.
    pub fn shutdown_blocking(self, deadline: Duration) -> Report {
        self.end_blocking(Patience::Drain, deadline)
    }

    /// Closes the worker, gives up all that it accepted at once, and waits until that is dropped.
    ///
    /// # Cancel safety
    /// As [`drain`](Self::drain).
    pub async fn kill(self, deadline: Duration) -> Report {
        self.end(Patience::Kill, deadline).await
    }

    /// Does what [`kill`](Self::kill) does, and blocks this thread meanwhile.
    pub fn kill_blocking(self, deadline: Duration) -> Report {
        self.end_blocking(Patience::Kill, deadline)
    }

    async fn end(mut self, patience: Patience, deadline: Duration) -> Report {
        let report = Shutdown::begin(self.handle.shared(), patience, deadline).run().await;
        self.ended = true;
        report
    }

    fn end_blocking(mut self, patience: Patience, deadline: Duration) -> Report {
        self.ended = true;
        Shutdown::begin(self.handle.shared(), patience, deadline).run_blocking()
    }

    /// Starts no further tasks until [`resume`](Self::resume) or the end of the worker; those in flight go on.
    pub fn pause(&self) {
        self.handle.shared().state().paused = true;
    }

    /// Starts tasks again.
    pub fn resume(&self) {
        self.handle.shared().state().paused = false;
        self.handle.shared().side().ready.kick.wake();
    }

    /// Waits until nothing is queued or in flight, including what is submitted meanwhile.
    pub fn quiesce(&self, timeout: Duration) -> Flush {
        Flush::new(self.handle.shared(), Goal::Line(Line::ALL), timeout)
    }

    /// Does what [`quiesce`](Self::quiesce) does, and blocks this thread meanwhile.
    ///
    /// # Errors
    /// As [`flush_blocking`](CleanupHandle::flush_blocking).
    pub fn quiesce_blocking(&self, timeout: Duration) -> Result<(), FlushError> {
        self.quiesce(timeout).block()
    }
}

impl Drop for CleanupWorker {
    fn drop(&mut self) {
        if !self.ended {
            let shared = self.handle.shared();
            let deadline = shared.config.drop_deadline;
            let report = Shutdown::begin(shared, Patience::Drain, deadline).run_blocking();
            // Each task that was given up went to the event hook.
            let _ = report.is_clean();
        }
    }
}

impl fmt::Debug for CleanupWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanupWorker").field("handle", &self.handle).finish_non_exhaustive()
    }
}

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
