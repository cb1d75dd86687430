//! The plan in virtual time, against a store of a few lines: whatever the order of pokes, answers,
//! failures and ends, a ready job with a free place is claimed within the bound of L1.

use super::action::{Action, Asked, Bounds, Load};
use super::plan::{PAUSE, Plan};
use crate::registry::Peek;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const CALL: Duration = Duration::from_millis(40);
const POLL: Duration = Duration::from_millis(500);
const HOUSE: Duration = Duration::from_secs(10);
const JOB: Duration = Duration::from_millis(25);

/// What the test does at a time.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Jobs come into a queue, with a poke or without.
    Enqueue { queue: usize, jobs: usize, poked: bool },
    /// A poke without a job.
    Poke,
    /// The next calls fail.
    Fail(u8),
    /// Some other worker takes what is ready in a queue.
    Steal(usize),
    /// A commit is made after its call has failed: the store thinks the worker runs a job.
    Late(usize),
}

#[derive(Debug)]
struct World {
    plan: Plan,
    base: Instant,
    now: Duration,
    /// For each queue: when each ready job came, and what runs until when.
    ready: Vec<VecDeque<Duration>>,
    runs: Vec<Vec<Duration>>,
    late: Vec<usize>,
    reports: usize,
    calls: Vec<(Duration, Action, Vec<usize>)>,
    fails: u8,
    /// Since when each queue has a ready job and a place, without a pause, and whether a poke said so.
    waits: Vec<Option<Duration>>,
    failed_at: Duration,
    places: Vec<usize>,
    writes: usize,
    bound: Duration,
}

impl World {
    fn new(places: &[usize]) -> Self {
        let base = Instant::now();
        let bounds =
            Bounds { places: places.to_vec(), turns: 2, size: 8, house: HOUSE, prunes: true };
        let mut plan = Plan::new(bounds, base);
        plan.attended(Some(POLL), base);
        Self {
            plan,
            base,
            now: Duration::ZERO,
            ready: vec![VecDeque::new(); places.len()],
            runs: vec![Vec::new(); places.len()],
            late: vec![0; places.len()],
            reports: 0,
            calls: Vec::new(),
            fails: 0,
            waits: vec![None; places.len()],
            failed_at: Duration::ZERO,
            places: places.to_vec(),
            writes: 0,
            bound: POLL.mul_f64(1.2) + CALL * 4,
        }
    }

