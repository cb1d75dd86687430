//! A kill needs few descriptors, and none that is free; one that had none for its look is no success.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{
    Containment, KillError, Level, Policy, Report, Signal, Tree, WaitError, kill_descendant_tree,
};
use rustix::process::{
    Resource, Rlimit, WaitOptions, getpid, getrlimit, set_child_subreaper, setrlimit, wait,
};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{Fixture, LONG, audited, levels, read_line};

#[test]
fn fixture() {
    support::fixture_main();
    match support::called().as_deref() {
        Some("few-descriptors") => be_short_of_descriptors(),
        Some("no-descriptors") => be_out_of_descriptors(),
        Some("full-of-descriptors") => be_full_of_descriptors(),
        Some(other) => panic!("no caller {other}"),
        None => {}
    }
}

/// More than 256 descriptors can hold at once. Only `Evidence` holds every member by a descriptor, so
/// that alone has to show that it gets along with four times as many.
fn many(level: Level) -> usize {
    if level == Level::Evidence { 1000 } else { 300 }
}

/// Kills trees whose members are copies of a shell: no exec, the cheapest processes there are. They end
/// by themselves when the lifeline does, whatever becomes of this process.
fn be_short_of_descriptors() {
    // Orphans fall to this process, which waits for them: an init that is slow at that would let a
    // thousand zombies use up the pids of the machine.
    set_child_subreaper(Some(getpid())).unwrap();
    let limit = Rlimit { current: Some(256), ..getrlimit(Resource::Nofile) };
    for level in levels() {
        let members = many(level);
        let script =
            "n=1; while [ $n -lt $0 ]; do read end <&3 & n=$((n + 1)); done; echo up; read end <&3";
        let mut command = Command::new("sh");
        command.args(["-c", script, &members.to_string()]).stdout(Stdio::piped());
        let (end, lifeline) = std::io::pipe().unwrap();
        let containment = Containment::demand(level).descriptor(3, end);
        let (tree, mut child) = Tree::spawn(&mut command, containment).unwrap();
        assert_eq!(read_line(child.stdout.as_mut().unwrap()), "up", "{level}");
        let listed = tree.members().unwrap();
        assert_eq!(listed.len(), members, "{level}");
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, limit).unwrap();
        let report = tree.kill_blocking(LONG).unwrap();
        setrlimit(Resource::Nofile, before).unwrap();
        // The members of a PID namespace are counted for a moment only, and killed at once.
        let least = if level == Level::PidNamespace { 1 } else { members };
        assert!(report.killed >= least, "{level}: {report}");
        assert!(listed.iter().all(|member| !member.is_running()), "{level}");
        drop((tree, child, lifeline));
        while wait(WaitOptions::empty()).is_ok() {}
    }
}

/// Kills trees while not even the descriptors that are kept for a kill can be used. Who cannot look does
/// not say that nobody is left, and kills all the same whom it holds.
fn be_out_of_descriptors() {
    // With 0 not even `poll` would work on the descriptors that are open.
    let none = Rlimit { current: Some(1), ..getrlimit(Resource::Nofile) };
    for level in levels() {
        let mut fixture = Fixture::ghost();
        let (tree, mut child) = Tree::spawn(fixture.command(), Containment::demand(level)).unwrap();
        let members = fixture.ready_in(&tree);
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, none).unwrap();
        let waited = tree.wait_empty_blocking(Duration::from_millis(20));
        let killed = tree.kill_blocking(Duration::from_millis(500));
        setrlimit(Resource::Nofile, before).unwrap();
        assert!(waited.is_err(), "{level}");
        assert!(killed.is_err(), "{level}: {killed:?}");
        if level == Level::Evidence {
            // The root is held since the spawn, and with it its group.
            assert!(!child.wait().unwrap().success());
        } else {
            // The kernel was told by a file that was open already, or the supervisor by its socket.
            support::await_gone(&members);
        }
        tree.kill_blocking(LONG).unwrap();
        assert!(members.iter().all(|member| !member.is_running()), "{level}");
    }
}

type Way<'a> = &'a dyn Fn(&Tree) -> Result<Report, KillError>;

/// Ends trees while every descriptor is in use: what a kill and a look need is kept from the spawn on.
fn be_full_of_descriptors() {
    let limit = Rlimit { current: Some(200), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let short = Duration::from_millis(300);
    let policies = [
        Policy::new().ask_all(Signal::TERM, short),
        Policy::term(short),
        Policy::term(short).ask_all(Signal::TERM, short),
    ];
    for level in levels() {
        let terminate = |n: usize| {
            let policy = &policies[n];
            move |tree: &Tree| tree.terminate_blocking(policy)
        };
        let (first, second, third) = (terminate(0), terminate(1), terminate(2));
        let ways: [Way<'_>; 5] = [
            &|tree| tree.kill_blocking(LONG),
            &|tree| tree.shutdown_blocking(short),
            &first,
            &second,
            &third,
        ];
        for (n, end) in ways.into_iter().enumerate() {
            let mut fixture = Fixture::ghost();
            let (tree, _child) =
                Tree::spawn(fixture.command(), Containment::demand(level)).unwrap();
            let members = fixture.ready_in(&tree);
            let others = take_every_descriptor();
            let report = end(&tree);
            drop(others);
            let is_clean = report.as_ref().is_ok_and(|report| report.is_clean());
            assert!(is_clean, "{level} {n}: {report:?}");
            assert!(members.iter().all(|member| !member.is_running()), "{level} {n}");
        }
        let mut fixture = Fixture::ghost();
        let (tree, _child) = Tree::spawn(fixture.command(), Containment::demand(level)).unwrap();
        let mut members = fixture.ready_in(&tree);
        members.sort_unstable();
        let others = take_every_descriptor();
        let mut listed = tree.members().unwrap();
        listed.sort_unstable();
        let waited = tree.wait_blocking(Duration::from_millis(20));
        let adopted = kill_descendant_tree(members[0].pid(), LONG);
        let killed = tree.kill_blocking(LONG);
        drop(others);
        assert_eq!(listed, members, "{level}");
        let alive = members.len();
        let is_right = matches!(waited, Err(WaitError::Deadline { alive: told }) if told == alive);
        assert!(is_right, "{level}: {waited:?}");
        assert!(adopted.is_ok(), "{level}: {adopted:?}");
        assert!(killed.is_ok(), "{level}: {killed:?}");
    }
}

fn take_every_descriptor() -> Vec<std::fs::File> {
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

#[test]
fn a_kill_needs_no_descriptor_that_is_free() {
    audited(|| {
        let status = support::caller("full-of-descriptors").status().unwrap();
        assert!(status.success());
    });
}

#[test]
fn no_descriptor_at_all_is_no_success() {
    audited(|| {
        let status = support::caller("no-descriptors").status().unwrap();
        assert!(status.success());
    });
}

#[test]
fn few_descriptors_are_enough_for_many_processes() {
    audited(|| {
        let status = support::caller("few-descriptors").status().unwrap();
        assert!(status.success());
    });
}
