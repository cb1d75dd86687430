//! The protocol between workers and the store, as a search of every state that can be reached: claim,
//! beat, report, answers that get lost, commits that come late, pauses, takeovers, reconciliation, cancel.
//!
//! The row moves by the real lifecycle; around it stand two workers, each with a lease in the store, what
//! it believes, and its calls on their way. The search is complete for [`MOST_FENCE`] claims of one job,
//! what [`Limits`] says of the rest. Safety is checked on every edge;
//! liveness as reachability: from every state, without another fault, the end of the job can be reached.
//! Each mutant of the protocol must break one of the two. A failover that loses commits is not part of it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

use lastout_work_runner::lifecycle::{Event, step};
use lastout_work_runner::{JobId, JobRecord, Lease, NewJob, Outcome, State, WorkerId};
use std::collections::{HashMap, VecDeque};

const WORKERS: usize = 2;
const MOST_FENCE: i64 = 2;
/// What may happen in a search, so that it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// Incarnations of each worker.
    lives: [i64; WORKERS],
    /// Whether somebody may cancel the job.
    cancels: bool,
    /// Whether the job may lose a lease of its own while its worker lives.
    lapses: bool,
}

const TAKEOVERS: Limits = Limits { lives: [2, 1], cancels: true, lapses: false };
const LAPSES: Limits = Limits { lives: [1, 1], cancels: true, lapses: true };
const SMALL: Limits = Limits { lives: [1, 1], cancels: false, lapses: true };

/// A defect that the search must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutant {
    None,
    /// The store does not compare the fence of a report.
    NoFence,
    /// A worker reconciles once, after a call that failed, and not periodically.
    ReconcileOnce,
    /// A sweep does not clear what the dead worker claims later.
    ClaimAfterDeath,
}

