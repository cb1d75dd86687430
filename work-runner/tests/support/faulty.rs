//! A registry in front of another one, whose calls fail, hang or end the process when a test says so:
//! the failpoints of every phase, outside of the crate.

use lastout_work_runner::{
    Enqueued, JobId, JobRecord, Keep, Lease, LeaseLost, NewJob, Order, Ordered, Overview, Page,
    Peek, Periodic, PeriodicRecord, Poke, Query, QueueCount, QueueRecord, Rate, RateOf, RateRecord,
    Registry, StoreError, StoreErrorKind, StoreFuture, Swept, Turn, TurnRequest, WorkerId,
    WorkerProfile, WorkerRecord,
};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// When a gate is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The store knows nothing of the call yet.
    Before,
    /// The store has committed; nobody has the answer yet.
    After,
}

/// What happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Fail,
    Hang,
}

/// Asked before and after each call, by the name of the call; `claim` is a turn without reports,
/// `complete` one with.
type Gate = Box<dyn Fn(&'static str, Moment) -> Verdict + Send + Sync>;

pub(crate) struct Faulty {
    inner: Arc<dyn Registry>,
    gate: Gate,
}

impl Faulty {
    pub(crate) fn before(
        inner: Arc<dyn Registry>,
        gate: impl Fn(&'static str, Moment) -> Verdict + Send + Sync + 'static,
    ) -> Arc<dyn Registry> {
        Arc::new(Self { inner, gate: Box::new(gate) })
    }

    async fn pass(&self, name: &'static str, moment: Moment) -> Result<(), StoreError> {
        match (self.gate)(name, moment) {
            Verdict::Pass => Ok(()),
            Verdict::Fail => Err(StoreError::new(StoreErrorKind::Unknown, "do as a test says")),
            Verdict::Hang => std::future::pending().await,
        }
    }

    fn through<'a, T: Send + 'a>(
        &'a self,
        name: &'static str,
        call: impl FnOnce(&'a dyn Registry) -> StoreFuture<'a, T> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move {
            self.pass(name, Moment::Before).await?;
            let value = call(&*self.inner).await?;
            self.pass(name, Moment::After).await?;
            Ok(value)
        })
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// Calls that go through the gate under their own names.
macro_rules! gated {
    ($($name:ident($($arg:ident: $type:ty),*) -> $value:ty;)*) => {$(
        fn $name(&self, $($arg: $type),*) -> StoreFuture<'_, $value> {
            self.through(stringify!($name), move |inner| inner.$name($($arg),*))
        }
    )*};
}

impl Registry for Faulty {
    gated! {
        enqueue(jobs: Vec<NewJob>) -> Vec<Enqueued>;
        register(worker: WorkerId, profile: WorkerProfile, ttl: Duration) -> ();
        beat(worker: WorkerId, ttl: Duration) -> bool;
        renew(leases: Vec<Lease>) -> Vec<Result<(), LeaseLost>>;
        peek(worker: WorkerId, queues: Vec<Arc<str>>, kinds: Option<Arc<[Arc<str>]>>) -> Peek;
        mark_started(leases: Vec<Lease>) -> Vec<Result<(), LeaseLost>>;
        save(lease: Lease, progress: Vec<u8>) -> Result<(), LeaseLost>;
        sweep(dead: Vec<WorkerId>, limit: usize) -> Swept;
        reconcile(worker: WorkerId, held: Vec<JobId>) -> usize;
        deregister(worker: WorkerId) -> usize;
        order(order: Order, jobs: Vec<JobId>) -> Vec<Ordered>;
        fetch(jobs: Vec<JobId>) -> Vec<JobRecord>;
        page(query: Query) -> Page;
        counts() -> Vec<QueueCount>;
        overview() -> Overview;
        pause_queue(queue: Arc<str>, by: String) -> bool;
        resume_queue(queue: Arc<str>) -> bool;
        queues() -> Vec<QueueRecord>;
        limit_rate(of: RateOf, rate: Option<Rate>) -> ();
        rates() -> Vec<RateRecord>;
        workers() -> Vec<WorkerRecord>;
        prune(keep: Keep, limit: usize) -> usize;
        limit_queue(queue: Arc<str>, max: Option<u32>) -> ();
        put_periodic(periodic: Periodic) -> ();
        drop_periodic(name: String) -> bool;
        fire_periodic(name: String, at_ms: i64, next_ms: i64, runs: u32) -> bool;
        run_periodic(name: String) -> Option<Enqueued>;
        disable_periodic(name: String, at_ms: i64, error: String) -> ();
        pause_periodic(name: String, by: String) -> bool;
        resume_periodic(name: String, at_ms: i64, next_ms: i64) -> bool;
        periodic() -> Vec<PeriodicRecord>;
        now_ms() -> i64;
    }

    fn turn(&self, turn: TurnRequest) -> StoreFuture<'_, Turn> {
        let name = if turn.reports.is_empty() { "claim" } else { "complete" };
        self.through(name, move |inner| inner.turn(turn))
    }

    fn subscribe(&self, poke: &Poke) {
        self.inner.subscribe(poke);
    }
}
