//! The store in a PostgreSQL database, for any number of machines.
//!
//! One thread owns the connections (`pool`). The hot edges are one statement each (`hot`), all
//! others are the shared transitions over locked rows (`rows`). Time is the server's, always.

mod copy;
mod encryption;
mod hot;
mod keyed;
mod limited;
mod listen;
mod look;
mod members;
mod operate;
mod options;
mod periodic;
mod pool;
mod rates;
mod rows;
mod schema;
#[cfg(feature = "tls")]
mod tls;
mod tx;

use super::hub::Hub;
use super::table::Table;
use super::transitions;
use crate::error::{StoreError, StoreErrorKind};
use crate::job::{JobId, JobRecord, NewJob, Template, check_jobs, check_name, check_pause};
use crate::lease::{Lease, WorkerId};
use crate::lifecycle::LeaseLost;
use crate::poke::Poke;
use crate::registry::{
    Enqueued, Keep, Order, Ordered, Overview, Page, Peek, Periodic, PeriodicRecord, Query,
    QueueCount, QueueRecord, Rate, RateOf, RateRecord, Registry, StoreFuture, Swept, Turn,
    TurnRequest, WorkerProfile, WorkerRecord, check_runs, with_rates,
};
use pool::{Calls, Connection, Pool};
use rows::{LOOK, Sql, Tx, transact};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

pub use options::PostgresOptions;
pub use tx::{ENQUEUE_SQL, SCHEMA_VERSION, Tables, complete_in, enqueue_in};

/// The longest that the tables may take to be brought to this version; another process may do so first.
const MIGRATE_WITHIN: Duration = Duration::from_secs(600);

/// The least time that a beat may take.
const BEAT_WITHIN: Duration = Duration::from_secs(1);

/// A registry in a PostgreSQL database. Clones share its thread and its connections, which end with
/// the last one.
#[derive(Clone)]
pub struct PostgresRegistry {
    calls: Calls,
    hub: Arc<Hub>,
    notify: Arc<Notify>,
    schema: Arc<str>,
    max_bytes: usize,
    /// Where the next pruning goes on.
    prune_from: Arc<AtomicI64>,
}

impl PostgresRegistry {
    /// Connects by `config`, such as `host=/run/postgresql user=app dbname=app`, and creates the
    /// tables or brings them to this version if need be.
    ///
    /// `sslmode` and `sslrootcert` say whether it is encrypted and which server is trusted, as for
    /// libpq; see the README. Without the feature `tls` nothing is encrypted, and a mode that asks for it
    /// is refused: use a socket, a private network or a tunnel.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: unreachable, read-only or of another version, as its kind says.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have created the tables.
    pub async fn connect(config: &str) -> Result<Self, StoreError> {
        Self::connect_with(config, &PostgresOptions::new()).await
    }

    /// Connects with options.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// As for [`connect`](Self::connect).
    pub async fn connect_with(config: &str, options: &PostgresOptions) -> Result<Self, StoreError> {
        let PostgresOptions { schema, listen, max_bytes, connect_within, migrate, .. } =
            options.clone();
        schema::check_name(&schema)?;
        let (config, trust) = encryption::read(config)?;
        let connector = encryption::connector(&trust)?;
        let calls = pool::spawn(pool::bounded(config), connector, options)?;
        let registry = Self {
            calls,
            hub: Arc::default(),
            notify: Arc::default(),
            schema: Arc::from(&*schema),
            max_bytes,
            prune_from: Arc::default(),
        };
        let (hub, notify) = (Arc::clone(&registry.hub), Arc::clone(&registry.notify));
        let opened = registry.calls.send(async move |pool: Rc<Pool>| {
            pool.reach(connect_within).await?;
            let migrated = pool
                .with_within(MIGRATE_WITHIN, async |connection| match migrate {
                    true => schema::migrate(connection, &schema).await,
                    false => schema::check(connection, &schema).await,
                })
                .await;
            listen::start(pool, &hub, &notify, listen);
            migrated
        });
        received(opened.await)?;
        Ok(registry)
    }

