//! Many workers and one store in virtual time: the real plans against the real rows, with faults by seed.
//!
//! Calls take time; they get lost before or after the store applies them, or are applied when their worker
//! has long given them up; workers pause, with or without losing their lease, and die. Invariants: every
//! job ends once and stays ended, a fence never falls, and L1: while no fault is going on, a ready job that
//! some live worker has a place for is claimed within a bound; nothing runs for ever under a worker that
//! does not run it.

use super::action::{Action, Asked, Bounds, Chore, Load};
use super::plan::{PAUSE, Plan};
use crate::clock::Clock;
use crate::job::{JobId, NewJob};
use crate::lease::{Fence, WorkerId};
use crate::lifecycle::{Outcome, State};
use crate::registry::{
    Claimed, Keep, Peek, Query, Registry, Report, Turn, TurnRequest, WorkerProfile,
};
use crate::store::MemoryRegistry;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

const QUEUES: [(&str, usize); 2] = [("one", 1), ("four", 4)];
const TTL: i64 = 1500;
const MARGIN: i64 = 150;
const BEAT: i64 = 500;
const POLL: i64 = 500;
const DEADLINE: i64 = 400;
/// Within this time without a fault the last effect of each fault is over: a lease has lapsed, a late commit
/// was found, a pause after a failure has passed.
const SETTLED: i64 = 2 * TTL + 2 * BEAT + 2000 + DEADLINE;
/// L1 with all its terms.
const BOUND: i64 = POLL * 12 / 10 + 4 * DEADLINE;

/// What a run counted.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Ran {
    pub(crate) jobs: usize,
    pub(crate) calls: usize,
    pub(crate) faults: usize,
    pub(crate) late: usize,
}

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: i64) -> i64 {
        (self.next() % most.max(1) as u64) as i64
    }

    fn one_in(&mut self, n: i64) -> bool {
        self.below(n) == 0
    }
}

/// A store in memory answers at once.
fn now<T>(answer: impl Future<Output = Result<T, crate::StoreError>>) -> T {
    match std::pin::pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(answer) => answer.expect("a store in memory never fails"),
        std::task::Poll::Pending => unreachable!("a store in memory never waits"),
    }
}

#[derive(Debug)]
enum Answer {
    Done,
    Looked(Peek),
    Swept(usize),
    Given(usize),
    Turned(Turn),
}

/// A call: when the store applies it and when its worker hears of it, if ever.
struct Call {
    worker: usize,
    life: u32,
    id: WorkerId,
    action: Action,
    reports: Vec<Report>,
    held: Vec<JobId>,
    apply_at: Option<i64>,
    answer_at: i64,
    /// The worker hears of a failure, whatever the store does.
    fails: bool,
    answer: Option<Answer>,
    answered: bool,
}

struct Sim {
    id: WorkerId,
    life: u32,
    plan: Plan,
    leased: bool,
    valid_until: i64,
    beat_at: i64,
    paused_until: i64,
    runs: HashMap<JobId, (Claimed, i64)>,
    reports: Vec<Report>,
}

struct World {
    clock: Clock,
    base: Instant,
    start: i64,
    registry: MemoryRegistry,
    rng: Rng,
    sims: Vec<Sim>,
    calls: Vec<Call>,
    seen: BTreeMap<JobId, (State, Fence)>,
    ends: HashMap<JobId, u32>,
    ready_since: HashMap<JobId, i64>,
    last_fault: i64,
    faulty: bool,
    ran: Ran,
}

