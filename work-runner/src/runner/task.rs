//! Kinds of jobs as types, handlers that block their thread, and what runs around every handler.

use super::attempt::Attempt;
use super::builder::WorkerBuilder;
use super::handler::{Answer, Handler, Job, JobError, Run, Work, bytes_of};
use crate::job::{NewJob, PayloadError};
use crate::retry::Backoff;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

/// A kind of job as one type: its name, its arguments, and what runs it.
///
/// Who enqueues and who runs agree by the compiler, instead of by a name and a payload in two places.
///
/// ```
/// use lastout_work_runner::{
///     DurableWorker, Job, JobError, MemoryRegistry, Registry, State, Task, WorkDriver, WorkRunner,
/// };
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// struct Resize {
///     smallest: u32, // what every run needs
/// }
///
/// impl Task for Resize {
///     const KIND: &'static str = "image.resize";
///     type Args = (u32, u32);
///     type Output = u32;
///
///     async fn run(&self, job: Job<Self::Args>) -> Result<u32, JobError> {
///         let (width, height) = *job;
///         Ok((width * height).max(self.smallest))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
/// let driver = WorkDriver::producer(Arc::clone(&registry));
/// let id = driver.enqueue(Resize::job(&(4, 5))?.priority(1)).await?.id();
///
/// let worker = DurableWorker::builder(registry).task(Resize { smallest: 16 }).build()?;
/// worker.run_until_idle().await?;
/// let row = driver.get(id).await?.expect("it was enqueued");
/// assert_eq!((row.state, row.result_as()), (State::Succeeded, Some(20)));
/// # worker.stop(Duration::from_secs(1)).await;
/// # Ok(())
/// # }
/// ```
pub trait Task: Send + Sync + 'static {
    /// The name under which its jobs are stored; it must not change while jobs of it wait.
    const KIND: &'static str;
    /// The queue of its jobs, unless a job names another one.
    const QUEUE: &'static str = NewJob::DEFAULT_QUEUE;
    /// What a job is enqueued with.
    type Args: Serialize + DeserializeOwned + Send + 'static;
    /// What a job ends with; `()` keeps nothing.
    type Output: Serialize + 'static;

    /// Runs one job. An error is tried again, as for the handlers of [`WorkerBuilder::handle`].
    fn run(
        &self,
        job: Job<Self::Args>,
    ) -> impl Future<Output = Result<Self::Output, JobError>> + Send;

    /// How long to wait between its attempts.
    fn backoff(&self) -> Backoff {
        Backoff::default()
    }

    /// A job with `args`, in its queue.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] when the arguments have no JSON form.
    fn job(args: &Self::Args) -> Result<NewJob, PayloadError>
    where
        Self: Sized,
    {
        Ok(NewJob::new(Self::KIND, args)?.queue(Self::QUEUE))
    }
}

impl WorkerBuilder {
    /// Runs the jobs of `task`.
    pub fn task<T: Task>(self, task: T) -> Self {
        let backoff = task.backoff();
        let task = Arc::new(task);
        self.handle_with_backoff(T::KIND, backoff, move |job: Job<T::Args>| {
            let task = Arc::clone(&task);
            async move { task.run(job).await }
        })
    }

    /// Runs jobs of `kind` by `handler` on a thread for blocking work of the runtime, so that it may compute for
    /// long, read files and sleep.
    ///
    /// A thread cannot be ended from outside: `handler` should look at [`Job::stop_cause`] between its steps.
    /// One that does not return within the grace after it was asked to stop is written off like a handler
    /// that blocks its runtime: its job is tried again, and its place stays taken until it returns.
    /// A worker that stops meanwhile leaves its thread behind, and the end of the runtime waits for it: end
    /// the runtime by `shutdown_timeout` or `shutdown_background` where that may not be.
    ///
    /// ```
    /// use lastout_work_runner::{DurableWorker, Job, JobError, MemoryRegistry};
    ///
    /// fn sum(job: Job<Vec<u64>>) -> Result<u64, JobError> {
    ///     let mut sum = 0;
    ///     for number in &job.payload {
    ///         if job.stop_cause().is_some() {
    ///             return Err(JobError::retry("asked to stop"));
    ///         }
    ///         sum += number;
    ///     }
    ///     Ok(sum)
    /// }
    ///
    /// let registry = std::sync::Arc::new(MemoryRegistry::new());
    /// let worker = DurableWorker::builder(registry).handle_blocking("sum", sum).build()?;
    /// # Ok::<(), lastout_work_runner::BuildError>(())
    /// ```
    pub fn handle_blocking<P, F, R>(self, kind: &str, handler: F) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        F: Fn(Job<P>) -> Result<R, JobError> + Send + Sync + 'static,
        R: Serialize + 'static,
    {
        let run = Box::new(Blocking { function: Arc::new(handler), payload: PhantomData });
        self.add(kind, Handler { run, backoff: Backoff::default() })
    }

