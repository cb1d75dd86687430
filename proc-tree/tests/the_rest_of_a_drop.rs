//! What a drop cannot do in its time is done by the cleanup worker, or by a thread where there is none.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test with real processes"
)]

mod support;

use lastout_proc_tree::{Containment, Level, Limits, ProcId, Program, SpawnError, Tree};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Stdio;
use std::time::Duration;
use support::{Fixture, LONG, audited, await_gone, levels, read_line};

#[test]
fn fixture() {
    support::fixture_main();
    match support::called().as_deref() {
        Some("bomb") => bomb(),
        Some("tracer") => {
            trace_the_end_of(std::env::var("LASTOUT_TRACED").unwrap().parse().unwrap());
        }
        _ => {}
    }
}

/// Forks until there is no room and goes on trying, without a pause, until the input is closed. The first of
/// all says when there is no more room.
#[expect(unsafe_code, reason = "a fork without exec; std has none")]
fn bomb() -> ! {
    let first = std::process::id();
    let mut has_said = false;
    loop {
        // SAFETY: the copies have one thread each, and call nothing but the system.
        let outcome = unsafe { libc::fork() };
        if outcome == 0 {
            // SAFETY: as above. A signal to the group of the root does not reach it any more.
            unsafe { libc::setsid() };
        }
        if outcome < 0 && !has_said && std::process::id() == first {
            println!("\nno room");
            has_said = true;
        }
        if is_over(std::io::stdin().as_fd(), Duration::ZERO) {
            std::process::exit(0);
        }
    }
}

/// Whether the other end of a pipe is closed, in this time.
fn is_over(end: BorrowedFd<'_>, patience: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::from_borrowed_fd(end, PollFlags::IN)];
    poll(&mut fds, Timespec::try_from(patience).ok().as_ref()) == Ok(1)
}

#[test]
fn a_dropped_fork_bomb_at_its_limit_ends() {
    audited(|| {
        for level in levels() {
            let containment = Containment::demand(level).limits(Limits::new().tasks(300));
            let mut command = support::caller("bomb");
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let (tree, mut child) = match Tree::spawn(&mut command, containment) {
                Err(SpawnError::Limit(_)) => return, // No controller can be reached here.
                spawned => spawned.unwrap(),
            };
            let (lifeline, mut stdout) = (child.stdin.take(), child.stdout.take().unwrap());
            while read_line(&mut stdout) != "no room" {}
            // Too little time for so many at most levels.
            drop((tree.drop_within(Duration::from_millis(30)), child));
            // Each of them holds the pipe.
            let is_over = is_over(stdout.as_fd(), LONG);
            drop(lifeline);
            assert!(is_over, "{level}: members of a dropped tree fork on");
        }
    });
}