/// Runs one seed; panics when an invariant does not hold.
pub(crate) fn run(seed: u64, mends: bool) -> Ran {
    let clock = Clock::manual();
    let mut world = World {
        start: clock.boot_ms(),
        base: Instant::now(),
        registry: MemoryRegistry::with_clock(clock.clone()),
        clock,
        rng: Rng(seed),
        sims: Vec::new(),
        calls: Vec::new(),
        seen: BTreeMap::new(),
        ends: HashMap::new(),
        ready_since: HashMap::new(),
        last_fault: 0,
        faulty: true,
        ran: Ran::default(),
    };
    for _ in 0..2 + world.rng.below(3) {
        let sim = world.newborn(0);
        world.sims.push(sim);
    }
    let storm = 2000 + world.rng.below(3000);
    let mut at = 0;
    while at < storm {
        world.enqueue_some();
        at += 1 + world.rng.below(40);
        world.pass_to(at, mends);
    }
    world.faulty = false;
    for sim in &mut world.sims {
        sim.paused_until = 0;
    }
    // A trickle goes on, so that liveness is seen after the storm.
    while at < storm + SETTLED + 1500 {
        if world.rng.one_in(8) {
            world.enqueue_some();
        }
        at += 1 + world.rng.below(40);
        world.pass_to(at, mends);
    }
    world.pass_to(at + SETTLED, mends);
    for row in now(world.registry.list(Query::all().limit(10_000))) {
        assert!(row.state.is_terminal(), "seed {seed}: it never ended: {row:?}");
        assert_eq!(world.ends[&row.id], 1, "seed {seed}: {row:?}");
    }
    world.ran
}

impl World {
    fn time(&self) -> i64 {
        self.clock.boot_ms() - self.start
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_millis(self.time().unsigned_abs())
    }

    fn newborn(&mut self, life: u32) -> Sim {
        let bounds = Bounds {
            places: QUEUES.iter().map(|(_, places)| *places).collect(),
            turns: 2,
            size: 8,
            house: Duration::from_millis(BEAT.unsigned_abs()),
            prunes: false,
        };
        let now = self.instant();
        let mut plan = Plan::new(bounds, now);
        plan.attended(Some(Duration::from_millis(POLL.unsigned_abs())), now);
        Sim {
            id: WorkerId::NONE,
            life,
            plan,
            leased: false,
            valid_until: 0,
            beat_at: 0,
            paused_until: 0,
            runs: HashMap::new(),
            reports: Vec::new(),
        }
    }

    fn enqueue_some(&mut self) {
        let queue = QUEUES[self.rng.below(2) as usize].0;
        let mut jobs = Vec::new();
        for _ in 0..1 + self.rng.below(3) {
            let mut job = NewJob::raw("any", Vec::new()).queue(queue).max_crashes(1000);
            if self.rng.one_in(6) {
                job = job.delay(Duration::from_millis(self.rng.next() % 800));
            }
            if self.rng.one_in(8) {
                job = job.limit("key", 2);
            }
            jobs.push(job);
        }
        self.ran.jobs += jobs.len();
        now(self.registry.enqueue(jobs));
        for sim in &mut self.sims {
            // A poke may be lost: between processes it is a hint.
            if self.rng.0 & 7 != 0 {
                sim.plan.poked();
            }
        }
    }

    /// Lets time pass, a millisecond at a time.
    fn pass_to(&mut self, until: i64, mends: bool) {
        while self.time() < until {
            self.clock.advance(Duration::from_millis(1));
            let time = self.time();
            self.applications();
            for at in 0..self.sims.len() {
                if self.faulty && self.rng.one_in(40_000) {
                    // It dies: what it sent may still arrive.
                    self.fault();
                    let life = self.sims[at].life + 1;
                    self.sims[at] = self.newborn(life);
                    continue;
                }
                if self.faulty && self.rng.one_in(8_000) {
                    self.fault();
                    self.sims[at].paused_until = time + self.rng.below(2 * TTL);
                }
                if time >= self.sims[at].paused_until {
                    self.advance(at, mends);
                }
            }
            self.check();
        }
    }

    fn fault(&mut self) {
        self.ran.faults += 1;
        self.last_fault = self.time();
    }

