//! The races that a real machine shows once in a thousand runs, each made to happen every time.

use super::fake::{CALLER, FakeTable, Op, Proc};
use super::{Engine, Outcome, Step};
use crate::evidence::Evidence;
use crate::id::Pid;
use crate::report::SurvivorReason;
use crate::signal::Signal;
use std::collections::HashSet;
use std::time::{Duration, Instant};

pub(super) const MARK: u64 = 77;
pub(super) const ROOT: Pid = 200;

/// A root with two children and a grandchild: 200, 201, 202, 203 below 201.
pub(super) fn family() -> FakeTable {
    let table = FakeTable::new();
    table.with(|world| {
        let root = world.spawn(ROOT, CALLER);
        (root.group, root.session, root.mark) = (ROOT, ROOT, Some(MARK));
        world.spawn(201, ROOT);
        world.spawn(202, ROOT);
        world.spawn(203, 201);
    });
    table
}

pub(super) fn marked(table: &FakeTable) -> Evidence {
    let mut evidence = table.evidence(ROOT);
    evidence.mark = Some(MARK);
    evidence
}

/// Steps to the end; a wait makes the clock jump.
pub(super) fn run(engine: &mut Engine<FakeTable>, mut now: Instant) -> Instant {
    for _ in 0..100_000 {
        match engine.step(now) {
            Step::Again => {}
            Step::Wait(until) => {
                assert!(until > now, "a wait into the past never ends");
                now = until;
            }
            Step::Done => return now,
        }
    }
    panic!("the engine does not come to an end");
}

pub(super) fn engine(table: &FakeTable, evidence: Evidence) -> Engine<FakeTable> {
    let now = Instant::now();
    Engine::new(table.clone(), evidence, None, now, now + Duration::from_secs(10))
}

pub(super) fn kill(table: &FakeTable, evidence: Evidence) -> Outcome {
    let mut engine = engine(table, evidence);
    run(&mut engine, Instant::now());
    engine.outcome()
}

pub(super) fn assert_all_dead(table: &FakeTable, pids: impl IntoIterator<Item = Pid>) {
    for pid in pids {
        assert!(!table.is_alive(pid), "{pid} is alive");
    }
    assert!(table.is_alive(CALLER) && table.is_alive(50) && table.is_alive(1));
}

#[test]
fn a_quiet_tree_is_killed_and_counted() {
    let table = family();
    let outcome = kill(&table, table.evidence(ROOT));
    assert_all_dead(&table, 200..=203);
    assert_eq!((outcome.killed, outcome.already_gone), (4, 0));
    assert!(outcome.survivors.is_empty());
    assert_eq!(table.with(|world| world.handles), 0);
}

#[test]
fn a_fork_between_the_list_and_the_stop_is_found() {
    let table = family();
    table.with(|world| {
        world.before(Op::Signal(201, Signal::STOP), |world| world.fork(210, 201));
        // The child has a child before it is seen at all.
        world.before(Op::Stat(201), |world| world.fork(211, 210));
    });
    kill(&table, table.evidence(ROOT));
    assert_all_dead(&table, 200..=211);
}

#[test]
fn a_fork_after_the_last_look_but_before_the_stop_takes_effect_is_found() {
    let table = family();
    table.with(|world| {
        world.procs.get_mut(&202).unwrap().stops_after = Some(3);
        // The second list of children is made when 202 has stopped: this fork came before.
        world.before(Op::Children(202), |world| {
            world.before(Op::Stat(202), |world| world.fork(220, 202));
        });
    });
    kill(&table, table.evidence(ROOT));
    assert_all_dead(&table, (200..=203).chain([220]));
}

#[test]
fn a_pid_that_is_reused_before_it_is_held_is_not_touched() {
    let table = family();
    table.with(|world| {
        world.before(Op::Open(203), |world| {
            world.end(203);
            world.spawn(203, 1);
        });
    });
    kill(&table, table.evidence(ROOT));
    assert_all_dead(&table, 200..=202);
    let innocent = table.with(|world| world.procs[&203].start);
    assert!(table.is_alive(203));
    assert_eq!(table.signals_to(203, innocent), []);
}

#[test]
fn a_pid_that_is_reused_after_it_was_held_is_not_touched() {
    let table = family();
    table.with(|world| {
        world.before(Op::Signal(203, Signal::STOP), |world| {
            world.end(203);
            world.spawn(203, 1);
        });
    });
    kill(&table, table.evidence(ROOT));
    assert!(table.is_alive(203));
    let innocent = table.with(|world| world.procs[&203].start);
    assert_eq!(table.signals_to(203, innocent), []);
}

