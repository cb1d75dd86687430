//! A spawned tree is gone when `kill`, `shutdown`, `terminate` or the drop returns, at every level.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{
    Cause, Containment, Io, KillError, Level, Policy, Program, Signal, Tree, WaitError,
};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{Fixture, LONG, audited, levels};

#[test]
fn fixture() {
    support::fixture_main();
}

#[test]
fn kill_reaches_every_member_and_the_status_of_the_root_is_kept() {
    audited(|| {
        for level in levels() {
            let mut fixture = Fixture::escape();
            let (tree, mut child) =
                Tree::spawn(fixture.command(), Containment::demand(level)).unwrap();
            let members = fixture.ready_in(&tree);
            assert_eq!(tree.guarantee().level(), level);
            let report =
                tree.kill_blocking(LONG).unwrap_or_else(|error| panic!("{level}: {error}"));
            assert!(report.is_clean() && report.forced, "{report}");
            for member in members {
                assert!(!member.is_running(), "{level}: {member:?} runs");
            }
            assert!(!child.wait().unwrap().success());
        }
    });
}

#[test]
fn a_drop_kills_and_a_disarmed_drop_does_not() {
    audited(|| {
        for level in levels() {
            let mut fixture = Fixture::escape();
            let (tree, child) = Tree::spawn(fixture.command(), Containment::demand(level)).unwrap();
            let members = fixture.ready_in(&tree);
            drop(tree);
            for member in &members {
                assert!(!member.is_running(), "{level}: {member:?} runs");
            }
            drop(child);

            let mut fixture = Fixture::escape();
            let (tree, mut child) =
                Tree::spawn(fixture.command(), Containment::demand(level)).unwrap();
            let members = fixture.ready_in(&tree);
            tree.disarm();
            drop(tree);
            assert_eq!(child.try_wait().unwrap(), None, "{level}");
            for member in &members {
                assert!(member.is_running(), "{level}: {member:?} does not run");
            }
            fixture.end(&members);
            child.wait().unwrap();
        }
    });
}

#[test]
fn a_drop_in_an_unwind_kills() {
    audited(|| {
        let mut fixture = Fixture::escape();
        let (tree, child) = Tree::spawn(fixture.command(), Containment::strongest()).unwrap();
        let members = fixture.ready_in(&tree);
        let unwind = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _tree = tree;
            std::panic::resume_unwind(Box::new("expected"));
        }));
        assert!(unwind.is_err());
        for member in &members {
            assert!(!member.is_running());
        }
        drop(child);
    });
}

#[test]
fn the_grace_lasts_until_the_tree_is_empty_and_not_until_the_root_is_gone() {
    audited(|| {
        for level in levels() {
            // The root obeys at once; the helper ignores the request, and is killed after the grace.
            let mut command = Command::new("sh");
            let helper = "trap '' TERM; echo up; while :; do sleep 0.01; done";
            let script = "trap 'exit 7' TERM; sh -c \"$0\" & while :; do sleep 0.01; done";
            command.args(["-c", script, helper]).stdout(Stdio::piped());
            let (tree, mut child) = Tree::spawn(&mut command, Containment::demand(level)).unwrap();
            support::read_line(child.stdout.as_mut().unwrap());
            let policy = Policy::new().ask_root(Signal::TERM, Duration::from_millis(300));
            let report = tree.terminate_blocking(&policy).unwrap();
            assert!(report.forced, "{level}: {report}");
            assert!(report.elapsed >= Duration::from_millis(300), "{level}: {report}");
            assert_eq!(child.wait().unwrap().code(), Some(7), "{level}");
        }
    });
}

#[test]
fn a_tree_that_obeys_is_not_forced() {
    audited(|| {
        for level in levels() {
            let mut command = Command::new("sh");
            command.args(["-c", "sleep 600 & echo up; wait"]).stdout(Stdio::piped());
            let (tree, mut child) = Tree::spawn(&mut command, Containment::demand(level)).unwrap();
            support::read_line(child.stdout.as_mut().unwrap());
            let report =
                tree.terminate_blocking(&Policy::new().ask_all(Signal::TERM, LONG)).unwrap();
            assert!(!report.forced && report.killed == 0, "{level}: {report}");
            child.wait().unwrap();
        }
    });
}

#[test]
fn a_shutdown_asks_every_member_and_kills_who_does_not_follow_by_the_deadline() {
    audited(|| {
        for level in levels() {
            let mut command = Command::new("sh");
            let stubborn = "sh -c 'trap \"\" TERM; echo up; exec sleep 600' & wait";
            command.args(["-c", stubborn]).stdout(Stdio::piped());
            let (tree, mut child) = Tree::spawn(&mut command, Containment::demand(level)).unwrap();
            support::read_line(child.stdout.as_mut().unwrap());
            let report = tree.shutdown_blocking(Duration::from_millis(100)).unwrap();
            assert_eq!(report.killed, 1, "{level}: {report}");
            assert!(report.forced && report.is_clean(), "{level}: {report}");
            let (tree, _child) = {
                let mut command = Command::new("sleep");
                Tree::spawn(command.arg("600"), Containment::demand(level)).unwrap()
            };
            let report = support::block_on(tree.shutdown(Duration::from_millis(100))).unwrap();
            assert!(report.is_clean(), "{level}: {report}");
        }
    });
}

