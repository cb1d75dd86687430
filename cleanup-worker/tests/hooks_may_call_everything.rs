//! What an event hook does itself comes back to it as a result, and never calls the hook anew.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "real threads")]

mod support;

use lastout_cleanup_worker::{CleanupHandle, CleanupWorker, Event, FlushError};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;
use support::LONG;

type Log = Arc<Mutex<Vec<&'static str>>>;

/// A worker whose hook notes each event and then does what `does` says, while the test holds the handle: a
/// hook that held it itself would keep its worker for ever.
fn worker(
    capacity: usize,
    does: impl Fn(&CleanupHandle) + Send + Sync + 'static,
) -> (CleanupWorker, Log, Arc<CleanupHandle>) {
    let log = Log::default();
    let (told, own) = (Arc::clone(&log), Arc::new(OnceLock::<Weak<CleanupHandle>>::new()));
    let handle = Arc::clone(&own);
    let hook = move |event: &Event<'_>| {
        told.lock().unwrap().push(match event {
            Event::Refused { .. } => "refused",
            Event::Failed { .. } => "failed",
            Event::Unflushed { .. } => "unflushed",
            Event::Abandoned { .. } => "abandoned",
            _ => "another",
        });
        if let Some(handle) = handle.get().and_then(Weak::upgrade) {
            does(&handle);
        }
    };
    let worker = CleanupWorker::builder().capacity(capacity).on_event(hook).build().unwrap();
    let handle = Arc::new(worker.handle().clone());
    let _ = own.set(Arc::downgrade(&handle));
    (worker, log, handle)
}

fn told(log: &Log) -> Vec<&'static str> {
    log.lock().unwrap().clone()
}

#[test]
fn a_flush_guard_dropped_in_the_hook_does_not_call_the_hook() {
    let (worker, log, _handle) = worker(8, |handle| drop(handle.flush_guard(Duration::ZERO)));
    worker.handle().submit(async { Err::<(), _>("no") }).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    assert_eq!(told(&log), ["failed"], "on the thread of the worker, where no guard can wait");

    // On the thread of the caller, where the time of the guard runs out.
    worker.handle().submit(std::future::pending::<()>()).unwrap();
    drop(worker.handle().flush_guard(Duration::ZERO));
    assert_eq!(told(&log), ["failed", "unflushed"]);
    let _ = worker.kill_blocking(LONG);
}

#[test]
fn a_task_refused_to_the_hook_comes_back_and_does_not_call_the_hook() {
    let (worker, log, _handle) = worker(0, |handle| {
        assert!(handle.submit(async {}).unwrap_err().to_string().contains("full"));
        drop(handle.arm(async {}).unwrap_err());
    });
    drop(worker.handle().submit(async {}).unwrap_err());
    assert_eq!(told(&log), ["refused"]);
    assert_eq!(worker.stats().refused, 3, "the numbers know all of them");
    drop(worker.handle().submit(async {}).unwrap_err());
    assert_eq!(told(&log), ["refused", "refused"], "the next one is told again");
}

/// The hooks of two workers that call each other: it ends all the same.
#[test]
fn hooks_of_two_workers_do_not_call_each_other_for_ever() {
    let (second, told_second, _of_second) = worker(0, |_| {});
    let other = second.handle().clone();
    let (first, told_first, _of_first) = worker(0, move |own| {
        drop(other.submit(async {}).unwrap_err());
        drop(own.submit(async {}).unwrap_err());
    });
    drop(first.handle().submit(async {}).unwrap_err());
    assert_eq!((told(&told_first).len(), told(&told_second).len()), (1, 0));
    assert_eq!((first.stats().refused, second.stats().refused), (2, 1));
}

/// Whatever the hook calls, on the worker's thread a call that blocks gets its error.
#[test]
fn a_flush_in_the_hook_gets_its_error_from_the_call() {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&errors);
    let (worker, log, _handle) = worker(8, move |handle| {
        noted.lock().unwrap().push(handle.flush_guard(LONG).finish_blocking());
    });
    worker.handle().submit(async { Err::<(), _>("no") }).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    assert_eq!(*errors.lock().unwrap(), [Err(FlushError::WouldDeadlock)]);
    assert_eq!(told(&log), ["failed"]);
}

/// What a hook owns is dropped with the last handle, which may be in an unwind.
#[test]
fn a_hook_whose_destructor_panics_panics_in_no_handle() {
    struct Bomb(Arc<Mutex<u32>>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
            panic!("in the destructor of the hook");
        }
    }
    let dropped = Arc::new(Mutex::new(0));
    let bomb = Bomb(Arc::clone(&dropped));
    let hook = move |_: &Event<'_>| assert!(Arc::strong_count(&bomb.0) > 0);
    let worker = CleanupWorker::builder().on_event(hook).build().unwrap();
    let guard = worker.handle().arm(async {}).unwrap();
    assert_eq!(worker.drain_blocking(LONG).left_behind().len(), 1);
    drop(guard);
    support::until("the hook is gone", || *dropped.lock().unwrap() == 1);
}