    /// The store applies what has come to it.
    fn applications(&mut self) {
        let time = self.time();
        for at in 0..self.calls.len() {
            let call = &mut self.calls[at];
            if call.apply_at.is_none_or(|apply_at| apply_at > time) {
                continue;
            }
            call.apply_at = None;
            let id = call.id;
            let registry = &self.registry;
            call.answer = Some(match &call.action {
                Action::Enlist => {
                    let ttl = Duration::from_millis(TTL.unsigned_abs());
                    now(registry.register(id, WorkerProfile::default(), ttl));
                    Answer::Done
                }
                Action::Reconcile => Answer::Given(now(registry.reconcile(id, call.held.clone()))),
                Action::Look => {
                    let queues = QUEUES.iter().map(|(queue, _)| (*queue).into()).collect();
                    Answer::Looked(now(registry.peek(id, queues, None)))
                }
                Action::Chore(Chore::Sweep(_)) => {
                    Answer::Swept(now(registry.sweep(Vec::new(), 100)).jobs)
                }
                Action::Chore(_) => {
                    now(registry.prune(Keep::default(), 1));
                    Answer::Done
                }
                Action::Turn(Asked { claims, promote, .. }) => {
                    let mut turn = TurnRequest::new(id).reports(call.reports.clone());
                    turn.promote = *promote;
                    for ((queue, _), count) in QUEUES.iter().zip(claims) {
                        if *count > 0 {
                            turn = turn.claim(*queue, *count);
                        }
                    }
                    Answer::Turned(now(registry.turn(turn)))
                }
            });
            let ids: Vec<JobId> = match (&call.answer, &call.reports) {
                (Some(Answer::Turned(turn)), reports) => {
                    let claimed = turn.claimed.iter().map(|claimed| claimed.lease.job);
                    claimed.chain(reports.iter().map(|report| report.lease.job)).collect()
                }
                (Some(Answer::Given(1..) | Answer::Swept(1..)), _) => {
                    now(self.registry.list(Query::all().limit(10_000)))
                        .iter()
                        .map(|r| r.id)
                        .collect()
                }
                _ => Vec::new(),
            };
            self.note_rows(ids);
        }
        self.calls.retain(|call| call.apply_at.is_some() || !call.answered);
    }

    /// Safety: a fence never falls, an end is written once, and stays.
    fn note_rows(&mut self, ids: Vec<JobId>) {
        for row in now(self.registry.fetch(ids)) {
            let new = (row.state, row.fence);
            let old = self.seen.insert(row.id, new).unwrap_or((State::Scheduled, Fence::ZERO));
            assert!(new.1 >= old.1, "a fence fell: {row:?}");
            if old.0.is_terminal() {
                assert_eq!(old.0, new.0, "an end did not stay: {row:?}");
            } else if new.0.is_terminal() {
                *self.ends.entry(row.id).or_default() += 1;
            }
        }
    }

    fn advance(&mut self, at: usize, mends: bool) {
        let time = self.time();
        let instant = self.instant();
        // The guard: beats, and fences before the lease can lapse.
        let sim = &mut self.sims[at];
        if sim.leased && time >= sim.valid_until {
            sim.leased = false;
            sim.runs.clear();
            sim.reports.clear();
            sim.plan.fenced();
        } else if sim.leased && time >= sim.beat_at {
            let ttl = Duration::from_millis(TTL.unsigned_abs());
            sim.beat_at = time + BEAT;
            if now(self.registry.beat(sim.id, ttl)) {
                sim.valid_until = time + TTL - MARGIN;
            } else {
                sim.valid_until = time;
            }
        }
        // Answers.
        for n in 0..self.calls.len() {
            let call = &mut self.calls[n];
            let mine = call.worker == at && call.life == self.sims[at].life;
            if call.answered || call.answer_at > time || !mine {
                // A dead worker hears nothing.
                call.answered |= call.worker == at && !mine;
                continue;
            }
            call.answered = true;
            let (action, id, fails) = (call.action.clone(), call.id, call.fails);
            let (answer, reports) = (call.answer.take(), std::mem::take(&mut call.reports));
            self.hear(at, &action, id, answer.filter(|_| !fails), reports);
        }
        // Handlers that have returned.
        let sim = &mut self.sims[at];
        let mut over: Vec<_> =
            sim.runs.iter().filter(|(_, (_, until))| *until <= time).map(|(id, _)| *id).collect();
        over.sort_unstable();
        for job in over {
            let Some((claimed, _)) = sim.runs.remove(&job) else { continue };
            let outcome = match self.rng.below(10) {
                0 => Outcome::Retry { error: String::new(), delay_ms: self.rng.below(300) },
                1 => Outcome::Snooze { delay_ms: self.rng.below(300) },
                2 => Outcome::Fail { error: String::new() },
                _ => Outcome::Done { result: None },
            };
            sim.reports.push(Report::new(claimed.lease, outcome));
        }
        loop {
            let sim = &mut self.sims[at];
            let taken = taken(sim);
            let load = Load { taken: &taken, reports: sim.reports.len() };
            let Some(action) = sim.plan.next(instant, load) else {
                return;
            };
            if !mends && action == Action::Reconcile {
                // The mutant: it believes that nothing can be loose.
                sim.plan.reconciled(0);
                continue;
            }
            self.send(at, action);
        }
    }

