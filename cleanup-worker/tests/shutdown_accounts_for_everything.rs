//! A shutdown closes, lets what was accepted finish, and accounts for all of it, from wherever it is called.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "real threads")]

mod support;

use lastout_cleanup_worker::{
    Blocking, Cleanup, CleanupContext, CleanupHandle, CleanupWorker, Event, LeftReason, Options,
    Outcome, RejectReason, Report,
};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use support::{LONG, gate, until};

const SOON: Duration = Duration::from_millis(20);

fn label(label: &'static str) -> Options {
    Options::new().label(label)
}

fn reasons(report: &Report) -> Vec<(&'static str, LeftReason)> {
    let left = report.left_behind().iter();
    left.map(|left| (left.name(), left.reason())).collect()
}

/// Says when it is dropped.
struct Dropped(mpsc::Sender<&'static str>, &'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

#[test]
fn everything_accepted_is_drained() {
    let worker = CleanupWorker::builder().concurrency(2).build().unwrap();
    let handle = worker.handle().clone();
    for _ in 0..100 {
        handle.submit(Blocking(|| {})).unwrap();
        drop(handle.arm(async {}).unwrap());
    }
    let report = worker.shutdown_blocking(LONG);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.stats().completed, 200);
    assert!(report.stats().is_balanced());
    let rejected = handle.submit(async {}).unwrap_err();
    assert_eq!(rejected.reason(), RejectReason::Closed);
    assert!(handle.is_closed() && !handle.is_running());
}

#[test]
fn a_task_that_submits_during_the_shutdown_gets_its_task_back() {
    let worker = CleanupWorker::builder().build().unwrap();
    let (open, closed) = gate();
    let (results, received) = mpsc::channel();
    let inner = worker.handle().clone();
    let armed = worker.handle().arm(async {}).unwrap();
    let task = Blocking(move || {
        closed.recv().unwrap();
        results.send(inner.submit(async {}).map_err(|rejected| rejected.reason())).unwrap();
        // A guard cannot be refused, and there is time to run it.
        drop(armed);
    });
    worker.handle().submit(task).unwrap();
    let handle = worker.handle().clone();
    let opener = std::thread::spawn(move || {
        until("it is closed", || handle.is_closed());
        open.send(()).unwrap();
    });
    let report = worker.shutdown_blocking(LONG);
    opener.join().unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.stats().completed, report.stats().refused), (2, 1));
    assert_eq!(received.try_iter().collect::<Vec<_>>(), [Err(RejectReason::Closed)]);
}

#[test]
fn a_task_that_submits_itself_for_ever_ends_with_the_worker() {
    fn again(handle: CleanupHandle) {
        let next = handle.clone();
        let _ = handle.submit(async move { again(next) });
    }
    /// Submits another of its kind when it is dropped, until that is refused.
    struct Hydra(CleanupHandle, Arc<AtomicBool>);
    impl Drop for Hydra {
        fn drop(&mut self) {
            if !self.1.load(SeqCst) {
                let head = Self(self.0.clone(), Arc::clone(&self.1));
                let submitted = self.0.submit(async move { drop(head) });
                self.1.store(submitted.is_err(), SeqCst);
            }
        }
    }
    let worker = CleanupWorker::builder().build().unwrap();
    again(worker.handle().clone());
    drop(Hydra(worker.handle().clone(), Arc::default()));
    until("they are at it", || worker.stats().completed > 100);
    let report = worker.shutdown_blocking(LONG);
    assert!(report.is_clean(), "{report:?}");
    assert!(report.stats().is_balanced());
}

#[test]
fn a_guard_dropped_after_the_end_is_counted_and_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let worker = CleanupWorker::builder()
        .on_event(move |event| {
            if let Event::Abandoned { label, .. } = event {
                log.lock().unwrap().push(*label);
            }
        })
        .build()
        .unwrap();
    let handle = worker.handle().clone();
    let (drops, dropped) = mpsc::channel();
    let held = Dropped(drops, "late");
    let late = handle.arm_with(async move { drop(held) }, label("late").weight(3)).unwrap();
    let disarmed = handle.arm(async {}).unwrap();
    let report = worker.shutdown_blocking(LONG);
    assert_eq!(reasons(&report), [("", LeftReason::Armed { weight: 4 })]);
    drop(late);
    drop(disarmed.disarm());
    assert_eq!(*told.lock().unwrap(), ["late"]);
    assert_eq!(dropped.try_iter().collect::<Vec<_>>(), ["late"], "dropped on this thread");
    let stats = handle.stats();
    assert_eq!((stats.accepted, stats.abandoned, stats.used), (1, 1, 0), "{stats:?}");
}

#[test]
fn dropping_the_owner_is_a_shutdown_with_its_own_deadline() {
    let worker = CleanupWorker::builder().drop_deadline(LONG).build().unwrap();
    let handle = worker.handle().clone();
    let (open, closed) = gate();
    handle.submit(Blocking(move || closed.recv().unwrap())).unwrap();
    let watcher = handle.clone();
    let opener = std::thread::spawn(move || {
        until("it is closed", || watcher.is_closed());
        open.send(()).unwrap();
    });
    drop(worker);
    opener.join().unwrap();
    assert_eq!((handle.stats().completed, handle.is_running()), (1, false));

    let worker = CleanupWorker::builder().drop_deadline(SOON).build().unwrap();
    let handle = worker.handle().clone();
    handle.submit(std::future::pending::<()>()).unwrap();
    drop(worker);
    assert_eq!(handle.stats().abandoned, 1);
}

