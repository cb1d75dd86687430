//! The runner: drives work at once when poked, soon when not, and to the end.
//!
//! ```text
//!   Poke ──┐                    ┌──► calls ──turn, look, …──► registry
//!   drive ─┼─► signals ─► engine┤      │
//!   stop ──┘      asks plan ▲   └──► lanes ──► handlers
//!                           └── answers, reports
//!   guard (own thread) ──beat──► registry
//! ```
//!
//! One scheduler, `plan`, decides what a worker does next; the engine performs it. A [`WorkRunner`] around
//! a worker only says how often to look; around a handle of your own it calls the handle.

mod action;
mod attempt;
mod builder;
mod calls;
mod drain;
mod engine;
mod flight;
mod guard;
mod handler;
mod plan;
#[cfg(all(test, not(lastout_loom)))]
mod plan_test;
mod shared;
#[cfg(all(test, not(lastout_loom)))]
mod simulation;
mod task;
mod turns;
mod worker;

use crate::contain::{Panicked, contain, drop_contained, text_of};
use crate::driver::WorkDriver;
use crate::error::DriveError;
use crate::event::{Event, trace};
use crate::poke::Poke;
use crate::report::StopReport;
use crate::retry::{jittered, random};
use crate::stats::Stats;
use shared::Counts;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll as TaskPoll;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use builder::WorkerBuilder;
pub use handler::{Job, JobError, StopCause};
pub use task::{Ended, Next, Task};
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

    /// Lets what was started end by itself, and ends the rest near `deadline`. The default is
    /// [`stop`](Self::stop).
    fn drain(&self, deadline: Duration) -> RunFuture<'_, StopReport> {
        self.stop(deadline)
    }

    /// What was counted so far. The default counts nothing.
    fn stats(&self) -> Stats {
        Stats::default()
    }
}

/// How often a runner looks for work that nobody poked it for, unless set.
const DEFAULT_POLL: Duration = Duration::from_millis(500);

/// The longest time between two looks.
const MOST_POLL: Duration = Duration::from_secs(24 * 3600);

/// Drives a [`RunHandle`]: once at the start, then on every poke and after every poll interval, until
/// it is stopped. A drive that fails or panics is counted and survived.
#[must_use = "a runner does nothing until it is spawned"]
pub struct WorkRunner {
    handle: Arc<dyn RunHandle>,
    /// The worker behind the handle, which schedules itself.
    worker: Option<DurableWorker>,
    poke: Poke,
    poll: Duration,
}

impl WorkRunner {
    /// A runner of `handle`.
    pub fn new(handle: Arc<dyn RunHandle>) -> Self {
        Self { handle, worker: None, poke: Poke::new(), poll: DEFAULT_POLL }
    }

    /// A runner of `worker` in this process, poked by its registry.
    pub fn inline(worker: DurableWorker) -> Self {
        let poke = worker.poke().clone();
        worker.registry().subscribe(&poke);
        let handle = Arc::new(InlineRunHandle::new(worker.clone()));
        Self { handle, worker: Some(worker), poke, poll: DEFAULT_POLL }
    }

    /// Looks after every `interval`, shortened or lengthened by up to a fifth so that many runners do
    /// not look at once; 500 ms unless set, at least 1 ms and at most a day.
    pub fn poll(mut self, interval: Duration) -> Self {
        self.poll = interval.clamp(Duration::from_millis(1), MOST_POLL);
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
        let (stop, mut stopped) = watch::channel(false);
        let counts = Arc::new(Counts::default());
        let (poke, worker) = (self.poke.clone(), self.worker.clone());
        let handle = Arc::clone(&self.handle);
        let counted = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => {}
                () = self.run(counted) => {}
            }
        });
        Running { task: Some(task), stop, handle, worker, poke, counts }
    }

    async fn run(self, counts: Arc<Counts>) {
        if let Some(worker) = &self.worker {
            return worker.attend(self.poll, counts).await;
        }
        loop {
            counts.note(driven(&*self.handle).await);
            tokio::select! {
                biased;
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

/// One drive of a handle; its panic is an error.
async fn driven(handle: &dyn RunHandle) -> Result<Drive, String> {
    let panicked = |Panicked(text)| format!("the drive panicked: {text}");
    let mut drive = contain(|| handle.claim_and_run_pending()).map_err(panicked)?;
    let done = poll_fn(|cx| match contain(|| drive.as_mut().poll(cx)) {
        Ok(TaskPoll::Pending) => TaskPoll::Pending,
        Ok(TaskPoll::Ready(done)) => TaskPoll::Ready(done.map_err(|error| text_of(&error))),
        Err(text) => TaskPoll::Ready(Err(panicked(text))),
    })
    .await;
    // A panic of its destructor changes nothing about what it did.
    let _ = drop_contained(drive);
    done
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
    worker: Option<DurableWorker>,
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

    /// What it drives: its counts, also after the end, and the way to a second stop when the future of the
    /// first one was dropped.
    pub fn handle(&self) -> Arc<dyn RunHandle> {
        Arc::clone(&self.handle)
    }

    /// Takes nothing more, gives back what has not started, lets what runs end by itself, cancels what
    /// is left near the deadline, and reports.
    ///
    /// # Cancel safety
    ///
    /// As for [`stop`](Self::stop).
    pub async fn drain(mut self, deadline: Duration) -> StopReport {
        self.end_loop().await;
        self.handle.drain(deadline).await
    }

    /// Takes nothing more, gives back what has not started, asks what runs to end, cancels what is
    /// left near the deadline, and reports.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the worker goes on stopping; only the report is lost.
    pub async fn stop(mut self, deadline: Duration) -> StopReport {
        self.end_loop().await;
        self.handle.stop(deadline).await
    }

    async fn end_loop(&mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            // It ends at its next await; a panic of the loop itself would change nothing here.
            let _ = task.await;
        }
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
        if let Some(worker) = &self.worker {
            worker.leave();
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("drives", &self.drives()).finish_non_exhaustive()
    }
}
