//! Whoever is not of the tree is neither signalled nor removed, however much it looks like a member.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test with real processes"
)]

mod support;

use lastout_proc_tree::{Containment, Level, ProcId, Signal, Tree};
use std::process::Command;
use std::time::Instant;
use support::{LONG, audited};

#[test]
fn fixture() {
    support::fixture_main();
    match support::called().as_deref() {
        Some("reuses-a-pid") => reuse_a_pid(),
        Some("sweeps") => sweep(),
        Some(other) => panic!("no caller {other}"),
        None => {}
    }
}

/// The first process of a PID namespace, whose next pid can be chosen without disturbing anybody.
fn reuse_a_pid() {
    let deadline = Instant::now() + LONG;
    loop {
        assert!(Instant::now() < deadline, "no pid was reused within a tick");
        let mut command = Command::new("sleep");
        let containment = Containment::demand(Level::Evidence);
        let (tree, mut child) = Tree::spawn(command.arg("600"), containment).unwrap();
        let root = tree.root().unwrap();
        let raw = rustix::process::Pid::from_raw(root.pid() as i32).unwrap();
        rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
        std::fs::write("/proc/sys/kernel/ns_last_pid", (root.pid() - 1).to_string()).unwrap();
        let mut innocent = Command::new("sleep").arg("600").spawn().unwrap();
        let innocent_id = ProcId::of(innocent.id()).unwrap();
        if (innocent_id.pid(), innocent_id.start()) == (root.pid(), root.start()) {
            assert!(!root.exists() && !root.is_running());
            assert_eq!(tree.signal(Signal::TERM).unwrap(), 0);
            assert_eq!(tree.members().unwrap(), []);
            let report = tree.kill_blocking(LONG).unwrap();
            assert_eq!(report.killed, 0, "{report}");
            assert_eq!(innocent.try_wait().unwrap(), None);
            println!("reused within a tick");
        }
        let seen = innocent_id.start() == root.start();
        innocent.kill().unwrap();
        innocent.wait().unwrap();
        if seen {
            return;
        }
    }
}

#[test]
fn a_process_that_got_the_pid_of_the_root_within_the_same_tick_is_no_member() {
    if !rustix::process::geteuid().is_root() || ProcId::current().inode().is_none() {
        return; // Without privileges, or before Linux 6.9, it cannot be shown.
    }
    audited(|| {
        let caller = support::caller("reuses-a-pid");
        let mut command = support::inside(&["--pid", "--fork", "--mount-proc"], &caller);
        assert!(command.status().unwrap().success());
    });
}

/// The first leaf of a process sweeps those whose owners are gone.
fn sweep() {
    let containment = Containment::demand(Level::Cgroup);
    let (tree, _child) = Tree::spawn(&mut Command::new("true"), containment).unwrap();
    tree.kill_blocking(LONG).unwrap();
}

#[test]
fn an_empty_leaf_of_a_living_owner_stays_when_another_pid_namespace_sweeps() {
    if !rustix::process::geteuid().is_root() || !support::levels().contains(&Level::Cgroup) {
        return; // Without privileges it cannot be shown.
    }
    audited(|| {
        let mut command = Command::new("sleep");
        let containment = Containment::demand(Level::Cgroup);
        let (tree, mut child) = Tree::spawn(command.arg("600"), containment).unwrap();
        let root = tree.root().unwrap();
        let leaf = support::cgroup_of(root.pid());
        let raw = rustix::process::Pid::from_raw(root.pid() as i32).unwrap();
        rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
        assert!(leaf.exists(), "it is empty, and its tree is there");
        for namespaces in [&["--pid", "--fork", "--mount-proc"][..], &["--time", "--boottime=9"]] {
            let mut command = support::inside(namespaces, &support::caller("sweeps"));
            assert!(command.status().unwrap().success(), "{namespaces:?}");
            assert!(leaf.exists(), "{namespaces:?}");
        }
        drop(tree);
        assert!(!leaf.exists());
    });
}
