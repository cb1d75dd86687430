//! A fork makes two workers of one: each process runs, drops and counts what it accepted itself.
#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "forks")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "real processes")]

mod support;

use lastout_cleanup_worker::{
    self as cleanup, Blocking, CleanupWorker, LeftReason, ManualClock, Options,
};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::{LONG, again, gate, is_second_life, until};

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("lastout-cleanup-fork-{name}-{}", std::process::id()))
}

/// Marks a file when it is dropped, whichever process does that.
#[cfg(feature = "tokio")]
struct Marks(PathBuf);

#[cfg(feature = "tokio")]
impl Drop for Marks {
    fn drop(&mut self) {
        mark(&self.0);
    }
}

/// A task that holds the mark and never ends by itself.
#[cfg(feature = "tokio")]
fn holds(path: &std::path::Path) -> impl Future<Output = ()> + Send + 'static + use<> {
    let marks = Marks(path.to_owned());
    async move {
        let _marks = marks;
        std::future::pending::<()>().await;
    }
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

/// Whichever of its parts the child drops, the tasks of the parent keep their destructors for the parent.
#[cfg(feature = "tokio")]
#[test]
fn the_child_drops_no_task_of_the_parent() {
    if !is_second_life() {
        let (status, output) = again("the_child_drops_no_task_of_the_parent");
        assert!(status.success(), "{output}");
        return;
    }
    let path = scratch("drops");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let builder = CleanupWorker::builder().concurrency(1).on_tokio(runtime.handle().clone());
    let mut parts = Some((builder.build().unwrap(), runtime));
    // One in flight, one queued, one not even looked at.
    let (worker, runtime) = parts.as_ref().unwrap();
    worker.handle().submit(holds(&path)).unwrap();
    worker.handle().submit(holds(&path)).unwrap();
    runtime.block_on(async {
        while worker.stats().in_flight == 0 {
            tokio::task::yield_now().await;
        }
    });
    worker.handle().submit(holds(&path)).unwrap();
    let status = in_a_fork(|| {
        let (worker, runtime) = parts.take().unwrap();
        let report = worker.drain_blocking(LONG);
        assert!(report.is_clean() && report.stats().accepted == 0, "{report:?}");
        drop(runtime);
        true
    });
    assert_eq!(status, 0, "the child failed");
    assert!(!path.exists(), "the child dropped a task of the parent");
    let (worker, runtime) = parts.unwrap();
    let report = runtime.block_on(worker.kill(LONG));
    assert_eq!(report.stats().abandoned, 3, "{report:?}");
    assert_eq!(own_marks(&path), 3);
    std::fs::remove_file(&path).unwrap();
}