    /// The schema of its tables.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Sends at once; the future only waits for the answer.
    fn call<T, F>(&self, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: AsyncFnOnce(Rc<Pool>) -> Sql<T> + Send + 'static,
    {
        let answer = self.calls.send(work);
        Box::pin(async { received(answer.await) })
    }

    /// Like `call`; everybody is poked after it, here and elsewhere, also when the caller has gone.
    fn call_and_poke<T, F>(&self, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: AsyncFnOnce(Rc<Pool>) -> Sql<T> + Send + 'static,
    {
        let (hub, notify) = (Arc::clone(&self.hub), Arc::clone(&self.notify));
        self.call(async move |pool: Rc<Pool>| {
            let value = work(pool).await?;
            notify.notify_one();
            hub.poke_all();
            Ok(value)
        })
    }

    /// A long look of people, beside the calls of workers; again when the first connection broke.
    fn browse<T, F>(&self, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Tx<'_>) -> Sql<T> + Send + 'static,
    {
        self.call(async move |pool: Rc<Pool>| {
            let once = async |connection: &mut Connection| {
                rows::once(connection, LOOK, &mut async |tx: &mut Tx<'_>| work(tx).await).await
            };
            match pool.browse(once).await {
                Err(error) if error.kind() == StoreErrorKind::Unknown => pool.browse(once).await,
                looked => looked,
            }
        })
    }

    /// A transaction that only looks; again on another connection when the first one broke.
    fn look<T, F>(&self, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Tx<'_>) -> Sql<T> + Send + 'static,
    {
        self.call(async move |pool: Rc<Pool>| {
            match rows::look(&pool, async |tx| work(tx).await).await {
                Err(error) if error.kind() == StoreErrorKind::Unknown => {
                    rows::look(&pool, async |tx| work(tx).await).await
                }
                looked => looked,
            }
        })
    }
}

fn refused<T: Send + 'static>(error: StoreError) -> StoreFuture<'static, T> {
    Box::pin(std::future::ready(Err(error)))
}

fn received<T>(answer: Result<Sql<T>, oneshot::error::RecvError>) -> Sql<T> {
    let closed = |_| StoreError::new(StoreErrorKind::Closed, "call the job store");
    answer.map_err(closed)?
}

impl Registry for PostgresRegistry {
    fn enqueue(&self, jobs: Vec<NewJob>) -> StoreFuture<'_, Vec<Enqueued>> {
        if let Err(invalid) = check_jobs(&jobs, self.max_bytes) {
            return refused(invalid);
        }
        self.call_and_poke(async move |pool: Rc<Pool>| hot::enqueue(&pool, &jobs).await)
    }

    fn register(
        &self,
        worker: WorkerId,
        profile: WorkerProfile,
        ttl: Duration,
    ) -> StoreFuture<'_, ()> {
        self.call(async move |pool: Rc<Pool>| {
            pool.with(async |connection| members::register(connection, worker, &profile, ttl).await)
                .await
        })
    }

    fn beat(&self, worker: WorkerId, ttl: Duration) -> StoreFuture<'_, bool> {
        // Two more tries fit into what is left of a lease that is not shorter than any network.
        let limit = (ttl / 4).max(BEAT_WITHIN);
        let beat =
            async move |connection: &mut Connection| members::beat(connection, worker, ttl).await;
        self.call(async move |pool: Rc<Pool>| pool.with_beat(limit, beat).await)
    }

    fn renew(&self, leases: Vec<Lease>) -> StoreFuture<'_, Vec<Result<(), LeaseLost>>> {
        self.call(async move |pool: Rc<Pool>| {
            transact(&pool, async |tx| transitions::renew(tx, leases.clone()).await).await
        })
    }

    fn peek(
        &self,
        worker: WorkerId,
        queues: Vec<Arc<str>>,
        kinds: Option<Arc<[Arc<str>]>>,
    ) -> StoreFuture<'_, Peek> {
        self.call(async move |pool: Rc<Pool>| {
            let look = async |connection: &mut Connection| {
                look::peek(connection, worker, &queues, kinds.as_deref()).await
            };
            pool.with(look).await
        })
    }

