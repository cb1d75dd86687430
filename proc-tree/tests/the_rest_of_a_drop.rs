//! What a drop cannot do in its time is done by the cleanup worker.
#![cfg(all(target_os = "linux", feature = "cleanup"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{Containment, Tree};
use std::time::Duration;
use support::{Fixture, LONG, audited, await_gone, levels};

#[test]
fn fixture() {
    support::fixture_main();
}

#[test]
fn a_drop_without_time_is_finished_by_the_worker() {
    // The worker and its thread are there before the audit.
    lastout_cleanup_worker::submit(async {}).unwrap();
    lastout_cleanup_worker::flush_blocking(LONG).unwrap();
    audited(|| {
        // To ask for them drops trees as well, and on a busy machine not in their time.
        let levels = levels();
        lastout_cleanup_worker::flush_blocking(LONG).unwrap();
        let before = lastout_cleanup_worker::handle().stats();
        let mut handed = 0;
        for level in levels {
            let mut fixture = Fixture::balanced(30);
            let (tree, child) = Tree::spawn(fixture.command(), Containment::demand(level)).unwrap();
            let members = fixture.ready_in(&tree);
            drop(tree.drop_within(Duration::ZERO));
            handed += 1;
            await_gone(&members);
            drop(child);
        }
        lastout_cleanup_worker::flush_blocking(LONG).unwrap();
        let after = lastout_cleanup_worker::handle().stats();
        let accepted = after.accepted - before.accepted;
        assert!((1..=handed).contains(&accepted), "{accepted} of {handed} handed over");
        assert_eq!(after.completed - before.completed, accepted);
    });
}