#[test]
fn an_owner_dropped_in_a_task_of_its_own_finishes_by_itself() {
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle().clone();
    for _ in 0..100 {
        handle.submit(Blocking(|| {})).unwrap();
    }
    handle.submit(async move { drop(worker) }).unwrap();
    until("the worker has ended", || !handle.is_running());
    let stats = handle.stats();
    assert_eq!((stats.accepted, stats.completed), (101, 101), "{stats:?}");
    assert!(handle.is_closed());
}

#[test]
fn an_async_shutdown_gives_way_and_ends_in_time() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let worker = CleanupWorker::builder().build().unwrap();
        let (send, receive) = tokio::sync::oneshot::channel::<()>();
        worker.handle().submit(receive).unwrap();
        // The task ends only if this very thread goes on while the shutdown waits.
        let (report, _) = tokio::join!(worker.shutdown(LONG), async { send.send(()) });
        assert!(report.is_clean(), "{report:?}");

        let worker = CleanupWorker::builder().build().unwrap();
        worker.handle().submit(std::future::pending::<()>()).unwrap();
        let report = worker.shutdown(SOON).await;
        assert_eq!(reasons(&report), [("", LeftReason::Abandoned)]);
    });
}

#[test]
fn the_end_of_the_worker_ends_the_sleeps_of_its_contexts() {
    struct Leaks(mpsc::Sender<CleanupContext>);
    impl Cleanup for Leaks {
        async fn run(self, cx: CleanupContext) -> Outcome {
            self.0.send(cx)?;
            Ok(())
        }
    }
    let worker = CleanupWorker::builder().build().unwrap();
    let (sends, contexts) = mpsc::channel();
    worker.handle().submit(Leaks(sends)).unwrap();
    let context = contexts.recv().unwrap();
    let mut waiting = Box::pin(context.sleep(Duration::from_secs(3600)));
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    assert!(worker.shutdown_blocking(LONG).is_clean());
    until("it was woken", || woken.0.load(SeqCst));
    assert!(waiting.as_mut().poll(&mut cx).is_ready());
    let mut late = Box::pin(context.sleep(Duration::from_secs(3600)));
    assert!(late.as_mut().poll(&mut cx).is_ready());
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn an_owner_that_is_awaited_in_a_task_of_its_own_waits_for_the_others() {
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle().clone();
    let (open, closed) = gate();
    handle.submit(Blocking(move || closed.recv().unwrap())).unwrap();
    let (reports, reported) = mpsc::channel();
    let task = async move {
        reports.send(worker.drain(LONG).await).unwrap();
    };
    handle.submit(task).unwrap();
    until("it is closed", || handle.is_closed());
    assert!(reported.try_recv().is_err(), "another task still runs");
    open.send(()).unwrap();
    let report = reported.recv().unwrap();
    assert_eq!(reasons(&report), [("", LeftReason::Unattended { pending: 1 })]);
    until("the worker has ended", || !handle.is_running());
    assert_eq!(handle.stats().completed, 2);
}

/// The report of an end that cannot wait names all that it can see, like every other report.
#[test]
fn an_end_from_inside_a_task_names_armed_guards() {
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle().clone();
    let guard = handle.arm(async {}).unwrap();
    let (sends, reports) = mpsc::channel();
    let task = async move { sends.send(worker.drain_blocking(LONG)).unwrap() };
    handle.submit(task).unwrap();
    let report = reports.recv().unwrap();
    let expected = [LeftReason::Unattended { pending: 1 }, LeftReason::Armed { weight: 1 }];
    assert_eq!(reasons(&report), expected.map(|reason| ("", reason)));
    assert!(!report.is_clean());
    drop(guard);
    until("it has ended by itself", || !handle.is_running());
}

#[test]
fn close_refuses_tasks_and_runs_what_was_accepted_or_armed() {
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle().clone();
    let guard = handle.arm(async {}).unwrap();
    worker.pause();
    handle.submit(async {}).unwrap();
    worker.close();
    assert_eq!(handle.submit(async {}).unwrap_err().reason(), RejectReason::Closed);
    drop(guard);
    worker.resume();
    handle.flush_blocking(LONG).unwrap();
    assert_eq!(handle.stats().completed, 2);
    assert!(worker.drain_blocking(LONG).is_clean());
}

/// Every bound that a caller can give, at its ends.
#[test]
fn no_time_is_too_short_or_too_long() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for time in [Duration::ZERO, Duration::MAX] {
        let builder = CleanupWorker::builder().timeout(Duration::MAX).lazy_interval(time);
        let worker = builder.drop_deadline(time).build().unwrap();
        let handle = worker.handle().clone();
        assert_eq!(handle.flush_blocking(time), Ok(()));
        assert_eq!(runtime.block_on(handle.flush(time)), Ok(()));
        handle.submit(Blocking(|| {})).unwrap();
        handle.lazy().submit(async {}).unwrap();
        let flushed = runtime.block_on(handle.flush(time));
        assert!(flushed.is_ok() || time == Duration::ZERO, "{flushed:?}");
        let report = runtime.block_on(worker.drain(time));
        assert!(report.stats().is_balanced(), "{report:?}");
        let worker = CleanupWorker::builder().drop_deadline(time).build().unwrap();
        worker.handle().submit(async {}).unwrap();
        drop(worker);
    }
}