#[test]
fn a_root_whose_pid_was_reused_is_not_touched() {
    let table = family();
    let evidence = table.evidence(ROOT);
    table.with(|world| {
        world.end(ROOT);
        world.spawn(ROOT, 1);
        world.spawn(300, ROOT);
    });
    let outcome = kill(&table, evidence);
    assert!(table.is_alive(ROOT) && table.is_alive(300));
    assert_eq!(outcome.killed, 0);
}

#[test]
fn a_root_whose_pid_was_reused_within_one_tick_is_not_touched() {
    for is_old in [false, true] {
        let table = family();
        let root = table.handle(ROOT);
        let evidence = table.evidence(ROOT).group(ROOT);
        table.with(|world| {
            world.is_old = is_old;
            let start = world.procs[&ROOT].start;
            (200..=203).for_each(|pid| world.end(pid));
            let stranger = world.spawn(ROOT, 1);
            (stranger.start, stranger.group, stranger.session) = (start, ROOT, ROOT);
            world.spawn(300, ROOT);
        });
        let now = Instant::now();
        let mut engine =
            Engine::new(table.clone(), evidence.clone(), Some(root.clone()), now, now + PATIENT);
        run(&mut engine, now);
        assert_eq!(engine.outcome().killed, 0);
        let mut engine = Engine::new(table.clone(), evidence, Some(root), now, now + PATIENT);
        engine = engine.looking_only();
        assert_eq!((engine.look(), engine.signal_all(Signal::TERM)), (0, 0));
        assert!(table.is_alive(ROOT) && table.is_alive(300));
        assert_eq!(table.with(|world| world.signals.len()), 0);
    }
}

#[test]
fn a_member_with_the_pid_and_the_tick_of_one_that_is_dead_is_killed() {
    let table = family();
    table.with(|world| {
        // 203 ends after it was seen, and its number goes to a child of 201 within the same tick.
        world.before(Op::Stat(202), |world| {
            let start = world.procs[&203].start;
            world.end(203);
            world.fork(203, 201);
            if let Some(process) = world.procs.get_mut(&203) {
                process.start = start;
            }
        });
    });
    kill(&table, marked(&table));
    assert_all_dead(&table, 200..=203);
}

#[test]
fn a_zombie_leader_with_living_threads_is_killed() {
    let table = family();
    table.with(|world| {
        let process = world.procs.get_mut(&202).unwrap();
        process.state = b'Z';
        process.threads = 3;
    });
    let outcome = kill(&table, table.evidence(ROOT));
    assert_all_dead(&table, 200..=203);
    assert_eq!(outcome.killed, 4);
}

#[test]
fn a_zombie_is_counted_once_and_waits_for_nobody() {
    let table = family();
    table.with(|world| {
        world.procs.get_mut(&203).unwrap().lingers = true;
        world.end(203);
    });
    let outcome = kill(&table, marked(&table));
    assert_all_dead(&table, 200..=203);
    assert_eq!((outcome.killed, outcome.already_gone), (3, 1));
}

#[test]
fn pids_0_and_1_the_caller_its_ancestors_and_kernel_threads_are_refused() {
    let table = family();
    table.with(|world| {
        world.extra = vec![0, 1, 50, CALLER, 300];
        let thread = world.spawn(300, 2);
        (thread.is_kernel_thread, thread.mark) = (true, Some(MARK));
        // Even when they carry every evidence there is.
        for pid in [1, 50, CALLER] {
            world.procs.get_mut(&pid).unwrap().mark = Some(MARK);
        }
    });
    kill(&table, marked(&table).group(ROOT));
    assert_all_dead(&table, 200..=203);
    assert!(table.is_alive(300));
    for (pid, _, signal) in table.with(|world| world.signals.clone()) {
        assert!((200..=203).contains(&pid), "{signal} to {pid}");
    }
}

#[test]
fn an_orphan_is_found_by_its_mark_or_its_variable_and_lost_without() {
    for (with_mark, with_variable) in [(true, false), (false, true), (false, false)] {
        let table = family();
        let mut evidence = table.evidence(ROOT).variable("A", "b");
        evidence.mark = with_mark.then_some(MARK);
        table.with(|world| {
            world.end(201);
            if with_variable {
                world.procs.get_mut(&203).unwrap().variable = Some(b"A=b".to_vec());
            }
        });
        kill(&table, evidence);
        assert_eq!(table.is_alive(203), !with_mark && !with_variable);
    }
}

