//! The driver: a registry and the poke of whoever works on it, as one value to hand around.

use crate::error::StoreError;
use crate::job::{JobId, JobRecord, NewJob, check_bytes};
use crate::lease::Lease;
use crate::lease::WorkerId;
use crate::lifecycle::{LeaseLost, Outcome};
use crate::poke::Poke;
use crate::registry::{
    Applied, Enqueued, Order, Ordered, Overview, Query, QueueCount, QueueRecord, Rate, RateOf,
    RateRecord, Registry, Report, TurnRequest,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What callers hold: they enqueue, look, wait and give orders through it.
///
/// Clones share the registry and the poke. None of its calls needs a runtime of its own except
/// [`wait`](Self::wait), which uses the timers of the tokio runtime it is called in.
///
/// # Cancel safety
///
/// A call whose future is dropped may or may not be applied, as if the process had died; everything
/// that looks without writing can be dropped freely.
#[derive(Debug, Clone)]
pub struct WorkDriver {
    registry: Arc<dyn Registry>,
    poke: Poke,
}

impl WorkDriver {
    /// A driver for `registry` whose enqueues wake the runner behind `poke`: the store pokes it.
    pub fn new(registry: Arc<dyn Registry>, poke: Poke) -> Self {
        registry.subscribe(&poke);
        Self { registry, poke }
    }

    /// A driver for a process that only enqueues.
    pub fn producer(registry: Arc<dyn Registry>) -> Self {
        Self::new(registry, Poke::new())
    }

    /// The registry.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    /// The poke.
    pub fn poke(&self) -> &Poke {
        &self.poke
    }

    /// Stores one job and wakes the runner. When it returns the job is as durable as the store.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the job was not stored, unless its kind is
    /// [`Unknown`](crate::StoreErrorKind::Unknown).
    pub async fn enqueue(&self, job: NewJob) -> Result<Enqueued, StoreError> {
        let mut enqueued = self.enqueue_all(vec![job]).await?;
        enqueued.pop().ok_or_else(|| StoreError::new(crate::StoreErrorKind::Other, "enqueue a job"))
    }

    /// Stores many jobs at once, all or none, and wakes the runner once.
    ///
    /// # Errors
    ///
    /// As for [`enqueue`](Self::enqueue).
    pub async fn enqueue_all(&self, jobs: Vec<NewJob>) -> Result<Vec<Enqueued>, StoreError> {
        self.registry.enqueue(jobs).await
    }

    /// The job, if it exists.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn get(&self, job: JobId) -> Result<Option<JobRecord>, StoreError> {
        Ok(self.registry.fetch(vec![job]).await?.pop())
    }

    /// As many jobs as the query asks for, with its filters and in its order.
    ///
    /// ```
    /// use lastout_work_runner::{MemoryRegistry, Query, State, WorkDriver};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let driver = WorkDriver::producer(std::sync::Arc::new(MemoryRegistry::new()));
    /// // What failed last, and why.
    /// let query = Query::all().state(State::Dead).kind("capture").error("timed out").newest_first();
    /// for row in driver.list(query.limit(20)).await? {
    ///     println!("{} {:?}", row.id, row.error);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn list(&self, query: Query) -> Result<Vec<JobRecord>, StoreError> {
        self.registry.list(query).await
    }

    /// How many jobs are in each state of each queue. The durable stores count up to 10 000 of each, the
    /// succeeded ones among the newest 10 000 jobs, and say so by [`QueueCount::capped`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn counts(&self) -> Result<Vec<QueueCount>, StoreError> {
        self.registry.counts().await
    }

    /// Whether work keeps up: the oldest ready job and the longest running one of each queue, when the next
    /// scheduled job is due, and how many workers live.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn overview(&self) -> Result<Overview, StoreError> {
        self.registry.overview().await
    }

    /// Claims nothing more from `queue`, on any worker, until it is resumed; what runs goes on, and a limit
    /// stays as it is. `by` says who did it. Returns false when it was paused before.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn pause(&self, queue: &str, by: &str) -> Result<bool, StoreError> {
        self.registry.pause_queue(queue.into(), by.to_owned()).await
    }

    /// Ends the pause of a queue. Returns whether it was paused.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn resume(&self, queue: &str) -> Result<bool, StoreError> {
        self.registry.resume_queue(queue.into()).await
    }

    /// At most `max` jobs of `queue` run at once over all workers; `None` lifts the limit.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn limit(&self, queue: &str, max: Option<u32>) -> Result<(), StoreError> {
        self.registry.limit_queue(queue.into(), max).await
    }

    /// Sets how often jobs of a queue, or of a limit key, may start over all workers; `None` lifts it. Each claim
    /// counts, one that is given back included; a job that is held outside of any runner
    /// ([`Recovery::External`](crate::Recovery::External)) is not claimed and does not. The same rate again changes nothing; another one begins anew, with
    /// its whole burst.
    ///
    /// ```
    /// use lastout_work_runner::{MemoryRegistry, NewJob, Rate, RateOf, WorkDriver};
    /// use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let driver = WorkDriver::producer(std::sync::Arc::new(MemoryRegistry::new()));
    /// // 50 mails a second, and of each customer 100 jobs an hour, in whatever queues.
    /// let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
    /// driver.limit_rate(RateOf::Queue("mail".into()), Some(Rate::new(50, second))).await?;
    /// driver.limit_rate(RateOf::Key("customer 7".into()), Some(Rate::new(100, hour))).await?;
    /// // The key of a job, of which no more than four run at once.
    /// driver.enqueue(NewJob::new("mail", &"hello")?.queue("mail").limit("customer 7", 4)).await?;
    /// assert_eq!(driver.queues().await?[0].rate, Some(Rate::new(50, second)));
    /// assert_eq!(driver.rates().await?.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError`]; of the kind [`Invalid`](crate::StoreErrorKind::Invalid) for a rate out of range or a name
    /// that no store can keep.
    pub async fn limit_rate(&self, of: RateOf, rate: Option<Rate>) -> Result<(), StoreError> {
        self.registry.limit_rate(of, rate).await
    }

    /// Every rate, those of queues first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn rates(&self) -> Result<Vec<RateRecord>, StoreError> {
        self.registry.rates().await
    }

    /// Every queue that has a limit or a rate, or is paused.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn queues(&self) -> Result<Vec<QueueRecord>, StoreError> {
        self.registry.queues().await
    }

    /// Waits until the job has ended, at most for `at_most`; returns its row as it is then.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn wait(
        &self,
        job: JobId,
        at_most: Duration,
    ) -> Result<Option<JobRecord>, StoreError> {
        self.registry.wait(job, at_most).await
    }

    /// Ends a job that waits; asks one that runs to end.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn cancel(&self, job: JobId) -> Result<Ordered, StoreError> {
        self.order(Order::Cancel, job).await
    }

    /// Marks the job as abandoned. Its holder, if any, is told and refused.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn abandon(&self, job: JobId, reason: &str) -> Result<Ordered, StoreError> {
        let reason = reason.to_owned();
        self.order(Order::Abandon { reason }, job).await
    }

    /// Runs a job that has ended once more, with fresh attempts and crashes: the way out of the
    /// dead letters, which are `list(Query::all().state(State::Dead))`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn requeue(&self, job: JobId) -> Result<Ordered, StoreError> {
        self.order(Order::Requeue, job).await
    }

    pub(crate) async fn order(&self, order: Order, job: JobId) -> Result<Ordered, StoreError> {
        let ordered = self.registry.order(order, vec![job]).await?.pop();
        Ok(ordered.unwrap_or(Ordered::NotFound))
    }

    /// Reports about a job that is held outside of any runner; see
    /// [`Recovery::External`](crate::Recovery::External).
    ///
    /// # Errors
    ///
    /// [`StoreError`]; of the kind [`Invalid`](crate::StoreErrorKind::Invalid) when a result is over the limit of the
    /// store. A stale lease is no error of the store but [`Applied::Lost`].
    pub async fn settle(&self, lease: Lease, outcome: Outcome) -> Result<Applied, StoreError> {
        if let Outcome::Done { result: Some(result) } = &outcome {
            check_bytes("the result", result.len(), self.registry.max_bytes())?;
        }
        let turn = TurnRequest::new(WorkerId::NONE).reports([Report::new(lease, outcome)]);
        let applied = self.registry.turn(turn).await?.applied.pop();
        applied.ok_or_else(|| StoreError::new(crate::StoreErrorKind::Other, "settle a job"))
    }

    /// Renews the own leases of jobs that are held outside of any runner.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. Each stale lease has an answer of its own.
    pub async fn renew(
        &self,
        leases: Vec<Lease>,
    ) -> Result<Vec<Result<(), LeaseLost>>, StoreError> {
        self.registry.renew(leases).await
    }
}

