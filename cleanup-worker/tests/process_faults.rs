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
    self as cleanup, Blocking, CleanupWorker, FlushError, LeftReason, RemoveFile,
};
use std::path::PathBuf;
use std::time::Duration;
use support::{LONG, again, is_second_life, until};

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

/// A task holds the worker's thread, and there is no other one: the caller drops what it gave up.
#[test]
fn an_end_drops_what_it_gave_up_itself_where_no_thread_is_free() {
    struct DroppedOn(std::sync::mpsc::Sender<std::thread::ThreadId>);
    impl Drop for DroppedOn {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().id());
        }
    }
    if !is_second_life() {
        let name = "an_end_drops_what_it_gave_up_itself_where_no_thread_is_free";
        let (status, output) = again(name);
        assert!(status.success(), "{output}");
        return;
    }
    let worker = CleanupWorker::builder().build().unwrap();
    let (drops, dropped) = std::sync::mpsc::channel();
    let (open, closed) = std::sync::mpsc::channel::<()>();
    let held = DroppedOn(drops);
    let waits = async move {
        let _held = held;
        std::future::pending::<()>().await;
    };
    worker.handle().submit(waits).unwrap();
    worker.handle().submit(async move { closed.recv().unwrap_or(()) }).unwrap();
    until("both have started", || worker.stats().in_flight == 2);
    forbid_threads();
    let report = worker.kill_blocking(Duration::from_millis(20));
    assert_eq!(report.stats().abandoned, 2, "{report:?}");
    assert_eq!(dropped.try_iter().collect::<Vec<_>>(), [std::thread::current().id()]);
    drop(open);
    allow_threads();
}

/// The system is asked again while an end waits, and what was accepted runs as soon as there is a thread.
#[test]
fn a_drain_asks_again_for_the_thread_that_was_refused() {
    if !is_second_life() {
        let (status, output) = again("a_drain_asks_again_for_the_thread_that_was_refused");
        assert!(status.success(), "{output}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for awaited in [false, true] {
        let (send, receive) = std::sync::mpsc::channel::<cleanup::CleanupHandle>();
        let helper = std::thread::spawn(move || {
            let handle = receive.recv().unwrap();
            until("it is closed", || handle.is_closed());
            let before = handle.stats().start_failures;
            until("it asks again", || handle.stats().start_failures > before + 2);
            allow_threads();
        });
        forbid_threads();
        let worker = CleanupWorker::builder().build().unwrap();
        worker.handle().submit(async {}).unwrap();
        send.send(worker.handle().clone()).unwrap();
        let report = if awaited {
            runtime.block_on(worker.drain(LONG))
        } else {
            worker.drain_blocking(LONG)
        };
        helper.join().unwrap();
        assert!(report.is_clean() && report.stats().completed == 1, "{awaited}: {report:?}");
    }
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
        let short = cleanup::Options::new().timeout(Duration::from_millis(1));
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
