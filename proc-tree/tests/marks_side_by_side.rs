//! A process may be a member of several trees: the mark of one does not take that of another, and a tree
//! that cannot mark its members says so.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test with real processes"
)]

mod support;

use lastout_proc_tree::{Containment, Gap, KillError, Level, ProcId, Tree, WaitError};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{LONG, audited, levels, read_line};

#[test]
fn fixture() {
    support::fixture_main();
    match support::called().as_deref() {
        Some("inner") => make_an_inner_tree(),
        Some("unmarkable") => be_unmarkable(),
        Some(other) => panic!("no caller {other}"),
        None => {}
    }
}

/// A shell that starts a daemon without group, session, environment and parent of the tree, tells its pid,
/// and ends when its input does.
fn daemonizer() -> Command {
    let daemon = "env -i PATH=/usr/bin:/bin setsid sh -c 'echo; echo $$; exec sleep 600 >&-' &";
    let mut command = Command::new("sh");
    command.args(["-c", &format!("({daemon}); read end")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn read_pid(from: &mut impl std::io::Read) -> ProcId {
    let until = std::time::Instant::now() + LONG;
    while std::time::Instant::now() < until {
        if let Ok(pid) = read_line(from).parse() {
            return ProcId::of(pid).unwrap();
        }
    }
    panic!("no pid was told");
}

/// A member of the outer tree that has a tree of its own, with a daemon in it.
fn make_an_inner_tree() {
    let level = std::env::var("LASTOUT_LEVEL").unwrap();
    let level = levels().into_iter().find(|one| one.to_string() == level).unwrap();
    let mut command = daemonizer();
    let (_tree, mut child) = Tree::spawn(&mut command, Containment::demand(level)).unwrap();
    let daemon = read_pid(child.stdout.as_mut().unwrap());
    println!("\n{}", daemon.pid());
    loop {
        std::thread::park();
    }
}

#[test]
fn a_daemon_of_an_inner_tree_goes_with_the_outer_one() {
    audited(|| {
        for outer in [Level::Evidence, Level::Cgroup] {
            for inner in [Level::Evidence, Level::Cgroup, Level::Supervisor] {
                if !levels().contains(&outer) || !levels().contains(&inner) {
                    continue;
                }
                let mut command = support::caller("inner");
                command.env("LASTOUT_LEVEL", inner.to_string()).stdout(Stdio::piped());
                let (tree, mut child) =
                    Tree::spawn(&mut command, Containment::demand(outer)).unwrap();
                assert_eq!(tree.guarantee().gaps().count(), 0, "{}", tree.guarantee());
                let daemon = read_pid(child.stdout.as_mut().unwrap());
                tree.kill_blocking(LONG).unwrap();
                assert!(!daemon.is_running(), "{inner} inside of {outer}");
            }
        }
    });
}

#[test]
fn a_second_adoption_does_not_take_the_mark_of_the_first() {
    audited(|| {
        let mut command = Command::new("sh");
        let daemon = "env -i PATH=/usr/bin:/bin setsid sh -c 'echo $$; exec sleep 600 >&-' &";
        command.args(["-c", &format!("read go; ({daemon}); exit 0")]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let first = Tree::adopt(child.id()).unwrap();
        let second = Tree::adopt(child.id()).unwrap();
        drop(child.stdin.take());
        let daemon = read_pid(child.stdout.as_mut().unwrap());
        child.wait().unwrap();
        for tree in [&second, &first] {
            assert_eq!(tree.guarantee().gaps().count(), 0, "{}", tree.guarantee());
            assert_eq!(tree.members().unwrap(), [daemon]);
        }
        second.disarm();
        drop(second);
        first.kill_blocking(LONG).unwrap();
        assert!(!daemon.is_running());
    });
}

/// Every place for a mark is closed by hard limits.
fn be_unmarkable() {
    let closed = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Locks, closed).unwrap();
    setrlimit(Resource::Rss, closed).unwrap();
    let mut command = Command::new("sleep");
    command.arg("600");
    let (tree, _child) = Tree::spawn(&mut command, Containment::demand(Level::Evidence)).unwrap();
    assert_eq!(tree.guarantee().gaps().collect::<Vec<_>>(), [Gap::Unmarked]);
    assert_eq!(tree.members().unwrap().len(), 1);
    let waited = tree.wait_empty_blocking(Duration::from_millis(20));
    assert!(matches!(waited, Err(WaitError::Deadline { alive: 1 })), "{waited:?}");
    match tree.kill_blocking(LONG) {
        Err(KillError::Unconfirmed(report)) => assert_eq!(report.killed, 1),
        other => panic!("{other:?}"),
    }
    let waited = tree.wait_empty_blocking(LONG);
    assert!(matches!(waited, Err(WaitError::Unconfirmed)), "{waited:?}");

    let mut child = command.spawn().unwrap();
    let tree = Tree::adopt(child.id()).unwrap();
    assert_eq!(tree.guarantee().gaps().collect::<Vec<_>>(), [Gap::Unmarked]);
    assert!(matches!(tree.kill_blocking(LONG), Err(KillError::Unconfirmed(_))));
    child.wait().unwrap();
    if levels().contains(&Level::Cgroup) {
        let (tree, _child) = Tree::spawn(&mut command, Containment::demand(Level::Cgroup)).unwrap();
        assert!(!tree.guarantee().is_complete());
        assert!(tree.kill_blocking(LONG).unwrap().is_clean(), "the kernel confirms the end");
    }
}

#[test]
fn a_tree_without_a_place_for_its_mark_says_so_and_confirms_nothing() {
    audited(|| assert!(support::caller("unmarkable").status().unwrap().success()));
}

#[test]
fn a_tree_that_is_let_live_gives_the_places_of_its_mark_back() {
    audited(|| {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        for _ in 0..8 {
            let tree = Tree::adopt(child.id()).unwrap();
            assert_eq!(tree.guarantee().gaps().count(), 0, "{}", tree.guarantee());
            tree.disarm();
        }
        Tree::adopt(child.id()).unwrap().kill_blocking(LONG).unwrap();
        child.wait().unwrap();
    });
}

/// How many of six adoptions of the same process can mark it, one after the other; all are let live then.
fn adoptions_that_mark(pid: u32) -> usize {
    let trees: Vec<Tree> = (0..6).map(|_| Tree::adopt(pid).unwrap()).collect();
    let marked = trees.iter().take_while(|tree| tree.guarantee().gaps().count() == 0).count();
    for tree in &trees[marked..] {
        assert_eq!(tree.guarantee().gaps().collect::<Vec<_>>(), [Gap::Unmarked]);
    }
    trees.iter().for_each(Tree::disarm);
    marked
}

#[test]
fn two_adoptions_mark_a_process_or_one_if_it_was_spawned_in_a_tree() {
    audited(|| {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        for round in 0..3 {
            assert_eq!(adoptions_that_mark(child.id()), 2, "round {round}");
        }
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        let own = std::fs::read_to_string("/proc/self/limits").unwrap();
        assert_eq!(limits, own, "the limits are what they were");
        Tree::adopt(child.id()).unwrap().kill_blocking(LONG).unwrap();
        child.wait().unwrap();

        let mut command = Command::new("sleep");
        let containment = Containment::demand(Level::Evidence);
        let (tree, child) = Tree::spawn(command.arg("600"), containment).unwrap();
        for round in 0..3 {
            assert_eq!(adoptions_that_mark(child.id().pid()), 1, "round {round}");
        }
        tree.kill_blocking(LONG).unwrap();
    });
}
