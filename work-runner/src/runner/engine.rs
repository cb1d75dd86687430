//! The engine: one task that performs what the plan says, and tells the plan what became of it.
//!
//! It alone calls the store for the worker, except for the beats of the guard and what a handler
//! writes about its own job. It waits at one place, for an answer, a signal or a time.

use super::action::{Action, Bounds, Load};
use super::calls::{Answer, Answered, Calls, SWEEP_LIMIT};
use super::flight::{Control, lock};
use super::handler::StopCause;
use super::plan::Plan;
use super::shared::{Counts, DriveRequest, Shared, StopRequest};
use super::{Drive, attempt, drain};
use crate::contain::text_of;
use crate::error::{DriveError, StoreError};
use crate::event::{Event, trace};
use crate::lease::WorkerId;
use crate::registry::Peek;
use crate::retry::random;
use crate::signal::Signal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep_until;

/// Jobs that a lane runs before it lets others run.
const LANE_BURST: u32 = 64;
/// How long a handler may go on after its grace before it counts as stuck, and how often to look.
const STUCK_AFTER: Duration = Duration::from_millis(500);

pub(super) struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) plan: Plan,
    calls: Calls,
    pub(super) lanes: JoinSet<()>,
    /// The lease that turns claim under; `None` until enlisted.
    pub(super) worker: Option<WorkerId>,
    pub(super) drives: Vec<Driven>,
    counts: Arc<Counts>,
    pub(super) stop: Option<StopRequest>,
    heard: Signal,
    stuck_at: Instant,
    pub(super) stuck: Vec<Arc<Control>>,
}

/// A drive that waits for its answer.
pub(super) struct Driven {
    request: DriveRequest,
    claimed_before: u64,
    /// Answered looks, this one included, that were sent after it came.
    look: u64,
    /// The queues that may have something due and have places free.
    open: Vec<bool>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the module that owns the engine: the worker keeps the handle, aborts or joins it"
)]
pub(super) fn spawn(shared: Arc<Shared>, ended: watch::Sender<bool>) -> JoinHandle<()> {
    /// Says that the engine has ended, however it ended.
    struct Ends(watch::Sender<bool>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.send_replace(true);
        }
    }
    let ends = Ends(ended);
    let now = Instant::now();
    let bounds = Bounds {
        places: shared.queues.iter().map(|queue| queue.places + shared.config.prefetch).collect(),
        turns: shared.registry.parallel_turns().max(1),
        size: shared.registry.turn_size().max(1),
        house: shared.config.lease.beat(),
        prunes: shared.config.keep.is_some() || shared.config.keep_unhappy.is_some(),
    };
    let engine = Engine {
        plan: Plan::new(bounds, now),
        calls: Calls::default(),
        lanes: JoinSet::new(),
        worker: None,
        drives: Vec::new(),
        counts: Arc::default(),
        stop: None,
        heard: Signal::default(),
        stuck_at: now,
        stuck: Vec::new(),
        shared,
    };
    tokio::spawn(async move {
        engine.run().await;
        drop(ends);
    })
}

impl Engine {
    async fn run(mut self) {
        let guard = drain::GuardOwner::start(&self.shared);
        let ticker = Arc::clone(&self.shared.guard);
        let every = self.shared.config.lease.beat().min(Duration::from_secs(1));
        self.lanes.spawn(async move {
            // Shows that the runtime runs; see the guard's I3. Ends with the engine.
            loop {
                ticker.tick();
                tokio::time::sleep(every).await;
            }
        });
        loop {
            self.advance(None).await;
            if let Some(stop) = self.stop.take() {
                return self.drain(stop, guard).await;
            }
        }
    }