#[test]
fn the_memory_of_a_process_older_than_the_root_is_not_read() {
    for looks_ahead in [false, true] {
        let table = family();
        table.with(|world| {
            let carry = |process: &mut Proc| process.variable = Some(b"A=b".to_vec());
            let elder = world.spawn(150, 1);
            elder.start = 0;
            carry(elder);
            carry(world.spawn(400, 1));
            world.spawn(401, 1).variable = None;
        });
        let mut engine = engine(&table, marked(&table).variable("A", "b"));
        if looks_ahead {
            engine.look_ahead(&HashSet::new());
        }
        run(&mut engine, Instant::now());
        assert_all_dead(&table, [200, 201, 202, 203, 400]);
        let read = table.with(|world| std::mem::take(&mut world.read));
        assert!(read.contains(&400) && read.contains(&401), "{read:?}");
        assert!(read.iter().all(|pid| *pid >= ROOT), "{read:?}");
    }
}

#[test]
fn a_group_is_killed_as_a_whole_and_a_reused_number_is_not() {
    let table = family();
    let group = Some(table.handle(ROOT));
    let evidence = table.evidence(ROOT).group(ROOT);
    table.with(|world| world.end(201)); // 203 is an orphan in the group
    let now = Instant::now();
    let mut engine = Engine::new(table.clone(), evidence.clone(), group, now, now + PATIENT);
    run(&mut engine, now);
    drop(engine);
    assert_all_dead(&table, 200..=203);

    let table = family();
    let group = Some(table.handle(ROOT));
    table.with(|world| {
        for pid in 200..=203 {
            world.end(pid);
        }
        world.spawn(ROOT, 1).group = ROOT;
        world.spawn(300, ROOT);
    });
    let mut engine = Engine::new(table.clone(), evidence, group, now, now + PATIENT);
    run(&mut engine, now);
    assert!(table.is_alive(ROOT) && table.is_alive(300));
    assert_eq!(table.with(|world| world.signals.len()), 0);
}

const PATIENT: Duration = Duration::from_secs(10);

#[test]
fn the_group_of_the_caller_is_never_signalled() {
    let table = family();
    table.with(|world| world.procs.get_mut(&50).unwrap().group = ROOT);
    let group = Some(table.handle(ROOT));
    let now = Instant::now();
    let evidence = table.evidence(ROOT).group(ROOT);
    let mut engine = Engine::new(table.clone(), evidence, group, now, now + PATIENT);
    run(&mut engine, now);
    drop(engine);
    assert_all_dead(&table, 200..=203);
}

#[test]
fn a_kill_that_is_given_up_leaves_nobody_stopped() {
    // The world has to have been left at every point, so give up after each number of steps.
    for steps in 0..12 {
        let table = family();
        table.with(|world| world.procs.get_mut(&202).unwrap().state = b'T');
        let group = Some(table.handle(ROOT));
        let mut now = Instant::now();
        let mut engine = Engine::new(table.clone(), marked(&table), group, now, now + PATIENT);
        for _ in 0..steps {
            if let Step::Wait(until) = engine.step(now) {
                now = until;
            }
        }
        drop(engine);
        for pid in [200, 201, 203] {
            let stopped = table.with(|w| w.procs.get(&pid).is_some_and(|p| p.state == b'T'));
            assert!(!stopped, "{pid} stays stopped after {steps} steps");
        }
    }
}

#[test]
fn a_system_that_holds_nobody_gives_no_success() {
    let table = family();
    table.with(|world| world.refuses = true);
    let outcome = kill(&table, marked(&table));
    assert!(outcome.is_open && table.is_alive(ROOT));
}

#[test]
fn a_foreign_member_survives_alone_and_is_named() {
    let table = family();
    table.with(|world| world.procs.get_mut(&201).unwrap().foreign = true);
    let outcome = kill(&table, table.evidence(ROOT));
    assert!(table.is_alive(201));
    assert_all_dead(&table, [200, 202, 203]);
    assert_eq!(outcome.survivors.len(), 1);
    assert_eq!(outcome.survivors[0].id.pid(), 201);
    assert_eq!(outcome.survivors[0].reason, SurvivorReason::Permission);
}

#[test]
fn a_member_inside_the_kernel_is_a_survivor_at_the_deadline_and_not_before() {
    let table = family();
    table.with(|world| {
        let process = world.procs.get_mut(&203).unwrap();
        (process.stuck, process.state, process.stops_after) = (true, b'D', None);
    });
    let now = Instant::now();
    let mut engine = Engine::new(table.clone(), table.evidence(ROOT), None, now, now + PATIENT);
    let end = run(&mut engine, now);
    assert!(end >= now + PATIENT);
    let outcome = engine.outcome();
    assert_all_dead(&table, 200..=202);
    assert_eq!(outcome.survivors[0].reason, SurvivorReason::Uninterruptible);
}

