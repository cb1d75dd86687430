//! Timeouts, flushes from inside, late guards and shutdowns, in the orders that no plan foresees.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "real threads")]

mod support;

use lastout_cleanup_worker::{
    Armed, Blocking, Cleanup, CleanupContext, CleanupHandle, CleanupWorker, Event, FlushError,
    ManualClock, Options, Outcome,
};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{LONG, gate, until};

/// Counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// The handle keeps the worker's memory alive, so nothing but the worker itself drops the tasks.
#[test]
fn what_a_shutdown_gives_up_is_dropped() {
    for _ in 0..2000 {
        let dropped = Arc::new(AtomicUsize::new(0));
        let worker = CleanupWorker::builder().build().unwrap();
        let handle = worker.handle().clone();
        for _ in 0..50 {
            let held = Counted(Arc::clone(&dropped));
            let task = async move {
                let _held = held;
                std::future::pending::<()>().await;
            };
            handle.submit(task).unwrap();
        }
        let report = worker.shutdown_blocking(Duration::ZERO);
        assert_eq!(report.stats().abandoned, 50, "{report:?}");
        until("all are dropped", || dropped.load(SeqCst) == 50);
    }
}

/// A guard that holds a guard that holds a guard.
#[allow(dead_code, reason = "held for its destructor")]
struct Nest(Option<Box<Armed<Self>>>, Counted);

impl Cleanup for Nest {
    async fn run(self, _cx: CleanupContext) -> Outcome {
        drop(self);
        Ok(())
    }
}

fn nest(worker: &CleanupWorker, depth: usize, dropped: &Arc<AtomicUsize>) -> Armed<Nest> {
    let arm = |inner| worker.handle().arm(Nest(inner, Counted(Arc::clone(dropped)))).unwrap();
    (1..depth).fold(arm(None), |inner, _| arm(Some(Box::new(inner))))
}

#[test]
fn a_nest_of_guards_needs_no_stack_whenever_it_is_dropped() {
    const DEPTH: usize = 100_000;
    let dropped = Arc::new(AtomicUsize::new(0));
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle().clone();
    drop(nest(&worker, DEPTH, &dropped));
    worker.quiesce_blocking(LONG).unwrap();
    assert_eq!(dropped.swap(0, SeqCst), DEPTH, "while the worker runs");

    let late = nest(&worker, DEPTH, &dropped);
    let queued = nest(&worker, DEPTH, &dropped);
    let queued = async move {
        let _held = queued;
        std::future::pending::<()>().await;
    };
    handle.submit(queued).unwrap();
    let report = worker.shutdown_blocking(Duration::ZERO);
    assert_eq!(report.stats().completed, DEPTH as u64);
    until("the queued ones are dropped", || dropped.load(SeqCst) == DEPTH);
    drop(late);
    assert_eq!(dropped.load(SeqCst), 2 * DEPTH, "after the end");
    let stats = handle.stats();
    assert_eq!((stats.abandoned, stats.used), (2 * DEPTH as u64 + 1, 0), "{stats:?}");
}

/// Each guard of the nest belongs to another worker, and all of them have ended.
#[test]
fn a_nest_of_guards_of_many_ended_workers_needs_no_stack() {
    const DEPTH: usize = 300;
    let dropped = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..DEPTH).map(|_| CleanupWorker::builder().build().unwrap()).collect();
    let mut inner = None;
    for worker in &workers {
        let nest = Nest(inner.take(), Counted(Arc::clone(&dropped)));
        inner = Some(Box::new(worker.handle().arm(nest).unwrap()));
    }
    let handles: Vec<_> = workers.iter().map(|worker| worker.handle().clone()).collect();
    for worker in workers {
        let _ = worker.kill_blocking(LONG);
    }
    let small = std::thread::Builder::new().stack_size(128 << 10);
    small.spawn(move || drop(inner)).unwrap().join().unwrap();
    assert_eq!(dropped.load(SeqCst), DEPTH);
    assert!(handles.iter().all(|handle| handle.stats().abandoned == 1));
}

/// A closure goes on after its task ran out of time. From there on it is outside.
#[test]
fn a_closure_that_outlived_its_task_flushes_like_any_other_caller() {
    let clock = ManualClock::new();
    let worker = CleanupWorker::builder().clock(clock.clone()).build().unwrap();
    let handle = worker.handle().clone();
    let (release_other, other_held) = gate();
    let slow = Options::new().timeout(Duration::from_secs(3600));
    handle.submit_with(Blocking(move || other_held.recv().unwrap()), slow).unwrap();
    let (begins, began) = gate();
    let (release, held) = gate();
    let (results, received) = std::sync::mpsc::channel();
    let inner = handle.clone();
    let outlives = Blocking(move || {
        begins.send(()).unwrap();
        held.recv().unwrap();
        results.send(inner.flush_blocking(Duration::from_millis(20))).unwrap();
        results.send(inner.flush_blocking(LONG)).unwrap();
    });
    handle.submit_with(outlives, Options::new().timeout(Duration::from_secs(1))).unwrap();
    began.recv().unwrap();
    clock.advance(Duration::from_secs(1));
    until("it has timed out", || worker.stats().timed_out == 1);
    release.send(()).unwrap();
    // The other task came before the flush and still runs.
    assert_eq!(received.recv().unwrap(), Err(FlushError::TimedOut { pending: 1 }));
    release_other.send(()).unwrap();
    assert_eq!(received.recv().unwrap(), Ok(()));
    until("the closures came back", || worker.stats().stuck_blocking == 0);
    assert!(worker.shutdown_blocking(LONG).is_clean());
}

