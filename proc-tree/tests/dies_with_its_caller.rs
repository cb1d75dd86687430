//! A tree that is to die with its caller does so when the caller is killed, and not when the thread
//! that spawned it ends.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test with real processes"
)]

mod support;

use lastout_proc_tree::{Containment, Level, ProcId, Tree};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use support::{Fixture, LONG, audited, await_gone, levels};

#[test]
fn fixture() {
    support::fixture_main();
    if let Some(level) = support::called() {
        match level.strip_prefix("outlived by ") {
            Some(level) => be_outlived(level),
            None => be_a_caller(&level),
        }
    }
}

/// Spawns a tree that is to outlive this process, and one that is not, and waits to be killed.
fn be_outlived(level: &str) {
    let level = levels().into_iter().find(|l| l.to_string() == level).unwrap();
    let spawn = |containment: Containment| {
        let mut program = lastout_proc_tree::Program::new("sleep");
        program.arg("600").stdout(lastout_proc_tree::Io::Null);
        Tree::spawn(&mut program, containment).unwrap()
    };
    let outliving = spawn(containment(level).outlive_caller());
    assert!(!outliving.0.guarantee().dies_with_parent());
    let dying = spawn(Containment::demand(level).outlive_caller().die_with_parent());
    assert!(dying.0.guarantee().dies_with_parent());
    println!("\npair {} {}", outliving.0.root().unwrap(), dying.0.root().unwrap());
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_tree_that_is_to_outlive_its_caller_does_at_every_level() {
    audited(|| {
        for level in levels().into_iter().filter(|level| *level != Level::PidNamespace) {
            let mut command = support::caller(&format!("outlived by {level}"));
            let mut caller = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
            let lines = BufReader::new(caller.stdout.take().unwrap()).lines();
            let pair = lines.map(|line| line.unwrap()).find(|line| line.starts_with("pair "));
            let pair: Vec<ProcId> =
                pair.unwrap().split(' ').skip(1).map(|id| id.parse().unwrap()).collect();
            caller.kill().unwrap();
            caller.wait().unwrap();
            await_gone(&pair[1..]);
            assert!(pair[0].is_running(), "{level}");
            let tree = Tree::adopt(pair[0].pid()).unwrap();
            assert!(tree.kill_blocking(LONG).unwrap().is_clean());
        }
    });
}

fn containment(level: Level) -> Containment {
    Containment::demand(level).die_with_parent()
}

/// Spawns a tree from a thread that ends, tells who is in it, and waits to be killed.
fn be_a_caller(level: &str) {
    let level = levels().into_iter().find(|l| l.to_string() == level).unwrap();
    let spawned = std::thread::spawn(move || {
        let mut fixture = Fixture::escape();
        let (tree, child) = Tree::spawn(fixture.command(), containment(level)).unwrap();
        let members = fixture.ready_in(&tree);
        (tree, child, members)
    });
    let (tree, _child, members) = spawned.join().unwrap();
    assert!(tree.guarantee().dies_with_parent());
    // The thread has ended. Whoever died with it is no member any more.
    for member in tree.members().unwrap() {
        println!("\nalive {member}");
    }
    println!("\nall {}", members.len());
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_caller_takes_its_tree_along() {
    audited(|| {
        for level in levels() {
            let mut command = support::caller(&level.to_string());
            let mut caller = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
            let lines = BufReader::new(caller.stdout.take().unwrap()).lines();
            let mut members: Vec<ProcId> = Vec::new();
            for line in lines.map(|line| line.unwrap()) {
                if let Some(member) = line.strip_prefix("alive ") {
                    members.push(member.parse().unwrap());
                } else if let Some(expected) = line.strip_prefix("all ") {
                    // The first process of a namespace is a member there.
                    assert!(members.len() >= expected.parse().unwrap(), "{level}: {members:?}");
                    break;
                }
            }
            caller.kill().unwrap();
            caller.wait().unwrap();
            await_gone(&members);
        }
    });
}

#[test]
fn an_orderly_end_of_the_caller_lets_a_disarmed_tree_live() {
    audited(|| {
        for level in [Level::Supervisor, Level::Evidence] {
            let mut fixture = Fixture::escape();
            let (tree, child) = Tree::spawn(fixture.command(), containment(level)).unwrap();
            let members = fixture.ready_in(&tree);
            tree.disarm();
            drop((tree, child));
            assert!(members.iter().all(ProcId::is_running), "{level}");
            fixture.end(&members);
            await_gone(&members);
        }
    });
}

#[test]
fn a_killed_supervisor_is_replaced_by_the_evidence() {
    audited(|| {
        let mut fixture = Fixture::ghost();
        let (tree, _child) =
            Tree::spawn(fixture.command(), Containment::demand(Level::Supervisor)).unwrap();
        let members = fixture.ready_in(&tree);
        let root = lastout_proc_tree::snapshot(tree.root().unwrap().pid()).unwrap();
        let supervisor = rustix::process::Pid::from_raw(root.processes()[0].parent as i32).unwrap();
        rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
        let report = tree.kill_blocking(LONG).unwrap();
        assert!(report.is_clean());
        assert!(members.iter().all(|member| !member.is_running()));
    });
}
