//! The end of a worker: stop claiming, give back, wait, cancel, write, leave.

use super::calls::within;
use super::engine::Engine;
use super::flight::lock;
use super::guard::GuardThread;
use super::handler::StopCause;
use super::shared::{Shared, StopRequest, from_now};
use crate::event::Event;
use crate::lease::WorkerId;
use crate::lifecycle::Outcome;
use crate::report::{LeftBehind, StopReport};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};

/// What is kept of the deadline for writing the last ends: a fifth, at most this.
const WRITE_RESERVE: Duration = Duration::from_secs(2);
/// How long after the deadline the engine may take to say that it missed it.
const LATE: Duration = Duration::from_millis(250);
/// The pause before the lease is given back again.
const AGAIN: Duration = Duration::from_millis(50);
/// How often it looks whether somebody cancelled what it waits for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Ends the guard's thread with the engine, whichever way that ends.
pub(super) struct GuardOwner {
    shared: Arc<Shared>,
    thread: Option<GuardThread>,
}

impl GuardOwner {
    pub(super) fn start(shared: &Arc<Shared>) -> Self {
        let (guard, registry) = (Arc::clone(&shared.guard), Arc::clone(&shared.registry));
        let (flight, counters) = (Arc::clone(&shared.flight), Arc::clone(&shared.counters));
        let thread = GuardThread::start(guard, registry, flight, counters);
        if let Err(error) = &thread {
            // Without its thread nothing renews: the worker works until its first lease lapses, and
            // with every enlistment anew. Slow, and safe.
            let error = format!("start the lease thread: {error}");
            shared.hook.tell(&Event::StoreFailed { error });
        }
        Self { shared: Arc::clone(shared), thread: thread.ok() }
    }
}

impl Drop for GuardOwner {
    fn drop(&mut self) {
        self.shared.guard.stop();
        if let Some(thread) = &mut self.thread {
            thread.join(&self.shared.guard);
        }
    }
}

pub(super) async fn stop(
    shared: &Arc<Shared>,
    engine: &Mutex<Option<JoinHandle<()>>>,
    ended: &watch::Sender<bool>,
    deadline: Duration,
    at_once: bool,
) -> StopReport {
    let began = Instant::now();
    let taken = {
        let mut engine = lock(engine);
        let mut mail = lock(&shared.mail);
        // The engine ends when it finds itself closed without a request to stop: that comes with the request.
        mail.closed |= engine.is_none() && !mail.stopping;
        mail.stopping |= engine.is_some();
        engine.take().ok_or(mail.stopping)
    };
    let mut task = match taken {
        Ok(task) => task,
        Err(true) => return stopped_by_another(shared, ended, deadline, at_once).await,
        // It never ran.
        Err(false) => return StopReport::default(),
    };
    let (answer, mut report) = oneshot::channel();
    let deadline = from_now(deadline);
    shared.post(|mail| {
        mail.closed = true;
        mail.stop = Some(StopRequest { deadline, at_once, answer });
    });
    let ended = timeout_at((deadline + LATE).into(), &mut report).await;
    let report = match ended {
        Ok(Ok(report)) => Some(report),
        // The engine hangs in foreign code, or its runtime is gone: say what is known.
        _ => {
            task.abort();
            None
        }
    };
    // It has answered or was aborted; only its destructors may still run.
    let _ = timeout(LATE, &mut task).await;
    let mut report = report.unwrap_or_else(|| left_by_force(shared));
    report.took = began.elapsed();
    report
}

/// Waits for the stop of another caller, which has the rest of the report. A stop hastens a drain.
async fn stopped_by_another(
    shared: &Shared,
    ended: &watch::Sender<bool>,
    deadline: Duration,
    at_once: bool,
) -> StopReport {
    let began = Instant::now();
    if at_once {
        for control in shared.flight.controls() {
            control.ask_to_stop(StopCause::Shutdown);
        }
    }
    let mut ended = ended.subscribe();
    let mut report = StopReport::default();
    let waited = timeout_at(from_now(deadline).into(), ended.wait_for(|ended| *ended)).await;
    let mut left = lock(&shared.mail).left.clone();
    if left.is_empty() {
        left.extend(shared.flight.jobs().into_iter().map(LeftBehind::Job));
        if waited.is_err() || shared.guard.worker().is_some() {
            left.push(LeftBehind::Lease);
        }
    }
    left.into_iter().for_each(|what| report.leave(what));
    report.took = began.elapsed();
    report
}

