//! The store in one SQLite file: embedded, durable, shared by any number of processes of one
//! machine.
//!
//! One thread writes and commits in groups (`writer`), another looks for work, and a third one reads the
//! long lists and counts of people. The hot edges have SQL of
//! their own (`hot`), all others are the shared transitions over whole rows (`rows`).

mod bulk;
mod hot;
mod look;
mod many;
mod members;
mod operate;
mod options;
mod periodic;
mod rates;
mod record;
mod rows;
mod schema;
mod tx;
mod writer;

use super::hub::Hub;
use super::table::{Table, at_once};
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
use rows::{Sql, Tx};
use rusqlite::params;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use writer::{Calls, File, Role};

pub use options::{Durability, SqliteOptions};
pub use tx::{complete_in, complete_statement, enqueue_in, enqueue_statement};

/// A registry in an SQLite file. Clones share its three connections, which close with the last one.
///
/// The lease clock is the machine's boot clock, so nobody who sets the wall clock ends a lease; the
/// file must not be used from two machines.
#[derive(Clone)]
pub struct SqliteRegistry {
    write: Calls,
    read: Calls,
    /// For lists and counts, which may read the whole file.
    browse: Calls,
    max_bytes: usize,
    hub: Arc<Hub>,
    path: Arc<Path>,
    /// Where the next pruning goes on.
    prune_from: Arc<AtomicI64>,
}

