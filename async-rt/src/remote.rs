//! `RemoteHandle`: work sent to a runtime from other threads.

use crate::channel::{RecvTimeoutError, SendTimeoutError, mpsc, oneshot};
use crate::handle::{Handle, spawn_boxed};
use crate::runtime::Runtime;
use crate::task::Origin;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
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

/// Why a job has no output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteError {
    /// The runtime ended before the job did.
    Ended,
    /// The job panicked.
    Panicked,
    /// The time passed. If the job had room among those that wait, it still runs.
    TimedOut,
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "the runtime ended before the job did",
            Self::Panicked => "the job panicked on the runtime",
            Self::TimedOut => "the time passed before the job had ended on the runtime",
        })
    }
}

impl Error for RemoteError {}

/// Sends the output of a job, or says why there is none.
struct Tell<R> {
    give: Option<oneshot::Sender<Result<R, RemoteError>>>,
    /// During each poll of the job. It is still set when a panic leaves that poll.
    runs: bool,
}

impl<R> Tell<R> {
    fn tell(&mut self, outcome: Result<R, RemoteError>) {
        // The caller may have stopped waiting.
        let _ = self.give.take().map(|give| give.send(outcome));
    }
}

impl<R> Drop for Tell<R> {
    fn drop(&mut self) {
        self.tell(Err(if self.runs { RemoteError::Panicked } else { RemoteError::Ended }));
    }
}

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
        self.jobs.send(job).await.map_err(|_| RemoteError::Ended)?;
        output.await.unwrap_or(Err(RemoteError::Ended))
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
        match left() {
            Some(left) => {
                self.jobs.send_timeout_blocking(job, left).map_err(|error| match error {
                    SendTimeoutError::TimedOut(_) => RemoteError::TimedOut,
                    SendTimeoutError::Closed(_) => RemoteError::Ended,
                })?;
            }
            None => self.jobs.send_blocking(job).map_err(|_| RemoteError::Ended)?,
        }
        output.recv_blocking(left()).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::TimedOut => RemoteError::TimedOut,
                RecvTimeoutError::Closed => RemoteError::Ended,
            })
        })
    }

    /// The job that runs what `make` returns, and where its output arrives.
    fn job<F, M>(make: M) -> (Job, oneshot::Receiver<Result<F::Output, RemoteError>>)
    where
        F: Future,
        F::Output: Send + 'static,
        M: FnOnce() -> F + Send + 'static,
    {
        let (give, output) = oneshot::channel();
        let mut tell = Tell { give: Some(give), runs: false };
        let job: Job = Box::new(move || {
            spawn_boxed(async move {
                // The future is made inside the task, which catches its panic too.
                let mut future = pin!(async move { make().await });
                let polled = poll_fn(|cx| {
                    tell.runs = true;
                    let polled = future.as_mut().poll(cx);
                    tell.runs = false;
                    polled
                });
                let output = polled.await;
                tell.tell(Ok(output));
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
