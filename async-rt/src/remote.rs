//! `RemoteHandle`: work sent to a runtime from other threads.

use crate::channel::{mpsc, oneshot};
use crate::handle::{Handle, spawn_boxed};
use crate::runtime::Runtime;
use crate::task::Origin;
use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

/// Jobs that may wait for the runtime at once, for each handle made by `remote_handle`.
const WAITING: usize = 256;

type Job = Box<dyn FnOnce() + Send>;

/// Runs closures and futures on the runtime, from any thread and under any executor.
///
/// The closure travels; the future that it makes stays on the runtime's thread, so it need not be
/// `Send`. At most 256 jobs wait; more are sent as the runtime takes them.
///
/// ```
/// use lastout_async_rt::Runtime;
/// use std::rc::Rc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = Runtime::new()?;
/// let remote = runtime.remote_handle();
/// let output = runtime.block_on(async move {
///     // Here it comes from the same thread; any other may do the same.
///     remote.spawn(|| async { Rc::new(7_i32).pow(2) }).await
/// })?;
/// assert_eq!(output, 49);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RemoteHandle {
    jobs: mpsc::Sender<Job>,
}

/// The job has no output: the runtime ended first, the job panicked, or a time passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteError;

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the runtime ended before the job, the job panicked, or its time passed")
    }
}

impl Error for RemoteError {}

impl RemoteHandle {
    /// Runs `work` on the runtime's thread.
    ///
    /// # Errors
    /// When the runtime has ended or ends first, or `work` panics.
    ///
    /// # Cancel safety
    /// Cancelled while it waits for room it has sent nothing; later the job runs, and its output is
    /// dropped.
    pub async fn run<R, W>(&self, work: W) -> Result<R, RemoteError>
    where
        R: Send + 'static,
        W: FnOnce() -> R + Send + 'static,
    {
        self.spawn(move || async move { work() }).await
    }

    /// Runs the future that `make` returns on the runtime's thread.
    ///
    /// # Errors
    /// When the runtime has ended or ends first, or the future panics.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn spawn<F, M>(&self, make: M) -> Result<F::Output, RemoteError>
    where
        F: Future,
        F::Output: Send + 'static,
        M: FnOnce() -> F + Send + 'static,
    {
        let (job, output) = Self::job(make);
        self.jobs.send(job).await.map_err(|_| RemoteError)?;
        output.await.map_err(|_| RemoteError)
    }

    /// Runs `work` on the runtime's thread, for a plain thread, which sleeps until the output is there,
    /// for `timeout` at most if there is one.
    ///
    /// # Errors
    /// When the runtime has ended or ends first, `work` panics, or the time passes. A job that was sent
    /// in time still runs; its output is dropped.
    ///
    /// # Panics
    /// Inside a runtime, before the job is sent.
    #[track_caller]
    pub fn run_blocking<R, W>(&self, work: W, timeout: Option<Duration>) -> Result<R, RemoteError>
    where
        R: Send + 'static,
        W: FnOnce() -> R + Send + 'static,
    {
        // A time beyond what the clock counts is no bound.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let left = || deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let (job, mut output) = Self::job(move || async move { work() });
        let sent = match left() {
            Some(left) => self.jobs.send_timeout_blocking(job, left).is_ok(),
            None => self.jobs.send_blocking(job).is_ok(),
        };
        if sent { output.recv_blocking(left()).map_err(|_| RemoteError) } else { Err(RemoteError) }
    }

    /// The job that runs what `make` returns, and where its output arrives.
    fn job<F, M>(make: M) -> (Job, oneshot::Receiver<F::Output>)
    where
        F: Future,
        F::Output: Send + 'static,
        M: FnOnce() -> F + Send + 'static,
    {
        let (give, output) = oneshot::channel();
        let job: Job = Box::new(move || {
            // The future is made inside the task, which catches its panic too.
            spawn_boxed(async move {
                // The caller may have stopped waiting.
                let _ = give.send(make().await);
            })
            .detach();
        });
        (job, output)
    }

    /// Whether the runtime has ended.
    pub fn is_ended(&self) -> bool {
        self.jobs.is_closed()
    }
}

impl fmt::Debug for RemoteHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHandle").field("ended", &self.is_ended()).finish()
    }
}

impl Handle {
    /// A handle that other threads may have. The end of a runtime does not wait for it.
    pub fn remote_handle(&self) -> RemoteHandle {
        let (jobs, mut taken) = mpsc::channel::<Job>(WAITING);
        let courier = async move {
            while let Some(job) = taken.recv().await {
                job();
            }
        };
        drop(self.owner.spawn_hidden(courier, Origin::here(Some("remote jobs"))));
        RemoteHandle { jobs }
    }
}

impl Runtime {
    /// A handle that other threads may have; see [`Handle::remote_handle`].
    pub fn remote_handle(&self) -> RemoteHandle {
        self.handle().remote_handle()
    }
}
