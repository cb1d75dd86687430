//! A sleeping worker is woken by the first submit of a burst, and by no submit of a lazy handle.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "real threads")]

mod support;

use lastout_cleanup_worker::CleanupWorker;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use support::{LONG, until};

#[test]
fn at_most_one_wake_for_64_submits_of_a_burst() {
    const BURSTS: u64 = 100;
    const SIZE: u64 = 640;
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle();
    for _ in 0..BURSTS {
        (0..SIZE).for_each(|_| handle.submit(async {}).unwrap());
        handle.flush_blocking(LONG).unwrap();
    }
    let stats = worker.stats();
    assert_eq!(stats.completed, BURSTS * SIZE);
    assert!(stats.wakes <= BURSTS * SIZE / 64, "{stats:?}");
}

#[test]
fn a_lazy_handle_wakes_nobody_and_is_served_all_the_same() {
    let worker = CleanupWorker::builder().build().unwrap();
    let lazy = worker.handle().lazy();
    let done = Arc::new(AtomicU64::new(0));
    let task = |done: &Arc<AtomicU64>| {
        let done = Arc::clone(done);
        async move {
            done.fetch_add(1, SeqCst);
        }
    };
    for round in 1..=20 {
        lazy.submit(task(&done)).unwrap();
        drop(lazy.arm(task(&done)).unwrap());
        until("the timer came around", || done.load(SeqCst) == 2 * round);
    }
    assert_eq!(worker.stats().wakes, 0);
    // The last handle goes while its task may still lie there, and a guard outlives its handle.
    lazy.submit(task(&done)).unwrap();
    let another = lazy.clone();
    let guard = another.arm(task(&done)).unwrap();
    drop(another);
    drop(lazy);
    until("the submit was served", || done.load(SeqCst) == 41);
    drop(guard);
    until("the guard was served", || done.load(SeqCst) == 42);
    assert_eq!(worker.stats().wakes, 0);
    worker.handle().submit(task(&done)).unwrap();
    until("an eager submit is served", || done.load(SeqCst) == 43);
}
