//! What happens when the process itself is in trouble: no threads to be had, an exit from a cleanup,
//! a fork. Each test has a process of its own.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    unsafe_code,
    reason = "system calls that std does not have, in processes of the test's own"
)]

mod support;

use lastout_cleanup_worker::{
    self as cleanup, Blocking, CleanupWorker, FlushError, LeftReason, Options, RemoveFile,
};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::{LONG, again, gate, is_second_life, until};

/// Lets this process start no thread, until `allow_threads`. Root is above that limit, so it steps
/// down first.
fn forbid_threads() {
    // SAFETY: a plain system call without memory.
    if unsafe { libc::geteuid() } == 0 {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::setuid(65534) }, 0);
    }
    set_thread_limit(0);
    let refused = std::thread::Builder::new().spawn(|| {});
    assert!(refused.is_err(), "the limit has no effect here");
}

/// Also for whoever looks at the process at its end, such as a leak checker.
fn allow_threads() {
    set_thread_limit(100_000);
}

fn set_thread_limit(limit: u64) {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` is a live `rlimit`.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &mut now) };
    assert_eq!(got, 0);
    now.rlim_cur = limit.min(now.rlim_max);
    // SAFETY: as above.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &now) };
    assert_eq!(set, 0);
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("lastout-{name}-{}", std::process::id()))
}

#[test]
fn without_threads_everything_waits_for_the_first_one() {
    if !is_second_life() {
        let (status, output) = again("without_threads_everything_waits_for_the_first_one");
        assert!(status.success(), "{output}");
        return;
    }
    forbid_threads();
    let worker = CleanupWorker::builder().capacity(3).build().unwrap();
    let handle = worker.handle();
    assert!(!handle.is_running());
    handle.submit(async {}).unwrap();
    let guard = handle.arm(Blocking(|| {})).unwrap();
    drop(guard);
    assert_eq!(
        handle.flush_blocking(LONG),
        Err(FlushError::NotRunning { pending: 2 }),
        "at once: nobody is going to do it"
    );
    let stats = worker.stats();
    assert!(stats.start_failures >= 4 && stats.starts == 0, "{stats:?}");
    assert_eq!((stats.queued, stats.used), (2, 2), "{stats:?}");
    handle.submit(async {}).unwrap();
    drop(handle.submit(async {}).unwrap_err());
    allow_threads();
    drop(handle.arm(async {}).unwrap_err());
    handle.flush_blocking(LONG).unwrap();
    assert_eq!(worker.stats().completed, 3);
    assert!(worker.shutdown_blocking(LONG).is_clean());
}

#[test]
fn a_closure_runs_on_the_worker_itself_when_the_pool_gets_no_thread() {
    if !is_second_life() {
        let (status, output) =
            again("a_closure_runs_on_the_worker_itself_when_the_pool_gets_no_thread");
        assert!(status.success(), "{output}");
        return;
    }
    let worker = CleanupWorker::builder().build().unwrap();
    worker.handle().submit(async {}).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    forbid_threads();
    worker.handle().submit(Blocking(|| {})).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    assert_eq!(worker.stats().completed, 2);
    assert!(worker.shutdown_blocking(LONG).is_clean());
    allow_threads();
}

#[test]
fn a_shutdown_without_threads_gives_everything_up_and_says_so() {
    if !is_second_life() {
        let (status, output) = again("a_shutdown_without_threads_gives_everything_up_and_says_so");
        assert!(status.success(), "{output}");
        return;
    }
    forbid_threads();
    let worker = CleanupWorker::builder().build().unwrap();
    worker.handle().submit(async {}).unwrap();
    let report = worker.shutdown_blocking(Duration::from_millis(20));
    assert_eq!(report.left_behind().len(), 1, "{report:?}");
    assert_eq!(report.left_behind()[0].reason(), LeftReason::Abandoned);
    assert_eq!(report.stats().abandoned, 1);
    allow_threads();
}

#[test]
fn an_exit_from_a_cleanup_ends_the_process_at_once_with_that_status() {
    if !is_second_life() {
        let (status, output) =
            again("an_exit_from_a_cleanup_ends_the_process_at_once_with_that_status");
        assert_eq!(status.code(), Some(7), "{output}");
        return;
    }
    let _guard = cleanup::flush_guard(LONG);
    cleanup::submit(std::future::pending::<()>()).unwrap();
    cleanup::submit(async { std::process::exit(7) }).unwrap();
    let _ = cleanup::flush_blocking(LONG);
    unreachable!("the process has ended");
}

#[test]
fn a_guard_at_the_end_of_main_flushes_the_process_wide_worker() {
    let path = std::env::var_os("LASTOUT_TEST_PATH").map(PathBuf::from);
    if let (true, Some(path)) = (is_second_life(), path) {
        let _guard = cleanup::flush_guard(LONG);
        for _ in 0..100 {
            cleanup::submit(Blocking(std::thread::yield_now)).unwrap();
        }
        cleanup::submit(RemoveFile::new(path)).unwrap();
        return;
    }
    let path = scratch("end-of-main");
    std::fs::write(&path, b"").unwrap();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_guard_at_the_end_of_main_flushes_the_process_wide_worker"])
        .env("LASTOUT_SECOND_LIFE", "1")
        .env("LASTOUT_TEST_PATH", &path)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(!path.exists());
}

/// Forks; the child runs `body` and ends with 0 if it returns `true`. Gives the child's status.
fn in_a_fork(body: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child uses only this crate, std's threads and the allocator, which glibc makes usable
    // after a fork; it ends by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(false);
        // SAFETY: ends the child, and runs nothing of the parent's.
        unsafe { libc::_exit(i32::from(!good)) };
    }
    let mut status = 0;
    let deadline = Instant::now() + LONG;
    loop {
        // SAFETY: our own child, and `status` is live.
        let waited = unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) };
        assert!(waited >= 0);
        if waited == child {
            break;
        }
        if Instant::now() >= deadline {
            // SAFETY: our own child, not waited for yet, so the id is still its own.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
        std::thread::yield_now();
    }
    status
}

/// A file that its task appends to, so that a second run shows across processes.
fn mark(path: &std::path::Path) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    // One write for a line: those of the pool's threads do not mix.
    let line = format!("{}\n", std::process::id());
    file.write_all(line.as_bytes()).unwrap();
}

#[test]
fn a_forked_child_has_a_worker_of_its_own_and_runs_nothing_of_the_parents() {
    if !is_second_life() {
        let (status, output) =
            again("a_forked_child_has_a_worker_of_its_own_and_runs_nothing_of_the_parents");
        assert!(status.success(), "{output}");
        return;
    }
    let path = scratch("fork");
    let mut worker = Some(CleanupWorker::builder().concurrency(1).build().unwrap());
    let handle = worker.as_ref().unwrap().handle().clone();
    // One in flight, some queued, some not even looked at, one armed.
    let (open, closed) = gate();
    let blocker = Blocking(move || closed.recv().unwrap());
    handle.submit(blocker).unwrap();
    until("it is in flight", || handle.stats().in_flight == 1);
    worker.as_ref().unwrap().pause();
    for _ in 0..10 {
        let path = path.clone();
        handle.submit(Blocking(move || mark(&path))).unwrap();
    }
    let inherited = handle.arm(async {}).unwrap();
    cleanup::submit(async {}).unwrap();
    cleanup::flush_blocking(LONG).unwrap();

    let status = in_a_fork(|| {
        let fresh = handle.stats();
        assert_eq!((fresh.accepted, fresh.used, fresh.starts), (0, 0, 0), "{fresh:?}");
        handle.submit(Blocking(|| {})).unwrap();
        drop(inherited);
        drop(handle.arm(async {}).unwrap());
        handle.flush_blocking(LONG).unwrap();
        let stats = handle.stats();
        assert_eq!((stats.accepted, stats.completed), (3, 3), "{stats:?}");
        assert_eq!((stats.used, stats.starts), (0, 1), "{stats:?}");
        cleanup::submit(async {}).unwrap();
        cleanup::flush_blocking(LONG).unwrap();
        assert_eq!(cleanup::handle().stats().completed, 1);
        // The owner can be ended here as well, and ends only what is here.
        worker.take().unwrap().shutdown_blocking(LONG).is_clean()
    });
    assert_eq!(status, 0, "the child failed");
    assert!(!path.exists(), "the child ran a task of the parent");
    open.send(()).unwrap();
    cleanup::flush_blocking(LONG).unwrap();
    assert_eq!(cleanup::handle().stats().completed, 1);
    assert!(worker.unwrap().shutdown_blocking(LONG).is_clean());
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 10, "the parent's own");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn the_parent_of_a_fork_goes_on_as_if_nothing_was() {
    if !is_second_life() {
        let (status, output) = again("the_parent_of_a_fork_goes_on_as_if_nothing_was");
        assert!(status.success(), "{output}");
        return;
    }
    let path = scratch("parent");
    let worker = CleanupWorker::builder().build().unwrap();
    worker.pause();
    for _ in 0..10 {
        let path = path.clone();
        worker.handle().submit(Blocking(move || mark(&path))).unwrap();
    }
    let status = in_a_fork(|| {
        worker.handle().submit(async {}).unwrap();
        worker.handle().flush_blocking(LONG).is_ok()
    });
    assert_eq!(status, 0, "the child failed");
    worker.resume();
    let report = worker.shutdown_blocking(LONG);
    assert!(report.is_clean() && report.stats().completed == 10, "{report:?}");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let own = std::process::id().to_string();
    assert_eq!(text.lines().filter(|line| **line == own).count(), 10, "{text}");
    assert_eq!(text.lines().count(), 10, "{text}");
}

/// A guard is a value of both processes: what it does in the child is the child's to account for.
#[test]
fn a_guard_that_crosses_a_fork_is_accounted_for_in_both_processes() {
    if !is_second_life() {
        let (status, output) =
            again("a_guard_that_crosses_a_fork_is_accounted_for_in_both_processes");
        assert!(status.success(), "{output}");
        return;
    }
    let path = scratch("guard");
    for round in 0..4 {
        let mut worker = Some(CleanupWorker::builder().concurrency(1).build().unwrap());
        let handle = worker.as_ref().unwrap().handle().clone();
        let at = path.clone();
        let heavy = Options::new().weight(3);
        let mut guard = Some(handle.arm_with(Blocking(move || mark(&at)), heavy).unwrap());
        let status = in_a_fork(|| {
            let worker = worker.take().unwrap();
            match round {
                // Dropped before the end, with or without a worker that runs already: it runs.
                0 | 1 => {
                    if round == 1 {
                        handle.submit(async {}).unwrap();
                    }
                    guard = None;
                    let report = worker.shutdown_blocking(LONG);
                    assert!(report.is_clean(), "{report:?}");
                    assert_eq!(report.stats().completed, 1 + round, "{report:?}");
                    own_marks(&path) == 1
                }
                // Dropped after the end: the report names it, and the drop counts it.
                2 => {
                    let report = worker.shutdown_blocking(LONG);
                    let left = report.left_behind();
                    assert_eq!(left[0].reason(), LeftReason::Inherited { weight: 3 }, "{left:?}");
                    guard = None;
                    let stats = handle.stats();
                    assert_eq!((stats.accepted, stats.abandoned, stats.used), (1, 1, 0));
                    own_marks(&path) == 0
                }
                // Disarmed: nothing is left of it.
                _ => {
                    drop(guard.take().unwrap().disarm());
                    let report = worker.shutdown_blocking(LONG);
                    report.is_clean() && report.stats().accepted == 0
                }
            }
        });
        assert_eq!(status, 0, "the child failed in round {round}");
        // On this side nothing has happened.
        assert_eq!((handle.stats().armed, handle.stats().accepted), (3, 0));
        drop(guard);
        let report = worker.unwrap().shutdown_blocking(LONG);
        assert!(report.is_clean() && report.stats().completed == 1, "{report:?}");
        assert_eq!(own_marks(&path), 1, "the parent ran it once");
        std::fs::remove_file(&path).unwrap();
    }
}

/// How often this process made its mark.
fn own_marks(path: &std::path::Path) -> usize {
    let own = std::process::id().to_string();
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter(|line| **line == own).count()
}

/// The timeouts of a worker on a runtime come from a thread that watches the time.
#[cfg(feature = "tokio")]
#[test]
fn a_worker_on_a_runtime_keeps_its_timeouts_when_the_system_refuses_the_thread() {
    if !is_second_life() {
        let (status, output) =
            again("a_worker_on_a_runtime_keeps_its_timeouts_when_the_system_refuses_the_thread");
        assert!(status.success(), "{output}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let worker = CleanupWorker::builder().on_current_tokio().build().unwrap();
        forbid_threads();
        let short = Options::new().timeout(Duration::from_millis(1));
        worker.handle().submit_with(std::future::pending::<()>(), short).unwrap();
        worker.handle().flush(LONG).await.unwrap();
        let stats = worker.stats();
        assert_eq!(stats.timed_out, 1, "{stats:?}");
        assert!(stats.start_failures > 0, "the refusal shows: {stats:?}");
        let missed = worker.handle().flush(LONG);
        worker.handle().submit(std::future::pending::<()>()).unwrap();
        missed.await.unwrap();
        let flushed = worker.handle().flush(Duration::from_millis(20)).await;
        assert_eq!(flushed, Err(FlushError::TimedOut { pending: 1 }));
        allow_threads();
        assert_eq!(worker.kill(LONG).await.stats().abandoned, 1);
    });
}