#[test]
fn a_kill_counts_a_fork_bomb_in_a_namespace_without_a_walk_through_it() {
    audited(|| {
        let containment = Containment::demand(Level::PidNamespace).limits(Limits::new().tasks(300));
        let mut command = support::caller("bomb");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let (tree, mut child) = match Tree::spawn(&mut command, containment) {
            // It needs privileges, and a controller.
            Err(SpawnError::Limit(_) | SpawnError::Unavailable { .. }) => return,
            spawned => spawned.unwrap(),
        };
        let (lifeline, mut stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        while read_line(&mut stdout) != "no room" {}
        let report = tree.kill_blocking(LONG);
        let is_over = is_over(stdout.as_fd(), LONG);
        drop(lifeline);
        let report = report.unwrap();
        assert!(is_over, "members fork on: {report}");
        // A walk through it loses the processor, and ends with what it has.
        assert!(report.killed > 250, "{report}");
    });
}

#[test]
fn a_member_of_a_namespace_is_counted_once_however_little_time_there_is() {
    audited(|| {
        let containment = Containment::demand(Level::PidNamespace);
        let (tree, _child) = match Tree::spawn(Program::new("sleep").arg("600"), containment) {
            Err(SpawnError::Unavailable { .. }) => return, // It needs privileges.
            spawned => spawned.unwrap(),
        };
        let outcome = tree.kill_blocking(Duration::ZERO);
        let report = outcome.as_ref().unwrap_or_else(|error| error.report().unwrap());
        assert_eq!(report.killed + report.survivors.len(), 1, "{outcome:?}");
        tree.kill_blocking(LONG).unwrap();
    });
}

/// The cleanup worker, where it is the one who finishes; how many trees each drop hands over to it.
const BY_WORKER: u64 = if cfg!(feature = "cleanup") { 1 } else { 0 };

/// How many trees the worker was handed, and how many it has ended.
fn counts() -> (u64, u64) {
    #[cfg(feature = "cleanup")]
    return {
        let stats = lastout_cleanup_worker::handle().stats();
        (stats.accepted, stats.completed)
    };
    #[cfg(not(feature = "cleanup"))]
    (0, 0)
}

/// Waits until the worker has done everything.
fn flush() {
    #[cfg(feature = "cleanup")]
    lastout_cleanup_worker::flush_blocking(LONG).unwrap();
}

/// Holds a process in the last moment of its life: once it is killed, it stops and is alive until it is released.
#[expect(unsafe_code, reason = "a tracer; std has none")]
mod death {
    use super::ProcId;

    fn trace(request: libc::c_long, pid: i32, data: libc::c_long) {
        // SAFETY: these requests take numbers alone, and write no memory of the caller.
        let outcome =
            unsafe { libc::syscall(libc::SYS_ptrace, request, pid, 0 as libc::c_long, data) };
        assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    }

    pub(crate) fn hold_up(process: ProcId) {
        let at_exit = libc::PTRACE_O_TRACEEXIT.into();
        trace(libc::PTRACE_SEIZE as libc::c_long, process.pid().cast_signed(), at_exit);
    }

    /// Returns when the process was killed; it dies afterwards.
    pub(crate) fn release(process: ProcId) {
        let pid = process.pid().cast_signed();
        let mut status = 0;
        // SAFETY: the status is live and writable.
        let stopped = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        let event = (libc::PTRACE_EVENT_EXIT << 8) | libc::SIGTRAP;
        assert_eq!((stopped, status >> 8), (pid, event), "it has not stopped in its death");
        trace(libc::PTRACE_DETACH as libc::c_long, pid, 0);
    }
}

#[test]
fn a_drop_whose_time_is_over_is_finished_later() {
    // The worker and its thread are there before the audit.
    #[cfg(feature = "cleanup")]
    lastout_cleanup_worker::submit(async {}).unwrap();
    flush();
    audited(|| {
        // To ask for them drops trees as well, and on a busy machine not in their time.
        let levels = levels();
        flush();
        for budget in [Duration::ZERO, Duration::from_millis(40)] {
            for level in &levels {
                let before = counts();
                let mut fixture = Fixture::balanced(10);
                let (tree, child) =
                    Tree::spawn(fixture.command(), Containment::demand(*level)).unwrap();
                let members = fixture.ready_in(&tree);
                let root = tree.root().unwrap();
                death::hold_up(root);
                drop(tree.drop_within(budget));
                assert!(root.is_running(), "{level}: nothing ends it before it is released");
                let handed = counts();
                assert_eq!(handed.0 - before.0, BY_WORKER, "{level}: it is handed over");
                assert_eq!(handed.1, before.1, "{level}: and cannot be done yet");
                death::release(root);
                flush();
                assert_eq!(counts().1 - before.1, BY_WORKER, "{level}");
                await_gone(&members);
                drop(child);
            }
        }
    });
}

/// Ends a process, and keeps its parent from waiting for it until the input is closed.
#[expect(unsafe_code, reason = "a tracer; std has none")]
fn trace_the_end_of(pid: i32) {
    const NONE: libc::c_long = 0;
    // SAFETY: the request takes numbers alone.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, NONE, NONE) };
    println!("\ntraced {seized}");
    if seized == 0 {
        is_over(std::io::stdin().as_fd(), LONG);
    }
}

#[test]
fn a_root_that_ended_and_is_held_by_a_tracer_is_waited_for_without_haste() {
    audited(|| {
        let (tree, mut child) =
            Tree::spawn(Program::new("sleep").arg("600"), Containment::demand(Level::Evidence))
                .unwrap();
        let mut tracer = support::caller("tracer");
        tracer.env("LASTOUT_TRACED", child.id().pid().to_string());
        let mut tracer = tracer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = tracer.stdout.take().unwrap();
        let is_traced = loop {
            let line = read_line(&mut told);
            if let Some(outcome) = line.strip_prefix("traced ") {
                break outcome == "0";
            }
        };
        tree.kill_blocking(LONG).unwrap();
        if is_traced {
            let until = std::time::Instant::now() + Duration::from_millis(50);
            assert_eq!(child.wait_until(until).unwrap(), None);
            assert!(std::time::Instant::now() >= until, "it was given up early");
        }
        // The tracer reads the end of its input.
        drop(tracer.stdin.take());
        assert!(!child.wait().unwrap().success());
        tracer.wait().unwrap();
    });
}

#[cfg(not(feature = "cleanup"))]
#[test]
fn the_rest_of_one_tree_does_not_wait_for_that_of_another() {
    fn threads() -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        // The kernel cuts a name after 15 bytes.
        names.filter(|name| name.trim() == "lastout-proc-re").count()
    }
    audited(|| {
        let program = || {
            let containment = Containment::demand(Level::Evidence);
            Tree::spawn(Program::new("sleep").arg("600"), containment).unwrap()
        };
        // More trees than threads.
        let trees: Vec<_> = (0..12).map(|_| program()).collect();
        let roots: Vec<_> = trees.iter().map(|(tree, _)| tree.root().unwrap()).collect();
        roots.iter().for_each(|root| death::hold_up(*root));
        for (tree, child) in trees {
            drop((tree.drop_within(Duration::ZERO), child));
        }
        support::await_that(|| threads() == 8);
        roots.iter().for_each(|root| death::release(*root));
        await_gone(&roots);
        support::await_that(|| threads() == 0);
    });
}
