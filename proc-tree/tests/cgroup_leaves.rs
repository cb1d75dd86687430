//! A leaf is emptied with everything below it, and nothing of it stays in the file system.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{Containment, Level, Tree};
use support::{Fixture, LONG, audited, cgroup_of, levels};

#[test]
fn fixture() {
    support::fixture_main();
}

#[test]
fn members_in_cgroups_of_their_own_below_the_leaf_are_killed_and_all_is_removed() {
    if !levels().contains(&Level::Cgroup) {
        return; // Without write access to a cgroup there is nothing to test.
    }
    audited(|| {
        let mut fixture = Fixture::escape();
        let (tree, _child) =
            Tree::spawn(fixture.command(), Containment::demand(Level::Cgroup)).unwrap();
        let members = fixture.ready_in(&tree);
        let leaf = cgroup_of(members[0].pid());
        assert!(leaf.file_name().unwrap().to_str().unwrap().starts_with("lastout-"));
        let nested = leaf.join("inner/innermost");
        std::fs::create_dir_all(&nested).unwrap();
        for member in &members[1..4] {
            std::fs::write(nested.join("cgroup.procs"), member.pid().to_string()).unwrap();
        }
        let mut listed = tree.members().unwrap();
        listed.sort();
        let mut expected = members.clone();
        expected.sort();
        assert_eq!(listed, expected);
        let report = tree.kill_blocking(LONG).unwrap();
        assert_eq!(report.killed, members.len());
        assert!(members.iter().all(|member| !member.is_running()));
        drop(tree);
        assert!(!leaf.exists());
    });
}

#[test]
fn a_leaf_is_gone_with_its_tree_and_with_its_caller() {
    if !levels().contains(&Level::Cgroup) {
        return; // Without write access to a cgroup there is nothing to test.
    }
    audited(|| {
        let mut fixture = Fixture::escape();
        let containment = Containment::demand(Level::Cgroup).die_with_parent();
        let (tree, child) = Tree::spawn(fixture.command(), containment).unwrap();
        let members = fixture.ready_in(&tree);
        let leaf = cgroup_of(members[0].pid());
        drop((tree, child));
        assert!(members.iter().all(|member| !member.is_running()));
        assert!(!leaf.exists());
    });
}
