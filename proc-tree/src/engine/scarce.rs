//! The engine when something is missing: descriptors, lists of children, or a small share of the table.

use super::fake::{FakeTable, Op};
use super::races::{ROOT, assert_all_dead, engine, family, kill, marked, run};
use super::{Engine, Step, Table};
use crate::signal::Signal;
use std::time::{Duration, Instant};

#[test]
fn few_descriptors_are_enough_for_many_members() {
    let table = family();
    table.with(|world| {
        world.handle_limit = 5;
        (1000..1300).for_each(|pid| world.fork(pid, 201));
    });
    let outcome = kill(&table, marked(&table));
    assert_all_dead(&table, (200..=203).chain(1000..1300));
    assert_eq!(outcome.killed, 304);
}

#[test]
fn a_look_that_finds_no_descriptor_takes_that_of_a_member() {
    let table = family();
    table.with(|world| {
        (world.handle_limit, world.looks_need_one) = (5, true);
        (1000..1030).for_each(|pid| world.fork(pid, 201));
    });
    let outcome = kill(&table, marked(&table));
    assert_all_dead(&table, (200..=203).chain(1000..1030));
    assert_eq!((outcome.killed, outcome.is_open), (34, false));
}

#[test]
fn no_descriptor_at_all_is_no_success() {
    let table = family();
    let mut engine = engine(&table, table.evidence(ROOT));
    engine.step(Instant::now());
    table.with(|world| world.handle_limit = 0);
    run(&mut engine, Instant::now());
    let outcome = engine.outcome();
    let alive = (200..=203).filter(|pid| table.is_alive(*pid)).count();
    assert_eq!(outcome.survivors.len(), alive);
}

#[test]
fn a_last_look_that_the_deadline_cuts_short_is_no_success() {
    let is_open = |moves: bool| {
        let table = family();
        table.with(|world| world.spawn(400, 1).start);
        if moves {
            // Somebody is born between two lists of the last look, and there is no time for a third.
            table.with(|world| {
                world.before(Op::All, |world| {
                    world.before(Op::All, |world| {
                        world.spawn(500, 1);
                    });
                });
            });
        }
        // Each operation takes longer than a look may that is due at the deadline.
        let now = table.with(|world| {
            world.cost = super::LAST_LOOK;
            world.epoch
        });
        let mut engine = Engine::new(table.clone(), marked(&table), None, now, now);
        run(&mut engine, now);
        assert_all_dead(&table, 200..=203);
        let outcome = engine.outcome();
        assert!(outcome.survivors.is_empty());
        outcome.is_open
    };
    assert!(is_open(true));
    assert!(!is_open(false));
}

#[test]
fn a_look_without_a_descriptor_is_had_again_and_never_means_that_nobody_is_left() {
    for blind in [1, 5, usize::MAX] {
        let table = family();
        table.with(|world| {
            world.end(201); // 203 is an orphan, found by lists of all processes alone
            world.blind = blind;
        });
        let outcome = kill(&table, marked(&table));
        assert_all_dead(&table, 200..=202);
        assert_eq!(outcome.is_open, table.is_alive(203));
        assert_eq!(outcome.is_open, blind == usize::MAX);

        let table = family();
        let mut engine = engine(&table, marked(&table)).looking_only();
        table.with(|world| {
            world.end(ROOT);
            world.blind = blind;
        });
        let (mut looked, mut now) = (None, Instant::now());
        for _ in 0..100 {
            match engine.await_empty(&mut looked, now) {
                Step::Again => {}
                Step::Wait(until) => now = until,
                Step::Done => break,
            }
        }
        assert!(!engine.is_concluded(), "orphans are alive");
    }
}

#[test]
fn a_member_that_the_table_hides_is_found_by_its_mark() {
    let table = family();
    table.with(|world| {
        world.end(201); // 203 is an orphan
        world.procs.get_mut(&203).unwrap().hidden = true;
        let stranger = world.spawn(400, 1);
        (stranger.hidden, stranger.mark) = (true, None);
    });
    let mut looking = engine(&table, marked(&table)).looking_only();
    assert_eq!(looking.look(), 3);
    drop(looking);
    assert_eq!(kill(&table, marked(&table)).killed, 3);
    assert_all_dead(&table, 200..=203);
    assert!(table.is_alive(400));
}

