//! The contract of a store: batch-first calls, each atomic, each judged by the clock of the store.

mod members;
mod operate;
mod periodic;
mod rate;
mod turn;
mod view;

use crate::error::StoreError;
use crate::job::{JobId, JobRecord, NewJob};
use crate::lease::{Lease, WorkerId};
use crate::lifecycle::LeaseLost;
use crate::poke::Poke;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use members::known;
pub use members::{WorkerAbout, WorkerProfile, WorkerQueue, WorkerRecord};
pub(crate) use operate::with_rates;
pub use operate::{Overview, Pause, QueueOverview, QueueRecord};
pub(crate) use periodic::check_runs;
pub use periodic::{Periodic, PeriodicRecord};
pub(crate) use rate::Bucket;
pub use rate::{Rate, RateOf, RateRecord};
pub use turn::{Applied, Claimed, Enqueued, Peek, Report, Swept, Turn, TurnRequest};
pub(crate) use view::MOST_LOOKED;
pub use view::{DEFAULT_MAX_BYTES, Keep, Order, Ordered, Page, Query, QueueCount};

/// What a store's calls return: no executor is asked for, any thread may wait for it.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A store of jobs.
///
/// Every call but [`turn`](Self::turn) is one transaction: it is applied as a whole or not at all, and it
/// is durable, to the degree that the store promises, before its future resolves. Dropping a future neither undoes a
/// call nor makes it wait; whether it is applied is then unknown to the caller.
///
/// The crate has three: [`MemoryRegistry`](crate::MemoryRegistry), `SqliteRegistry` (feature
/// `sqlite`) and `PostgresRegistry` (feature `postgres`). A store of your own should pass the
/// `conformance` suite (feature `test-util`).
pub trait Registry: std::fmt::Debug + Send + Sync + 'static {
    /// Stores `jobs` and returns for each, in order, the new id or the job that holds its unique key.
    fn enqueue(&self, jobs: Vec<NewJob>) -> StoreFuture<'_, Vec<Enqueued>>;

    /// Makes a worker known, with a lease of `ttl` from now. One that is known already is refused as
    /// [`Invalid`](crate::StoreErrorKind::Invalid), and its lease stays as it is: an id is used once.
    fn register(
        &self,
        worker: WorkerId,
        profile: WorkerProfile,
        ttl: Duration,
    ) -> StoreFuture<'_, ()>;

    /// Renews the lease of `worker` by `ttl` from now. A lease that has run out is not renewed:
    /// the answer is then false, for good.
    fn beat(&self, worker: WorkerId, ttl: Duration) -> StoreFuture<'_, bool>;

    /// Renews the own leases of these jobs; without effect on a job that has none.
    fn renew(&self, leases: Vec<Lease>) -> StoreFuture<'_, Vec<Result<(), LeaseLost>>>;

    /// Looks, without a write, whether there is anything to do for `worker` in `queues`; only jobs of
    /// `kinds` count as ready, or all.
    fn peek(
        &self,
        worker: WorkerId,
        queues: Vec<Arc<str>>,
        kinds: Option<Arc<[Arc<str>]>>,
    ) -> StoreFuture<'_, Peek>;

    /// Applies outcomes and claims what comes next. Each outcome is applied as a whole or not at all, and
    /// so is what is claimed from one queue; when it fails, a part of it may have been applied.
    fn turn(&self, turn: TurnRequest) -> StoreFuture<'_, Turn>;

    /// Records that these jobs are about to start, so that a crash can be charged to them.
    fn mark_started(&self, leases: Vec<Lease>) -> StoreFuture<'_, Vec<Result<(), LeaseLost>>>;

    /// Saves progress under the lease, and renews the job's own lease if it has one.
    fn save(&self, lease: Lease, progress: Vec<u8>) -> StoreFuture<'_, Result<(), LeaseLost>>;

    /// Takes back the jobs of workers whose lease has run out, of workers nobody knows, of the
    /// workers in `dead` (which the caller has proven dead), and those whose own lease has run out;
    /// at most `limit` jobs.
    fn sweep(&self, dead: Vec<WorkerId>, limit: usize) -> StoreFuture<'_, Swept>;

    /// Gives back, uncharged, every job that `worker` holds and that is not in `held`: what was
    /// claimed by a turn whose answer was lost. Returns how many.
    fn reconcile(&self, worker: WorkerId, held: Vec<JobId>) -> StoreFuture<'_, usize>;

    /// Gives back, uncharged, every job that `worker` still holds, and forgets the worker.
    /// Returns how many.
    fn deregister(&self, worker: WorkerId) -> StoreFuture<'_, usize>;

    /// Moves or deletes jobs by an operator's hand.
    fn order(&self, order: Order, jobs: Vec<JobId>) -> StoreFuture<'_, Vec<Ordered>>;

    /// The rows of these jobs that exist.
    fn fetch(&self, jobs: Vec<JobId>) -> StoreFuture<'_, Vec<JobRecord>>;

    /// The next jobs that match, by id. A store looks at a bounded number of rows, and says where to go on.
    fn page(&self, query: Query) -> StoreFuture<'_, Page>;

    /// As many jobs as the query asks for, by as many calls of [`page`](Self::page) as it takes.
    fn list(&self, mut query: Query) -> StoreFuture<'_, Vec<JobRecord>> {
        Box::pin(async move {
            let mut jobs = Vec::new();
            let wanted = query.page();
            loop {
                query.limit = wanted - jobs.len();
                let mut page = self.page(query.clone()).await?;
                jobs.append(&mut page.jobs);
                match page.next {
                    Some(next) if jobs.len() < wanted => query.after = Some(next),
                    _ => return Ok(jobs),
                }
            }
        })
    }

    /// How many jobs are in each state of each queue. A store may stop counting, and says where it did,
    /// so that no count walks over all jobs that ever ended.
    fn counts(&self) -> StoreFuture<'_, Vec<QueueCount>>;

    /// Whether work keeps up, from a bounded number of rows.
    fn overview(&self) -> StoreFuture<'_, Overview>;

    /// The workers that hold or held a lease and were not forgotten yet.
    fn workers(&self) -> StoreFuture<'_, Vec<WorkerRecord>>;

    /// Deletes at most `limit` jobs that ended longer ago than they are to be kept. Returns how many. A
    /// row in a state that is not known is never deleted.
    fn prune(&self, keep: Keep, limit: usize) -> StoreFuture<'_, usize>;

    /// At most `max` jobs of `queue` run at once over all workers; `None` lifts the limit.
    fn limit_queue(&self, queue: Arc<str>, max: Option<u32>) -> StoreFuture<'_, ()>;

    /// Claims nothing more from `queue`, whatever its limit is; what runs goes on. Returns false when it was
    /// paused before: the first pause stays.
    fn pause_queue(&self, queue: Arc<str>, by: String) -> StoreFuture<'_, bool>;

    /// Ends the pause of a queue. Returns whether it was paused.
    fn resume_queue(&self, queue: Arc<str>) -> StoreFuture<'_, bool>;

    /// Sets how often jobs of a queue or of a limit key may start, over all workers; `None` lifts it. The same rate
    /// again changes nothing; another one begins anew, with its whole burst.
    fn limit_rate(&self, of: RateOf, rate: Option<Rate>) -> StoreFuture<'_, ()>;

    /// Every rate, those of queues first, by name.
    fn rates(&self) -> StoreFuture<'_, Vec<RateRecord>>;

    /// Every queue that has a limit or a rate or is paused, by name.
    fn queues(&self) -> StoreFuture<'_, Vec<QueueRecord>>;

    /// Creates or changes a periodic job, and enables it. The time of its next run is kept when the
    /// expression is, and a pause always. Fails with [`StoreErrorKind::Invalid`](crate::StoreErrorKind::Invalid) when its job
    /// could not be enqueued.
    fn put_periodic(&self, periodic: Periodic) -> StoreFuture<'_, ()>;

    /// Removes a periodic job. Returns whether it existed.
    fn drop_periodic(&self, name: String) -> StoreFuture<'_, bool>;

    /// Moves the next run of a periodic job from `at_ms` to `next_ms` and enqueues its job `runs` times, unless
    /// another worker did so first or it is paused or disabled: then nothing happens and it returns false. More than
    /// 1000 runs are refused as [`Invalid`](crate::StoreErrorKind::Invalid).
    fn fire_periodic(
        &self,
        name: String,
        at_ms: i64,
        next_ms: i64,
        runs: u32,
    ) -> StoreFuture<'_, bool>;

    /// Enqueues the job of a periodic job once, in addition to its scheduled times and even if it is disabled or paused; `None` when there is no
    /// such periodic job.
    fn run_periodic(&self, name: String) -> StoreFuture<'_, Option<Enqueued>>;

    /// Takes the periodic job that is due at `at_ms` out of turn because of `error`, which its record
    /// then shows, until it is put again.
    fn disable_periodic(&self, name: String, at_ms: i64, error: String) -> StoreFuture<'_, ()>;

    /// Keeps a periodic job from its times until it is resumed. Returns false when there is none of that name, or
    /// it was paused before: the first pause stays.
    fn pause_periodic(&self, name: String, by: String) -> StoreFuture<'_, bool>;

    /// Ends the pause of a periodic job whose next run is at `at_ms`, and moves that run to `next_ms`. Returns false,
    /// and changes nothing, unless it is paused and its next run is at that time.
    fn resume_periodic(&self, name: String, at_ms: i64, next_ms: i64) -> StoreFuture<'_, bool>;

    /// Every periodic job, by name.
    fn periodic(&self) -> StoreFuture<'_, Vec<PeriodicRecord>>;

    /// The wall clock of the store, in milliseconds since the epoch.
    fn now_ms(&self) -> StoreFuture<'_, i64>;

    /// Pokes `poke` whenever the store learns that there may be work, from this process or another.
    /// A hint: a lost one delays work by a poll. The registration ends with the last clone of `poke`.
    fn subscribe(&self, poke: &Poke);

    /// Waits until `job` has ended or the wait is over, and returns its row as it is then; `None`
    /// when it does not exist.
    ///
    /// The default looks again and again; a store that learns of ends resolves earlier.
    fn wait(&self, job: JobId, at_most: Duration) -> StoreFuture<'_, Option<JobRecord>> {
        Box::pin(crate::driver::wait_by_polling(self, job, at_most))
    }

    /// The longest payload, result and progress that it takes, in bytes.
    fn max_bytes(&self) -> usize {
        DEFAULT_MAX_BYTES
    }

    /// How many [`turn`](Self::turn)s of one worker the store can work on at once.
    fn parallel_turns(&self) -> usize {
        1
    }

    /// The largest number of outcomes and claims that pay in one [`turn`](Self::turn).
    fn turn_size(&self) -> usize {
        500
    }
}
