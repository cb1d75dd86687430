//! The runner: a loop that drives a [`RunHandle`] at once when poked, soon when not, and to the end.
//!
//! ```text
//!   Poke ──┐                      ┌─► engine ──turn──► registry
//!   poll ──┼─► WorkRunner ─drive──┤     │ ▲
//!   stop ──┘                      │   lanes ──► handlers
//!                                 └─► guard (own thread) ──beat──► registry
//! ```
//!
//! `WorkRunner` knows only the handle. Behind [`InlineRunHandle`] the engine claims, its lanes run
//! handlers, and the guard keeps the lease or fences.

mod attempt;
mod builder;
mod drain;
mod engine;
mod flight;
mod guard;
mod handler;
mod turns;
mod worker;

use crate::driver::WorkDriver;
use crate::error::DriveError;
use crate::event::{Event, trace};
use crate::poke::Poke;
use crate::report::StopReport;
use crate::retry::{jittered, random};
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll as TaskPoll;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use builder::WorkerBuilder;
pub use handler::{Job, JobError, StopCause};
pub use worker::{DurableWorker, InlineRunHandle};

/// The futures of a [`RunHandle`].
pub type RunFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What one drive did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Drive {
    /// Jobs claimed while it lasted.
    pub claimed: u64,
    /// All places are taken; there may be more.
    pub saturated: bool,
}

/// Drives work towards its end; what a [`WorkRunner`] calls.
pub trait RunHandle: Send + Sync + 'static {
    /// Claims what is pending and runs it. Must be idempotent: it is called again and again.
    fn claim_and_run_pending(&self) -> RunFuture<'_, Result<Drive, DriveError>>;

    /// Ends what was started, within `deadline`. The default has nothing to end.
    fn stop(&self, deadline: Duration) -> RunFuture<'_, StopReport> {
        let _ = deadline;
        Box::pin(std::future::ready(StopReport::default()))
    }
}

/// How often a runner looks for work that nobody poked it for, unless set.
const DEFAULT_POLL: Duration = Duration::from_millis(500);

/// Drives a [`RunHandle`]: once at the start, then on every poke and after every poll interval, until
/// it is stopped. A drive that fails or panics is counted, told to the events hook of the log, and
/// survived.
#[must_use = "a runner does nothing until it is spawned"]
pub struct WorkRunner {
    handle: Arc<dyn RunHandle>,
    poke: Poke,
    poll: Duration,
}

impl WorkRunner {
    /// A runner of `handle`.
    pub fn new(handle: Arc<dyn RunHandle>) -> Self {
        Self { handle, poke: Poke::new(), poll: DEFAULT_POLL }
    }

    /// A runner of `worker` in this process, poked by its registry.
    pub fn inline(worker: DurableWorker) -> Self {
        let registry = Arc::clone(worker.registry());
        let runner = Self::new(Arc::new(InlineRunHandle::new(worker)));
        registry.subscribe(&runner.poke);
        runner
    }

    /// Looks after every `interval`, shortened or lengthened by up to a fifth so that many runners do
    /// not look at once; 500 ms unless set, at least 1 ms.
    pub fn poll(mut self, interval: Duration) -> Self {
        self.poll = interval.max(Duration::from_millis(1));
        self
    }

    /// The poke of this runner.
    pub fn poke_handle(&self) -> Poke {
        self.poke.clone()
    }

    /// A driver for `registry` that pokes this runner.
    pub fn driver(&self, registry: Arc<dyn crate::Registry>) -> WorkDriver {
        WorkDriver::new(registry, self.poke.clone())
    }

    /// Starts the loop on the tokio runtime of the caller.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[expect(
        clippy::disallowed_methods,
        reason = "the module that owns the loop: `Running` keeps the handle, stops and joins it"
    )]
    pub fn spawn(self) -> Running {
        let (stop, stopped) = watch::channel(false);
        let counts = Arc::new(Counts::default());
        let poke = self.poke.clone();
        let handle = Arc::clone(&self.handle);
        let task = tokio::spawn(self.drive_until(stopped, Arc::clone(&counts)));
        Running { task: Some(task), stop, handle, poke, counts }
    }

    async fn drive_until(self, mut stopped: watch::Receiver<bool>, counts: Arc<Counts>) {
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                driven = caught(self.handle.claim_and_run_pending()) => counts.note(driven),
            }
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                () = self.poke.poked() => {}
                // The poll is for work that nobody poked for; it is no synchronisation.
                () = tokio::time::sleep(jittered(self.poll, random())) => {}
            }
        }
    }
}

impl fmt::Debug for WorkRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkRunner")
            .field("poke", &self.poke)
            .field("poll", &self.poll)
            .finish_non_exhaustive()
    }
}

/// Polls a drive so that its panic is an error.
async fn caught(mut drive: RunFuture<'_, Result<Drive, DriveError>>) -> Result<Drive, String> {
    std::future::poll_fn(|cx| {
        match std::panic::catch_unwind(AssertUnwindSafe(|| drive.as_mut().poll(cx))) {
            Ok(TaskPoll::Pending) => TaskPoll::Pending,
            Ok(TaskPoll::Ready(driven)) => TaskPoll::Ready(driven.map_err(|error| match error {
                DriveError::Store(source) => format!("{source}"),
                DriveError::Stopped => error.to_string(),
            })),
            Err(_) => TaskPoll::Ready(Err("the drive panicked".into())),
        }
    })
    .await
}

#[derive(Debug, Default)]
struct Counts {
    drives: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    fn note(&self, driven: Result<Drive, String>) {
        self.drives.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = driven {
            self.failed.fetch_add(1, Ordering::Relaxed);
            trace(&Event::DriveFailed { error });
        }
    }
}

/// A runner that runs.
///
/// Can be awaited, which ends when somebody stops it through a clone of its handle or its runtime
/// ends; [`stop`](Self::stop)ped with a deadline; or dropped, which stops the loop at once and
/// leaves what runs to the handle's own end.
#[must_use = "dropping it stops the runner without a report"]
pub struct Running {
    task: Option<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    handle: Arc<dyn RunHandle>,
    poke: Poke,
    counts: Arc<Counts>,
}

impl Running {
    /// The poke of the runner.
    pub fn poke_handle(&self) -> Poke {
        self.poke.clone()
    }

    /// How many drives there were, and how many of them failed or panicked.
    pub fn drives(&self) -> (u64, u64) {
        let Counts { drives, failed } = &*self.counts;
        (drives.load(Ordering::Relaxed), failed.load(Ordering::Relaxed))
    }

    /// Takes nothing more and lets everything that runs end, however long that takes: a stop
    /// without a deadline.
    ///
    /// # Cancel safety
    ///
    /// As for [`stop`](Self::stop).
    pub async fn drain(self) -> StopReport {
        /// Longer than any job; short enough to be added to any clock.
        const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
        self.stop(FOR_EVER).await
    }

    /// Stops the loop, gives back what has not started, lets what runs end until near the deadline,
    /// cancels the rest, and reports.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the worker goes on stopping; only the report is lost.
    pub async fn stop(mut self, deadline: Duration) -> StopReport {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            // It ends at its next await; a panic of the loop itself would change nothing here.
            let _ = task.await;
        }
        self.handle.stop(deadline).await
    }
}

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> TaskPoll<()> {
        match &mut self.task {
            Some(task) => Pin::new(task).poll(cx).map(drop),
            None => TaskPoll::Ready(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("drives", &self.drives()).finish_non_exhaustive()
    }
}
