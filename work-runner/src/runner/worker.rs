//! The durable worker: handlers, queues and a registry; its engine starts with the first drive.

use super::engine;
use super::flight::lock;
use super::shared::{Attend, Counts, DriveRequest, Shared};
use super::{Drive, RunFuture, RunHandle};
use crate::error::DriveError;
use crate::poke::Poke;
use crate::registry::Registry;
use crate::report::StopReport;
use crate::stats::Stats;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

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
    /// Becomes true when the engine has ended.
    ended: watch::Sender<bool>,
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

    fn drain(&self, deadline: Duration) -> RunFuture<'_, StopReport> {
        Box::pin(self.worker.drain(deadline))
    }

    fn stats(&self) -> Stats {
        self.worker.stats()
    }
}

impl DurableWorker {
    pub(super) fn from_shared(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let (ended, _) = watch::channel(false);
        Self { inner: Arc::new(Inner { shared, engine: Mutex::new(None), ended }) }
    }

    /// The registry it works on.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.inner.shared.registry
    }

    /// What it counted so far.
    pub fn stats(&self) -> Stats {
        self.inner.shared.stats()
    }

    /// Wakes it: what a store and a driver poke.
    pub(super) fn poke(&self) -> &Poke {
        &self.inner.shared.wake
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
    /// off a queue and end. Jobs that are scheduled for later, or that a rate keeps back, are left.
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
        let (answer, driven) = oneshot::channel();
        let request = DriveRequest { answer, until_idle };
        if !self.inner.shared.post(|mail| mail.drives.push(request)) {
            return Err(DriveError::Stopped);
        }
        self.start_engine();
        driven.await.unwrap_or(Err(DriveError::Stopped))
    }

    /// Looks for work every `poll`, and at once when poked, until the engine ends.
    pub(super) async fn attend(&self, poll: Duration, counts: Arc<Counts>) {
        let mut ended = self.inner.ended.subscribe();
        if self.inner.shared.post(|mail| mail.attend = Some(Attend { poll: Some(poll), counts })) {
            self.start_engine();
            // The sender lives as long as the worker, which lives as long as this.
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    /// Nobody attends to the worker any more; what it runs goes on.
    pub(super) fn leave(&self) {
        let attend = Attend { poll: None, counts: Arc::default() };
        self.inner.shared.post(|mail| mail.attend = Some(attend));
    }

    fn start_engine(&self) {
        let mut engine = lock(&self.inner.engine);
        // A stop has taken the engine, which hears of what was posted before: there is one, ever.
        if engine.is_none() && !lock(&self.inner.shared.mail).stopping {
            let ended = self.inner.ended.clone();
            *engine = Some(engine::spawn(Arc::clone(&self.inner.shared), ended));
        }
    }

    /// Stops claiming, gives back what has not started, asks what runs to end, and returns with the
    /// report when everything has, within about the deadline. A handler that does not heed goes on
    /// until near the deadline; then its future is dropped and its job is given back.
    ///
    /// On a worker that never started it reports nothing. A second call waits for the end of the first one, within its
    /// own deadline, and reports what is left then; a second stop asks what runs to end, a second drain does not.
    ///
    /// # Cancel safety
    ///
    /// The stop goes on when the future is dropped; only the report is lost.
    pub async fn stop(&self, deadline: Duration) -> StopReport {
        self.inner.stop(deadline, true).await
    }

    /// Like [`stop`](Self::stop), but lets what runs end by itself, and asks it to end only near the
    /// deadline. One that is cancelled, or that runs into its timeout, has the
    /// [grace](super::WorkerBuilder::grace) of the worker and is not waited for longer.
    ///
    /// # Cancel safety
    ///
    /// As for [`stop`](Self::stop).
    pub async fn drain(&self, deadline: Duration) -> StopReport {
        self.inner.stop(deadline, false).await
    }
}

impl Inner {
    async fn stop(&self, deadline: Duration, at_once: bool) -> StopReport {
        super::drain::stop(&self.shared, &self.engine, &self.ended, deadline, at_once).await
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        lock(&self.shared.mail).closed = true;
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