    fn turn(&self, turn: TurnRequest) -> StoreFuture<'_, Turn> {
        let reported: Vec<_> = turn.reports.iter().map(|report| report.lease.job).collect();
        let answer = self.calls.send(async move |pool: Rc<Pool>| hot::turn(&pool, &turn).await);
        Box::pin(async {
            let turn = received(answer.await)?;
            self.hub.moved(reported.into_iter());
            Ok(turn)
        })
    }

    fn mark_started(&self, leases: Vec<Lease>) -> StoreFuture<'_, Vec<Result<(), LeaseLost>>> {
        self.call(async move |pool: Rc<Pool>| {
            transact(&pool, async |tx| transitions::mark_started(tx, leases.clone()).await).await
        })
    }

    fn save(&self, lease: Lease, progress: Vec<u8>) -> StoreFuture<'_, Result<(), LeaseLost>> {
        self.call(async move |pool: Rc<Pool>| {
            transact(&pool, async |tx| transitions::save(tx, lease, progress.clone()).await).await
        })
    }

    fn sweep(&self, dead: Vec<WorkerId>, limit: usize) -> StoreFuture<'_, Swept> {
        let (hub, notify) = (Arc::clone(&self.hub), Arc::clone(&self.notify));
        self.call(async move |pool: Rc<Pool>| {
            let sweep = async |tx: &mut Tx<'_>| transitions::sweep(tx, &dead, limit).await;
            let swept = transact(&pool, sweep).await?;
            if swept.jobs > 0 {
                notify.notify_one();
                hub.poke_all();
            }
            Ok(swept)
        })
    }

    fn reconcile(&self, worker: WorkerId, held: Vec<JobId>) -> StoreFuture<'_, usize> {
        self.call(async move |pool: Rc<Pool>| {
            transact(&pool, async |tx| transitions::give_back(tx, worker, &held).await).await
        })
    }

    fn deregister(&self, worker: WorkerId) -> StoreFuture<'_, usize> {
        let leave = async move |tx: &mut Tx<'_>| {
            let given = transitions::give_back(tx, worker, &[]).await?;
            tx.forget_worker(worker).await?;
            Ok(given)
        };
        self.call_and_poke(async move |pool: Rc<Pool>| transact(&pool, leave).await)
    }

    fn order(&self, order: Order, jobs: Vec<JobId>) -> StoreFuture<'_, Vec<Ordered>> {
        if let Err(invalid) = order.check() {
            return refused(invalid);
        }
        let named = jobs.clone();
        let answer = self.call_and_poke(async move |pool: Rc<Pool>| {
            let carry = async |tx: &mut Tx<'_>| {
                let mut ordered = Vec::with_capacity(jobs.len());
                for job in &jobs {
                    ordered.push(transitions::order(tx, &order, *job).await?);
                }
                Ok(ordered)
            };
            transact(&pool, carry).await
        });
        Box::pin(async {
            let ordered = answer.await?;
            self.hub.moved(named.into_iter());
            Ok(ordered)
        })
    }

    fn fetch(&self, jobs: Vec<JobId>) -> StoreFuture<'_, Vec<JobRecord>> {
        self.look(async move |tx| {
            let ids: Vec<i64> = jobs.iter().map(|job| job.0).collect();
            tx.rows(rows::select!("WHERE id = ANY($1) ORDER BY id"), &[&ids]).await
        })
    }

    fn page(&self, query: Query) -> StoreFuture<'_, Page> {
        self.browse(async move |tx| look::page(tx, &query).await)
    }

    fn counts(&self) -> StoreFuture<'_, Vec<QueueCount>> {
        self.browse(look::counts)
    }

    fn overview(&self) -> StoreFuture<'_, Overview> {
        self.browse(look::overview)
    }

    fn workers(&self) -> StoreFuture<'_, Vec<WorkerRecord>> {
        self.look(members::list)
    }

    fn prune(&self, keep: Keep, limit: usize) -> StoreFuture<'_, usize> {
        let from = Arc::clone(&self.prune_from);
        self.call(async move |pool: Rc<Pool>| {
            let prune = async |tx: &mut Tx<'_>| {
                look::prune(tx, keep, limit, from.load(Ordering::Relaxed)).await
            };
            let (pruned, next) = transact(&pool, prune).await?;
            from.store(next, Ordering::Relaxed);
            Ok(pruned)
        })
    }

    fn limit_queue(&self, queue: Arc<str>, max: Option<u32>) -> StoreFuture<'_, ()> {
        if let Err(invalid) = check_name("the name of the queue", &queue) {
            return refused(invalid);
        }
        self.call_and_poke(async move |pool: Rc<Pool>| {
            transact(&pool, async |tx| operate::limit(tx, &queue, max).await).await
        })
    }

    fn pause_queue(&self, queue: Arc<str>, by: String) -> StoreFuture<'_, bool> {
        if let Err(invalid) = check_pause("the name of the queue", &queue, &by) {
            return refused(invalid);
        }
        self.call(async move |pool: Rc<Pool>| {
            transact(&pool, async |tx| operate::pause(tx, &queue, &by).await).await
        })
    }

    fn resume_queue(&self, queue: Arc<str>) -> StoreFuture<'_, bool> {
        self.call_and_poke(async move |pool: Rc<Pool>| {
            transact(&pool, async |tx| operate::resume(tx, &queue).await).await
        })
    }

    fn queues(&self) -> StoreFuture<'_, Vec<QueueRecord>> {
        self.look(async |tx| Ok(with_rates(operate::queues(tx).await?, rates::list(tx).await?)))
    }

    fn limit_rate(&self, of: RateOf, rate: Option<Rate>) -> StoreFuture<'_, ()> {
        if let Err(invalid) = of.check(rate) {
            return refused(invalid);
        }
        self.call_and_poke(async move |pool: Rc<Pool>| {
            transact(&pool, async |tx| rates::set(tx, &of, rate).await).await
        })
    }

    fn rates(&self) -> StoreFuture<'_, Vec<RateRecord>> {
        self.look(rates::list)
    }

    fn put_periodic(&self, new: Periodic) -> StoreFuture<'_, ()> {
        let template = match new.check(self.max_bytes).and_then(|()| Template::json_of(&new.job)) {
            Ok(template) => template,
            Err(invalid) => return refused(invalid),
        };
        let put = async move |tx: &mut Tx<'_>| periodic::put(tx, &new, &template).await;
        self.call_and_poke(async move |pool: Rc<Pool>| transact(&pool, put).await)
    }

    fn drop_periodic(&self, name: String) -> StoreFuture<'_, bool> {
        self.call(async move |pool: Rc<Pool>| {
            let sql = "DELETE FROM lastout.periodic WHERE name = $1";
            let gone = transact(&pool, async |tx| tx.run(sql, &[&name]).await).await?;
            Ok(gone == 1)
        })
    }

    fn fire_periodic(
        &self,
        name: String,
        at_ms: i64,
        next_ms: i64,
        runs: u32,
    ) -> StoreFuture<'_, bool> {
        if let Err(invalid) = check_runs(runs) {
            return Box::pin(std::future::ready(Err(invalid)));
        }
        let fire =
            async move |tx: &mut Tx<'_>| periodic::fire(tx, &name, at_ms, next_ms, runs).await;
        self.call_and_poke(async move |pool: Rc<Pool>| transact(&pool, fire).await)
    }

    fn run_periodic(&self, name: String) -> StoreFuture<'_, Option<Enqueued>> {
        self.call_and_poke(async move |pool: Rc<Pool>| {
            transact(&pool, async |tx| periodic::run(tx, &name).await).await
        })
    }

    fn disable_periodic(&self, name: String, at_ms: i64, error: String) -> StoreFuture<'_, ()> {
        // A NUL byte is no text there.
        let error = error.replace('\0', "\u{fffd}");
        self.call(async move |pool: Rc<Pool>| {
            let sql = "UPDATE lastout.periodic SET error = $3 WHERE name = $1 AND next_at = $2";
            let disable = async |tx: &mut Tx<'_>| tx.run(sql, &[&name, &at_ms, &error]).await;
            transact(&pool, disable).await.map(drop)
        })
    }

    fn pause_periodic(&self, name: String, by: String) -> StoreFuture<'_, bool> {
        if let Err(invalid) = check_pause("the name of the periodic job", &name, &by) {
            return refused(invalid);
        }
        self.call(async move |pool: Rc<Pool>| {
            transact(&pool, async |tx| periodic::pause(tx, &name, &by).await).await
        })
    }

    fn resume_periodic(&self, name: String, at_ms: i64, next_ms: i64) -> StoreFuture<'_, bool> {
        let resume = async move |tx: &mut Tx<'_>| periodic::resume(tx, &name, at_ms, next_ms).await;
        self.call_and_poke(async move |pool: Rc<Pool>| transact(&pool, resume).await)
    }

    fn periodic(&self) -> StoreFuture<'_, Vec<PeriodicRecord>> {
        self.look(periodic::list)
    }

    fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    fn now_ms(&self) -> StoreFuture<'_, i64> {
        self.look(async |tx| Ok(tx.now_ms))
    }

    fn subscribe(&self, poke: &Poke) {
        self.hub.subscribe(poke);
    }

    fn wait(&self, job: JobId, at_most: Duration) -> StoreFuture<'_, Option<JobRecord>> {
        let notice = move || self.hub.end_of(job);
        Box::pin(crate::driver::wait_with(self, job, at_most, notice))
    }

    fn parallel_turns(&self) -> usize {
        2
    }

    fn turn_size(&self) -> usize {
        1000
    }
}

impl fmt::Debug for PostgresRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresRegistry").field("schema", &self.schema).finish_non_exhaustive()
    }
}