    fn send(&mut self, at: usize, action: Action) {
        let time = self.time();
        self.ran.calls += 1;
        let takes = 1 + self.rng.below(30);
        let (mut apply_at, mut answer_at, mut fails) =
            (Some(time + takes / 2), time + takes, false);
        if self.faulty {
            match self.rng.below(60) {
                // Lost on its way.
                0 => (apply_at, answer_at, fails) = (None, time + DEADLINE, true),
                // Its answer is lost.
                1 => (answer_at, fails) = (time + DEADLINE, true),
                // Applied when its worker has given it up.
                2 => {
                    let late = time + DEADLINE + self.rng.below(3000);
                    (apply_at, answer_at, fails) = (Some(late), time + DEADLINE, true);
                    self.ran.late += 1;
                    self.last_fault = self.last_fault.max(late);
                }
                _ => {}
            }
            if fails {
                self.ran.faults += 1;
                self.last_fault = self.last_fault.max(answer_at);
            }
        }
        let id = if action == Action::Enlist {
            WorkerId(1 + (self.rng.next() >> 2) as i64)
        } else {
            self.sims[at].id
        };
        let sim = &mut self.sims[at];
        let reports = match &action {
            Action::Turn(_) => std::mem::take(&mut sim.reports),
            _ => Vec::new(),
        };
        let mut held: Vec<JobId> = sim.runs.keys().copied().collect();
        held.extend(sim.reports.iter().map(|report| report.lease.job));
        let life = sim.life;
        let (worker, answer, answered) = (at, None, false);
        self.calls.push(Call {
            worker,
            life,
            id,
            action,
            reports,
            held,
            apply_at,
            answer_at,
            fails,
            answer,
            answered,
        });
    }