    /// Runs `layer` around every handler of the worker: before it, after it, and instead of it.
    ///
    /// The layer that was added first is the outermost one. A layer that returns without [`Next::run`] decides
    /// how the job ends. A payload that cannot be read reaches no layer, and a panic in one is that of the
    /// handler.
    ///
    /// ```
    /// use lastout_work_runner::{DurableWorker, Job, MemoryRegistry, Next};
    /// use std::time::Instant;
    ///
    /// let registry = std::sync::Arc::new(MemoryRegistry::new());
    /// let worker = DurableWorker::builder(registry)
    ///     .handle("add", |job: Job<(u32, u32)>| async move { Ok(job.0 + job.1) })
    ///     .around(|job, next: Next| async move {
    ///         let start = Instant::now();
    ///         let ended = next.run().await;
    ///         println!("{} {}: {:?} in {:?}", job.kind(), job.id(), ended.is_ok(), start.elapsed());
    ///         ended
    ///     })
    ///     .build()?;
    /// # Ok::<(), lastout_work_runner::BuildError>(())
    /// ```
    pub fn around<F, U>(mut self, layer: F) -> Self
    where
        F: Fn(Job<()>, Next) -> U + Send + Sync + 'static,
        U: Future<Output = Result<Ended, JobError>> + Send + 'static,
    {
        self.layers.push(Box::new(move |job, next| {
            let work = layer(job, next);
            Box::pin(async move { Ok(work.await?.0) })
        }));
        self
    }
}

/// The rest of a run, as a layer sees it: the layers inside of it, and the handler.
pub struct Next(Work);

impl Next {
    /// Runs the rest.
    ///
    /// # Errors
    ///
    /// What the handler, or a layer inside of this one, returned.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops that of the handler.
    pub async fn run(self) -> Result<Ended, JobError> {
        self.0.await.map(Ended)
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").finish_non_exhaustive()
    }
}

/// The result of a handler that succeeded, as it will be stored.
#[derive(Debug)]
#[must_use]
pub struct Ended(Option<Vec<u8>>);

impl Ended {
    /// Success with `result` instead of what the handler would have returned.
    ///
    /// # Errors
    ///
    /// [`JobError`], which does not try again, when the result has no JSON form.
    pub fn new<R: Serialize>(result: &R) -> Result<Self, JobError> {
        bytes_of(result).map(Self)
    }
}

/// One layer, without its types.
pub(super) type Layer = Box<dyn Fn(Job<()>, Next) -> Work + Send + Sync>;

/// Puts the layers around `work`, the first one outermost.
pub(super) fn around(layers: &[Layer], work: Work, attempt: &Arc<Attempt>) -> Work {
    layers.iter().rev().fold(work, |work, layer| {
        layer(Job { payload: (), attempt: Arc::clone(attempt) }, Next(work))
    })
}

struct Blocking<P, F> {
    function: Arc<F>,
    payload: PhantomData<fn() -> P>,
}

impl<P, F, R> Run for Blocking<P, F>
where
    P: DeserializeOwned + Send + 'static,
    F: Fn(Job<P>) -> Result<R, JobError> + Send + Sync + 'static,
    R: Serialize,
{
    #[expect(
        clippy::disallowed_methods,
        reason = "the thread that the user asked for; the work waits for it"
    )]
    fn start(&self, payload: &[u8], attempt: Arc<Attempt>) -> Result<Work, serde_json::Error> {
        let payload = serde_json::from_slice(payload)?;
        let function = Arc::clone(&self.function);
        Ok(Box::pin(async move {
            let run = move || -> Answer { bytes_of(&function(Job { payload, attempt })?) };
            match tokio::task::spawn_blocking(run).await {
                Ok(answer) => answer,
                Err(error) => match error.try_into_panic() {
                    Ok(payload) => std::panic::resume_unwind(payload),
                    // The runtime ends, and with it this future.
                    Err(error) => Err(JobError::retry(error)),
                },
            }
        }))
    }

    fn blocks(&self) -> bool {
        true
    }
}
