//! What is in flight: claimed jobs that wait for a lane, jobs that run, and reports on their way to
//! the store. Shared by the engine, its lanes and the guard; no lock is held across an await.
//!
//! Invariants:
//! - I1: every job in `running` ends in exactly one of: one report in `done`, or a loss. The phase
//!   of its [`Control`] decides by one compare-and-swap.
//! - I2: a stop cause is set once; a later one does not replace it, except that a lost lease replaces each
//!   and a cancellation the stop of the worker.
//! - I3: at most one job in isolation is claimed and not yet written or lost. Another one is put off,
//!   so that it takes no place while it waits.

use super::handler::StopCause;
use crate::job::JobId;
use crate::lease::{Lease, WorkerId};
use crate::lifecycle::Outcome;
use crate::poke::Poke;
use crate::registry::{Claimed, Report};
use crate::signal::Signal;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The codes of the causes that replace others or are replaced.
const CANCELLED: u8 = 1;
const SHUTDOWN: u8 = 3;
const LOST: u8 = 4;

/// The engine's side of one claimed job.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) lease: Lease,
    /// Which backlog and lanes it belongs to: those of its queue.
    pub(super) line: usize,
    /// Longest attempt, 0 for no limit.
    pub(super) timeout_ms: i64,
    /// Why it is to stop: 0 for not.
    cause: AtomicU8,
    stop: Notify,
    /// Set once, by whoever decides how the job ends.
    settled: AtomicBool,
    completed: AtomicBool,
    /// Set by the lane when the handler starts, and by whoever stops it.
    times: Mutex<Times>,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Times {
    pub(super) started: Option<Instant>,
    pub(super) stopped: Option<Instant>,
    /// Its future is dropped no later than this, because the worker stops.
    pub(super) drop_by: Option<Instant>,
}

impl Control {
    pub(super) fn new(claimed: &Claimed, line: usize) -> Self {
        Self {
            lease: claimed.lease,
            line,
            timeout_ms: claimed.timeout_ms,
            cause: AtomicU8::new(0),
            stop: Notify::new(),
            settled: AtomicBool::new(false),
            completed: AtomicBool::new(false),
            times: Mutex::default(),
        }
    }

    pub(super) fn cause(&self) -> Option<StopCause> {
        // ORDERING: pairs with the Release of `ask_to_stop`.
        match self.cause.load(Ordering::Acquire) {
            0 => None,
            CANCELLED => Some(StopCause::Cancelled),
            2 => Some(StopCause::TimedOut),
            SHUTDOWN => Some(StopCause::Shutdown),
            _ => Some(StopCause::LeaseLost),
        }
    }

    /// I2: asks the handler to stop.
    pub(super) fn ask_to_stop(&self, cause: StopCause) {
        let code = match cause {
            StopCause::Cancelled => CANCELLED,
            StopCause::TimedOut => 2,
            StopCause::Shutdown => SHUTDOWN,
            StopCause::LeaseLost => LOST,
        };
        let set = |old: u8| {
            let replaces = old == 0 || code == LOST || (old == SHUTDOWN && code == CANCELLED);
            (replaces && old != code).then_some(code)
        };
        // ORDERING: Release for `cause`; what the asker wrote before is seen by who stops.
        let asked = self.cause.fetch_update(Ordering::AcqRel, Ordering::Acquire, set);
        if asked.is_ok() {
            if cause != StopCause::Shutdown {
                lock(&self.times).stopped.get_or_insert_with(Instant::now);
            }
            self.stop.notify_waiters();
        }
    }

    /// Asks the handler to stop because the worker does, and has its future dropped when it is not over by
    /// `drop_by`, even if it was asked before and has a longer grace.
    pub(super) fn shut_down(&self, drop_by: Instant) {
        lock(&self.times).drop_by = Some(drop_by);
        self.ask_to_stop(StopCause::Shutdown);
        self.stop.notify_waiters();
    }

    /// When its future is to be dropped: at the end of its grace, or when the stop of the worker says so.
    pub(super) fn drop_at(&self, grace: Duration) -> Option<Instant> {
        let Times { stopped, drop_by, .. } = self.times();
        stopped.map(|stopped| stopped + grace).into_iter().chain(drop_by).min()
    }

