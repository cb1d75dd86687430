//! The store in one SQLite file: embedded, durable, shared by any number of processes of one
//! machine.
//!
//! One thread writes and commits in groups (`writer`), another reads. The hot edges have SQL of
//! their own (`hot`), all others are the shared transitions over whole rows (`rows`).

mod bulk;
mod hot;
mod look;
mod many;
mod rows;
mod schema;
mod tx;
mod writer;

use super::hub::Hub;
use super::table::{Table, at_once};
use super::transitions;
use crate::clock::Clock;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::Identity;
use crate::job::{JobId, JobRecord, NewJob, Template, millis};
use crate::lease::{Lease, WorkerId};
use crate::lifecycle::LeaseLost;
use crate::poke::Poke;
use crate::registry::{
    Enqueued, Order, Ordered, Peek, Periodic, Query, QueueCount, Registry, StoreFuture, Swept,
    Turn, TurnRequest, WorkerRecord,
};
use rows::{Sql, Tx};
use rusqlite::params;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use writer::{Calls, Role};

pub use tx::{complete_in, enqueue_in};

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Durability {
    /// The loss of power: each commit is on the disk before it is answered.
    #[default]
    Full,
    /// The death of the process: after a loss of power the last commits may be missing, the file is
    /// whole. Answers do not wait for the disk.
    Normal,
}

/// How a file is opened.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// What a commit survives.
    pub durability: Durability,
    /// The clock of the store; the system's unless a test moves it.
    pub clock: Clock,
    /// The size that the file may grow to, in pages of 4 KiB; as far as the disk goes unless set.
    pub max_pages: Option<i64>,
}

impl SqliteOptions {
    /// Full durability on the system's clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a commit survives.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The size that the file may grow to, in pages of 4 KiB. Beyond it calls fail with
    /// [`StoreErrorKind::Full`].
    #[must_use]
    pub fn max_pages(mut self, pages: i64) -> Self {
        self.max_pages = Some(pages);
        self
    }

    /// The clock of the store.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

/// A registry in an SQLite file. Clones share its two connections, which close with the last one.
///
/// The lease clock is the machine's boot clock, so nobody who sets the wall clock ends a lease; the
/// file must not be used from two machines.
#[derive(Clone)]
pub struct SqliteRegistry {
    write: Calls,
    read: Calls,
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
        let writer = schema::open_writer(&path, options)?;
        let reader = schema::open_reader(&path)?;
        Ok(Self {
            write: writer::spawn(writer, Role::Write, options.clock.clone())?,
            read: writer::spawn(reader, Role::Read, options.clock.clone())?,
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
}

fn received<T>(
    answer: Result<Result<T, StoreError>, oneshot::error::RecvError>,
) -> Result<T, StoreError> {
    let closed = |_| StoreError::new(StoreErrorKind::Closed, "call the job store");
    answer.map_err(closed).flatten()
}

impl Registry for SqliteRegistry {
    fn enqueue(&self, jobs: Vec<NewJob>) -> StoreFuture<'_, Vec<Enqueued>> {
        self.write_then(move |tx| hot::enqueue(tx, &jobs), |hub, _| hub.poke_all())
    }

    fn register(&self, worker: WorkerId, identity: Identity, ttl: Duration) -> StoreFuture<'_, ()> {
        self.write(move |tx| {
            let lease_until = tx.boot_ms.saturating_add(millis(ttl));
            let Identity { host, boot, pid, start } = &identity;
            tx.run(
                "INSERT INTO lastout_workers (id, host, boot, pid, start, lease_until, boot_of_lease) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![worker.0, host, boot, pid, start, lease_until, schema::boot()],
            )?;
            Ok(())
        })
    }

    fn beat(&self, worker: WorkerId, ttl: Duration) -> StoreFuture<'_, bool> {
        self.write(move |tx| {
            let now = tx.boot_ms;
            let lease_until = now.saturating_add(millis(ttl));
            let sql = "UPDATE lastout_workers SET lease_until = ?2 \
                       WHERE id = ?1 AND lease_until > ?3 AND boot_of_lease = ?4";
            let renewed = params![worker.0, lease_until, now, schema::boot()];
            let live = tx.run(sql, renewed)? == 1;
            // What it was told about jobs that it no longer holds needs no telling.
            tx.run(
                "DELETE FROM lastout_signals WHERE owner = ?1 AND job NOT IN \
                 (SELECT id FROM lastout_jobs WHERE state = 3 AND owner = ?1)",
                params![worker.0],
            )?;
            Ok(live)
        })
    }

    fn renew(&self, leases: Vec<Lease>) -> StoreFuture<'_, Vec<Result<(), LeaseLost>>> {
        self.write(move |tx| at_once(transitions::renew(tx, leases.clone())))
    }

    fn peek(&self, worker: WorkerId, queues: Vec<Arc<str>>) -> StoreFuture<'_, Peek> {
        self.read(move |tx| look::peek(tx, worker, &queues))
    }

    fn turn(&self, turn: TurnRequest) -> StoreFuture<'_, Turn> {
        let work = move |tx: &mut Tx<'_>| {
            let answer = hot::turn(tx, &turn)?;
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

    fn list(&self, query: Query) -> StoreFuture<'_, Vec<JobRecord>> {
        self.read(move |tx| look::list(tx, &query))
    }

    fn counts(&self) -> StoreFuture<'_, Vec<QueueCount>> {
        self.read(look::counts)
    }

    fn workers(&self) -> StoreFuture<'_, Vec<WorkerRecord>> {
        self.read(look::workers)
    }

    fn prune(&self, age: Duration, limit: usize) -> StoreFuture<'_, usize> {
        let from = Arc::clone(&self.prune_from);
        self.write(move |tx| {
            let (pruned, next) = look::prune(tx, age, limit, from.load(Ordering::Relaxed))?;
            from.store(next, Ordering::Relaxed);
            Ok(pruned)
        })
    }

    fn limit_queue(&self, queue: Arc<str>, max: Option<u32>) -> StoreFuture<'_, ()> {
        let set = move |tx: &mut Tx<'_>| {
            match max {
                Some(max) => tx.run(
                    "INSERT INTO lastout_queues (name, max_running) VALUES (?1, ?2) \
                     ON CONFLICT (name) DO UPDATE SET max_running = ?2",
                    params![&*queue, max],
                )?,
                None => tx.run("DELETE FROM lastout_queues WHERE name = ?1", params![&*queue])?,
            };
            Ok(())
        };
        self.write_then(set, |hub, ()| hub.poke_all())
    }

    fn put_periodic(&self, new: Periodic) -> StoreFuture<'_, ()> {
        let template = serde_json::to_vec(&Template::from(&new.job)).unwrap_or_default();
        self.write(move |tx| {
            tx.run(
                "INSERT INTO lastout_periodic (name, cron, next_at, job) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (name) DO UPDATE SET cron = ?2, job = ?4, \
                 next_at = CASE WHEN cron = ?2 THEN next_at ELSE ?3 END",
                params![new.name, new.cron, new.first_ms, template],
            )?;
            Ok(())
        })
    }

    fn drop_periodic(&self, name: String) -> StoreFuture<'_, bool> {
        self.write(move |tx| {
            Ok(tx.run("DELETE FROM lastout_periodic WHERE name = ?1", params![name])? == 1)
        })
    }

    fn fire_periodic(&self, name: String, at_ms: i64, next_ms: i64) -> StoreFuture<'_, bool> {
        let fire = move |tx: &mut Tx<'_>| look::fire(tx, &name, at_ms, next_ms);
        self.write_then(fire, |hub, _| hub.poke_all())
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