impl SqliteRegistry {
    /// Opens `path`, and creates it or brings its tables to this version if need be. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: read-only, corrupt, full or of another version, as its kind says.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, &SqliteOptions::new())
    }

    /// Opens `path` with options. Blocks.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, options: &SqliteOptions) -> Result<Self, StoreError> {
        let path: PathBuf = path.as_ref().into();
        if !options.migrate {
            File::of(&path)?;
        }
        let writer = schema::open_writer(&path, options)?;
        let reader = || schema::open_reader(&path);
        let file = File::of(&path)?;
        let spawn = |conn, role| writer::spawn(conn, role, options, file.clone());
        Ok(Self {
            write: spawn(writer, Role::Write)?,
            read: spawn(reader()?, Role::Read)?,
            browse: spawn(reader()?, Role::Browse)?,
            max_bytes: options.max_bytes,
            hub: Arc::default(),
            path: path.into(),
            prune_from: Arc::default(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sends at once; the future only waits for the answer.
    fn write<T, F>(&self, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Sql<T> + Send + 'static,
    {
        let answer = self.write.send(work);
        Box::pin(async { received(answer.await) })
    }

    /// Like `write`; pokes and notices follow the commit.
    fn write_then<T, F>(
        &self,
        work: F,
        then: impl FnOnce(&Hub, &T) + Send + 'static,
    ) -> StoreFuture<'_, T>
    where
        T: Send + Sync + 'static,
        F: FnMut(&mut Tx<'_>) -> Sql<T> + Send + 'static,
    {
        let answer = self.write.send(work);
        Box::pin(async {
            let value = received(answer.await)?;
            then(&self.hub, &value);
            Ok(value)
        })
    }

    fn read<T, F>(&self, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Sql<T> + Send + 'static,
    {
        let answer = self.read.send(work);
        Box::pin(async { received(answer.await) })
    }

    fn browse<T, F>(&self, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Sql<T> + Send + 'static,
    {
        let answer = self.browse.send(work);
        Box::pin(async { received(answer.await) })
    }
}

fn refused<T: Send + 'static>(error: StoreError) -> StoreFuture<'static, T> {
    Box::pin(std::future::ready(Err(error)))
}

fn received<T>(
    answer: Result<Result<T, StoreError>, oneshot::error::RecvError>,
) -> Result<T, StoreError> {
    let closed = |_| StoreError::new(StoreErrorKind::Closed, "call the job store");
    answer.map_err(closed)?
}

impl Registry for SqliteRegistry {
    fn enqueue(&self, jobs: Vec<NewJob>) -> StoreFuture<'_, Vec<Enqueued>> {
        if let Err(invalid) = check_jobs(&jobs, self.max_bytes) {
            return refused(invalid);
        }
        self.write_then(move |tx| hot::enqueue(tx, &jobs), |hub, _| hub.poke_all())
    }

    fn register(
        &self,
        worker: WorkerId,
        profile: WorkerProfile,
        ttl: Duration,
    ) -> StoreFuture<'_, ()> {
        self.write(move |tx| members::register(tx, worker, &profile, ttl))
    }

    fn beat(&self, worker: WorkerId, ttl: Duration) -> StoreFuture<'_, bool> {
        self.write(move |tx| members::beat(tx, worker, ttl))
    }

    fn renew(&self, leases: Vec<Lease>) -> StoreFuture<'_, Vec<Result<(), LeaseLost>>> {
        self.write(move |tx| at_once(transitions::renew(tx, leases.clone())))
    }

    fn peek(
        &self,
        worker: WorkerId,
        queues: Vec<Arc<str>>,
        kinds: Option<Arc<[Arc<str>]>>,
    ) -> StoreFuture<'_, Peek> {
        let kinds = kinds.as_deref().map(rows::json_of);
        self.read(move |tx| look::peek(tx, worker, &queues, &kinds))
    }

    fn turn(&self, turn: TurnRequest) -> StoreFuture<'_, Turn> {
        let kinds = turn.kinds.as_deref().map(rows::json_of);
        let work = move |tx: &mut Tx<'_>| {
            let answer = hot::turn(tx, &turn, &kinds)?;
            let reported: Vec<_> = turn.reports.iter().map(|report| report.lease.job).collect();
            Ok((answer, reported))
        };
        let answer = self.write.send(work);
        Box::pin(async {
            let (turn, reported) = received(answer.await)?;
            self.hub.moved(reported.into_iter());
            Ok(turn)
        })
    }

    fn mark_started(&self, leases: Vec<Lease>) -> StoreFuture<'_, Vec<Result<(), LeaseLost>>> {
        self.write(move |tx| at_once(transitions::mark_started(tx, leases.clone())))
    }

    fn save(&self, lease: Lease, progress: Vec<u8>) -> StoreFuture<'_, Result<(), LeaseLost>> {
        self.write(move |tx| at_once(transitions::save(tx, lease, progress.clone())))
    }

    fn sweep(&self, dead: Vec<WorkerId>, limit: usize) -> StoreFuture<'_, Swept> {
        let poke = |hub: &Hub, swept: &Swept| {
            if swept.jobs > 0 {
                hub.poke_all();
            }
        };
        self.write_then(move |tx| at_once(transitions::sweep(tx, &dead, limit)), poke)
    }

    fn reconcile(&self, worker: WorkerId, held: Vec<JobId>) -> StoreFuture<'_, usize> {
        self.write(move |tx| at_once(transitions::give_back(tx, worker, &held)))
    }

    fn deregister(&self, worker: WorkerId) -> StoreFuture<'_, usize> {
        self.write_then(move |tx| hot::deregister(tx, worker), |hub, _| hub.poke_all())
    }

    fn order(&self, order: Order, jobs: Vec<JobId>) -> StoreFuture<'_, Vec<Ordered>> {
        if let Err(invalid) = order.check() {
            return refused(invalid);
        }
        let named = jobs.clone();
        let carry = move |tx: &mut Tx<'_>| {
            let each = |job: &JobId| at_once(transitions::order(tx, &order, *job));
            jobs.iter().map(each).collect::<Sql<Vec<_>>>()
        };
        self.write_then(carry, move |hub, _| {
            hub.moved(named.into_iter());
            hub.poke_all();
        })
    }

    fn fetch(&self, jobs: Vec<JobId>) -> StoreFuture<'_, Vec<JobRecord>> {
        self.read(move |tx| at_once(tx.load(&jobs)))
    }

    fn page(&self, query: Query) -> StoreFuture<'_, Page> {
        self.browse(move |tx| look::page(tx, &query))
    }

    fn counts(&self) -> StoreFuture<'_, Vec<QueueCount>> {
        self.browse(look::counts)
    }

    fn overview(&self) -> StoreFuture<'_, Overview> {
        self.browse(look::overview)
    }

    fn workers(&self) -> StoreFuture<'_, Vec<WorkerRecord>> {
        self.read(members::list)
    }

    fn prune(&self, keep: Keep, limit: usize) -> StoreFuture<'_, usize> {
        let from = Arc::clone(&self.prune_from);
        self.write(move |tx| {
            let (pruned, next) = look::prune(tx, keep, limit, from.load(Ordering::Relaxed))?;
            from.store(next, Ordering::Relaxed);
            Ok(pruned)
        })
    }

    fn limit_queue(&self, queue: Arc<str>, max: Option<u32>) -> StoreFuture<'_, ()> {
        if let Err(invalid) = check_name("the name of the queue", &queue) {
            return refused(invalid);
        }
        let set = move |tx: &mut Tx<'_>| operate::limit(tx, &queue, max);
        self.write_then(set, |hub, ()| hub.poke_all())
    }

    fn pause_queue(&self, queue: Arc<str>, by: String) -> StoreFuture<'_, bool> {
        if let Err(invalid) = check_pause("the name of the queue", &queue, &by) {
            return refused(invalid);
        }
        self.write(move |tx| operate::pause(tx, &queue, &by))
    }

    fn resume_queue(&self, queue: Arc<str>) -> StoreFuture<'_, bool> {
        let resume = move |tx: &mut Tx<'_>| operate::resume(tx, &queue);
        self.write_then(resume, |hub, _| hub.poke_all())
    }

    fn queues(&self) -> StoreFuture<'_, Vec<QueueRecord>> {
        self.read(|tx| Ok(with_rates(operate::queues(tx)?, rates::list(tx)?)))
    }

    fn limit_rate(&self, of: RateOf, rate: Option<Rate>) -> StoreFuture<'_, ()> {
        if let Err(invalid) = of.check(rate) {
            return refused(invalid);
        }
        let set = move |tx: &mut Tx<'_>| rates::set(tx, &of, rate);
        self.write_then(set, |hub, ()| hub.poke_all())
    }

    fn rates(&self) -> StoreFuture<'_, Vec<RateRecord>> {
        self.read(rates::list)
    }

    fn put_periodic(&self, new: Periodic) -> StoreFuture<'_, ()> {
        let template = match new.check(self.max_bytes).and_then(|()| Template::json_of(&new.job)) {
            Ok(template) => template,
            Err(invalid) => return refused(invalid),
        };
        let put = move |tx: &mut Tx<'_>| periodic::put(tx, &new, &template);
        self.write_then(put, |hub, ()| hub.poke_all())
    }

    fn drop_periodic(&self, name: String) -> StoreFuture<'_, bool> {
        self.write(move |tx| {
            Ok(tx.run("DELETE FROM lastout_periodic WHERE name = ?1", params![name])? == 1)
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
        let fire = move |tx: &mut Tx<'_>| periodic::fire(tx, &name, at_ms, next_ms, runs);
        self.write_then(fire, |hub, _| hub.poke_all())
    }

    fn run_periodic(&self, name: String) -> StoreFuture<'_, Option<Enqueued>> {
        self.write_then(move |tx| periodic::run(tx, &name), |hub, _| hub.poke_all())
    }

    fn disable_periodic(&self, name: String, at_ms: i64, error: String) -> StoreFuture<'_, ()> {
        self.write(move |tx| {
            let sql = "UPDATE lastout_periodic SET error = ?3 WHERE name = ?1 AND next_at = ?2";
            tx.run(sql, params![name, at_ms, error]).map(drop)
        })
    }

    fn pause_periodic(&self, name: String, by: String) -> StoreFuture<'_, bool> {
        if let Err(invalid) = check_pause("the name of the periodic job", &name, &by) {
            return refused(invalid);
        }
        self.write(move |tx| periodic::pause(tx, &name, &by))
    }

    fn resume_periodic(&self, name: String, at_ms: i64, next_ms: i64) -> StoreFuture<'_, bool> {
        let resume = move |tx: &mut Tx<'_>| periodic::resume(tx, &name, at_ms, next_ms);
        self.write_then(resume, |hub, _| hub.poke_all())
    }

    fn periodic(&self) -> StoreFuture<'_, Vec<PeriodicRecord>> {
        self.browse(periodic::list)
    }

    fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    fn now_ms(&self) -> StoreFuture<'_, i64> {
        self.read(|tx| Ok(tx.now_ms))
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
}

impl fmt::Debug for SqliteRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteRegistry").field("path", &self.path).finish_non_exhaustive()
    }
}