/// First and longest pause between two looks at a job somebody waits for.
const LOOK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

pub(crate) async fn wait_by_polling<R: Registry + ?Sized>(
    registry: &R,
    job: JobId,
    at_most: Duration,
) -> Result<Option<JobRecord>, StoreError> {
    wait_with(registry, job, at_most, std::future::pending::<()>).await
}

/// Looks, then waits for a notice or a while, until the job has ended. `notice` is asked before
/// each look, so an end between the look and the wait is not missed.
pub(crate) async fn wait_with<R, N>(
    registry: &R,
    job: JobId,
    at_most: Duration,
    notice: impl Fn() -> N,
) -> Result<Option<JobRecord>, StoreError>
where
    R: Registry + ?Sized,
    N: Future,
{
    // Longer than any job; short enough to be added to any clock.
    let until = Instant::now() + at_most.min(Duration::from_secs(10 * 365 * 24 * 3600));
    let mut pause = LOOK.0;
    loop {
        let noticed = notice();
        let row = registry.fetch(vec![job]).await?.pop();
        let left = until.saturating_duration_since(Instant::now());
        if row.as_ref().is_none_or(|row| row.state.is_terminal()) || left.is_zero() {
            return Ok(row);
        }
        // Time is no synchronisation here: an end in another process has no other sign.
        let _ = tokio::time::timeout(pause.min(left), noticed).await;
        pause = (pause * 2).min(LOOK.1);
    }
}