    /// Does all that can be done now, then waits for an answer, a signal, a time, or `until`.
    pub(super) async fn advance(&mut self, until: Option<Instant>) {
        let now = Instant::now();
        self.hear(now);
        if now >= self.stuck_at {
            self.write_off_stuck();
            self.stuck_at = now + STUCK_AFTER;
        }
        let taken = self.taken();
        self.act(now, &taken);
        self.answer_drives(&taken);
        if self.stop.is_some() {
            return;
        }
        let load = Load { taken: &taken, reports: self.shared.flight.reports() };
        let busy = self.shared.flight.is_loaded() || !self.stuck.is_empty();
        let busy = busy.then_some(self.stuck_at);
        let times = [self.plan.wake_at(load), busy, until];
        let asleep = async {
            match times.into_iter().flatten().min() {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            biased;
            answered = self.calls.next() => self.absorb(answered),
            heard = shared.wake.signals().raised(Signal::ALL) => self.heard = heard,
            () = asleep => {}
        }
    }

    /// Takes what was said: signals, mail, and the end of the lease.
    fn hear(&mut self, now: Instant) {
        let heard = self.shared.wake.signals().take(Signal::ALL);
        if heard.has(Signal::POKED) || std::mem::take(&mut self.heard).has(Signal::POKED) {
            self.plan.poked();
        }
        let (drives, attend, stop) = {
            let mut mail = lock(&self.shared.mail);
            (std::mem::take(&mut mail.drives), mail.attend.take(), mail.stop.take())
        };
        self.stop = stop.or(self.stop.take());
        if let Some(attend) = attend {
            self.plan.attended(attend.poll, now);
            self.counts = attend.counts;
            self.plan.driven();
        }
        for request in drives {
            self.plan.driven();
            self.drives.push(Driven {
                request,
                claimed_before: self.shared.counters.claimed.count(),
                look: self.plan.looks().0 + 1,
                open: vec![true; self.shared.queues.len()],
            });
        }
        self.notice_lease();
    }

    /// The guard fences by itself when it cannot renew.
    fn notice_lease(&mut self) {
        let Shared { guard, flight, counters, hook, .. } = &*self.shared;
        if let Some(worker) = self.worker.filter(|worker| guard.worker() != Some(*worker)) {
            // The guard may not have noticed yet that time has run out.
            guard.fence(worker, flight, counters);
            counters.lost.add(flight.lose_all(worker));
            self.worker = None;
            self.plan.fenced();
            hook.tell(&Event::Fenced { worker });
        }
    }

    /// The places of each queue that are taken: a stuck handler keeps its own after its job is written off,
    /// and what is claimed for it would only wait where no other worker finds it.
    fn taken(&self) -> Vec<usize> {
        let flight = &self.shared.flight;
        let mut taken: Vec<usize> =
            (0..self.shared.queues.len()).map(|queue| flight.load(queue)).collect();
        for control in self.stuck.iter().filter(|control| flight.is_boarded(control)) {
            taken[control.line] += 1;
        }
        taken
    }

    fn act(&mut self, now: Instant, taken: &[usize]) {
        loop {
            let reports = self.shared.flight.reports();
            let Some(action) = self.plan.next(now, Load { taken, reports }) else {
                return;
            };
            if matches!(action, Action::Turn(_)) {
                self.shared.counters.turns.add(1);
            }
            let worker = match &action {
                Action::Enlist => WorkerId::random(),
                _ => self.worker.unwrap_or(WorkerId::NONE),
            };
            self.calls.send(&self.shared, worker, action);
        }
    }

    fn absorb(&mut self, answered: Answered) {
        let now = Instant::now();
        let Answered { action, answer, mut sent } = answered;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // Its reports go again when `sent` is dropped.
                self.plan.failed(&action, now);
                return self.fail(error, &action);
            }
        };
        let counters = Arc::clone(&self.shared.counters);
        match (answer, &action) {
            (Answer::Enlisted(worker, at), _) => {
                self.shared.guard.arm(worker, at);
                self.worker = Some(worker);
                self.plan.enlisted();
                self.shared.hook.tell(&Event::Enlisted { worker });
            }
            (Answer::Reconciled(given_back), _) => {
                counters.reconciled.add(given_back as u64);
                self.plan.reconciled(given_back);
            }
            (Answer::Looked(peek), _) => self.looked(&peek, now),
            (Answer::Swept(swept), Action::Chore(chore)) => {
                counters.recovered.add(swept.jobs as u64);
                self.plan.kept(chore, swept.jobs > 0, swept.jobs >= SWEEP_LIMIT, now);
                if swept.jobs > 0 {
                    self.shared.hook.tell(&Event::Recovered(swept));
                }
            }
            (Answer::Pruned(pruned), Action::Chore(chore)) => {
                counters.pruned.add(pruned as u64);
                self.plan.kept(chore, false, pruned > 0, now);
            }
            (Answer::Fired(fired), Action::Chore(chore)) => {
                counters.fired.add(u64::from(fired));
                self.plan.kept(chore, fired, false, now);
            }
            (Answer::Disabled(why), Action::Chore(chore)) => {
                self.plan.kept(chore, false, false, now);
                self.shared.hook.tell(&Event::PeriodicDisabled { error: why });
            }
            (Answer::Turned(turn), Action::Turn(asked)) => {
                let reports = std::mem::take(&mut sent.reports);
                self.turned(turn, asked, sent.worker, reports);
            }
            _ => unreachable!("an answer is of the sort of its action"),
        }
    }

    fn looked(&mut self, peek: &Peek, now: Instant) {
        self.shared.counters.peeks.add(1);
        self.counts.drives.fetch_add(1, Ordering::Relaxed);
        for job in &peek.cancels {
            if let Some(control) = self.shared.flight.control(*job) {
                control.ask_to_stop(StopCause::Cancelled);
            }
        }
        let dead = peek.peers.iter().filter(|peer| peer.identity.is_provably_dead());
        let dead = dead.map(|peer| peer.id).collect();
        self.plan.looked(peek, dead, now, random());
        if let Some(worker) = self.worker.filter(|_| !peek.live) {
            let Shared { guard, flight, counters, .. } = &*self.shared;
            guard.fence(worker, flight, counters);
            self.notice_lease();
        }
    }

    fn fail(&mut self, error: StoreError, action: &Action) {
        let Shared { counters, hook, .. } = &*self.shared;
        counters.store_errors.add(1);
        let text = text_of(&error);
        hook.tell(&Event::StoreFailed { error: text.clone() });
        if matches!(action, Action::Look) {
            self.counts.drives.fetch_add(1, Ordering::Relaxed);
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
            trace(&Event::DriveFailed { error: text });
        }
        let mut error = Some(error);
        for drive in self.drives.drain(..) {
            let kind = error.as_ref().map_or(crate::StoreErrorKind::Unavailable, StoreError::kind);
            let again = || StoreError::new(kind, "claim jobs");
            let answer = DriveError::Store(error.take().unwrap_or_else(again));
            // A caller that has gone needs no answer.
            let _ = drive.request.answer.send(Err(answer));
        }
    }

    fn answer_drives(&mut self, taken: &[usize]) {
        if self.drives.is_empty() {
            return;
        }
        let idle = self.shared.flight.is_idle() && self.plan.is_settled();
        let (_, answered) = self.plan.looks();
        let total = self.shared.counters.claimed.count();
        let saturated = (0..taken.len()).any(|queue| self.plan.is_hungry(queue));
        for mut drive in std::mem::take(&mut self.drives) {
            if drive.look <= answered && !self.plan.keeps_house() {
                for (queue, open) in drive.open.iter_mut().enumerate() {
                    *open &= self.plan.is_hungry(queue) && !self.plan.is_full(queue, taken);
                }
            }
            if drive.open.contains(&true) || drive.request.until_idle && !idle {
                self.drives.push(drive);
                continue;
            }
            let claimed = total - drive.claimed_before;
            // A caller that has gone needs no answer.
            let _ = drive.request.answer.send(Ok(Drive { claimed, saturated }));
        }
    }

    /// Reports for handlers that block their threads, so that their jobs do not wait for them.
    fn write_off_stuck(&mut self) {
        let now = Instant::now();
        let grace = self.shared.config.grace;
        self.stuck.retain(|control| self.shared.flight.is_boarded(control));
        for control in self.shared.flight.controls() {
            let Some(started) = control.times().started else {
                continue;
            };
            let limit = Duration::from_millis(control.timeout_ms.unsigned_abs());
            if !limit.is_zero() && now.duration_since(started) > limit.saturating_add(STUCK_AFTER) {
                control.ask_to_stop(StopCause::TimedOut);
            }
            if control.drop_at(grace).is_some_and(|at| now > at + STUCK_AFTER) {
                self.write_off(&control);
            }
        }
    }

    pub(super) fn write_off(&mut self, control: &Arc<Control>) {
        let outcome = attempt::outcome_of_stuck(&self.shared, control);
        if self.shared.flight.report(control, outcome) {
            self.shared.counters.stuck.add(1);
            self.shared.hook.tell(&Event::Stuck { lease: control.lease });
            self.stuck.push(Arc::clone(control));
        }
    }

    /// Starts lanes for what waits in each line.
    pub(super) fn start_lanes(&mut self) {
        for line in 0..self.shared.queues.len() {
            for _ in 0..self.shared.flight.lanes_to_start(line) {
                self.lanes.spawn(lane(Arc::clone(&self.shared), line));
            }
        }
        // Ended lanes are reaped here, so that their number stays that of the places.
        while self.lanes.try_join_next().is_some() {}
    }
}

/// Runs the jobs of one line, one after the other, until none waits.
async fn lane(shared: Arc<Shared>, line: usize) {
    let mut burst = 0;
    while let Some(waiting) = shared.flight.next_or_end(line) {
        attempt::run(&shared, waiting).await;
        burst += 1;
        if burst % LANE_BURST == 0 {
            tokio::task::yield_now().await;
        }
    }
}