/// The child has a copy of the parent's runtime, and of the task on it that drives the worker.
#[cfg(feature = "tokio")]
#[test]
fn a_runtime_that_the_child_goes_on_with_drives_nothing_there() {
    if !is_second_life() {
        let (status, output) = again("a_runtime_that_the_child_goes_on_with_drives_nothing_there");
        assert!(status.success(), "{output}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let worker = CleanupWorker::builder().on_tokio(runtime.handle().clone()).build().unwrap();
    let mut parts = Some((worker, runtime));
    let status = in_a_fork(|| {
        let (worker, runtime) = parts.take().unwrap();
        let handle = worker.handle().clone();
        let here = std::thread::current().id();
        let task = || async move { assert_ne!(std::thread::current().id(), here) };
        handle.submit(task()).unwrap();
        runtime.block_on(async {
            for _ in 0..100 {
                handle.submit(task()).unwrap();
                tokio::task::yield_now().await;
            }
            handle.flush(LONG).await.unwrap();
        });
        drop(runtime);
        handle.submit(task()).unwrap();
        handle.flush_blocking(LONG).unwrap();
        let stats = handle.stats();
        assert_eq!((stats.completed, stats.panicked, stats.starts), (102, 0, 1), "{stats:?}");
        worker.shutdown_blocking(LONG).is_clean()
    });
    assert_eq!(status, 0, "the child failed");
    let (worker, runtime) = parts.unwrap();
    assert!(runtime.block_on(worker.shutdown(LONG)).is_clean());
}

/// The child cannot tell a guard that waits in the inbox of the parent from one that is armed, and names it.
#[cfg(feature = "tokio")]
#[test]
fn a_guard_that_the_worker_of_the_parent_had_not_taken_is_named_in_the_child() {
    if !is_second_life() {
        let name = "a_guard_that_the_worker_of_the_parent_had_not_taken_is_named_in_the_child";
        let (status, output) = again(name);
        assert!(status.success(), "{output}");
        return;
    }
    let path = scratch("not-taken");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let builder = CleanupWorker::builder().on_tokio(runtime.handle().clone());
    let mut worker = Some(builder.build().unwrap());
    drop(worker.as_ref().unwrap().handle().arm(holds(&path)).unwrap());
    let status = in_a_fork(|| {
        let report = worker.take().unwrap().shutdown_blocking(LONG);
        let left: Vec<_> = report.left_behind().iter().map(|left| left.reason()).collect();
        left == [LeftReason::Inherited { weight: 1 }] && report.stats().accepted == 0
    });
    assert_eq!(status, 0, "the child failed");
    assert!(!path.exists(), "the child dropped the task of the parent");
    let report = runtime.block_on(worker.unwrap().kill(LONG));
    assert_eq!((report.stats().abandoned, own_marks(&path)), (1, 1), "{report:?}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_pause_in_the_child_holds_the_worker_of_the_child() {
    if !is_second_life() {
        let (status, output) = again("a_pause_in_the_child_holds_the_worker_of_the_child");
        assert!(status.success(), "{output}");
        return;
    }
    let worker = CleanupWorker::builder().build().unwrap();
    worker.pause();
    let status = in_a_fork(|| {
        // The pause of the parent is the parent's.
        worker.handle().submit(async {}).unwrap();
        worker.handle().flush_blocking(LONG).is_ok()
    });
    assert_eq!(status, 0, "the child failed");
    worker.resume();
    let status = in_a_fork(|| {
        worker.pause();
        worker.handle().submit(async {}).unwrap();
        assert!(worker.handle().flush_blocking(Duration::from_millis(20)).is_err());
        assert_eq!(worker.stats().queued, 1);
        worker.resume();
        worker.handle().flush_blocking(LONG).is_ok()
    });
    assert_eq!(status, 0, "the child failed");
    assert!(worker.shutdown_blocking(LONG).is_clean());
}

/// A flush that came over the fork has nothing to wait for, and takes nothing away from one of the child.
#[test]
fn a_flush_of_the_parent_ends_no_flush_of_the_child() {
    if !is_second_life() {
        let (status, output) = again("a_flush_of_the_parent_ends_no_flush_of_the_child");
        assert!(status.success(), "{output}");
        return;
    }
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle();
    let (open, closed) = gate();
    handle.submit(Blocking(move || closed.recv().unwrap_or(()))).unwrap();
    let mut of_the_parent = Some([handle.flush(LONG), handle.flush(LONG)]);
    let status = in_a_fork(|| {
        let (open, closed) = gate();
        handle.submit(Blocking(move || closed.recv().unwrap_or(()))).unwrap();
        let mut flush = Box::pin(handle.flush(LONG));
        drop(of_the_parent.take());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(flush.as_mut().poll(&mut cx).is_pending());
        open.send(()).unwrap();
        handle.flush_blocking(LONG).unwrap();
        flush.as_mut().poll(&mut cx).is_ready()
    });
    assert_eq!(status, 0, "the child failed");
    open.send(()).unwrap();
    drop(of_the_parent);
    assert!(worker.shutdown_blocking(LONG).is_clean());
}

/// The child of a task that forks is not inside of that task, and can wait for its own worker.
#[test]
fn a_task_that_forks_is_a_task_of_the_parent_alone() {
    if !is_second_life() {
        let (status, output) = again("a_task_that_forks_is_a_task_of_the_parent_alone");
        assert!(status.success(), "{output}");
        return;
    }
    let worker = CleanupWorker::builder().build().unwrap();
    let own = worker.handle().clone();
    let forks = async move {
        let status = in_a_fork(|| {
            own.submit(async {}).unwrap();
            own.flush_blocking(LONG).is_ok() && own.stats().completed == 1
        });
        assert_eq!(status, 0, "the child failed");
    };
    worker.handle().submit(forks).unwrap();
    // A worker that is closed at the fork is closed in the child as well.
    worker.handle().flush_blocking(LONG).unwrap();
    let report = worker.drain_blocking(LONG);
    assert_eq!((report.stats().completed, report.stats().panicked), (1, 0), "{report:?}");
}

/// Forks in its destructor, and sends the child's way of it.
struct Forks(std::sync::mpsc::Sender<i32>);

impl Drop for Forks {
    fn drop(&mut self) {
        // SAFETY: as in `in_a_fork`; the child ends where it finds itself to be one.
        let _ = self.0.send(unsafe { libc::fork() });
    }
}

/// Both processes come out of the destructor. What it was part of goes on in the parent alone.
#[test]
fn a_destructor_that_forks_is_one_of_the_parent() {
    if !is_second_life() {
        let (status, output) = again("a_destructor_that_forks_is_one_of_the_parent");
        assert!(status.success(), "{output}");
        return;
    }
    let status = in_a_fork(|| {
        let worker = CleanupWorker::builder().build().unwrap();
        let handle = worker.handle().clone();
        let (forks, forked) = std::sync::mpsc::channel();
        let held = Forks(forks);
        let heavy = Options::new().weight(3);
        let late = handle.arm_with(async move { drop(held) }, heavy).unwrap();
        let _ = worker.kill_blocking(LONG);
        drop(late);
        let child = forked.recv().unwrap();
        let stats = handle.stats();
        let expected = u64::from(child != 0);
        assert_eq!((stats.accepted, stats.abandoned, stats.used), (expected, expected, 0));
        assert!(stats.is_balanced() && handle.flush_blocking(LONG).is_ok());
        if child == 0 {
            return true;
        }
        let mut status = 0;
        // SAFETY: our own child, and `status` is live.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        status == 0
    });
    assert_eq!(status, 0, "a child failed");
}

/// The child comes out of the closure as well, on its copy of the thread, and counts no end of it.
#[test]
fn a_closure_that_forks_is_one_of_the_parent() {
    if !is_second_life() {
        let (status, output) = again("a_closure_that_forks_is_one_of_the_parent");
        assert!(status.success(), "{output}");
        return;
    }
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle().clone();
    let (forks, forked) = std::sync::mpsc::channel();
    let closure = move || {
        // SAFETY: as in `in_a_fork`; the child ends by the thread below.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let watch = std::thread::spawn(move || {
                let until = Instant::now() + Duration::from_millis(100);
                while Instant::now() < until && handle.stats().stuck_blocking == 0 {}
                // SAFETY: ends the child, and runs nothing of the parent's.
                unsafe { libc::_exit(i32::from(handle.stats().stuck_blocking != 0)) };
            });
            drop(watch);
        }
        forks.send(child).unwrap();
    };
    worker.handle().submit(Blocking(closure)).unwrap();
    let child = forked.recv().unwrap();
    let mut status = 0;
    // SAFETY: our own child, and `status` is live.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the child failed");
    let report = worker.drain_blocking(LONG);
    assert!(report.is_clean() && report.stats().completed == 1, "{report:?}");
}

