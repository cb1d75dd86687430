//! The engine: one task that holds the lease, looks for work, takes turns and starts lanes.
//!
//! It alone calls the store for the worker, except for the beats of the guard and what a handler
//! writes about its own job. It is sequential; only turns overlap (see `turns`).

use super::flight::{Control, lock};
use super::handler::StopCause;
use super::worker::Shared;
use super::{Drive, attempt, drain};
use crate::clock::boot_ms;
use crate::error::{DriveError, StoreError};
use crate::event::Event;
use crate::identity::Identity;
use crate::lease::WorkerId;
use crate::registry::Peek;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// A drive within this time of the last look claims without looking.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// First and longest pause after the store failed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Jobs taken back, and ended jobs deleted, by one call.
const SWEEP_LIMIT: usize = 1000;
/// Jobs that a lane runs before it lets others run.
const LANE_BURST: u32 = 64;
/// How long a handler may go on after its grace before it counts as stuck.
const STUCK_AFTER: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct DriveRequest {
    pub(super) answer: oneshot::Sender<Result<Drive, DriveError>>,
    /// Answer only when nothing runs any more.
    pub(super) until_idle: bool,
}

pub(super) struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) lanes: JoinSet<()>,
    /// The lease that turns claim under; `None` until enlisted.
    pub(super) worker: Option<WorkerId>,
    /// For each queue, whether the store may have more.
    pub(super) hungry: Vec<bool>,
    /// The next turn makes ready what has come due.
    pub(super) promote: bool,
    /// When the next scheduled job comes due, as far as known.
    pub(super) due_at: Option<Instant>,
    /// The answer to a turn was lost: the store may think we hold more than we know of.
    pub(super) doubtful: bool,
    pub(super) drives: Vec<(DriveRequest, u64)>,
    looked: Option<Instant>,
    housekeeping_at: Instant,
    pause: Duration,
    resume_at: Option<Instant>,
    pub(super) stuck: Vec<Arc<Control>>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the module that owns the engine: the worker keeps the handle, aborts or joins it"
)]
pub(super) fn spawn(shared: Arc<Shared>) -> JoinHandle<()> {
    let engine = Engine {
        lanes: JoinSet::new(),
        worker: None,
        hungry: vec![false; shared.queues.len()],
        promote: false,
        due_at: None,
        doubtful: false,
        drives: Vec::new(),
        looked: None,
        housekeeping_at: Instant::now(),
        pause: PAUSE.0,
        resume_at: None,
        stuck: Vec::new(),
        shared,
    };
    tokio::spawn(engine.run())
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
            let stop = lock(&self.shared.inbox).stop.take();
            if let Some(stop) = stop {
                return self.drain(stop, guard).await;
            }
            self.round(Instant::now()).await;
            let wake_at = self.wake_at(Instant::now());
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                () = shared.flight.wake.notified() => {}
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Everything that can be done now.
    async fn round(&mut self, now: Instant) {
        self.take_drives();
        self.write_off_stuck();
        if self.resume_at.is_some_and(|at| now < at) {
            return;
        }
        self.resume_at = None;
        match self.work(now).await {
            Ok(()) => {
                self.pause = PAUSE.0;
                self.answer_drives();
            }
            Err(error) => self.fail(error),
        }
    }

    async fn work(&mut self, now: Instant) -> Result<(), StoreError> {
        self.enlist().await?;
        if self.doubtful
            && let Some(worker) = self.worker
        {
            let held = self.shared.flight.jobs();
            self.shared.registry.reconcile(worker, held).await?;
            self.doubtful = false;
        }
        let due = self.due_at.is_some_and(|at| at <= now);
        let look = self.looked.is_none_or(|at| now >= at + LOOK_EVERY);
        if (!self.drives.is_empty() || due) && look || now >= self.housekeeping_at {
            self.look().await?;
        } else if !self.drives.is_empty() || due {
            self.hungry.fill(true);
            self.promote |= due;
        }
        self.turns().await
    }

    /// Holds a lease: the one it has, or that of a new incarnation.
    async fn enlist(&mut self) -> Result<(), StoreError> {
        let live = self.shared.guard.worker();
        if live.is_some() && live == self.worker {
            return Ok(());
        }
        if let Some(worker) = self.worker.take() {
            let Shared { flight, counters, .. } = &*self.shared;
            // The guard may not have noticed yet that time has run out.
            self.shared.guard.fence(worker, flight, counters);
            self.shared.hook.tell(&Event::Fenced { worker });
        }
        let worker = WorkerId::random();
        let sent = boot_ms();
        let ttl = self.shared.config.lease.ttl();
        self.shared.registry.register(worker, Identity::current(), ttl).await?;
        self.shared.guard.arm(worker, sent);
        self.worker = Some(worker);
        self.doubtful = false;
        self.shared.hook.tell(&Event::Enlisted { worker });
        Ok(())
    }

    /// Looks for work of every sort, with one call when there is none.
    async fn look(&mut self) -> Result<(), StoreError> {
        let Some(worker) = self.worker else {
            return Ok(());
        };
        let queues = self.shared.queues.iter().map(|queue| Arc::clone(&queue.name)).collect();
        let peek = self.shared.registry.peek(worker, queues).await?;
        self.shared.counters.peeks.add(1);
        self.looked = Some(Instant::now());
        if !peek.live {
            let Shared { guard, flight, counters, .. } = &*self.shared;
            guard.fence(worker, flight, counters);
            return self.enlist().await;
        }
        self.heed(&peek);
        let swept = self.keep_house(&peek).await?;
        if peek.ready || peek.promotable || swept {
            self.hungry.fill(true);
        }
        self.promote |= peek.promotable;
        let ahead = peek.next_due_ms.map(|ms| Duration::from_millis(ms.clamp(0, 3_600_000) as u64));
        self.due_at = ahead.map(|ahead| Instant::now() + ahead);
        Ok(())
    }

    /// Looks only for what somebody cancelled.
    pub(super) async fn hear_cancels(&mut self) -> Result<(), StoreError> {
        if let Some(worker) = self.worker {
            let peek = self.shared.registry.peek(worker, Vec::new()).await?;
            self.shared.counters.peeks.add(1);
            self.heed(&peek);
        }
        Ok(())
    }

    fn heed(&self, peek: &Peek) {
        for job in &peek.cancels {
            if let Some(control) = self.shared.flight.control(*job) {
                control.ask_to_stop(StopCause::Cancelled);
            }
        }
    }

    /// Sweeps, fires periodic jobs and prunes, each when there is reason to. True when jobs came of it.
    async fn keep_house(&mut self, peek: &Peek) -> Result<bool, StoreError> {
        let due = Instant::now() >= self.housekeeping_at;
        let dead = peek.peers.iter().filter(|peer| peer.identity.is_provably_dead());
        let dead: Vec<_> = dead.map(|peer| peer.id).collect();
        let mut found = false;
        let Shared { registry, counters, config, hook, .. } = &*self.shared;
        if due || peek.expired || !dead.is_empty() {
            let swept = registry.sweep(dead, SWEEP_LIMIT).await?;
            counters.recovered.add(swept.jobs as u64);
            found |= swept.jobs > 0;
            if swept.jobs > 0 {
                hook.tell(&Event::Recovered(swept));
            }
        }
        for periodic in &peek.periodic {
            let cron = crate::cron::Cron::parse(&periodic.cron);
            let next = cron.ok().and_then(|cron| cron.next_after(peek.now_ms));
            let (name, next) = (periodic.name.clone(), next.unwrap_or(i64::MAX));
            let fired = registry.fire_periodic(name, periodic.at_ms, next).await?;
            counters.fired.add(u64::from(fired));
            found |= fired;
        }
        if due {
            self.promote = true;
            self.housekeeping_at = Instant::now() + config.lease.beat();
            if let Some(keep) = config.keep {
                counters.pruned.add(registry.prune(keep, SWEEP_LIMIT).await? as u64);
            }
        }
        Ok(found)
    }

    fn fail(&mut self, error: StoreError) {
        let Shared { counters, hook, .. } = &*self.shared;
        counters.store_errors.add(1);
        let text = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        hook.tell(&Event::StoreFailed { error: text });
        self.resume_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSE.1);
        let mut error = Some(error);
        for (drive, _) in self.drives.drain(..) {
            let kind = error.as_ref().map_or(crate::StoreErrorKind::Unavailable, StoreError::kind);
            let again = || StoreError::new(kind, "claim jobs");
            let answer = DriveError::Store(error.take().unwrap_or_else(again));
            // A caller that has gone needs no answer.
            let _ = drive.answer.send(Err(answer));
        }
    }

    fn take_drives(&mut self) {
        let claimed = self.shared.counters.claimed.count();
        let new = std::mem::take(&mut lock(&self.shared.inbox).drives);
        self.drives.extend(new.into_iter().map(|drive| (drive, claimed)));
    }

    /// Whether somebody waits for the engine to look.
    pub(super) fn is_driven(&self) -> bool {
        !lock(&self.shared.inbox).drives.is_empty() || lock(&self.shared.inbox).stop.is_some()
    }

    fn answer_drives(&mut self) {
        let busy = !self.shared.flight.is_idle();
        let saturated = self.hungry.iter().any(|hungry| *hungry);
        let total = self.shared.counters.claimed.count();
        let waiting = std::mem::take(&mut self.drives);
        for (drive, before) in waiting {
            if drive.until_idle && busy {
                self.drives.push((drive, before));
                continue;
            }
            let claimed = total - before;
            // A caller that has gone needs no answer.
            let _ = drive.answer.send(Ok(Drive { claimed, saturated }));
        }
    }

    fn wake_at(&self, now: Instant) -> Instant {
        if let Some(at) = self.resume_at {
            return at;
        }
        let busy = self.shared.flight.total_load() > 0;
        let stuck_check = busy.then(|| now + Duration::from_millis(500));
        let until_idle = self.drives.iter().any(|(drive, _)| drive.until_idle);
        let look = until_idle.then(|| now + LOOK_EVERY);
        let at = [self.due_at, stuck_check, look].into_iter().flatten().min();
        at.unwrap_or(self.housekeeping_at).min(self.housekeeping_at)
    }

    /// Reports for handlers that block their threads, so that their jobs do not wait for them.
    pub(super) fn write_off_stuck(&mut self) {
        let now = std::time::Instant::now();
        let slack = self.shared.config.grace + STUCK_AFTER;
        self.stuck.retain(|control| self.shared.flight.is_boarded(control));
        for control in self.shared.flight.controls() {
            let times = control.times();
            let Some(started) = times.started else {
                continue;
            };
            let limit = Duration::from_millis(control.timeout_ms.unsigned_abs());
            if !limit.is_zero() && now > started + limit + STUCK_AFTER {
                control.ask_to_stop(StopCause::TimedOut);
            }
            if times.stopped.is_some_and(|stopped| now > stopped + slack) {
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
        for line in 0..self.shared.flight.lines() {
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
        let job = waiting.0.lease.job;
        attempt::run(&shared, waiting).await;
        if line + 1 == shared.flight.lines() {
            shared.flight.written(job).await;
        }
        burst += 1;
        if burst % LANE_BURST == 0 {
            tokio::task::yield_now().await;
        }
    }
}
