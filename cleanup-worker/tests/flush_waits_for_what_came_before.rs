//! A flush ends when every task submitted before it has ended: not sooner, and not much later.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "real threads")]

mod support;

use lastout_cleanup_worker::{
    Blocking, Cleanup, CleanupContext, CleanupHandle, CleanupWorker, Event, FlushError, Outcome,
};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use support::{LONG, gate, until};

const SOON: Duration = Duration::from_millis(20);

/// Waits on a runtime, as most users of the async side do.
fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

#[test]
fn each_thread_sees_its_own_submits_done() {
    let worker = CleanupWorker::builder().build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let done = Arc::new(AtomicU64::new(0));
                for round in 1..=50 {
                    for _ in 0..10 {
                        let done = Arc::clone(&done);
                        let task = Blocking(move || {
                            done.fetch_add(1, SeqCst);
                        });
                        worker.handle().submit(task).unwrap();
                    }
                    worker.handle().flush_blocking(LONG).unwrap();
                    assert_eq!(done.load(SeqCst), 10 * round);
                }
            });
        }
    });
}

#[test]
fn a_flush_does_not_wait_for_what_comes_after_it() {
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle();
    let (open, closed) = gate();
    handle.submit(async {}).unwrap();
    let flush = handle.flush(LONG);
    handle.submit(Blocking(move || closed.recv().unwrap())).unwrap();
    assert_eq!(wait(flush), Ok(()));
    assert_eq!(handle.flush_blocking(SOON), Err(FlushError::TimedOut { pending: 1 }));
    assert_eq!(wait(handle.flush(SOON)), Err(FlushError::TimedOut { pending: 1 }));
    open.send(()).unwrap();
    assert_eq!(handle.flush_blocking(LONG), Ok(()));
}

#[test]
fn the_line_is_drawn_by_the_call_and_not_by_the_first_poll() {
    let worker = CleanupWorker::builder().build().unwrap();
    let (open, closed) = gate();
    let flush = worker.handle().flush(LONG);
    worker.handle().submit(Blocking(move || closed.recv().unwrap())).unwrap();
    let mut flush = pin!(flush);
    let polled = flush.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(Ok(())));
    open.send(()).unwrap();
}

#[test]
fn a_flush_ends_in_time_although_the_worker_is_held_up() {
    let worker = CleanupWorker::builder().build().unwrap();
    let (open, closed) = mpsc::channel::<()>();
    // Against all advice this blocks the worker's own thread.
    worker.handle().submit(async move { closed.recv().unwrap_or(()) }.boxed()).unwrap();
    assert_eq!(wait(worker.handle().flush(SOON)), Err(FlushError::TimedOut { pending: 1 }));
    assert_eq!(worker.handle().flush_blocking(SOON), Err(FlushError::TimedOut { pending: 1 }));
    drop(open);
    worker.handle().flush_blocking(LONG).unwrap();
}

/// Flushes its own worker from within.
struct FlushInside {
    results: mpsc::Sender<Result<(), FlushError>>,
    both: Arc<AtomicU64>,
}

impl Cleanup for FlushInside {
    async fn run(self, cx: CleanupContext) -> Outcome {
        self.both.fetch_add(1, SeqCst);
        while self.both.load(SeqCst) < 2 {
            cx.sleep(Duration::from_millis(1)).await;
        }
        self.results.send(cx.handle().flush(LONG).await)?;
        Ok(())
    }
}

#[test]
fn two_cleanups_that_flush_wait_neither_for_themselves_nor_for_each_other() {
    let worker = CleanupWorker::builder().build().unwrap();
    let (results, received) = mpsc::channel();
    let both = Arc::new(AtomicU64::new(0));
    for _ in 0..2 {
        let (results, both) = (results.clone(), Arc::clone(&both));
        worker.handle().submit(FlushInside { results, both }).unwrap();
    }
    // Seen from outside, the flush does wait for the two.
    worker.handle().flush_blocking(LONG).unwrap();
    let results: Vec<_> = received.try_iter().collect();
    assert_eq!(results, [Ok(()), Ok(())]);
}

#[test]
fn a_flush_from_inside_waits_for_the_others() {
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle();
    let (open, closed) = gate();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (first, second) = (Arc::clone(&order), Arc::clone(&order));
    handle
        .submit(Blocking(move || {
            closed.recv().unwrap();
            first.lock().unwrap().push("other");
        }))
        .unwrap();
    let inner = handle.clone();
    handle
        .submit(async move {
            let flushed = inner.flush(LONG).await;
            second.lock().unwrap().push("flushed");
            flushed
        })
        .unwrap();
    until("both have started", || worker.stats().in_flight == 2);
    open.send(()).unwrap();
    handle.flush_blocking(LONG).unwrap();
    assert_eq!(*order.lock().unwrap(), ["other", "flushed"]);
    assert_eq!(worker.stats().completed, 2);
}