/// A clock is shared with threads that the child does not have, and that may be in the middle of a call to it.
#[test]
fn a_clock_of_the_parent_moves_on_in_the_child() {
    if !is_second_life() {
        let (status, output) = again("a_clock_of_the_parent_moves_on_in_the_child");
        assert!(status.success(), "{output}");
        return;
    }
    let clock = ManualClock::new();
    let worker = CleanupWorker::builder().clock(clock.clone()).build().unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                clock.advance(Duration::from_nanos(1));
            }
        });
        let failed = (0..50).find(|_| {
            let status = in_a_fork(|| {
                worker.handle().submit(std::future::pending::<()>()).unwrap();
                until("it is in flight", || worker.stats().in_flight == 1);
                clock.advance(Duration::from_secs(30));
                worker.handle().flush_blocking(LONG).unwrap();
                worker.stats().timed_out == 1
            });
            status != 0
        });
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(failed, None, "the first child that failed");
    });
    assert!(worker.shutdown_blocking(LONG).is_clean());
}

/// The guards of a chain of forks may weigh more than a worker can hold, and each of them runs.
#[test]
fn guards_of_any_weight_cross_any_number_of_forks() {
    if !is_second_life() {
        let (status, output) = again("guards_of_any_weight_cross_any_number_of_forks");
        assert!(status.success(), "{output}");
        return;
    }
    const ALL: u64 = 1024;
    let worker = CleanupWorker::builder().capacity(usize::MAX).build().unwrap();
    let heavy = Options::new().weight(u32::MAX);
    let arm = || (0..ALL).map(|_| worker.handle().arm_with(async {}, heavy).unwrap());
    let mut guards: Vec<_> = arm().collect();
    let status = in_a_fork(|| {
        guards.extend(arm());
        let status = in_a_fork(|| {
            guards.extend(arm());
            let status = in_a_fork(|| {
                guards.extend(arm());
                let status = in_a_fork(|| {
                    worker.pause();
                    guards.clear();
                    let stats = worker.stats();
                    assert_eq!((stats.accepted, stats.armed), (4 * ALL, 0), "{stats:?}");
                    worker.resume();
                    worker.handle().flush_blocking(LONG).unwrap();
                    let stats = worker.stats();
                    stats.completed == 4 * ALL && stats.used == 0
                });
                status == 0
            });
            status == 0
        });
        status == 0
    });
    assert_eq!(status, 0, "a child failed");
    guards.clear();
    assert!(worker.shutdown_blocking(LONG).is_clean());
}

