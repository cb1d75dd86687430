//! What a drop cannot do in its time is done by the cleanup worker.
#![cfg(all(target_os = "linux", feature = "cleanup"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{Containment, ProcId, Tree};
use std::time::Duration;
use support::{Fixture, LONG, audited, await_gone, levels};

#[test]
fn fixture() {
    support::fixture_main();
}

/// Holds a process in the last moment of its life: once it is killed, it stops and is alive until it is released.
#[expect(unsafe_code, reason = "a tracer; std has none")]
mod death {
    use super::ProcId;

    fn trace(request: libc::c_uint, pid: i32, data: libc::c_long) {
        // SAFETY: these requests take numbers alone, and write no memory of the caller.
        let outcome = unsafe { libc::ptrace(request, pid, 0 as libc::c_long, data) };
        assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    }

    pub(crate) fn hold_up(process: ProcId) {
        let at_exit = libc::PTRACE_O_TRACEEXIT.into();
        trace(libc::PTRACE_SEIZE, process.pid().cast_signed(), at_exit);
    }

    /// Returns when the process was killed; it dies afterwards.
    pub(crate) fn release(process: ProcId) {
        let pid = process.pid().cast_signed();
        let mut status = 0;
        // SAFETY: the status is live and writable.
        let stopped = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        let event = (libc::PTRACE_EVENT_EXIT << 8) | libc::SIGTRAP;
        assert_eq!((stopped, status >> 8), (pid, event), "it has not stopped in its death");
        trace(libc::PTRACE_DETACH, pid, 0);
    }
}

#[test]
fn a_drop_whose_time_is_over_is_finished_by_the_worker() {
    // The worker and its thread are there before the audit.
    lastout_cleanup_worker::submit(async {}).unwrap();
    lastout_cleanup_worker::flush_blocking(LONG).unwrap();
    audited(|| {
        // To ask for them drops trees as well, and on a busy machine not in their time.
        let levels = levels();
        lastout_cleanup_worker::flush_blocking(LONG).unwrap();
        for budget in [Duration::ZERO, Duration::from_millis(40)] {
            for level in &levels {
                let before = lastout_cleanup_worker::handle().stats();
                let mut fixture = Fixture::balanced(10);
                let (tree, child) =
                    Tree::spawn(fixture.command(), Containment::demand(*level)).unwrap();
                let members = fixture.ready_in(&tree);
                let root = tree.root().unwrap();
                death::hold_up(root);
                drop(tree.drop_within(budget));
                assert!(root.is_running(), "{level}: nothing ends it before it is released");
                let handed = lastout_cleanup_worker::handle().stats();
                assert_eq!(handed.accepted - before.accepted, 1, "{level}: it is handed over");
                assert_eq!(handed.completed, before.completed, "{level}: and cannot be done yet");
                death::release(root);
                lastout_cleanup_worker::flush_blocking(LONG).unwrap();
                let after = lastout_cleanup_worker::handle().stats();
                assert_eq!(after.completed - before.completed, 1, "{level}: {after:?}");
                await_gone(&members);
                drop(child);
            }
        }
    });
}