#[test]
fn blocking_on_the_worker_itself_is_an_error_and_no_deadlock() {
    let worker = CleanupWorker::builder().build().unwrap();
    let (results, received) = mpsc::channel();
    let inner: CleanupHandle = worker.handle().clone();
    let (again, from_pool) = (results.clone(), worker.handle().clone());
    let task = async move {
        // Alone there is nothing to wait for.
        results.send(inner.flush_blocking(LONG)).unwrap();
        inner.submit(async {}).unwrap();
        results.send(inner.flush_blocking(LONG)).unwrap();
    };
    worker.handle().submit(task).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    // On a thread of the pool the worker goes on, so there it is allowed.
    let task = Blocking(move || {
        from_pool.submit(async {}).unwrap();
        again.send(from_pool.flush_blocking(LONG)).unwrap();
    });
    worker.handle().submit(task).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    let results: Vec<_> = received.try_iter().collect();
    assert_eq!(results, [Ok(()), Err(FlushError::WouldDeadlock), Ok(())]);
}

/// Keeps a flush that is over, and goes on with other work.
struct KeepFlush {
    timeout: Duration,
    over: mpsc::Sender<Result<(), FlushError>>,
    goes_on: mpsc::Receiver<()>,
    ended: Arc<AtomicU64>,
}

impl Cleanup for KeepFlush {
    async fn run(self, cx: CleanupContext) -> Outcome {
        let mut flush = pin!(cx.handle().flush(self.timeout));
        self.over.send(flush.as_mut().await)?;
        cx.blocking(move || self.goes_on.recv()).await??;
        self.ended.fetch_add(1, SeqCst);
        Ok(())
    }
}

/// Polls its flush once, says so, and awaits it.
struct FlushAndTell {
    polled: mpsc::Sender<()>,
    other_ended: Arc<AtomicU64>,
    seen: mpsc::Sender<(Result<(), FlushError>, u64)>,
}

impl Cleanup for FlushAndTell {
    async fn run(self, cx: CleanupContext) -> Outcome {
        let mut flush = pin!(cx.handle().flush(LONG));
        let mut first = true;
        let flushed = std::future::poll_fn(|cx| {
            let poll = flush.as_mut().poll(cx);
            if std::mem::take(&mut first) {
                self.polled.send(()).unwrap();
            }
            poll
        })
        .await;
        self.seen.send((flushed, self.other_ended.load(SeqCst)))?;
        Ok(())
    }
}

/// A flush that has returned does not count its task as one that waits, even if the future is kept.
#[test]
fn a_flush_that_is_over_but_kept_lets_others_wait_for_its_task() {
    for timeout in [SOON, LONG] {
        let worker = CleanupWorker::builder().build().unwrap();
        let handle = worker.handle();
        let (open, closed) = gate();
        handle.submit(Blocking(move || closed.recv().unwrap())).unwrap();
        let (over, overs) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        let ended = Arc::new(AtomicU64::new(0));
        handle.submit(KeepFlush { timeout, over, goes_on, ended: Arc::clone(&ended) }).unwrap();
        if timeout == LONG {
            open.send(()).unwrap();
        }
        let expected =
            if timeout == LONG { Ok(()) } else { Err(FlushError::TimedOut { pending: 1 }) };
        assert_eq!(overs.recv().unwrap(), expected);
        let (polled, polls) = mpsc::channel();
        let (seen, sees) = mpsc::channel();
        handle.submit(FlushAndTell { polled, other_ended: ended, seen }).unwrap();
        let _ = open.send(());
        polls.recv().unwrap();
        go_on.send(()).unwrap();
        assert_eq!(sees.recv().unwrap(), (Ok(()), 1), "{timeout:?}");
        assert!(worker.drain_blocking(LONG).is_clean());
    }
}

#[test]
fn quiesce_waits_for_what_is_submitted_meanwhile() {
    fn chain(handle: CleanupHandle, left: u64, done: Arc<AtomicU64>) {
        let next = handle.clone();
        let task = Blocking(move || {
            done.fetch_add(1, SeqCst);
            if left > 1 {
                chain(next, left - 1, done);
            }
        });
        handle.submit(task).unwrap();
    }
    let worker = CleanupWorker::builder().build().unwrap();
    let done = Arc::new(AtomicU64::new(0));
    chain(worker.handle().clone(), 20, Arc::clone(&done));
    worker.quiesce_blocking(LONG).unwrap();
    assert_eq!(done.load(SeqCst), 20);
}