/// The child comes out of a closure on its copy of the thread, which runs nothing else there and ends.
#[test]
fn a_closure_that_forks_takes_none_of_those_behind_it_along() {
    if !is_second_life() {
        let (status, output) = again("a_closure_that_forks_takes_none_of_those_behind_it_along");
        assert!(status.success(), "{output}");
        return;
    }
    let path = scratch("behind");
    let worker = CleanupWorker::builder().blocking_threads(1).build().unwrap();
    let (forks, forked) = std::sync::mpsc::channel();
    let (open, closed) = gate();
    let closure = move || {
        closed.recv().unwrap();
        // SAFETY: as in `in_a_fork`; the child ends with its only thread.
        forks.send(unsafe { libc::fork() }).unwrap();
    };
    worker.handle().submit(Blocking(closure)).unwrap();
    for _ in 0..10 {
        let path = path.clone();
        worker.handle().submit(Blocking(move || mark(&path))).unwrap();
    }
    until("all wait for the thread", || worker.stats().in_flight == 11);
    open.send(()).unwrap();
    let mut status = 0;
    // SAFETY: our own child, and `status` is live.
    assert!(unsafe { libc::waitpid(forked.recv().unwrap(), &mut status, 0) } > 0);
    assert!(worker.drain_blocking(LONG).is_clean());
    let marks = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let own = format!("{}\n", std::process::id());
    assert_eq!((status, marks), (0, own.repeat(10)), "each ran once, in the parent");
}
