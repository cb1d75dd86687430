//! Capacity is a bound: exact, given back, and defined at both ends.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "real threads")]

mod support;

use lastout_cleanup_worker::{BuildError, CleanupWorker, Event, Options, RejectReason};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use support::LONG;

#[test]
fn a_capacity_of_zero_refuses_everything_and_counts_it() {
    let worker = CleanupWorker::builder().capacity(0).build().unwrap();
    let token = Arc::new(());
    let task = {
        let token = Arc::clone(&token);
        async move { drop(token) }
    };
    let rejected = worker.handle().submit(task).unwrap_err();
    assert_eq!(rejected.reason(), RejectReason::Full);
    assert_eq!(rejected.to_string(), "submit the cleanup: the worker is full");
    let rejected = worker.handle().arm(rejected.into_task()).unwrap_err();
    assert_eq!(Arc::strong_count(&token), 2, "the task came back whole");
    drop(rejected);
    assert_eq!(Arc::strong_count(&token), 1);
    let stats = worker.stats();
    assert_eq!((stats.refused, stats.accepted, stats.capacity), (2, 0, 0));
    worker.handle().flush_blocking(LONG).unwrap();
    assert!(worker.shutdown_blocking(LONG).is_clean());
}

#[test]
fn the_largest_capacity_is_a_number_and_no_overflow() {
    let worker = CleanupWorker::builder().capacity(usize::MAX).build().unwrap();
    assert_eq!(worker.stats().capacity, 1 << 30);
    let heavy = Options::new().weight(u32::MAX);
    worker.pause();
    let guards: Vec<_> =
        (0..1024).map(|_| worker.handle().arm_with(async {}, heavy).unwrap()).collect();
    assert_eq!(worker.stats().armed, 1 << 30);
    let rejected = worker.handle().submit(async {}).unwrap_err();
    assert_eq!(rejected.reason(), RejectReason::Full);
    drop(guards);
    worker.resume();
    worker.handle().flush_blocking(LONG).unwrap();
    assert_eq!(worker.stats().used, 0);
    worker.handle().submit(async {}).unwrap();
}

#[test]
fn guards_and_tasks_share_the_capacity_by_weight() {
    let refused = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&refused);
    let worker = CleanupWorker::builder()
        .capacity(10)
        .on_event(move |event| {
            if let Event::Refused { label, reason } = event {
                log.lock().unwrap().push((*label, *reason));
            }
        })
        .build()
        .unwrap();
    worker.pause();
    let handle = worker.handle();
    let weight = |weight| Options::new().weight(weight);
    let guard = handle.arm_with(async {}, weight(4)).unwrap();
    handle.submit_with(async {}, weight(5)).unwrap();
    drop(handle.submit_with(async {}, weight(2).label("too much")).unwrap_err());
    drop(handle.submit_with(async {}, weight(11).label("always")).unwrap_err());
    handle.submit(async {}).unwrap();
    drop(guard.disarm());
    handle.submit_with(async {}, weight(4)).unwrap();
    let stats = worker.stats();
    assert_eq!((stats.used, stats.armed, stats.queued), (10, 0, 3), "{stats:?}");
    worker.resume();
    handle.flush_blocking(LONG).unwrap();
    assert_eq!(worker.stats().used, 0);
    let full = RejectReason::Full;
    assert_eq!(*refused.lock().unwrap(), [("too much", full), ("always", full)]);
}

#[test]
fn a_full_worker_never_holds_more_than_its_capacity() {
    let worker = CleanupWorker::builder().capacity(100).build().unwrap();
    let (accepted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5000 {
                    let result = worker.handle().submit(async {});
                    let count = if result.is_ok() { &accepted } else { &refused };
                    count.fetch_add(1, SeqCst);
                    let stats = worker.stats();
                    assert!(stats.queued + stats.in_flight <= 100, "{stats:?}");
                    assert!(stats.is_balanced(), "{stats:?}");
                }
            });
        }
    });
    worker.handle().flush_blocking(LONG).unwrap();
    let stats = worker.stats();
    assert_eq!(stats.accepted, accepted.load(SeqCst));
    assert_eq!(stats.refused, refused.load(SeqCst));
    assert_eq!((stats.completed, stats.used), (stats.accepted, 0), "{stats:?}");
}

#[test]
fn limits_under_which_nothing_could_run_are_refused() {
    let build = |builder: lastout_cleanup_worker::Builder| builder.build().unwrap_err();
    let builder = CleanupWorker::builder;
    assert_eq!(build(builder().concurrency(0)), BuildError::NoConcurrency);
    assert_eq!(build(builder().blocking_threads(0)), BuildError::NoBlockingThreads);
    assert_eq!(build(builder().name("a\0b")), BuildError::NameWithNul);
}

#[test]
fn a_forgotten_guard_shows_in_the_numbers() {
    let worker = CleanupWorker::builder().build().unwrap();
    let guard = worker.handle().arm_with(async {}, Options::new().weight(7)).unwrap();
    let handle = worker.handle().clone();
    let forgotten = std::mem::ManuallyDrop::new(guard);
    assert_eq!(worker.stats().armed, 7);
    assert!(!worker.shutdown_blocking(LONG).is_clean());
    // Remembered after all.
    drop(std::mem::ManuallyDrop::into_inner(forgotten));
    assert_eq!((handle.stats().armed, handle.stats().abandoned), (0, 1));
}
