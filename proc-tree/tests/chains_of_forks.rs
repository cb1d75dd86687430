//! A process that starts its successor and ends is a member at every moment, although no look finds it twice.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{Containment, Level, Program, Tree, WaitError};
use std::time::Duration;
use support::{LONG, audited, levels};

#[test]
fn fixture() {
    support::fixture_main();
}

/// A tree whose root has ended, and of which each process forks the next one and ends.
fn chain(level: Level) -> Tree {
    let mut program = Program::new("sh");
    // It ends with the kill: until then each shell starts the next one.
    let script = "exec sh -c \"$SCRIPT\" &";
    program.args(["-c", script]).env("SCRIPT", script);
    let (tree, mut child) = Tree::spawn(&mut program, Containment::demand(level)).unwrap();
    assert!(child.wait().unwrap().success());
    tree
}

#[test]
fn a_chain_of_forks_is_never_taken_for_an_empty_tree() {
    audited(|| {
        for level in levels() {
            let tree = chain(level);
            for _ in 0..3 {
                // A look that is too slow for the chain may fail, and says so.
                assert!(!tree.members().is_ok_and(|members| members.is_empty()), "{level}");
                match tree.wait_empty_blocking(Duration::ZERO) {
                    Err(WaitError::Deadline { .. } | WaitError::Unconfirmed) => {}
                    other => panic!("{level}: {other:?}"),
                }
            }
            tree.kill_blocking(LONG).unwrap();
            assert_eq!(tree.members().unwrap(), [], "{level}");
        }
    });
}

#[test]
fn a_chain_of_forks_that_is_frozen_stands_still() {
    audited(|| {
        for level in levels() {
            let tree = chain(level);
            for _ in 0..3 {
                tree.freeze_blocking(LONG).unwrap();
                let members = tree.members().unwrap();
                assert!(!members.is_empty(), "{level}");
                for _ in 0..3 {
                    assert_eq!(tree.members().unwrap(), members, "{level}");
                }
                tree.thaw().unwrap();
            }
            tree.kill_blocking(LONG).unwrap();
        }
    });
}