/// A call on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Call {
    Claim(WorkerId),
    Done(Lease),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    /// The store has not seen it.
    Sent,
    /// The store has applied it; the answer is a lease, or nothing.
    Answered(Option<Lease>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Worker {
    id: WorkerId,
    lives: i64,
    /// The store knows it, and its lease has not lapsed there.
    leased: bool,
    call: Option<(Call, Way)>,
    /// A call that the worker has given up, and that the store may still apply.
    orphan: Option<Call>,
    /// What it believes that it runs, and whether the handler has returned.
    runs: Option<(Lease, bool)>,
    /// A call has failed since the last reconciliation.
    doubtful: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct World {
    row: JobRecord,
    workers: [Worker; WORKERS],
    cancelled: bool,
    limits: Limits,
    /// Terminal transitions of the one life of the job.
    ends: u32,
}

type Key = (State, i64, i64, i32, i32, bool, [Worker; WORKERS], bool, u32);

impl World {
    fn new(limits: Limits) -> Self {
        let job = NewJob::raw("any", Vec::new()).max_attempts(9).max_crashes(9);
        let worker = |n| Worker {
            id: WorkerId(n),
            lives: 1,
            leased: true,
            call: None,
            orphan: None,
            runs: None,
            doubtful: false,
        };
        Self {
            row: JobRecord::new(JobId(1), job, 0),
            workers: [worker(10), worker(20)],
            cancelled: !limits.cancels,
            limits,
            ends: 0,
        }
    }

    fn key(&self) -> Key {
        let JobRecord { state, fence, owner, attempt, crashes, cancel, .. } = self.row;
        let Self { workers, cancelled, ends, .. } = self;
        (state, fence.0, owner.0, attempt, crashes, cancel, *workers, *cancelled, *ends)
    }

    /// Moves the row, and checks that nothing happens that must not.
    fn apply(&mut self, event: Event, mutant: Mutant) -> bool {
        let before = self.row.clone();
        let mut event = event;
        if mutant == Mutant::NoFence
            && let Event::Report(lease, _) = &mut event
        {
            lease.fence = before.fence;
        }
        let moved = step(&mut self.row, event, 1).is_ok();
        if moved && self.row.state.is_terminal() && !before.state.is_terminal() {
            self.ends += 1;
        }
        assert!(self.row.fence >= before.fence, "a fence fell: {before:?}");
        assert!(self.ends <= 1, "it ended twice: {before:?}");
        assert!(self.row.attempt <= self.row.max_attempts + self.row.crashes, "I4: {before:?}");
        moved
    }

    /// What the store does with a call.
    fn store(&mut self, worker: usize, call: Call, mutant: Mutant) -> Option<Lease> {
        match call {
            Call::Claim(owner) => {
                let mine = self.workers[worker].id == owner && self.workers[worker].leased;
                let live = mine || mutant == Mutant::ClaimAfterDeath;
                let claims =
                    live && self.row.state == State::Ready && self.row.fence.0 < MOST_FENCE;
                if !claims {
                    return None;
                }
                self.apply(Event::Claim { owner }, mutant).then(|| self.row.lease())
            }
            Call::Done(lease) => {
                let holder = (self.row.state == State::Running).then(|| self.row.lease());
                let done = Outcome::Done { result: None };
                if self.apply(Event::Report(lease, done), mutant) {
                    assert_eq!(holder, Some(lease), "a stale report was applied");
                }
                None
            }
        }
    }

    /// Every world that is one step from this one, and whether that step is a fault.
    fn next(&self, mutant: Mutant) -> Vec<(Self, bool)> {
        let mut next = Vec::new();
        let mut to = |fault: bool, change: &mut dyn FnMut(&mut Self)| {
            let mut world = self.clone();
            change(&mut world);
            if world != *self {
                next.push((world, fault));
            }
        };
        if !self.cancelled {
            // It may come at any time; whether it comes is nobody's duty.
            to(true, &mut |world| {
                world.cancelled = true;
                world.apply(Event::Cancel, mutant);
            });
        }
        if self.limits.lapses && self.row.state == State::Running {
            // The job's own lease runs out; its worker lives, and may not hear of it.
            to(true, &mut |world| {
                world.apply(Event::Crash, mutant);
            });
        }
        for w in 0..WORKERS {
            let Worker { id, leased, call, orphan, runs, lives, .. } = self.workers[w];
            match call {
                None => {
                    let report = runs.filter(|(_, returned)| *returned).map(|(lease, _)| lease);
                    let send = match report {
                        Some(lease) => Some(Call::Done(lease)),
                        None => runs.is_none().then_some(Call::Claim(id)),
                    };
                    if let Some(call) = send {
                        to(false, &mut |world| world.workers[w].call = Some((call, Way::Sent)));
                    }
                    // Nothing is under way, so what the store thinks it holds and it does not is loose.
                    if mutant != Mutant::ReconcileOnce || self.workers[w].doubtful {
                        to(false, &mut |world| {
                            let row = &world.row;
                            let mine = row.state == State::Running && row.owner == id;
                            let held = runs.is_some_and(|(lease, _)| lease == row.lease());
                            world.workers[w].doubtful = false;
                            if mine && !held && leased {
                                let release = Event::Report(world.row.lease(), Outcome::Release);
                                world.apply(release, mutant);
                            }
                        });
                    }
                }
                Some((call, Way::Sent)) => {
                    to(false, &mut |world| {
                        let answer = world.store(w, call, mutant);
                        world.workers[w].call = Some((call, Way::Answered(answer)));
                    });
                    // The connection breaks; the store may have the call all the same, for later.
                    if orphan.is_none() {
                        to(true, &mut |world| {
                            world.workers[w].orphan = Some(call);
                            world.workers[w].fail();
                        });
                    }
                }
                Some((call, Way::Answered(answer))) => {
                    to(false, &mut |world| {
                        world.workers[w].call = None;
                        match call {
                            Call::Claim(_) => {
                                world.workers[w].runs = answer.map(|lease| (lease, false));
                            }
                            Call::Done(_) => world.workers[w].runs = None,
                        }
                    });
                    to(true, &mut |world| world.workers[w].fail());
                }
            }
            if let Some(call) = orphan {
                to(true, &mut |world| {
                    world.store(w, call, mutant);
                    world.workers[w].orphan = None;
                });
                to(false, &mut |world| world.workers[w].orphan = None);
            }
            if let Some((lease, false)) = runs {
                to(false, &mut |world| world.workers[w].runs = Some((lease, true)));
            }
            if leased {
                // The machine pauses and the lease lapses: the worker believes in it until it looks.
                to(true, &mut |world| {
                    world.workers[w].leased = false;
                    if world.row.state == State::Running && world.row.owner == id {
                        world.apply(Event::Crash, mutant);
                    }
                });
            } else if lives < self.limits.lives[w] {
                // It notices, drops everything, and starts anew under another name.
                to(false, &mut |world| {
                    let Worker { orphan, lives, .. } = world.workers[w];
                    world.workers[w] = Worker {
                        id: WorkerId(id.0 + 1),
                        lives: lives + 1,
                        leased: true,
                        call: None,
                        orphan,
                        runs: None,
                        doubtful: false,
                    };
                });
            }
        }
        // A sweep takes back what is held by nobody that the store knows.
        let known = self.workers.iter().any(|worker| worker.leased && worker.id == self.row.owner);
        if self.row.state == State::Running && !known && mutant != Mutant::ClaimAfterDeath {
            to(false, &mut |world| {
                world.apply(Event::Crash, mutant);
            });
        }
        next
    }
}

impl Worker {
    /// The answer to its call does not come.
    fn fail(&mut self) {
        self.call = None;
        self.doubtful = true;
    }
}

/// Searches everything. `Err` says what was violated.
fn search(limits: Limits, mutant: Mutant) -> Result<(usize, usize), String> {
    let hook = std::panic::catch_unwind(|| explore(limits, mutant));
    let (worlds, edges) = hook.map_err(|panic| {
        panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a violation".to_owned())
    })?;
    // Liveness: who can reach the end without another fault?
    let mut back = vec![Vec::new(); worlds.len()];
    for (from, to, fault) in &edges {
        if !fault {
            back[*to].push(*from);
        }
    }
    let mut ends = vec![false; worlds.len()];
    let mut open: Vec<usize> =
        (0..worlds.len()).filter(|at| worlds[*at].row.state.is_terminal()).collect();
    while let Some(at) = open.pop() {
        if !std::mem::replace(&mut ends[at], true) {
            open.extend(&back[at]);
        }
    }
    for (world, ends) in worlds.iter().zip(&ends) {
        // At the bounds of the search a claim or an incarnation may be what is missing.
        let bounded = world.row.fence.0 >= MOST_FENCE
            || (0..WORKERS).any(|w| {
                world.workers[w].lives >= world.limits.lives[w] && !world.workers[w].leased
            });
        if !ends && !bounded {
            return Err(format!("no way to the end: {world:?}"));
        }
    }
    Ok((worlds.len(), edges.len()))
}

fn explore(limits: Limits, mutant: Mutant) -> (Vec<World>, Vec<(usize, usize, bool)>) {
    let mut known: HashMap<Key, usize> = HashMap::new();
    let (mut worlds, mut edges) = (vec![World::new(limits)], Vec::new());
    known.insert(worlds[0].key(), 0);
    let mut open = VecDeque::from([0]);
    while let Some(from) = open.pop_front() {
        for (world, fault) in worlds[from].next(mutant) {
            let next = worlds.len();
            let to = *known.entry(world.key()).or_insert(next);
            if to == next {
                worlds.push(world);
                open.push_back(to);
            }
            edges.push((from, to, fault));
        }
    }
    (worlds, edges)
}

#[test]
fn every_reachable_state_is_safe_and_leads_to_an_end() {
    for limits in [TAKEOVERS, LAPSES] {
        let (worlds, edges) = search(limits, Mutant::None).unwrap();
        println!("{limits:?}: {worlds} states, {edges} edges");
        assert!(worlds > 10_000, "the search is not cut short: {worlds}");
    }
}

#[test]
fn a_reconciliation_that_is_not_repeated_leaves_a_late_commit_running_for_ever() {
    let found = search(SMALL, Mutant::ReconcileOnce).unwrap_err();
    assert!(found.contains("no way to the end"), "{found}");
}

#[test]
fn every_other_mutant_is_found() {
    let reborn = Limits { lives: [2, 1], ..SMALL };
    for (limits, mutant) in [(SMALL, Mutant::NoFence), (reborn, Mutant::ClaimAfterDeath)] {
        let found = search(Limits { lapses: mutant == Mutant::NoFence, ..limits }, mutant);
        assert!(found.is_err(), "{mutant:?} survives: {found:?}");
    }
}
