//! A process that asked for it gets the orphans of its trees, and waits for them and nobody else.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{Containment, Level, Tree, snapshot};
use std::process::Command;
use support::{Fixture, LONG, audited};

#[test]
fn fixture() {
    support::fixture_main();
}

#[test]
fn orphans_fall_to_the_caller_and_are_no_zombies_afterwards() {
    audited(|| {
        // A child of the caller that is no member, and has ended: it stays for its owner.
        let mut other = Command::new("true").spawn().unwrap();
        let mut fixture = Fixture::ghost();
        let containment = Containment::demand(Level::Subreaper);
        let (tree, _child) = Tree::spawn(fixture.command(), containment).unwrap();
        let members = fixture.ready_in(&tree);
        let below = snapshot(std::process::id()).unwrap();
        for member in &members {
            assert!(below.descendants().iter().any(|process| process.id == *member));
        }
        let orphans = below
            .descendants()
            .iter()
            .filter(|p| p.depth == 1 && Some(p.id) != tree.root() && p.pid != other.id());
        assert_eq!(orphans.count(), 1, "{below}");
        assert!(tree.kill_blocking(LONG).unwrap().is_clean());
        assert!(members.iter().all(|member| !member.exists()));
        assert!(other.wait().unwrap().success());
    });
}
