//! A caller whose group and session have leaders outside of its PID namespace sees 0 for both, and is served as
//! any other. That is how most containers start what they run.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{Containment, ProcId, Tree};
use std::process::Command;
use support::{Fixture, LONG, await_gone, levels};

#[test]
fn fixture() {
    support::fixture_main();
    if support::called().as_deref() == Some("has leaders outside") {
        serve();
    }
}

#[test]
fn a_caller_with_leaders_outside_of_its_namespace_spawns_adopts_and_kills() {
    support::call_in_namespace("has leaders outside");
}

fn serve() {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!(fields[2..4], ["0", "0"], "its group and session: {stat}");
    for level in levels() {
        for containment in [Containment::demand(level), Containment::demand(level).keep_group()] {
            let mut fixture = Fixture::ghost();
            let (tree, _child) = Tree::spawn(fixture.command(), containment).unwrap();
            let members = fixture.ready_in(&tree);
            assert_eq!(tree.members().unwrap().len(), members.len(), "{level}");
            assert!(tree.kill_blocking(LONG).unwrap().is_clean(), "{level}");
            await_gone(&members);
        }
    }
    let mut innocent = Command::new("sleep").arg("600").spawn().unwrap();
    let mut fixture = Fixture::balanced(5);
    let mut root = fixture.command().spawn().unwrap();
    let members = fixture.ready();
    let tree = Tree::adopt(root.id()).unwrap();
    assert_eq!(tree.kill_blocking(LONG).unwrap().killed, 5);
    await_gone(&members);
    root.wait().unwrap();
    assert!(ProcId::of(innocent.id()).is_some_and(|id| id.is_running()), "it is in group 0, too");
    innocent.kill().unwrap();
    innocent.wait().unwrap();
    std::process::exit(0);
}