#[test]
fn a_paused_worker_takes_and_starts_nothing_until_it_is_resumed() {
    let worker = CleanupWorker::builder().build().unwrap();
    worker.pause();
    for _ in 0..10 {
        worker.handle().submit(async {}).unwrap();
    }
    assert_eq!(worker.quiesce_blocking(SOON), Err(FlushError::TimedOut { pending: 10 }));
    let stats = worker.stats();
    assert_eq!((stats.queued, stats.in_flight, stats.completed), (10, 0, 0), "{stats:?}");
    assert!(stats.is_balanced());
    worker.resume();
    worker.quiesce_blocking(LONG).unwrap();
    assert_eq!(worker.stats().completed, 10);
}

/// Blocks where it is dropped.
struct Slow(mpsc::Receiver<()>);

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = self.0.recv();
    }
}

/// What an end gives up is counted at once. A flush waits until it is gone, and the hook has heard of it.
#[test]
fn a_flush_waits_for_the_destructor_and_the_hook_of_what_was_given_up() {
    for polled in [false, true] {
        let told = Arc::new(AtomicU64::new(0));
        let tells = Arc::clone(&told);
        let builder = CleanupWorker::builder().on_event(move |event| {
            tells.fetch_add(u64::from(matches!(event, Event::Abandoned { .. })), SeqCst);
        });
        let worker = builder.build().unwrap();
        let handle = worker.handle().clone();
        let (open, closed) = mpsc::channel();
        if polled {
            // Given up in the middle of a poll that holds the worker's thread.
            handle.submit(async move { closed.recv().unwrap_or(()) }.boxed()).unwrap();
        } else {
            let slow = Slow(closed);
            let holds = async move {
                let _slow = slow;
                std::future::pending::<()>().await;
            };
            handle.submit(holds.boxed()).unwrap();
        }
        until("it has started", || worker.stats().in_flight == 1);
        let mut before = pin!(handle.flush(LONG));
        let report = worker.kill_blocking(SOON);
        assert_eq!((report.stats().abandoned, report.left_behind().is_empty()), (1, false));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(before.as_mut().poll(&mut cx).is_pending(), "polled: {polled}");
        assert_eq!(handle.flush_blocking(SOON), Err(FlushError::TimedOut { pending: 1 }));
        drop(open);
        assert_eq!(handle.flush_blocking(LONG), Ok(()));
        assert_eq!(told.load(SeqCst), 1, "polled: {polled}");
        assert_eq!(wait(before), Ok(()));
    }
}

/// The code that drops what was given up cannot wait for itself.
#[test]
fn a_destructor_of_what_was_given_up_that_flushes_gets_its_error() {
    struct Flushes(CleanupHandle, mpsc::Sender<Result<(), FlushError>>);
    impl Drop for Flushes {
        fn drop(&mut self) {
            let _ = self.1.send(self.0.flush_blocking(LONG));
        }
    }
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle().clone();
    let (results, received) = mpsc::channel();
    let hold = || {
        let flushes = Flushes(handle.clone(), results.clone());
        async move {
            let _flushes = flushes;
            std::future::pending::<()>().await;
        }
    };
    let late = handle.arm(hold()).unwrap();
    handle.submit(hold()).unwrap();
    assert_eq!(worker.kill_blocking(LONG).stats().abandoned, 1);
    drop(late);
    let results: Vec<_> = received.try_iter().collect();
    assert_eq!(results, [Err(FlushError::WouldDeadlock); 2]);
}

/// A task of one worker drops a late guard of another one: it is still inside of its own.
#[test]
fn a_late_guard_of_another_worker_does_not_hide_where_its_destructor_runs() {
    struct Flushes(CleanupHandle, mpsc::Sender<Result<(), FlushError>>);
    impl Drop for Flushes {
        fn drop(&mut self) {
            let _ = self.1.send(self.0.flush_blocking(LONG));
        }
    }
    let (own, other) = (CleanupWorker::builder(), CleanupWorker::builder());
    let (own, other) = (own.build().unwrap(), other.build().unwrap());
    let (results, received) = mpsc::channel();
    let flushes = Flushes(own.handle().clone(), results);
    let late = other.handle().arm(async move { drop(flushes) }.boxed()).unwrap();
    let _ = other.kill_blocking(LONG);
    let handle = own.handle().clone();
    let task = async move {
        handle.submit(async {}).unwrap();
        drop(late);
    };
    own.handle().submit(task).unwrap();
    assert_eq!(received.recv(), Ok(Err(FlushError::WouldDeadlock)));
}

/// Boxed futures are tasks like any other.
trait Boxed: Future<Output = ()> + Send + Sized + 'static {
    fn boxed(self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Boxed for F {}