    /// Resolves when it is asked to stop, or to stop earlier, after this was called.
    pub(super) fn asked(&self) -> Notified<'_> {
        self.stop.notified()
    }

    pub(super) async fn stopped(&self) -> StopCause {
        loop {
            let notified = self.stop.notified();
            let mut notified = std::pin::pin!(notified);
            notified.as_mut().enable();
            if let Some(cause) = self.cause() {
                return cause;
            }
            notified.await;
        }
    }

    pub(super) fn set_completed(&self) {
        // ORDERING: Release for `is_completed`.
        self.completed.store(true, Ordering::Release);
    }

    pub(super) fn is_completed(&self) -> bool {
        // ORDERING: pairs with `set_completed`.
        self.completed.load(Ordering::Acquire)
    }

    pub(super) fn start(&self) {
        lock(&self.times).started = Some(Instant::now());
    }

    pub(super) fn times(&self) -> Times {
        *lock(&self.times)
    }

    /// I1: the right to decide how the job ends, given once.
    fn settle(&self) -> bool {
        // ORDERING: one winner by the swap itself; the loser touches nothing.
        !self.settled.swap(true, Ordering::AcqRel)
    }
}

/// A claimed job that waits for a lane.
pub(super) type Waiting = (Claimed, Arc<Control>);

/// Jobs that wait for a lane, and the lanes that take them.
#[derive(Debug)]
struct Line {
    /// How many lanes there may be.
    places: usize,
    /// Claimed and not reported.
    load: AtomicUsize,
    waiting: Mutex<Backlog>,
}

#[derive(Debug, Default)]
struct Backlog {
    jobs: VecDeque<Waiting>,
    /// Lanes that live. A lane decides to end under this lock, when it finds no job: so whoever adds
    /// jobs under it sees how many lanes will look again.
    lanes: usize,
}

/// The wait of a job in isolation while another one runs.
const ISOLATED_WAIT_MS: i64 = 250;

#[derive(Debug)]
pub(super) struct Flight {
    running: Mutex<HashMap<JobId, Arc<Control>>>,
    /// One for each queue.
    lines: Vec<Line>,
    done: Mutex<Vec<Report>>,
    /// I3: the job in isolation, until its report is written or lost: while a crash could still be charged
    /// to it, no other such job starts.
    isolated: Mutex<Option<JobId>>,
    /// Wakes the engine: reports are there, or the lease is gone.
    wake: Poke,
}

impl Flight {
    pub(super) fn new(places: impl Iterator<Item = usize>, wake: Poke) -> Self {
        let line = |places| Line { places, load: AtomicUsize::new(0), waiting: Mutex::default() };
        Self {
            running: Mutex::default(),
            lines: places.map(line).collect(),
            done: Mutex::default(),
            isolated: Mutex::default(),
            wake,
        }
    }

    /// Takes what a turn claimed: into the map, then into the backlogs.
    pub(super) fn board(&self, claimed: Vec<Claimed>, line_of: impl Fn(&Claimed) -> usize) {
        let boarded: Vec<Waiting> = claimed
            .into_iter()
            .map(|claimed| {
                let control = Arc::new(Control::new(&claimed, line_of(&claimed)));
                (claimed, control)
            })
            .collect();
        let mut running = lock(&self.running);
        for (claimed, control) in &boarded {
            self.lines[control.line].load.fetch_add(1, Ordering::Relaxed);
            running.insert(claimed.lease.job, Arc::clone(control));
        }
        drop(running);
        for waiting in boarded {
            let (claimed, control) = &waiting;
            if claimed.is_isolated() && !self.isolate(claimed.lease.job) {
                self.report(control, Outcome::Snooze { delay_ms: ISOLATED_WAIT_MS });
                continue;
            }
            lock(&self.lines[control.line].waiting).jobs.push_back(waiting);
        }
    }

    /// I3: whether `job` is the one in isolation now.
    fn isolate(&self, job: JobId) -> bool {
        *lock(&self.isolated).get_or_insert(job) == job
    }

    fn end_isolation(&self, ended: impl Fn(JobId) -> bool) {
        lock(&self.isolated).take_if(|job| ended(*job));
    }

    /// The engine has something to look at.
    pub(super) fn changed(&self) {
        self.wake.signals().raise(Signal::CHANGED);
    }

    /// How many lanes of `line` to start for what waits; they count as living from now on.
    pub(super) fn lanes_to_start(&self, line: usize) -> usize {
        let mut backlog = lock(&self.lines[line].waiting);
        let start = backlog.jobs.len().min(self.lines[line].places - backlog.lanes);
        backlog.lanes += start;
        start
    }

    /// The next job for a lane of `line`; on `None` that lane has ended.
    pub(super) fn next_or_end(&self, line: usize) -> Option<Waiting> {
        let mut backlog = lock(&self.lines[line].waiting);
        let next = backlog.jobs.pop_front();
        backlog.lanes -= usize::from(next.is_none());
        next
    }