fn left_by_force(shared: &Shared) -> StopReport {
    let mut report = StopReport::default();
    for control in shared.flight.controls() {
        control.ask_to_stop(StopCause::Shutdown);
    }
    for job in shared.flight.jobs() {
        report.leave(LeftBehind::Job(job));
    }
    report.leave(LeftBehind::Lease);
    report
}

impl Engine {
    pub(super) async fn drain(mut self, stop: StopRequest, guard: GuardOwner) {
        let StopRequest { deadline, at_once, answer } = stop;
        let shared = Arc::clone(&self.shared);
        let before = shared.stats();
        let now = Instant::now();
        let whole = deadline.saturating_duration_since(now);
        let reserve = (whole / 5).min(WRITE_RESERVE);
        let end_at = deadline - reserve.min(whole);
        let grace = shared.config.grace.min(whole / 4);
        let ask_at = if at_once { now } else { deadline - (reserve + grace).min(whole) };

        // Who waits for a drive hears at once that there is none, not when this is over.
        self.drives.clear();
        lock(&shared.mail).drives.clear();
        self.plan.close(LOOK_EVERY, now);
        self.give_back();
        self.wait_for_ends(ask_at).await;
        // The last quarter of the grace is for destructors.
        let drop_by = end_at - grace.min(end_at.saturating_duration_since(now)) / 4;
        for control in shared.flight.controls() {
            control.shut_down(drop_by);
        }
        self.wait_for_ends(end_at).await;
        for control in shared.flight.controls() {
            self.write_off(&control);
        }
        self.wait_for_ends(deadline).await;

        let mut report = StopReport::default();
        for job in shared.flight.jobs() {
            report.leave(LeftBehind::Job(job));
        }
        for control in self.stuck.iter().filter(|control| shared.flight.is_boarded(control)) {
            report.leave(LeftBehind::Handler(control.lease.job));
        }
        if let Some(worker) = self.worker {
            if self.deregister(worker, deadline).await {
                shared.guard.retire();
            } else {
                report.leave(LeftBehind::Lease);
            }
        } else if self.plan.is_enlisting() {
            // Whether the store has granted it is unknown.
            report.leave(LeftBehind::Lease);
        }
        self.worker = None;
        drop(guard);
        let after = shared.stats();
        report.given_back = after.released - before.released;
        report.lost = after.lost - before.lost;
        let ended = after.ended() - before.ended();
        report.finished = ended - report.given_back - report.lost;
        lock(&shared.mail).left = report.left_behind().to_vec();
        // The caller may have stopped waiting; the work is done all the same.
        let _ = answer.send(report);
    }

    /// Gives the lease back, by as many calls as the deadline allows.
    async fn deregister(&mut self, worker: WorkerId, deadline: Instant) -> bool {
        let Shared { registry, config, .. } = &*self.shared;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = left.min(config.store_timeout);
            match within(limit, || registry.deregister(worker)).await {
                Ok(_) => return true,
                Err(error) if !error.is_transient() || left <= AGAIN => return false,
                // The pause gives a store that is away the time to come back.
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Gives back what no lane has taken.
    pub(super) fn give_back(&self) {
        for (_, control) in self.shared.flight.unload() {
            self.shared.flight.report(&control, Outcome::Release);
        }
    }

    /// Writes reports as they come until nothing is in flight, or until `until`.
    async fn wait_for_ends(&mut self, until: Instant) {
        let shared = Arc::clone(&self.shared);
        while !(shared.flight.is_idle() && self.plan.is_settled())
            && Instant::now() < until
            && (self.worker.is_some() || self.plan.is_enlisting())
        {
            self.advance(Some(until)).await;
        }
    }
}

/// The last clone of a worker was dropped without a stop: what it leased is given back by the
/// process-wide cleanup worker, which needs no runtime and outlives this one.
pub(super) fn release_later(shared: &Arc<Shared>) {
    shared.guard.stop();
    let Some(worker) = shared.guard.worker() else {
        return;
    };
    let registry = Arc::clone(&shared.registry);
    let release = async move { registry.deregister(worker).await.map(drop) };
    // Refused only when its queue is full: then the lease lapses by itself.
    drop(lastout_cleanup_worker::submit(release));
}
