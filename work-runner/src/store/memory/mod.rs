//! The store in memory: for tests, and for work that need not survive the process.
//!
//! The same rows and transitions as the durable stores, behind one lock that no await crosses.

mod operate;
mod periodic;
mod rows;

use super::hub::Hub;
use super::table::{Table, at_once};
use super::transitions;
use crate::clock::Clock;
use crate::job::{JobId, JobRecord, NewJob, check_jobs, check_name, check_pause, millis};
use crate::lease::{Lease, WorkerId};
use crate::lifecycle::{Event, LeaseLost, State, step};
use crate::poke::Poke;
use crate::registry::{
    DEFAULT_MAX_BYTES, Enqueued, Keep, Order, Ordered, Overview, Page, Pause, Peek, Periodic,
    PeriodicRecord, Query, QueueCount, QueueRecord, Rate, RateOf, RateRecord, Registry,
    StoreFuture, Swept, Turn, TurnRequest, WorkerProfile, WorkerRecord, check_runs, known,
};
use rows::{Member, Rows};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Scheduled jobs made ready by one turn.
const PROMOTE_LIMIT: usize = 1000;

/// A registry in memory. Clones share it; it is gone with the last one.
#[derive(Debug, Clone)]
pub struct MemoryRegistry {
    rows: Arc<Mutex<Rows>>,
    hub: Arc<Hub>,
    clock: Clock,
    /// The wall clock less the boot clock, as it was when the registry was made: whoever sets the wall
    /// clock of the machine later delays nothing.
    wall_offset: i64,
    max_bytes: usize,
}

impl Default for MemoryRegistry {
    fn default() -> Self {
        Self::with_clock(Clock::system())
    }
}

impl MemoryRegistry {
    /// An empty registry on the system's clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty registry on `clock`, such as one that a test moves.
    pub fn with_clock(clock: Clock) -> Self {
        let wall_offset = clock.wall_ms() - clock.boot_ms();
        let max_bytes = DEFAULT_MAX_BYTES;
        Self { rows: Arc::default(), hub: Arc::default(), clock, wall_offset, max_bytes }
    }

    /// The longest payload, result and progress that it takes; 1 MiB unless set.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// One transaction: nothing else sees the rows while `work` runs. A store in memory cannot fail.
    fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Rows) -> T) -> StoreFuture<'_, T> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let boot_ms = self.clock.boot_ms();
        rows.set_clock(boot_ms + self.wall_offset, boot_ms);
        let answer = work(&mut rows);
        drop(rows);
        Box::pin(std::future::ready(Ok(answer)))
    }
}

/// The shared transitions fail only where their table does; this one never does.
fn sure<T>(work: impl Future<Output = Result<T, crate::StoreError>>) -> T {
    at_once(work).expect("rows in memory never fail")
}

