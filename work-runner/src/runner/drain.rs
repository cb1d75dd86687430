//! The end of a worker: stop claiming, give back, wait, cancel, write, leave.

use super::engine::Engine;
use super::flight::lock;
use super::guard::GuardThread;
use super::handler::StopCause;
use super::worker::Shared;
use crate::event::Event;
use crate::lifecycle::Outcome;
use crate::report::{LeftBehind, StopReport};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// What is kept of the deadline for writing the last ends: a fifth, at most this.
const WRITE_RESERVE: Duration = Duration::from_secs(2);
/// How long after the deadline the engine may take to say that it missed it.
const LATE: Duration = Duration::from_millis(250);
/// How often it looks whether somebody cancelled what it waits for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct StopRequest {
    deadline: Instant,
    answer: oneshot::Sender<StopReport>,
}

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
    deadline: Duration,
) -> StopReport {
    let began = Instant::now();
    let Some(mut task) = lock(engine).take() else {
        lock(&shared.inbox).closed = true;
        return StopReport::default();
    };
    let (answer, mut report) = oneshot::channel();
    let deadline = began + deadline;
    {
        let mut inbox = lock(&shared.inbox);
        inbox.closed = true;
        inbox.stop = Some(StopRequest { deadline, answer });
    }
    shared.flight.wake.notify_one();
    let ended = timeout_at(deadline + LATE, &mut report).await;
    let mut report = match ended {
        Ok(Ok(report)) => report,
        // The engine hangs in the store, or its runtime is gone: say what is known.
        _ => {
            task.abort();
            left_by_force(shared)
        }
    };
    // It has answered or was aborted; only its destructors may still run.
    let _ = timeout(LATE, &mut task).await;
    report.took = began.elapsed();
    report
}

fn left_by_force(shared: &Shared) -> StopReport {
    let mut report = StopReport::default();
    for control in shared.flight.controls() {
        control.ask_to_stop(StopCause::Shutdown);
        report.leave(LeftBehind::Job(control.lease.job));
    }
    report.leave(LeftBehind::Lease);
    report
}

impl Engine {
    pub(super) async fn drain(mut self, stop: StopRequest, guard: GuardOwner) {
        let StopRequest { deadline, answer } = stop;
        let shared = Arc::clone(&self.shared);
        let before = shared.stats();
        let now = Instant::now();
        let whole = deadline.saturating_duration_since(now);
        let reserve = (whole / 5).min(WRITE_RESERVE);
        let cancel_at = deadline - (reserve + shared.config.grace.min(whole / 4)).min(whole);
        let end_at = deadline - reserve.min(whole);

        // Who waits for a drive hears at once that there is none, not when this is over.
        self.drives.clear();
        lock(&shared.inbox).drives.clear();
        self.hungry.fill(false);
        for (_, control) in shared.flight.unload() {
            shared.flight.report(&control, Outcome::Release);
        }
        self.wait_for_ends(cancel_at).await;
        // The last quarter of the grace is for destructors.
        let drop_by = end_at - end_at.saturating_duration_since(cancel_at) / 4;
        for control in shared.flight.controls() {
            control.ask_to_stop_by(StopCause::Shutdown, drop_by.into_std());
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
        for control in &self.stuck {
            report.leave(LeftBehind::Handler(control.lease.job));
        }
        if let Some(worker) = self.worker {
            let left = shared.registry.deregister(worker);
            if !matches!(timeout_at(deadline, left).await, Ok(Ok(_))) {
                report.leave(LeftBehind::Lease);
            } else {
                shared.guard.retire();
            }
        }
        self.worker = None;
        drop(guard);
        let after = shared.stats();
        report.given_back = after.released - before.released;
        report.lost = after.lost - before.lost;
        let ended = after.ended() - before.ended();
        report.finished = ended - report.given_back - report.lost;
        // The caller may have stopped waiting; the work is done all the same.
        let _ = answer.send(report);
    }

    /// Writes reports as they come until nothing is in flight, or until `until`. Nobody drives any
    /// more, so it also hears here who is cancelled, and writes off who blocks a thread.
    async fn wait_for_ends(&mut self, until: Instant) {
        let shared = Arc::clone(&self.shared);
        let mut look_at = Instant::now();
        loop {
            let written = timeout_at(until, self.turns()).await;
            if shared.flight.is_idle() || Instant::now() >= until || shared.guard.worker().is_none()
            {
                return;
            }
            if Instant::now() >= look_at {
                // When the store fails, the next look hears of it.
                let _ = timeout_at(until, self.hear_cancels()).await;
                look_at = Instant::now() + LOOK_EVERY;
            }
            self.write_off_stuck();
            let pause = match written {
                Ok(Ok(())) => until.min(look_at),
                // The store failed: try again, the deadline bounds it.
                _ => until.min(Instant::now() + Duration::from_millis(50)),
            };
            tokio::select! {
                () = shared.flight.wake.notified() => {}
                () = sleep_until(pause) => {}
            }
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
