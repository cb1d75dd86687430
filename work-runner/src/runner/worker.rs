//! The durable worker: handlers, queues and a registry; its engine starts with the first drive.

use super::drain::StopRequest;
use super::engine::{self, DriveRequest};
use super::flight::{Flight, lock};
use super::guard::Guard;
use super::handler::Handler;
use super::{Drive, RunFuture, RunHandle};
use crate::config::Config;
use crate::error::DriveError;
use crate::event::Hook;
use crate::registry::Registry;
use crate::report::StopReport;
use crate::stats::{Counters, Stats};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A queue that a worker claims from.
#[derive(Debug, Clone)]
pub(super) struct QueueConfig {
    pub(super) name: Arc<str>,
    /// How many of its jobs run at once in this worker.
    pub(super) places: usize,
}

/// What the engine, its lanes and the guard share.
pub(super) struct Shared {
    pub(super) registry: Arc<dyn Registry>,
    pub(super) handlers: HashMap<String, Handler>,
    pub(super) queues: Vec<QueueConfig>,
    pub(super) config: Config,
    pub(super) flight: Arc<Flight>,
    pub(super) guard: Arc<Guard>,
    pub(super) counters: Arc<Counters>,
    pub(super) hook: Hook,
    pub(super) inbox: Mutex<Inbox>,
}

/// What others want of the engine.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) drives: Vec<DriveRequest>,
    pub(super) stop: Option<StopRequest>,
    /// The engine takes nothing more.
    pub(super) closed: bool,
}

impl Shared {
    pub(super) fn stats(&self) -> Stats {
        let in_flight = self.counters.claimed.count();
        let mut stats = self.counters.snapshot(0);
        // The ends are read first, so that a job in between counts as in flight, never as lost.
        stats.claimed = in_flight.max(stats.ended());
        stats.in_flight = stats.claimed - stats.ended();
        stats
    }
}

/// Runs the jobs of one registry in this process, under one lease.
///
/// Built by [`DurableWorker::builder`]; driven by a [`WorkRunner`](super::WorkRunner), or by hand
/// through [`InlineRunHandle`]. It starts with its first drive, on the tokio runtime that drives it.
/// Clones are the same worker. When the last one is dropped without a
/// [`stop`](RunHandle::stop), running handlers are dropped and the lease is handed to the
/// process-wide cleanup worker, which gives the jobs back.
#[derive(Clone)]
pub struct DurableWorker {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    engine: Mutex<Option<JoinHandle<()>>>,
}

/// Runs pending jobs in this process: what a [`WorkRunner`](super::WorkRunner) drives.
#[derive(Debug, Clone)]
pub struct InlineRunHandle {
    worker: DurableWorker,
}

impl InlineRunHandle {
    /// Drives `worker`.
    pub fn new(worker: DurableWorker) -> Self {
        Self { worker }
    }
}

impl RunHandle for InlineRunHandle {
    fn claim_and_run_pending(&self) -> RunFuture<'_, Result<Drive, DriveError>> {
        Box::pin(self.worker.drive(false))
    }

    fn stop(&self, deadline: Duration) -> RunFuture<'_, StopReport> {
        Box::pin(self.worker.stop(deadline))
    }
}

impl DurableWorker {
    pub(super) fn from_shared(shared: Shared) -> Self {
        Self { inner: Arc::new(Inner { shared: Arc::new(shared), engine: Mutex::new(None) }) }
    }

    /// The registry it works on.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.inner.shared.registry
    }

    /// What it counted so far.
    pub fn stats(&self) -> Stats {
        self.inner.shared.stats()
    }

    /// Claims what is due and starts it. Returns when nothing more is due or all places are taken;
    /// what was started goes on, and its places are filled without another drive.
    ///
    /// # Errors
    ///
    /// [`DriveError::Store`] when the store failed; [`DriveError::Stopped`] after a stop.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop what it started.
    pub async fn claim_and_run_pending(&self) -> Result<Drive, DriveError> {
        self.drive(false).await
    }

    /// Claims and runs until nothing is due and nothing runs: for tests and for programs that work
    /// off a queue and end. Jobs that are scheduled for later are left.
    ///
    /// # Errors
    ///
    /// As for [`claim_and_run_pending`](Self::claim_and_run_pending).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop what it started.
    pub async fn run_until_idle(&self) -> Result<(), DriveError> {
        loop {
            let drive = self.drive(true).await?;
            if drive.claimed == 0 && !drive.saturated {
                return Ok(());
            }
        }
    }

    async fn drive(&self, until_idle: bool) -> Result<Drive, DriveError> {
        let (sender, receiver) = oneshot::channel();
        let request = DriveRequest { answer: sender, until_idle };
        {
            let mut inbox = lock(&self.inner.shared.inbox);
            if inbox.closed {
                return Err(DriveError::Stopped);
            }
            inbox.drives.push(request);
        }
        self.start_engine();
        self.inner.shared.flight.wake.notify_one();
        receiver.await.unwrap_or(Err(DriveError::Stopped))
    }

    fn start_engine(&self) {
        let mut engine = lock(&self.inner.engine);
        if engine.is_none() {
            *engine = Some(engine::spawn(Arc::clone(&self.inner.shared)));
        }
    }

    /// Stops claiming, gives back what has not started, lets what runs end; near the deadline asks it
    /// to stop, gives back what does, and then returns with the report, within about the deadline.
    ///
    /// Nearly all of the deadline is for jobs that nobody wants to end. One that is cancelled, before
    /// the stop or while it lasts, or that runs into its timeout, has the
    /// [grace](super::WorkerBuilder::grace) of the worker and is not waited for longer.
    ///
    /// A second call, or one on a worker that never started, reports nothing.
    ///
    /// # Cancel safety
    ///
    /// The stop goes on when the future is dropped; only the report is lost.
    pub async fn stop(&self, deadline: Duration) -> StopReport {
        super::drain::stop(&self.inner.shared, &self.inner.engine, deadline).await
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        lock(&self.shared.inbox).closed = true;
        if let Some(engine) = lock(&self.engine).take() {
            // The engine owns its lanes: they end with it. Its leases go to the cleanup worker.
            engine.abort();
        }
        super::drain::release_later(&self.shared);
    }
}

impl fmt::Debug for DurableWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableWorker")
            .field("registry", self.registry())
            .field("queues", &self.inner.shared.queues)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
