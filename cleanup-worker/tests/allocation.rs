//! An armed drop allocates nothing, also where the allocator fails; a submit allocates exactly once.
#![allow(clippy::unwrap_used, unsafe_code, reason = "an allocator of the test's own")]

mod support;

use lastout_cleanup_worker::{Blocking, CleanupWorker, RejectReason};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use support::LONG;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static FAILING: Cell<bool> = const { Cell::new(false) };
}

/// Bytes that are allocated just now, by all threads.
static LIVE: AtomicI64 = AtomicI64::new(0);

struct Watched;

// SAFETY: passed on unchanged to `System`, or refused as the contract allows.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        if FAILING.get() {
            return std::ptr::null_mut();
        }
        LIVE.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static WATCHED: Watched = Watched;

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// With the allocator failing on this thread.
fn without_memory<R>(work: impl FnOnce() -> R) -> R {
    FAILING.set(true);
    let result = work();
    FAILING.set(false);
    result
}

#[test]
fn an_armed_drop_allocates_nothing() {
    let worker = CleanupWorker::builder().build().unwrap();
    let payload = Arc::new([0u64; 4]);
    let guards: Vec<_> = (0..1000)
        .map(|_| {
            let payload = Arc::clone(&payload);
            worker.handle().arm(async move { drop(payload) }).unwrap()
        })
        .collect();
    let mut guards = guards.into_iter();
    assert_eq!(allocations(|| guards.by_ref().for_each(drop)), 0);
    worker.handle().flush_blocking(LONG).unwrap();
    assert_eq!(worker.stats().completed, 1000);
    assert_eq!(Arc::strong_count(&payload), 1);
}

#[test]
fn a_submit_allocates_exactly_once() {
    let worker = CleanupWorker::builder().build().unwrap();
    let payload = Arc::new(0u8);
    let capture = (Arc::clone(&payload), 1usize, 2usize);
    let submit = || {
        let capture = capture.clone();
        worker.handle().submit(async move { drop(capture) }).unwrap();
    };
    submit();
    for _ in 0..1000 {
        assert_eq!(allocations(submit), 1);
    }
    worker.handle().flush_blocking(LONG).unwrap();
    assert_eq!(worker.stats().completed, 1001);
}

#[test]
fn an_armed_drop_works_where_the_allocator_fails() {
    let worker = CleanupWorker::builder().build().unwrap();
    let guard = worker.handle().arm(async {}).unwrap();
    without_memory(|| drop(guard));
    worker.handle().flush_blocking(LONG).unwrap();
    assert_eq!(worker.stats().completed, 1);
}

#[test]
fn a_submit_without_memory_hands_the_task_back() {
    let worker = CleanupWorker::builder().build().unwrap();
    let payload = Arc::new(7);
    let task = {
        let payload = Arc::clone(&payload);
        async move { drop(payload) }
    };
    let rejected = without_memory(|| worker.handle().submit(task)).unwrap_err();
    assert_eq!(rejected.reason(), RejectReason::OutOfMemory);
    let rejected = without_memory(|| worker.handle().arm(rejected.into_task())).unwrap_err();
    assert_eq!(rejected.reason(), RejectReason::OutOfMemory);
    assert_eq!(Arc::strong_count(&payload), 2, "the task is whole");
    worker.handle().submit(rejected.into_task()).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    let stats = worker.stats();
    assert_eq!((stats.refused, stats.completed, stats.used), (2, 1, 0), "{stats:?}");
}

/// Queued tasks, tasks in flight and closures in front of the pool, all at once.
#[test]
fn what_a_burst_grew_shrinks_again() {
    const BURST: usize = 100_000;
    const SLACK: i64 = 1 << 20;
    let builder = CleanupWorker::builder().concurrency(BURST);
    let worker = builder.timeout(LONG).build().unwrap();
    worker.handle().submit(Blocking(|| {})).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    let before = LIVE.load(Relaxed);
    worker.pause();
    for _ in 0..BURST {
        worker.handle().submit(Blocking(|| {})).unwrap();
    }
    let grown = LIVE.load(Relaxed) - before;
    assert!(grown > BURST as i64 * 64, "a burst takes memory: {grown}");
    worker.resume();
    worker.handle().flush_blocking(LONG).unwrap();
    worker.handle().submit(Blocking(|| {})).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    let stayed = LIVE.load(Relaxed) - before;
    assert!(stayed < SLACK, "{stayed} bytes stay of {grown}");
}
