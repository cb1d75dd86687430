//! A worker on a tokio runtime: the same promises, also when the runtime goes away.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "real threads")]

mod support;

use lastout_cleanup_worker::{
    BuildError, CleanupHandle, CleanupWorker, Event, FlushError, LeftReason, ManualClock, Options,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use support::{LONG, until};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

fn on(runtime: &Runtime) -> CleanupWorker {
    CleanupWorker::builder().on_tokio(runtime.handle().clone()).build().unwrap()
}

#[test]
fn tasks_run_inside_the_runtime() {
    let runtime = runtime();
    let worker = on(&runtime);
    let handle = worker.handle();
    handle.submit(async { tokio::time::sleep(Duration::from_millis(1)).await }).unwrap();
    drop(handle.arm(async { tokio::task::yield_now().await }).unwrap());
    handle.flush_blocking(LONG).unwrap();
    assert_eq!(worker.stats().completed, 2);
    assert!(worker.shutdown_blocking(LONG).is_clean());
}

#[test]
fn the_current_runtime_is_the_one_that_builds() {
    let build = || CleanupWorker::builder().on_current_tokio().build();
    assert_eq!(build().unwrap_err(), BuildError::NoRuntime);
    let runtime = runtime();
    runtime.block_on(async {
        let worker = build().unwrap();
        worker.handle().submit(async { drop(tokio::runtime::Handle::current()) }).unwrap();
        worker.handle().flush(LONG).await.unwrap();
        let report = worker.shutdown(LONG).await;
        assert!(report.is_clean() && report.stats().completed == 1, "{report:?}");
    });
}

#[test]
fn a_runtime_without_timers_is_enough_for_timeouts() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let worker = CleanupWorker::builder().on_current_tokio().build().unwrap();
        let short = Options::new().timeout(Duration::from_millis(1));
        worker.handle().submit_with(std::future::pending::<()>(), short).unwrap();
        worker.handle().flush(LONG).await.unwrap();
        assert_eq!(worker.stats().timed_out, 1);
        assert!(worker.shutdown(LONG).await.is_clean());
    });
}

#[test]
fn blocking_the_runtime_of_the_worker_is_an_error_and_no_deadlock() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let worker = CleanupWorker::builder().on_current_tokio().build().unwrap();
        let handle: CleanupHandle = worker.handle().clone();
        handle.submit(async {}).unwrap();
        assert_eq!(handle.flush_blocking(LONG), Err(FlushError::WouldDeadlock));
        worker.pause();
        let own = handle.clone();
        let blocking = tokio::task::spawn_blocking(move || own.flush_blocking(LONG));
        assert_eq!(blocking.await.unwrap(), Err(FlushError::WouldDeadlock));
        worker.resume();
        handle.flush(LONG).await.unwrap();
        assert_eq!(handle.flush_blocking(LONG), Ok(()), "nothing to wait for");
        handle.submit(async {}).unwrap();
        let report = worker.shutdown_blocking(LONG);
        assert_eq!(report.left_behind()[0].reason(), LeftReason::Unattended { pending: 1 });
        // The runtime goes on, and so does the worker, to its end.
        while handle.is_running() {
            tokio::task::yield_now().await;
        }
        assert_eq!(handle.stats().completed, 2);
    });
}

/// The runtime is dropped with tasks in flight and queued: those that need it fail, those that do
/// not complete, and every one is counted.
#[test]
fn a_dropped_runtime_takes_no_task_with_it() {
    let runtime = runtime();
    let worker =
        CleanupWorker::builder().on_tokio(runtime.handle().clone()).concurrency(2).build().unwrap();
    let handle = worker.handle();
    let (send, receive) = tokio::sync::oneshot::channel::<()>();
    let done = Arc::new(AtomicUsize::new(0));
    handle.submit(receive).unwrap();
    handle.submit(async { tokio::time::sleep(Duration::from_secs(3600)).await }).unwrap();
    until("two are in flight", || worker.stats().in_flight == 2);
    for _ in 0..10 {
        let done = Arc::clone(&done);
        let task = async move {
            done.fetch_add(1, SeqCst);
        };
        handle.submit(task).unwrap();
    }
    let armed = handle.arm(async {}).unwrap();
    runtime.shutdown_background();
    until("it goes on elsewhere", || worker.stats().starts == 2);
    send.send(()).unwrap();
    drop(armed);
    handle.flush_blocking(LONG).unwrap();
    let stats = worker.stats();
    assert_eq!(done.load(SeqCst), 10);
    assert_eq!((stats.accepted, stats.completed, stats.panicked), (13, 12, 1), "{stats:?}");
    assert!(worker.shutdown_blocking(LONG).is_clean());
}

#[test]
fn a_runtime_that_is_gone_before_the_build_is_replaced_as_well() {
    let runtime = runtime();
    let gone = runtime.handle().clone();
    drop(runtime);
    let worker = CleanupWorker::builder().on_tokio(gone).build().unwrap();
    worker.handle().submit(async {}).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    assert!(worker.shutdown_blocking(LONG).is_clean());
}