impl Registry for MemoryRegistry {
    fn enqueue(&self, jobs: Vec<NewJob>) -> StoreFuture<'_, Vec<Enqueued>> {
        if let Err(invalid) = check_jobs(&jobs, self.max_bytes) {
            return Box::pin(std::future::ready(Err(invalid)));
        }
        let answer =
            self.with(|rows| jobs.into_iter().map(|job| rows.enqueue(job)).collect::<Vec<_>>());
        self.hub.poke_all();
        answer
    }

    fn register(
        &self,
        worker: WorkerId,
        profile: WorkerProfile,
        ttl: Duration,
    ) -> StoreFuture<'_, ()> {
        let registered = self.with(|rows| {
            let lease_until = rows.boot_ms.saturating_add(millis(ttl));
            let member = Member { profile, lease_until, since_ms: rows.now_ms() };
            let new = !rows.workers.contains_key(&worker);
            rows.workers.entry(worker).or_insert(member);
            new
        });
        Box::pin(async move { if registered.await? { Ok(()) } else { Err(known(worker)) } })
    }

    fn beat(&self, worker: WorkerId, ttl: Duration) -> StoreFuture<'_, bool> {
        self.with(|rows| {
            let now = rows.boot_ms;
            let live = rows.workers.get_mut(&worker).filter(|member| member.lease_until > now);
            live.map(|member| member.lease_until = now.saturating_add(millis(ttl))).is_some()
        })
    }

    fn renew(&self, leases: Vec<Lease>) -> StoreFuture<'_, Vec<Result<(), LeaseLost>>> {
        self.with(|rows| sure(transitions::renew(rows, leases)))
    }

    fn peek(
        &self,
        worker: WorkerId,
        queues: Vec<Arc<str>>,
        kinds: Option<Arc<[Arc<str>]>>,
    ) -> StoreFuture<'_, Peek> {
        self.with(|rows| rows.peek(worker, &queues, kinds.as_deref()))
    }

    fn turn(&self, turn: TurnRequest) -> StoreFuture<'_, Turn> {
        let reported: Vec<_> = turn.reports.iter().map(|report| report.lease.job).collect();
        let answer = self.with(|rows| {
            let mut answer =
                Turn { applied: sure(transitions::report(rows, turn.reports)), ..Turn::default() };
            if turn.promote {
                sure(transitions::promote(rows, PROMOTE_LIMIT));
            }
            let now = rows.boot_ms;
            answer.live = rows.workers.get(&turn.worker).is_some_and(|m| m.lease_until > now);
            for (queue, count) in turn.claim {
                let count = if answer.live { count } else { 0 };
                let (ids, wait) = rows.let_through(&queue, turn.kinds.as_deref(), count);
                for id in ids {
                    answer.claimed.push(rows.claim(id, turn.worker).into());
                }
                answer.next_due_ms = answer.next_due_ms.into_iter().chain(wait).min();
            }
            answer
        });
        self.hub.moved(reported.into_iter());
        answer
    }

    fn mark_started(&self, leases: Vec<Lease>) -> StoreFuture<'_, Vec<Result<(), LeaseLost>>> {
        self.with(|rows| sure(transitions::mark_started(rows, leases)))
    }

    fn save(&self, lease: Lease, progress: Vec<u8>) -> StoreFuture<'_, Result<(), LeaseLost>> {
        self.with(|rows| sure(transitions::save(rows, lease, progress)))
    }

    fn sweep(&self, dead: Vec<WorkerId>, limit: usize) -> StoreFuture<'_, Swept> {
        let mut found = false;
        let answer = self.with(|rows| {
            let swept = sure(transitions::sweep(rows, &dead, limit));
            found = swept.jobs > 0;
            swept
        });
        if found {
            self.hub.poke_all();
        }
        answer
    }

    fn reconcile(&self, worker: WorkerId, held: Vec<JobId>) -> StoreFuture<'_, usize> {
        self.with(|rows| sure(transitions::give_back(rows, worker, &held)))
    }

    fn deregister(&self, worker: WorkerId) -> StoreFuture<'_, usize> {
        let answer = self.with(|rows| {
            let given = sure(transitions::give_back(rows, worker, &[]));
            sure(rows.forget_worker(worker));
            given
        });
        self.hub.poke_all();
        answer
    }

    fn order(&self, order: Order, jobs: Vec<JobId>) -> StoreFuture<'_, Vec<Ordered>> {
        if let Err(invalid) = order.check() {
            return Box::pin(std::future::ready(Err(invalid)));
        }
        let answer = self.with(|rows| {
            let carry = |job: &JobId| sure(transitions::order(rows, &order, *job));
            jobs.iter().map(carry).collect()
        });
        self.hub.moved(jobs.into_iter());
        self.hub.poke_all();
        answer
    }

    fn fetch(&self, jobs: Vec<JobId>) -> StoreFuture<'_, Vec<JobRecord>> {
        self.with(|rows| sure(rows.load(&jobs)))
    }

    fn page(&self, query: Query) -> StoreFuture<'_, Page> {
        self.with(|rows| rows.page(&query))
    }

    fn counts(&self) -> StoreFuture<'_, Vec<QueueCount>> {
        self.with(|rows| rows.counts())
    }

    fn overview(&self) -> StoreFuture<'_, Overview> {
        self.with(|rows| rows.overview())
    }

    fn workers(&self) -> StoreFuture<'_, Vec<WorkerRecord>> {
        self.with(|rows| rows.workers())
    }

    fn prune(&self, keep: Keep, limit: usize) -> StoreFuture<'_, usize> {
        self.with(|rows| rows.prune(keep, limit))
    }

    fn limit_queue(&self, queue: Arc<str>, max: Option<u32>) -> StoreFuture<'_, ()> {
        if let Err(invalid) = check_name("the name of the queue", &queue) {
            return Box::pin(std::future::ready(Err(invalid)));
        }
        let answer = self.with(|rows| match max {
            Some(max) => drop(rows.limits.insert(queue, max as usize)),
            None => drop(rows.limits.remove(&queue)),
        });
        self.hub.poke_all();
        answer
    }

    fn pause_queue(&self, queue: Arc<str>, by: String) -> StoreFuture<'_, bool> {
        if let Err(invalid) = check_pause("the name of the queue", &queue, &by) {
            return Box::pin(std::future::ready(Err(invalid)));
        }
        self.with(|rows| {
            let at_ms = rows.now_ms();
            let new = !rows.pauses.contains_key(&queue);
            rows.pauses.entry(queue).or_insert_with(|| Pause::new(by, at_ms));
            new
        })
    }

    fn resume_queue(&self, queue: Arc<str>) -> StoreFuture<'_, bool> {
        let answer = self.with(|rows| rows.pauses.remove(&queue).is_some());
        self.hub.poke_all();
        answer
    }

    fn limit_rate(&self, of: RateOf, rate: Option<Rate>) -> StoreFuture<'_, ()> {
        if let Err(invalid) = of.check(rate) {
            return Box::pin(std::future::ready(Err(invalid)));
        }
        let answer = self.with(|rows| rows.limit_rate(of, rate));
        self.hub.poke_all();
        answer
    }

    fn rates(&self) -> StoreFuture<'_, Vec<RateRecord>> {
        self.with(|rows| rows.rates())
    }

    fn queues(&self) -> StoreFuture<'_, Vec<QueueRecord>> {
        self.with(|rows| rows.queues())
    }

    fn put_periodic(&self, new: Periodic) -> StoreFuture<'_, ()> {
        if let Err(invalid) = new.check(self.max_bytes) {
            return Box::pin(std::future::ready(Err(invalid)));
        }
        let answer = self.with(|rows| rows.put_periodic(new));
        self.hub.poke_all();
        answer
    }

    fn drop_periodic(&self, name: String) -> StoreFuture<'_, bool> {
        self.with(|rows| rows.periodic.remove(&name).is_some())
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
        let answer = self.with(|rows| rows.fire_periodic(&name, at_ms, next_ms, runs));
        self.hub.poke_all();
        answer
    }

    fn run_periodic(&self, name: String) -> StoreFuture<'_, Option<Enqueued>> {
        let answer = self.with(|rows| rows.run_periodic(&name));
        self.hub.poke_all();
        answer
    }

    fn disable_periodic(&self, name: String, at_ms: i64, error: String) -> StoreFuture<'_, ()> {
        self.with(|rows| rows.disable_periodic(&name, at_ms, error))
    }

    fn pause_periodic(&self, name: String, by: String) -> StoreFuture<'_, bool> {
        if let Err(invalid) = check_pause("the name of the periodic job", &name, &by) {
            return Box::pin(std::future::ready(Err(invalid)));
        }
        self.with(|rows| rows.pause_periodic(&name, by))
    }

    fn resume_periodic(&self, name: String, at_ms: i64, next_ms: i64) -> StoreFuture<'_, bool> {
        let answer = self.with(|rows| rows.resume_periodic(&name, at_ms, next_ms));
        self.hub.poke_all();
        answer
    }

    fn periodic(&self) -> StoreFuture<'_, Vec<PeriodicRecord>> {
        self.with(|rows| rows.periodic())
    }

    fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    fn now_ms(&self) -> StoreFuture<'_, i64> {
        self.with(|rows| rows.now_ms())
    }

    fn subscribe(&self, poke: &Poke) {
        self.hub.subscribe(poke);
    }

    fn wait(&self, job: JobId, at_most: Duration) -> StoreFuture<'_, Option<JobRecord>> {
        let notice = move || self.hub.end_of(job);
        Box::pin(crate::driver::wait_with(self, job, at_most, notice))
    }
}

impl Rows {
    fn enqueue(&mut self, job: NewJob) -> Enqueued {
        let mut row = JobRecord::new(JobId(0), job, self.now_ms());
        sure(transitions::enqueue(self, &mut row))
    }

    fn claim(&mut self, id: JobId, owner: WorkerId) -> JobRecord {
        let mut row = self.job(id).clone();
        step(&mut row, Event::Claim { owner }, self.now_ms()).expect("the index holds ready rows");
        if row.own_lease_ms > 0 {
            row.lease_until = self.boot_ms + row.own_lease_ms;
        }
        debug_assert_eq!(row.state, State::Running);
        sure(self.save(&row));
        row
    }
}