#[test]
fn a_parent_that_cannot_stop_while_its_child_is_stopped_does_not_hold_up_the_kill() {
    let table = family();
    table.with(|world| world.procs.get_mut(&201).unwrap().stops_after = None);
    let now = Instant::now();
    let mut engine = Engine::new(table.clone(), table.evidence(ROOT), None, now, now + PATIENT);
    let end = run(&mut engine, now);
    assert_all_dead(&table, 200..=203);
    assert!(end < now + PATIENT);
}

#[test]
fn a_child_that_is_left_behind_during_the_last_look_is_waited_for() {
    // At whatever point of the wait the root forks an orphan and ends.
    for moment in 0..12 {
        let table = FakeTable::new();
        table.with(|world| {
            world.spawn(ROOT, CALLER).mark = Some(MARK);
            world.after_looks(moment, |world| {
                world.fork(210, ROOT);
                world.end(ROOT);
            });
        });
        let mut engine = engine(&table, marked(&table)).looking_only();
        let (mut looked, mut now) = (None, Instant::now());
        for _ in 0..100 {
            match engine.await_empty(&mut looked, now) {
                Step::Again => {}
                Step::Wait(until) => now = until,
                Step::Done => break,
            }
        }
        assert!(!table.is_alive(ROOT), "the moment {moment} did not come");
        assert_eq!(engine.pids(), [210], "moment {moment}");
    }
}

#[test]
fn a_kill_without_time_strikes_whom_it_finds_and_names_whom_it_does_not_see_die() {
    let table = family();
    table.with(|world| {
        world.end(201); // 203 is an orphan
        world.procs.get_mut(&203).unwrap().stuck = true;
    });
    let now = Instant::now();
    let mut engine = Engine::new(table.clone(), marked(&table), None, now, now);
    run(&mut engine, now);
    let outcome = engine.outcome();
    assert_all_dead(&table, [200, 202]);
    assert_eq!(outcome.survivors.len(), 1);
    assert_eq!(outcome.survivors[0].id.pid(), 203);
}

#[test]
fn a_late_look_that_has_found_somebody_does_not_prove_that_nobody_is_left() {
    let table = family();
    table.with(|world| {
        world.end(201); // 203 is an orphan, which only the late look finds
        world.before(Op::Signal(203, Signal::STOP), |world| {
            world.spawn(210, 203).parent = 1;
        });
    });
    let now = Instant::now();
    let mut engine = Engine::new(table.clone(), marked(&table), None, now, now);
    run(&mut engine, now);
    assert_all_dead(&table, 200..=203);
    assert!(table.is_alive(210) && !engine.is_clear());
    let outcome = engine.outcome();
    assert!(outcome.survivors.is_empty() && outcome.is_open);
}

#[test]
fn who_dies_of_the_strike_of_another_layer_was_killed_and_is_counted_by_one_of_them() {
    for (is_left, killed) in [(false, 4), (true, 3)] {
        let table = family();
        table.with(|world| {
            let lingers = world.procs.get_mut(&ROOT).unwrap();
            (lingers.lingers, lingers.stops_after) = (true, Some(9));
            world.before(Op::Signal(203, Signal::STOP), |world| world.end(ROOT));
        });
        let mut engine = engine(&table, marked(&table)).confirming();
        if is_left {
            engine.leave_to_others(&[ROOT].into());
        }
        run(&mut engine, Instant::now());
        let outcome = engine.outcome();
        assert_eq!((outcome.killed, outcome.already_gone), (killed, 0));
    }
}

/// The elders of a machine are many, and a short command is looked for among a few.
#[test]
fn of_a_root_that_has_just_started_only_the_younger_ones_are_looked_at() {
    let looks = |newest| {
        let table = FakeTable::new();
        table.with(|world| {
            for elder in 110..190 {
                world.spawn(elder, 1);
            }
            let root = world.spawn(ROOT, CALLER);
            (root.group, root.session, root.mark) = (ROOT, ROOT, Some(MARK));
            world.spawn(205, ROOT);
            world.newest = newest;
        });
        let evidence = marked(&table);
        table.with(|world| world.end(ROOT));
        let outcome = kill(&table, evidence);
        assert_all_dead(&table, [205]);
        assert!((110..190).all(|elder| table.is_alive(elder)));
        assert!(outcome.survivors.is_empty());
        table.with(|world| world.looks)
    };
    let (few, all) = (looks(Some(205)), looks(None));
    assert!(few < all, "{few} looks instead of {all}");
}