    fn hear(
        &mut self,
        at: usize,
        action: &Action,
        id: WorkerId,
        answer: Option<Answer>,
        mut reports: Vec<Report>,
    ) {
        let (time, instant) = (self.time(), self.instant());
        let random = self.rng.next();
        let sim = &mut self.sims[at];
        let current = sim.leased && sim.id == id;
        let Some(answer) = answer else {
            if current {
                reports.append(&mut sim.reports);
                sim.reports = reports;
            }
            return sim.plan.failed(action, instant);
        };
        match answer {
            Answer::Done if *action == Action::Enlist => {
                sim.id = id;
                sim.leased = true;
                // As of when it was sent, which is no earlier than this.
                (sim.valid_until, sim.beat_at) = (time - DEADLINE + TTL - MARGIN, time + BEAT / 2);
                sim.plan.enlisted();
            }
            Answer::Given(given) => sim.plan.reconciled(given),
            Answer::Looked(peek) => {
                sim.plan.looked(&peek, Vec::new(), instant, random);
                if !peek.live && current {
                    sim.valid_until = time;
                }
            }
            Answer::Swept(jobs) => {
                if let Action::Chore(chore) = action {
                    sim.plan.kept(chore, jobs > 0, false, instant);
                }
            }
            Answer::Turned(turn) => {
                let Action::Turn(asked) = action else { return };
                let queue_of = |claimed: &Claimed| {
                    QUEUES.iter().position(|(queue, _)| **queue == *claimed.queue).unwrap_or(0)
                };
                let mut got = vec![0; QUEUES.len()];
                turn.claimed.iter().for_each(|claimed| got[queue_of(claimed)] += 1);
                sim.plan.turned(asked, &got, turn.live);
                for report in &reports {
                    if let Outcome::Retry { delay_ms, .. } | Outcome::Snooze { delay_ms } =
                        report.outcome
                    {
                        sim.plan.due(instant + Duration::from_millis(delay_ms.unsigned_abs() + 1));
                    }
                }
                if current {
                    for claimed in turn.claimed {
                        let until = time + self.rng.below(60);
                        sim.runs.insert(claimed.lease.job, (claimed, until));
                    }
                    if !turn.live {
                        sim.valid_until = time;
                    }
                }
            }
            Answer::Done => {
                if let Action::Chore(chore) = action {
                    sim.plan.kept(chore, false, false, instant);
                }
            }
        }
    }

    /// Liveness, while no fault is going on.
    fn check(&mut self) {
        let time = self.time();
        if self.faulty || time < self.last_fault + SETTLED {
            self.ready_since.clear();
            return;
        }
        // Once in a while is enough: what waits too long still waits a little later.
        if time % 20 != 0 {
            return;
        }
        let rows = now(self.registry.list(Query::all().limit(10_000).state(State::Ready)));
        let free = |queue: &str| {
            let queue = QUEUES.iter().position(|(name, _)| *name == queue).unwrap_or(0);
            self.sims.iter().any(|sim| sim.leased && taken(sim)[queue] < QUEUES[queue].1)
        };
        let mut since = HashMap::new();
        for row in rows.into_iter().filter(|row| free(&row.queue)) {
            let from = self.ready_since.get(&row.id).copied().unwrap_or(time);
            assert!(time <= from + BOUND, "a ready job waits since {from} at {time}: {row:?}");
            since.insert(row.id, from);
        }
        self.ready_since = since;
    }
}

fn taken(sim: &Sim) -> Vec<usize> {
    let of = |queue: &str| sim.runs.values().filter(|(job, _)| *job.queue == *queue).count();
    QUEUES.iter().map(|(queue, _)| of(queue)).collect()
}

#[test]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a run covered, and which seed to repeat"
)]
fn the_invariants_hold_for_every_seed() {
    /// Seeds of a run in `ci`; `LASTOUT_SEEDS` asks for others, as `from..to`.
    const SEEDS: &str = "0..100";
    assert!(i128::from(SETTLED) > PAUSE.1.as_millis() as i128);
    let asked = std::env::var("LASTOUT_SEEDS").unwrap_or_else(|_| SEEDS.to_owned());
    let (from, to) = asked.split_once("..").expect("LASTOUT_SEEDS is from..to");
    let (from, to): (u64, u64) = (from.parse().expect("a number"), to.parse().expect("a number"));
    let mut sum = Ran::default();
    for seed in from..to {
        let ran = std::panic::catch_unwind(|| run(seed, true));
        let ran = ran.unwrap_or_else(|panic| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic)
        });
        sum.jobs += ran.jobs;
        sum.calls += ran.calls;
        sum.faults += ran.faults;
        sum.late += ran.late;
    }
    println!("{} seeds: {sum:?}", to - from);
    assert!(sum.late > 0 && sum.faults > 0, "{sum:?}");
}

#[test]
fn a_worker_that_does_not_reconcile_is_found() {
    let found = (0..5).any(|seed| std::panic::catch_unwind(|| run(seed, false)).is_err());
    assert!(found, "the mutant survives five seeds");
}