#[test]
fn a_hidden_member_without_a_mark_is_found_below_its_parent_and_is_a_survivor_if_it_may_not_be_killed()
 {
    let table = family();
    table.with(|world| {
        let child = world.procs.get_mut(&203).unwrap();
        (child.hidden, child.foreign, child.mark) = (true, true, None);
    });
    let outcome = kill(&table, marked(&table));
    let survivors: Vec<_> = outcome.survivors.iter().map(|survivor| survivor.id.pid()).collect();
    assert_eq!((survivors.as_slice(), outcome.killed), (&[203][..], 3));
}

#[test]
fn hidden_lists_of_children_are_replaced_by_scans() {
    let table = family();
    table.with(|world| {
        world.hides_children = true;
        (1000..1100).for_each(|pid| world.fork(pid, 203));
        world.before(Op::Signal(1050, Signal::STOP), |world| {
            world.fork(1200, 1050);
        });
    });
    kill(&table, table.evidence(ROOT));
    assert_all_dead(&table, (200..=203).chain(1000..=1200));
}

#[test]
fn a_large_tree_among_few_others_is_read_by_scans() {
    let table = family();
    table.with(|world| (1000..1600).for_each(|pid| world.fork(pid, 201)));
    kill(&table, table.evidence(ROOT));
    assert_all_dead(&table, (200..=203).chain(1000..1600));
    // Walking would open 604 lists twice; scanning looks at each of them a few times.
    assert!(table.with(|world| world.looks) < 604 * 16);
}

#[test]
fn a_group_without_its_leader_tells_only_of_those_who_are_older_than_the_adoption() {
    let table = family();
    let mut evidence = crate::evidence::Evidence::new().group(ROOT);
    evidence.adopted_at = table.with(|world| world.procs[&203].start);
    table.with(|world| {
        world.end(ROOT);
        // The number may have gone to a stranger and his group meanwhile.
        world.spawn(300, 1).group = ROOT;
    });
    kill(&table, evidence);
    assert_all_dead(&table, 201..=203);
    assert!(table.is_alive(300));
}

/// Steps to the end, where operations and waits alike take time. Returns when the end came.
fn run_in_time(table: &FakeTable, engine: &mut Engine<FakeTable>) -> Instant {
    loop {
        match engine.step(table.now()) {
            Step::Again => {}
            Step::Wait(until) => table.wait_until(until),
            Step::Done => return table.now(),
        }
    }
}

#[test]
fn a_kill_of_many_members_in_little_time_ends_in_time_and_says_that_it_did_not_see_all() {
    let limits = [
        // No time at all, some, and enough.
        (Duration::ZERO, true),
        (Duration::from_millis(250), true),
        (Duration::from_secs(60), false),
    ];
    for (limit, is_open) in limits {
        for hides_children in [false, true] {
            let table = family();
            let begin = table.with(|world| {
                (1000..4000).for_each(|pid| world.fork(pid, 201));
                world.hides_children = hides_children;
                world.cost = Duration::from_micros(50);
                world.epoch
            });
            let (evidence, now) = (marked(&table), table.now());
            let mut engine = Engine::new(table.clone(), evidence, None, now, begin + limit);
            let end = run_in_time(&table, &mut engine);
            let late = end.saturating_duration_since(begin + limit);
            // One look that is due at the end of the freeze, one at the end of all, and the signals to
            // whom they have found.
            assert!(late <= 5 * super::LAST_LOOK, "{limit:?}: {late:?} too late");
            let outcome = engine.outcome();
            assert_eq!(outcome.is_open || !outcome.survivors.is_empty(), is_open, "{limit:?}");
        }
    }
}

/// Has the root fork whenever all processes are listed.
fn fork_at_each_list(world: &mut super::fake::World, pid: crate::id::Pid) {
    world.before(Op::All, move |world| {
        world.fork(pid, ROOT);
        fork_at_each_list(world, pid + 1);
    });
}

#[test]
fn the_marking_of_a_storm_ends_in_time_and_is_not_whole() {
    let table = family();
    let begin = table.with(|world| {
        fork_at_each_list(world, 1000);
        world.cost = Duration::from_millis(1);
        world.epoch
    });
    let deadline = begin + Duration::from_secs(2);
    let engine = Engine::new(table.clone(), marked(&table), None, begin, deadline);
    assert!(!engine.looking_only().marking(super::races::MARK).mark_all());
    let late = table.now().saturating_duration_since(deadline);
    // Not every turn of a loop asks for the time.
    assert!(late <= Duration::from_millis(50), "{late:?} too late");
}