/// The runtime goes away at every moment of an end: the end is told, and takes nothing like its deadline.
#[test]
fn an_end_that_races_with_the_end_of_the_runtime_is_told() {
    for round in 0..200 {
        let runtime = runtime();
        let worker = on(&runtime);
        if round % 3 == 0 {
            worker.handle().submit(async {}).unwrap();
            worker.handle().flush_blocking(LONG).unwrap();
        }
        runtime.shutdown_background();
        let report = match round % 2 {
            0 => worker.drain_blocking(Duration::MAX),
            _ => worker.kill_blocking(Duration::MAX),
        };
        assert!(report.is_clean(), "round {round}: {report:?}");
    }
}

#[test]
fn the_clock_of_the_tests_works_on_a_runtime_too() {
    let runtime = runtime();
    let clock = ManualClock::new();
    let worker = CleanupWorker::builder()
        .on_tokio(runtime.handle().clone())
        .clock(clock.clone())
        .build()
        .unwrap();
    worker.handle().submit(std::future::pending::<()>()).unwrap();
    until("it is in flight", || worker.stats().in_flight == 1);
    clock.advance(Duration::from_secs(30));
    worker.quiesce_blocking(LONG).unwrap();
    assert_eq!(worker.stats().timed_out, 1);
}

/// The end of a `main` on tokio, and the places around it.
#[test]
fn a_guard_waits_wherever_another_thread_can_run_the_tasks() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    let use_guard = |handle: CleanupHandle| {
        let done = Arc::new(AtomicUsize::new(0));
        let guard = handle.flush_guard(LONG);
        let task = {
            let done = Arc::clone(&done);
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                done.fetch_add(1, SeqCst);
            }
        };
        handle.submit(task).unwrap();
        drop(guard);
        done.load(SeqCst)
    };
    runtime.block_on(async {
        let worker = CleanupWorker::builder().on_current_tokio().build().unwrap();
        let handle = || worker.handle().clone();
        assert_eq!(use_guard(handle()), 1, "in main");
        let own = handle();
        assert_eq!(tokio::spawn(async move { use_guard(own) }).await.unwrap(), 1, "in a task");
        let own = handle();
        let blocking = tokio::task::spawn_blocking(move || use_guard(own));
        assert_eq!(blocking.await.unwrap(), 1, "in a blocking closure");
        handle().submit(async { tokio::time::sleep(Duration::from_millis(20)).await }).unwrap();
        let report = worker.shutdown_blocking(LONG);
        assert!(report.is_clean() && report.stats().completed == 4, "{report:?}");
    });
}

/// In a `LocalSet` no other thread can take over the turns of this one, so an end that blocks leaves the worker to
/// finish by itself, and gives nothing up.
#[test]
fn an_end_that_cannot_block_gives_nothing_up() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    let (open, closed) = tokio::sync::oneshot::channel::<()>();
    let worker = on(&runtime);
    let handle = worker.handle().clone();
    handle.submit(closed).unwrap();
    let local = tokio::task::LocalSet::new();
    let report = local.block_on(&runtime, async {
        assert_eq!(handle.flush_blocking(LONG), Err(FlushError::WouldDeadlock));
        tokio::task::spawn_local(async move { worker.drain_blocking(LONG) }).await.unwrap()
    });
    let reasons: Vec<_> = report.left_behind().iter().map(|left| left.reason()).collect();
    assert_eq!(reasons, [LeftReason::Unattended { pending: 1 }]);
    open.send(()).unwrap();
    until("it has ended by itself", || !handle.is_running());
    assert_eq!(handle.stats().completed, 1);
}

#[test]
fn a_guard_that_cannot_wait_tells_the_hook() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let builder = CleanupWorker::builder().on_current_tokio();
        let hook = move |event: &Event<'_>| {
            if let Event::Unflushed { error } = event {
                log.lock().unwrap().push(*error);
            }
        };
        let worker = builder.on_event(hook).build().unwrap();
        let guard = worker.handle().flush_guard(LONG);
        worker.handle().submit(async {}).unwrap();
        drop(guard);
        assert!(worker.shutdown(LONG).await.is_clean());
    });
    assert_eq!(*told.lock().unwrap(), [FlushError::WouldDeadlock]);
}

/// The thread that awaits the end is the one that drops what was given up.
#[test]
fn an_awaited_end_on_the_only_thread_waits_until_what_was_given_up_is_dropped() {
    struct Held(Arc<AtomicUsize>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let worker = on(&runtime);
    for _ in 0..1000 {
        let held = Held(Arc::clone(&dropped));
        let task = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        worker.handle().submit(task).unwrap();
    }
    let handle = worker.handle().clone();
    let report = runtime.block_on(worker.kill(LONG));
    assert_eq!((report.stats().abandoned, dropped.load(SeqCst)), (1000, 1000));
    assert!(!handle.is_running());
}

/// A runtime that no thread drives gives the worker no turns. What it gives up is dropped all the same.
#[test]
fn what_is_given_up_on_a_runtime_that_is_not_driven_is_dropped() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let worker = on(&runtime);
    let handle = worker.handle().clone();
    let owned = Arc::new(());
    for _ in 0..10 {
        let owned = Arc::clone(&owned);
        handle.submit(async move { drop(owned) }).unwrap();
    }
    let report = worker.kill_blocking(Duration::ZERO);
    assert_eq!(report.stats().abandoned, 10, "{report:?}");
    until("all are dropped", || Arc::strong_count(&owned) == 1 && handle.stats().used == 0);
    drop(runtime);
    assert!(handle.stats().is_balanced());
}