/// As above, but the flush begins inside and the task ends under it.
#[test]
fn a_flush_that_outlives_the_task_it_began_in_still_waits_for_the_others() {
    let clock = ManualClock::new();
    let worker = CleanupWorker::builder().clock(clock.clone()).build().unwrap();
    let handle = worker.handle().clone();
    let slow = Options::new().timeout(Duration::from_secs(3600));
    let (release_other, other_held) = gate();
    handle.submit_with(Blocking(move || other_held.recv().unwrap()), slow).unwrap();
    let (begins, began) = gate();
    let (results, received) = std::sync::mpsc::channel();
    for _ in 0..2 {
        let (inner, begins, results) = (handle.clone(), begins.clone(), results.clone());
        let flushes = Blocking(move || {
            begins.send(()).unwrap();
            results.send(inner.flush_blocking(LONG)).unwrap();
        });
        handle.submit_with(flushes, Options::new().timeout(Duration::from_secs(1))).unwrap();
    }
    began.recv().unwrap();
    began.recv().unwrap();
    clock.advance(Duration::from_secs(1));
    until("both have timed out", || worker.stats().timed_out == 2);
    assert!(received.recv_timeout(Duration::from_millis(20)).is_err(), "the other still runs");
    release_other.send(()).unwrap();
    assert_eq!(received.recv().unwrap(), Ok(()));
    assert_eq!(received.recv().unwrap(), Ok(()));
    until("the closures came back", || worker.stats().stuck_blocking == 0);
    assert!(worker.shutdown_blocking(LONG).is_clean());
}

/// The clock stands still, so no timer comes to the aid of the lazy ones.
#[test]
fn a_plain_submit_behind_lazy_ones_wakes_the_worker() {
    let worker = CleanupWorker::builder().clock(ManualClock::new()).build().unwrap();
    let (handle, lazy) = (worker.handle().clone(), worker.handle().lazy());
    for round in 1..=200 {
        let ran = Arc::new(AtomicUsize::new(0));
        let task = || {
            let ran = Arc::clone(&ran);
            async move {
                ran.fetch_add(1, SeqCst);
            }
        };
        lazy.submit(task()).unwrap();
        drop(lazy.arm(task()).unwrap());
        if round % 2 == 0 {
            // Takes the lazy ones from the inbox, while the worker sleeps.
            assert!(worker.stats().is_balanced());
        }
        if round % 3 == 0 {
            drop(handle.arm(task()).unwrap());
        } else {
            handle.submit(task()).unwrap();
        }
        until("all three ran", || ran.load(SeqCst) == 3);
    }
}

/// Calls everything that takes no time of its own, from wherever the worker runs it.
fn call_everything(handle: &CleanupHandle, errors: &Mutex<Vec<Result<(), FlushError>>>) {
    assert!(handle.stats().is_balanced());
    drop(handle.lazy());
    drop(handle.submit(async {}));
    drop(handle.arm(async {}));
    let flushed = handle.flush_blocking(LONG);
    errors.lock().unwrap().push(flushed);
}

/// Calls everything when it is dropped.
struct Calls(CleanupHandle, Arc<Mutex<Vec<Result<(), FlushError>>>>);

impl Drop for Calls {
    fn drop(&mut self) {
        call_everything(&self.0, &self.1);
    }
}

#[test]
fn hooks_and_destructors_may_call_everything_and_never_hold_the_worker() {
    let results = Arc::new(Mutex::new(Vec::new()));
    let own: Arc<Mutex<Option<CleanupHandle>>> = Arc::default();
    let (hooked, told) = (Arc::clone(&own), Arc::clone(&results));
    let worker = CleanupWorker::builder()
        .on_event(move |event| {
            // A refusal is told on the thread that submits, in the middle of these very calls.
            if matches!(event, Event::Refused { .. }) {
                return;
            }
            let handle = hooked.lock().unwrap().clone();
            if let Some(handle) = handle {
                call_everything(&handle, &told);
            }
        })
        .build()
        .unwrap();
    let handle = worker.handle().clone();
    *own.lock().unwrap() = Some(handle.clone());
    // Something that each of those flushes would have to wait for.
    let (release, held) = gate();
    let slow = Options::new().timeout(Duration::from_secs(3600));
    handle.submit_with(Blocking(move || held.recv().unwrap_or(())), slow).unwrap();
    let calls = || Calls(handle.clone(), Arc::clone(&results));
    let (expires, fails, given_up) = (calls(), calls(), calls());
    let short = Options::new().timeout(Duration::from_millis(1));
    let expires = async move {
        let _calls = expires;
        std::future::pending::<()>().await;
    };
    handle.submit_with(expires, short).unwrap();
    let fails = async move {
        let _calls = fails;
        Err::<(), _>("on purpose")
    };
    handle.submit(fails).unwrap();
    // Two destructors and two hooks.
    until("all were called", || results.lock().unwrap().len() == 4);
    let given_up = async move {
        let _calls = given_up;
        std::future::pending::<()>().await;
    };
    handle.submit_with(given_up, slow).unwrap();
    until("it is in flight", || worker.stats().in_flight == 2 && worker.stats().queued == 0);
    let report = worker.kill_blocking(LONG);
    assert_eq!(report.stats().abandoned, 2, "{report:?}");
    drop(release);
    until("those of the end were called", || results.lock().unwrap().len() == 7);
    let results = results.lock().unwrap();
    assert!(results[..4].iter().all(|r| *r == Err(FlushError::WouldDeadlock)), "{results:?}");
    *own.lock().unwrap() = None;
}