#[test]
fn a_look_at_many_members_ends_in_time_and_tells_whom_it_has_found() {
    let table = family();
    let begin = table.with(|world| {
        (1000..4000).for_each(|pid| world.fork(pid, 201));
        (world.cost, world.watch_cost) = (Duration::from_micros(50), Duration::from_micros(50));
        world.epoch
    });
    let deadline = begin + Duration::from_millis(250);
    let engine = Engine::new(table.clone(), marked(&table), None, begin, deadline);
    let mut engine = engine.looking_only();
    assert!(engine.look() > 500 && engine.is_cut_short() && engine.was_prevented().is_none());
    let late = table.now().saturating_duration_since(deadline);
    assert!(late <= 2 * super::LAST_LOOK, "{late:?} too late");
    let ids = engine.ids();
    assert!(ids.iter().all(|id| id.inode().is_some()) && ids.len() == engine.pids().len());
}

/// A family without a mark, and an orphan that its group alone tells, whom a look comes to after so many others.
fn orphan_behind(others: u32) -> (FakeTable, crate::evidence::Evidence) {
    let table = family();
    table.with(|world| {
        world.procs.values_mut().for_each(|process| process.mark = None);
        (1000..1000 + others).for_each(|pid| world.spawn(pid, 1).group = pid);
        world.procs.get_mut(&203).unwrap().group = 300;
    });
    let mut evidence = table.evidence(ROOT).group(300);
    evidence.adopted_at = u64::MAX;
    table.with(|world| {
        world.end(201);
        world.cost = Duration::from_micros(50);
    });
    (table, evidence)
}

#[test]
fn a_marking_whose_look_is_cut_short_is_not_whole() {
    for (limit, is_whole) in [(Duration::ZERO, false), (Duration::from_secs(60), true)] {
        let (table, evidence) = orphan_behind(3_000);
        let begin = table.now();
        let engine = Engine::new(table.clone(), evidence, None, begin, begin + limit);
        assert_eq!(engine.looking_only().marking(99).mark_all(), is_whole, "{limit:?}");
    }
}

#[test]
fn a_look_that_is_cut_short_never_tells_of_nobody() {
    for (limit, found) in [(Duration::ZERO, 0), (Duration::from_secs(60), 1)] {
        let (table, evidence) = orphan_behind(60_000);
        table.with(|world| [ROOT, 202].map(|pid| world.end(pid)));
        let begin = table.now();
        let engine = Engine::new(table.clone(), evidence, None, begin, begin + limit);
        let mut engine = engine.looking_only();
        assert_eq!(engine.look(), found, "{limit:?}");
        assert_eq!(engine.was_prevented().is_some(), found == 0, "{limit:?}");
    }
}

#[test]
fn a_member_with_the_number_of_one_that_a_long_look_has_passed_is_found() {
    let table = family();
    table.with(|world| {
        (1000..4000).for_each(|pid| world.spawn(pid, 1).group = pid);
        world.cost = Duration::from_micros(50);
        // The last of them is the first that is looked at.
        world.before(Op::Stat(1000), |world| {
            world.end(3999);
            world.spawn(3999, 1).mark = Some(super::races::MARK);
        });
    });
    let mut evidence = marked(&table).group(300);
    evidence.adopted_at = u64::MAX;
    let outcome = kill(&table, evidence);
    assert!(!table.is_alive(3999) && !outcome.is_open);
}

#[test]
fn a_member_that_is_born_while_others_are_read_is_stopped_before_all_are() {
    let table = family();
    table.with(|world| {
        (1000..4000).for_each(|pid| world.spawn(pid, 1).group = pid);
        world.cost = Duration::from_micros(50);
        // The youngest are looked at first.
        world.before(Op::Stat(3999), |world| {
            world.spawn(5000, 1).mark = Some(super::races::MARK);
        });
        world.before(Op::Stat(1000), |world| {
            assert!(world.procs.get(&5000).is_none_or(|process| process.stopping));
        });
    });
    let mut evidence = marked(&table).group(300);
    evidence.adopted_at = u64::MAX;
    let outcome = kill(&table, evidence);
    assert!(!table.is_alive(5000) && !outcome.is_open);
}
