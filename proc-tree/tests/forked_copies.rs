//! A tree belongs to the process that has made it: a copy of that process, made by a fork, ends it only as its heir.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test with real processes"
)]

mod support;

use lastout_proc_tree::{Containment, Limits, ProcId, Tree};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use support::{Fixture, LONG, audited, await_gone, levels};

#[test]
fn fixture() {
    support::fixture_main();
    match support::called().as_deref() {
        Some("forks") => fork_and_go_on(),
        Some("forks and ends") => fork_and_end(),
        _ => {}
    }
}

/// Forks; the pid of the copy, or 0 in there.
#[expect(unsafe_code, reason = "a fork without exec; std has none")]
fn fork() -> i32 {
    // SAFETY: the copy has one thread, the one that calls; libc's allocator and std's locks that it uses are free.
    unsafe { libc::fork() }
}

#[expect(unsafe_code, reason = "an end without destructors")]
fn exit() -> ! {
    // SAFETY: ends this process at once.
    unsafe { libc::_exit(0) }
}

/// Trees at every level, one with leaves of its own for a limit where that is possible.
fn containments() -> Vec<Containment> {
    let mut all: Vec<_> = levels().into_iter().map(Containment::demand).collect();
    all.push(Containment::strongest().limits(Limits::new().tasks(100)));
    all.retain(|one| Tree::spawn(&mut std::process::Command::new("true"), one.clone()).is_ok());
    all
}

fn fork_and_go_on() {
    for containment in containments() {
        let mut fixture = Fixture::balanced(3);
        let (tree, child) = Tree::spawn(fixture.command(), containment).unwrap();
        let members = fixture.ready_in(&tree);
        let copy = fork();
        if copy == 0 {
            drop((tree, child));
            exit();
        }
        let copy = rustix::process::Pid::from_raw(copy);
        rustix::process::waitpid(copy, rustix::process::WaitOptions::empty()).unwrap();
        let guarantee = tree.guarantee();
        assert!(members.iter().all(ProcId::is_running), "{guarantee}");
        assert_eq!(tree.members().unwrap().len(), 3, "{guarantee}");
        assert!(tree.kill_blocking(LONG).unwrap().is_clean(), "{guarantee}");
        await_gone(&members);
    }
}

#[test]
fn a_drop_in_a_forked_copy_leaves_the_tree_to_its_maker() {
    audited(|| {
        let mut caller = support::caller("forks");
        assert!(caller.stdin(Stdio::null()).status().unwrap().success());
    });
}

fn fork_and_end() {
    let caller = std::process::id();
    let trees = containments().into_iter().map(|containment| {
        let mut fixture = Fixture::balanced(3);
        let (tree, child) = Tree::spawn(fixture.command(), containment).unwrap();
        let members = fixture.ready_in(&tree);
        members.iter().for_each(|member| println!("\nalive {member}"));
        (tree, child)
    });
    let trees: Vec<_> = trees.collect();
    println!("\nall");
    std::io::stdout().flush().unwrap();
    if fork() == 0 {
        support::await_that(|| !ProcId::of(caller).is_some_and(|caller| caller.is_running()));
        drop(trees);
    }
    exit();
}

#[test]
fn a_drop_in_a_forked_copy_ends_the_tree_of_a_maker_that_is_gone() {
    audited(|| {
        let mut caller = support::caller("forks and ends");
        let mut caller = caller.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(caller.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        let members = lines.take_while(|line| line != "all");
        let members = members.filter_map(|line| line.strip_prefix("alive ")?.parse().ok());
        let members: Vec<ProcId> = members.collect();
        caller.wait().unwrap();
        await_gone(&members);
        assert!(members.len() >= 3);
    });
}