    fn at(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.base)
    }

    fn taken(&self) -> Vec<usize> {
        self.runs.iter().map(Vec::len).collect()
    }

    /// Sends what the plan wants; a call takes effect when it is sent.
    fn act(&mut self, random: &mut u64) {
        loop {
            let taken = self.taken();
            let load = Load { taken: &taken, reports: self.reports };
            let Some(action) = self.plan.next(self.base + self.now, load) else {
                return;
            };
            let mut got = vec![0; taken.len()];
            if let Action::Turn(Asked { claims, .. }) = &action {
                self.writes += 1;
                self.reports = 0;
                if self.fails == 0 {
                    for (queue, claim) in claims.iter().enumerate() {
                        got[queue] = self.ready[queue].len().min(*claim);
                        self.ready[queue].drain(..got[queue]);
                        assert!(taken[queue] + got[queue] <= self.places[queue], "over its places");
                    }
                }
            }
            *random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let takes = CALL.mul_f64((*random >> 40) as f64 / (1_u64 << 24) as f64);
            self.calls.push((self.now + takes, action, got));
        }
    }

    fn answer(&mut self, action: Action, got: Vec<usize>, random: u64) {
        let now = self.base + self.now;
        if self.fails > 0 {
            self.fails -= 1;
            self.failed_at = self.now;
            return self.plan.failed(&action, now);
        }
        match &action {
            Action::Enlist => self.plan.enlisted(),
            Action::Reconcile => {
                let given: usize = self.late.iter().sum();
                for (queue, jobs) in self.late.iter_mut().enumerate() {
                    self.ready[queue].extend((0..std::mem::take(jobs)).map(|_| self.now));
                }
                self.plan.reconciled(given);
            }
            Action::Look => {
                let ready = self.ready.iter().any(|queue| !queue.is_empty());
                let peek = Peek { live: true, ready, ..Peek::default() };
                self.plan.looked(&peek, Vec::new(), now, random);
            }
            Action::Chore(chore) => self.plan.kept(chore, false, false, now),
            Action::Turn(asked) => {
                self.plan.turned(asked, &got, true);
                for (queue, got) in got.into_iter().enumerate() {
                    self.runs[queue].extend((0..got).map(|_| self.now + JOB));
                }
            }
        }
    }

    /// Lets time pass until the next thing happens, at most until `until`; checks L1 on the way.
    fn pass(&mut self, until: Duration, random: &mut u64) {
        loop {
            self.act(random);
            let taken = self.taken();
            for queue in 0..taken.len() {
                let asked: usize = self.calls.iter().map(|(_, _, got)| got[queue]).sum();
                let waits =
                    !self.ready[queue].is_empty() && taken[queue] + asked < self.places[queue];
                let since = self.waits[queue].filter(|_| waits);
                self.waits[queue] = waits.then(|| since.unwrap_or(self.now));
                if let Some(since) = since {
                    let from = since.max(self.failed_at + PAUSE.1);
                    let bound = POLL.mul_f64(1.2) + CALL * 4;
                    assert!(
                        self.now <= from + bound,
                        "queue {queue} waits since {since:?}: {self:?}"
                    );
                }
            }
            let load = Load { taken: &taken, reports: self.reports };
            let wake = self.plan.wake_at(load).map(|at| self.at(at));
            let answer = self.calls.iter().map(|(at, ..)| *at).min();
            let end = self.runs.iter().flatten().min().copied();
            let next = [wake, answer, end].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next < until) else {
                self.now = self.now.max(until);
                return;
            };
            // A plan that wants to be woken at once, again and again, never lets time pass.
            self.now = self.now.max(next) + Duration::from_micros(1);
            for queue in 0..self.runs.len() {
                let before = self.runs[queue].len();
                let now = self.now;
                self.runs[queue].retain(|end| *end > now);
                self.reports += before - self.runs[queue].len();
            }
            while let Some(at) = self.calls.iter().position(|(at, ..)| *at <= self.now) {
                let (_, action, got) = self.calls.swap_remove(at);
                self.answer(action, got, *random);
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Enqueue { queue, jobs, poked } => {
                let now = self.now;
                self.ready[queue].extend((0..jobs).map(|_| now));
                if poked {
                    self.plan.poked();
                }
            }
            Step::Poke => self.plan.poked(),
            Step::Fail(calls) => self.fails = self.fails.max(calls),
            Step::Steal(queue) => self.ready[queue].clear(),
            Step::Late(queue) => self.late[queue] += 1,
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let queue = 0..3_usize;
    let step = prop_oneof![
        8 => (queue.clone(), 1..5_usize, any::<bool>())
            .prop_map(|(queue, jobs, poked)| Step::Enqueue { queue, jobs, poked }),
        3 => Just(Step::Poke),
        1 => (1..4_u8).prop_map(Step::Fail),
        1 => queue.clone().prop_map(Step::Steal),
        1 => queue.prop_map(Step::Late),
    ];
    prop::collection::vec((0..60_u64, step), 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_ready_job_with_a_free_place_starts_within_the_bound(steps in steps(), seed: u64) {
        let mut world = World::new(&[1, 4, 2]);
        let mut random = seed;
        for (after, step) in steps {
            world.pass(world.now + Duration::from_millis(after), &mut random);
            world.step(step);
        }
        // What was committed late is found by the next housekeeping.
        world.pass(world.now + HOUSE * 3, &mut random);
        prop_assert!(world.ready.iter().all(VecDeque::is_empty), "{world:?}");
        prop_assert!(world.late.iter().all(|late| *late == 0), "{world:?}");
        prop_assert!(world.runs.iter().all(Vec::is_empty) && world.reports == 0, "{world:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// L2: without a poll, a poke that comes while anything is under way is not lost.
    #[test]
    fn a_poked_job_needs_no_poll(steps in steps(), seed: u64) {
        let mut world = World::new(&[1, 4, 2]);
        world.plan.attended(None, world.base);
        world.bound = CALL * 4;
        let mut random = seed;
        // The first looks and the first housekeeping are over.
        world.pass(Duration::from_secs(1), &mut random);
        world.failed_at = Duration::ZERO;
        for (after, step) in steps {
            world.pass(world.now + Duration::from_millis(after), &mut random);
            match step {
                Step::Enqueue { queue, jobs, .. } => {
                    world.step(Step::Enqueue { queue, jobs, poked: true });
                }
                Step::Poke | Step::Steal(_) => world.step(step),
                Step::Fail(_) | Step::Late(_) => {}
            }
        }
        world.pass(world.now + CALL * 4 + JOB * 200, &mut random);
        prop_assert!(world.ready.iter().all(VecDeque::is_empty), "{world:?}");
    }
}

#[test]
fn an_empty_queue_under_pokes_is_looked_at_and_not_written_to() {
    let mut world = World::new(&[4]);
    let mut random = 1;
    world.pass(Duration::from_secs(1), &mut random);
    for _ in 0..1000 {
        world.step(Step::Poke);
        world.pass(world.now + Duration::from_millis(1), &mut random);
    }
    assert!(world.writes <= 1, "{} turns for a thousand pokes", world.writes);
}