    /// Claimed and not reported.
    pub(super) fn load(&self, line: usize) -> usize {
        self.lines[line].load.load(Ordering::Relaxed)
    }

    pub(super) fn is_loaded(&self) -> bool {
        (0..self.lines.len()).any(|line| self.load(line) > 0)
    }

    /// Nothing runs, nothing waits for a lane, and no report waits for the store.
    pub(super) fn is_idle(&self) -> bool {
        // In this order; see `report`.
        !self.is_loaded() && self.reports() == 0
    }

    /// I1: decides how a job ended. Returns false when that was decided before.
    pub(super) fn report(&self, control: &Control, outcome: Outcome) -> bool {
        if !control.settle() {
            return false;
        }
        let mut done = lock(&self.done);
        let first = done.is_empty();
        done.push(Report::new(control.lease, outcome));
        // Under the lock, after the push: whoever reads a load of zero and then takes the lock finds
        // the report. Otherwise the worker could look idle with an end that is not written.
        self.lines[control.line].load.fetch_sub(1, Ordering::Relaxed);
        drop(done);
        if first {
            self.changed();
        }
        true
    }

    /// I1: the job ends without a report, because its lease is gone. False when it was decided before.
    pub(super) fn lose(&self, control: &Control) -> bool {
        control.ask_to_stop(StopCause::LeaseLost);
        if !control.settle() {
            return false;
        }
        self.lines[control.line].load.fetch_sub(1, Ordering::Relaxed);
        lock(&self.running).remove(&control.lease.job);
        self.end_isolation(|job| job == control.lease.job);
        self.changed();
        true
    }

    pub(super) fn reports(&self) -> usize {
        lock(&self.done).len()
    }

    /// Takes at most `limit` reports; their jobs leave the map.
    pub(super) fn take_reports(&self, limit: usize) -> Vec<Report> {
        let mut done = lock(&self.done);
        let taken = limit.min(done.len());
        let rest = done.split_off(taken);
        let reports = std::mem::replace(&mut *done, rest);
        drop(done);
        let mut running = lock(&self.running);
        for report in &reports {
            running.remove(&report.lease.job);
        }
        reports
    }

    /// These reports are written, or refused for good.
    pub(super) fn settle_written(&self, reports: &[Report]) {
        self.end_isolation(|job| reports.iter().any(|report| report.lease.job == job));
    }

    /// Puts reports back that the store did not take; they go first.
    pub(super) fn put_back(&self, mut reports: Vec<Report>) {
        let mut done = lock(&self.done);
        reports.append(&mut done);
        *done = reports;
        drop(done);
        self.changed();
    }

    pub(super) fn control(&self, job: JobId) -> Option<Arc<Control>> {
        lock(&self.running).get(&job).map(Arc::clone)
    }

    /// Whether the handler of a job has not returned yet: its lane still holds the control.
    pub(super) fn is_boarded(&self, control: &Arc<Control>) -> bool {
        // One reference is the caller's list; the lane has another until the handler returns.
        Arc::strong_count(control) > 1
    }

    pub(super) fn controls(&self) -> Vec<Arc<Control>> {
        lock(&self.running).values().map(Arc::clone).collect()
    }

    /// Every job that this worker answers for: running, waiting or reported.
    pub(super) fn jobs(&self) -> Vec<JobId> {
        let mut jobs: Vec<_> = lock(&self.running).keys().copied().collect();
        jobs.extend(lock(&self.done).iter().map(|report| report.lease.job));
        jobs
    }

    /// The lease of `worker` is gone: every job under it stops, nothing of it is written.
    /// Returns how many jobs and reports were lost.
    pub(super) fn lose_all(&self, worker: WorkerId) -> u64 {
        for line in &self.lines {
            lock(&line.waiting).jobs.retain(|(claimed, _)| claimed.lease.owner != worker);
        }
        let mut lost = 0;
        for control in self.controls() {
            if control.lease.owner == worker {
                lost += u64::from(self.lose(&control));
            }
        }
        lock(&self.running).retain(|_, control| control.lease.owner != worker);
        self.end_isolation(|job| !lock(&self.running).contains_key(&job));
        let mut done = lock(&self.done);
        let before = done.len();
        done.retain(|report| report.lease.owner != worker);
        lost + (before - done.len()) as u64
    }

    /// Takes back what no lane has taken yet, to be given back.
    pub(super) fn unload(&self) -> Vec<Waiting> {
        let drain = |line: &Line| std::mem::take(&mut lock(&line.waiting).jobs);
        self.lines.iter().flat_map(drain).collect()
    }
}