#[test]
fn wait_empty_outlasts_the_root_and_tells_who_is_left() {
    audited(|| {
        for level in levels() {
            let mut command = Command::new("sh");
            // The helper is an orphan, and ends when its stdin does.
            command.args(["-c", "cat <&3 >/dev/null 3<&- & exit 3"]);
            let (reader, writer) = std::io::pipe().unwrap();
            let containment = Containment::demand(level).descriptor(3, reader);
            let (tree, mut child) = Tree::spawn(&mut command, containment).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(3), "{level}");
            match tree.wait_empty_blocking(Duration::from_millis(50)) {
                Err(WaitError::Deadline { alive: 1 }) => {}
                other => panic!("{level}: {other:?}"),
            }
            drop(writer);
            tree.wait_empty_blocking(LONG).unwrap();
            assert_eq!(tree.members().unwrap(), [], "{level}");
            let report = tree.kill_blocking(LONG).unwrap();
            assert!(!report.forced);
        }
    });
}

#[test]
fn a_kill_of_nothing_and_two_kills_at_once_are_clean() {
    audited(|| {
        for level in levels() {
            let mut fixture = Fixture::escape();
            let (tree, _child) =
                Tree::spawn(fixture.command(), Containment::demand(level)).unwrap();
            fixture.ready_in(&tree);
            std::thread::scope(|scope| {
                let other = scope.spawn(|| tree.kill_blocking(LONG).map(drop));
                let result: Result<(), KillError> = tree.kill_blocking(LONG).map(drop);
                result.unwrap();
                other.join().unwrap().unwrap();
            });
            assert!(!tree.kill_blocking(LONG).unwrap().forced, "{level}");
        }
    });
}

#[test]
fn a_command_that_does_not_exist_leaves_nothing() {
    audited(|| {
        for level in levels() {
            let mut command = Command::new("/does/not/exist");
            let error = Tree::spawn(&mut command, Containment::demand(level)).unwrap_err();
            assert!(error.to_string().contains("/does/not/exist"), "{error}");
        }
    });
}

#[test]
fn one_command_spawns_many_trees() {
    audited(|| {
        let mut command = Command::new("sleep");
        command.arg("600");
        let environment: Vec<_> = command.get_envs().map(|(k, _)| k.to_owned()).collect();
        assert!(environment.is_empty());
        let spawn =
            |command: &mut Command| Tree::spawn(command, Containment::demand(Level::Evidence));
        let (first, _a) = spawn(&mut command).unwrap();
        let (second, mut b) = spawn(&mut command).unwrap();
        first.kill_blocking(LONG).unwrap();
        assert_eq!(b.try_wait().unwrap(), None, "trees of one command are separate");
        second.kill_blocking(LONG).unwrap();
    });
}

#[test]
fn a_kill_without_time_says_of_nobody_that_it_had_ended_before() {
    const MEMBERS: usize = 3;
    audited(|| {
        for (way, containment) in support::ways() {
            for _ in 0..10 {
                let mut program = Program::new("sh");
                program.args(["-c", "sleep 600 & sleep 600 & echo ready; wait"]);
                program.stdout(Io::Piped);
                let (tree, mut child) = Tree::spawn(&mut program, containment.clone()).unwrap();
                support::read_line(child.stdout.as_mut().unwrap());
                let outcome = tree.kill_blocking(Duration::ZERO);
                let report = match &outcome {
                    Ok(report) => report,
                    Err(error) => error.report().unwrap(),
                };
                assert_eq!(report.already_gone, 0, "{way}: {outcome:?}");
                let known = report.killed + report.survivors.len();
                // A supervisor tells how many it has killed when it ends, which may be later.
                let may_miss = tree.guarantee().supervisor().is_some();
                assert!(known == MEMBERS || (may_miss && known < MEMBERS), "{way}: {outcome:?}");
                assert!(report.forced || known == 0, "{way}: {outcome:?}");
                assert!(tree.root_end().is_none_or(|end| end.cause == Cause::Tree), "{way}");
                tree.kill_blocking(LONG).unwrap();
                assert_eq!(tree.root_end().unwrap().cause, Cause::Tree, "{way}");
            }
        }
    });
}

#[test]
fn a_root_that_nobody_has_waited_for_was_gone_already_at_every_level_that_leaves_it() {
    audited(|| {
        for level in [Level::Cgroup, Level::Evidence] {
            if !levels().contains(&level) {
                continue;
            }
            let containment = Containment::demand(level);
            let (tree, _child) = Tree::spawn(&mut Program::new("true"), containment).unwrap();
            let root = tree.root().unwrap();
            support::await_gone(&[root]);
            let report = tree.kill_blocking(LONG).unwrap();
            assert_eq!((report.killed, report.already_gone), (0, 1), "{level}: {report}");
            assert!(!report.forced, "{level}: {report}");
            assert_eq!(tree.kill_blocking(LONG).unwrap().already_gone, 0, "{level}");
        }
    });
}
