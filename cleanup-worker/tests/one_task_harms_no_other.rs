//! A task that panics, hangs or blocks holds one slot, and nothing else.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "real threads")]

mod support;

use lastout_cleanup_worker::{
    Blocking, Cleanup, CleanupContext, CleanupWorker, Event, ManualClock, Options, Outcome,
};
use std::panic::panic_any;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{LONG, gate, until};

/// Panics in its destructor, which may be in an unwind already.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(Self);
    }
}

/// Is done at once, and panics when it is dropped.
struct Done(#[allow(dead_code, reason = "held for its destructor")] Bomb);

impl Future for Done {
    type Output = ();
    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        std::task::Poll::Ready(())
    }
}

/// Panics before there is a future.
struct Stillborn;

impl Cleanup for Stillborn {
    #[allow(clippy::manual_async_fn, reason = "the panic comes before the future")]
    fn run(self, _cx: CleanupContext) -> impl Future<Output = Outcome> + Send + 'static {
        assert!(std::hint::black_box(false), "stillborn");
        async { Ok(()) }
    }
}

#[test]
fn panics_of_every_kind_are_counted_and_harm_nobody() {
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle();
    let yes = std::hint::black_box(true);
    for _ in 0..100 {
        handle.submit(async move { assert!(!yes, "in a poll") }).unwrap();
        handle.submit(async {}).unwrap();
    }
    handle.submit(Stillborn).unwrap();
    // The payload's own destructor panics.
    handle
        .submit(Blocking(move || {
            if yes {
                panic_any(Bomb)
            }
        }))
        .unwrap();
    // The destructor of a future that is done panics.
    handle.submit(Done(Bomb)).unwrap();
    handle.submit(Blocking(|| assert!(std::hint::black_box(false)))).unwrap();
    handle.flush_blocking(LONG).unwrap();
    let stats = worker.stats();
    assert_eq!((stats.completed, stats.panicked), (100, 104), "{stats:?}");
    assert!(worker.shutdown_blocking(LONG).is_clean());
}

/// Without a value there is no `()` to be inferred: such tasks must not need one.
#[test]
fn a_task_that_never_gives_a_value_is_a_task() {
    let worker = CleanupWorker::builder().build().unwrap();
    worker.handle().submit(async { panic!("on purpose") }).unwrap();
    worker.handle().submit(Blocking(|| panic!("on purpose"))).unwrap();
    let short = Options::new().timeout(Duration::from_millis(1));
    let forever = async {
        loop {
            std::future::pending::<()>().await;
        }
    };
    worker.handle().submit_with(forever, short).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    let stats = worker.stats();
    assert_eq!((stats.panicked, stats.timed_out), (2, 1), "{stats:?}");
}

#[test]
fn a_future_whose_destructor_panics_at_its_timeout_is_timed_out() {
    struct Never(#[allow(dead_code, reason = "held for its destructor")] Bomb);
    impl Future for Never {
        type Output = ();
        fn poll(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<()> {
            std::task::Poll::Pending
        }
    }
    let clock = ManualClock::new();
    let worker = CleanupWorker::builder().clock(clock.clone()).build().unwrap();
    worker.handle().submit(Never(Bomb)).unwrap();
    until("it is in flight", || worker.stats().in_flight == 1);
    clock.advance(Duration::from_secs(30));
    worker.handle().flush_blocking(LONG).unwrap();
    worker.handle().submit(async {}).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    let stats = worker.stats();
    assert_eq!((stats.timed_out, stats.completed), (1, 1), "{stats:?}");
    assert!(
        worker.shutdown_blocking(LONG).is_clean(),
        "the task has ended, and was not left behind"
    );
}

/// Hands a closure to a pool that has no thread for it, and gives it up.
struct Asks(Arc<()>, std::sync::mpsc::Sender<usize>);

impl Cleanup for Asks {
    async fn run(self, cx: CleanupContext) -> Outcome {
        let Self(owned, left) = self;
        let inside = Arc::clone(&owned);
        let mut call = Box::pin(cx.blocking(move || drop(inside)));
        let asked = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx)));
        assert!(asked.await.is_pending());
        drop(call);
        left.send(Arc::strong_count(&owned))?;
        Ok(())
    }
}

/// What a closure owns is its task's until a thread has it.
#[test]
fn a_closure_that_did_not_begin_is_dropped_with_its_call() {
    let worker = CleanupWorker::builder().blocking_threads(1).build().unwrap();
    let (open, closed) = gate();
    worker.handle().submit(Blocking(move || closed.recv().unwrap())).unwrap();
    let (sender, left) = std::sync::mpsc::channel();
    for _ in 0..10 {
        worker.handle().submit(Asks(Arc::new(()), sender.clone())).unwrap();
        assert_eq!(left.recv_timeout(LONG), Ok(1), "the closure is still there");
    }
    open.send(()).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    assert!(worker.drain_blocking(LONG).is_clean());
}

/// An error whose destructor panics.
#[derive(Debug)]
struct Failure(Arc<Mutex<u32>>);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a failure")
    }
}

impl std::error::Error for Failure {}

impl Drop for Failure {
    fn drop(&mut self) {
        *self.0.lock().unwrap() += 1;
        panic_any(Bomb);
    }
}

/// Every part of a task is the task: the flush returns after the last of its destructors, whichever panicked.
#[test]
fn an_error_and_a_future_whose_destructors_panic_end_their_task() {
    struct Fails(Arc<Mutex<u32>>, #[allow(dead_code, reason = "for its destructor")] Option<Bomb>);
    impl Future for Fails {
        type Output = Result<(), Failure>;
        fn poll(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Self::Output> {
            std::task::Poll::Ready(Err(Failure(Arc::clone(&self.0))))
        }
    }
    let dropped = Arc::new(Mutex::new(0));
    let worker = CleanupWorker::builder().build().unwrap();
    for round in 1..=100 {
        let bomb = (round % 2 == 0).then(|| Bomb);
        worker.handle().submit(Fails(Arc::clone(&dropped), bomb)).unwrap();
        worker.handle().flush_blocking(LONG).unwrap();
        assert_eq!(
            *dropped.lock().unwrap(),
            round,
            "the error is dropped before the flush returns"
        );
    }
    let stats = worker.stats();
    assert_eq!((stats.failed, stats.panicked, stats.starts), (50, 50, 1), "{stats:?}");
    assert!(worker.drain_blocking(LONG).is_clean());
}

#[test]
fn a_hanging_task_holds_one_slot_and_ends_at_its_timeout() {
    let clock = ManualClock::new();
    let worker = CleanupWorker::builder().clock(clock.clone()).concurrency(2).build().unwrap();
    let handle = worker.handle();
    let slow = Options::new().timeout(Duration::from_secs(3600)).label("slow");
    handle.submit_with(std::future::pending::<()>(), slow).unwrap();
    for _ in 0..1000 {
        handle.submit(async {}).unwrap();
    }
    until("the others are done", || worker.stats().completed == 1000);
    let stats = worker.stats();
    assert_eq!((stats.in_flight, stats.timed_out), (1, 0), "{stats:?}");
    clock.advance(Duration::from_secs(3599));
    handle.submit(async {}).unwrap();
    until("the clock was seen", || worker.stats().completed == 1001);
    assert_eq!(worker.stats().timed_out, 0);
    assert_eq!(worker.stats().oldest, Some(Duration::from_secs(3599)));
    clock.advance(Duration::from_secs(1));
    handle.flush_blocking(LONG).unwrap();
    assert_eq!(worker.stats().timed_out, 1);
}

#[test]
fn concurrency_bounds_what_is_in_flight() {
    let worker = CleanupWorker::builder().concurrency(3).build().unwrap();
    let running = Arc::new(Mutex::new((0, 0)));
    for _ in 0..50 {
        let running = Arc::clone(&running);
        let task = async move {
            let count = |change: i32| {
                let mut running = running.lock().unwrap();
                running.0 += change;
                running.1 = running.1.max(running.0);
            };
            count(1);
            let mut turns = 0;
            std::future::poll_fn(|cx| {
                turns += 1;
                cx.waker().wake_by_ref();
                if turns < 5 { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
            })
            .await;
            count(-1);
        };
        worker.handle().submit(task).unwrap();
    }
    worker.handle().flush_blocking(LONG).unwrap();
    assert_eq!(*running.lock().unwrap(), (0, 3));
}

#[test]
fn closures_that_hang_hold_their_threads_and_nothing_else() {
    let clock = ManualClock::new();
    let worker = CleanupWorker::builder().clock(clock.clone()).blocking_threads(2).build().unwrap();
    let (open, closed) = gate();
    let closed = Arc::new(Mutex::new(closed));
    let started = Arc::new(std::sync::Barrier::new(3));
    for _ in 0..2 {
        let (closed, started) = (Arc::clone(&closed), Arc::clone(&started));
        let task = Blocking(move || {
            started.wait();
            closed.lock().unwrap().recv().unwrap();
        });
        worker.handle().submit(task).unwrap();
    }
    started.wait();
    // No thread is left for this one, until the others are given up.
    worker.handle().submit(Blocking(|| {})).unwrap();
    worker.handle().submit(async {}).unwrap();
    until("all have started", || worker.stats().in_flight == 3 && worker.stats().completed == 1);
    clock.advance(Duration::from_secs(30));
    worker.handle().flush_blocking(LONG).unwrap();
    let stats = worker.stats();
    assert_eq!((stats.timed_out, stats.stuck_blocking), (2, 2), "{stats:?}");
    open.send(()).unwrap();
    open.send(()).unwrap();
    until("they came back", || worker.stats().stuck_blocking == 0);
    worker.handle().submit(Blocking(|| {})).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    assert_eq!(worker.stats().completed, 3);
}

/// Four closures, one thread: each needs more than half of the timeout, and all end well.
#[test]
fn the_time_of_a_closure_starts_when_it_gets_its_thread() {
    let clock = ManualClock::new();
    let worker = CleanupWorker::builder().clock(clock.clone()).blocking_threads(1).build().unwrap();
    let (begins, began) = gate();
    let (release, held) = gate();
    let held = Arc::new(Mutex::new(held));
    for _ in 0..4 {
        let (begins, held) = (begins.clone(), Arc::clone(&held));
        let closure = move || {
            begins.send(()).unwrap();
            held.lock().unwrap().recv().unwrap();
        };
        worker.handle().submit(Blocking(closure)).unwrap();
    }
    // Polled after them: when it has ended, each of them waits for the thread.
    worker.handle().submit(async {}).unwrap();
    until("all wait", || worker.stats().in_flight == 4 && worker.stats().completed == 1);
    for completed in 1..=4 {
        began.recv().unwrap();
        clock.advance(Duration::from_secs(20));
        // The worker has seen the new time when this one is done.
        worker.handle().submit(async {}).unwrap();
        release.send(()).unwrap();
        until("it is done", || worker.stats().completed == 2 * completed + 1);
    }
    assert_eq!(worker.stats().timed_out, 0);
    // The last one on the thread has its 30 s as well, and no more.
    let (begins, began) = gate();
    let (release, held) = gate();
    let hangs = move || {
        begins.send(()).unwrap();
        held.recv().unwrap_or(());
    };
    worker.handle().submit(Blocking(hangs)).unwrap();
    began.recv().unwrap();
    clock.advance(Duration::from_secs(30));
    until("it has timed out", || worker.stats().timed_out == 1);
    drop(release);
}

/// A flood of closures that never return ends as timed out, too: there is a bound on threads.
#[test]
fn closures_that_no_thread_comes_for_run_out_of_their_time() {
    const CLOSURES: u64 = 70;
    let clock = ManualClock::new();
    let builder = CleanupWorker::builder().clock(clock.clone()).blocking_threads(1);
    let worker = builder.concurrency(1000).build().unwrap();
    let release = Arc::new(std::sync::Barrier::new(66));
    for _ in 0..CLOSURES {
        let release = Arc::clone(&release);
        let hangs = Blocking(move || {
            release.wait();
        });
        worker.handle().submit(hangs).unwrap();
    }
    until("all are in flight", || worker.stats().in_flight == CLOSURES);
    until("all have timed out", || {
        clock.advance(Duration::from_secs(30));
        worker.stats().timed_out == CLOSURES
    });
    assert_eq!(worker.stats().stuck_blocking, 65, "1 thread, replaced 64 times");
    release.wait();
    until("they came back", || worker.stats().stuck_blocking == 0);
    worker.handle().submit(Blocking(|| {})).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    assert!(worker.shutdown_blocking(LONG).is_clean());
}

#[test]
fn a_panicking_hook_is_contained_and_told_again() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let worker = CleanupWorker::builder()
        .on_event(move |event| {
            let line = match event {
                Event::Failed { label, error, .. } => format!("{label} failed: {error}"),
                Event::Panicked { label, message, .. } => format!("{label} panicked: {message}"),
                Event::TimedOut { label, .. } => format!("{label} timed out"),
                other => format!("{other:?}"),
            };
            log.lock().unwrap().push(line);
            panic!("in the hook");
        })
        .build()
        .unwrap();
    let handle = worker.handle();
    let label = |label| Options::new().label(label);
    handle.submit_with(async { Err::<(), _>("no") }, label("a")).unwrap();
    handle.flush_blocking(LONG).unwrap();
    let yes = std::hint::black_box(true);
    handle.submit_with(async move { assert!(!yes, "oh") }, label("b")).unwrap();
    handle.flush_blocking(LONG).unwrap();
    let short = label("c").timeout(Duration::from_millis(1));
    handle.submit_with(std::future::pending::<()>(), short).unwrap();
    handle.flush_blocking(LONG).unwrap();
    assert_eq!(*told.lock().unwrap(), ["a failed: no", "b panicked: oh", "c timed out"]);
}

/// The pool has one thread, and a closure that does not come back has it.
#[test]
fn closures_that_are_stuck_do_not_starve_those_behind_them() {
    let clock = ManualClock::new();
    let builder = CleanupWorker::builder().blocking_threads(1).clock(clock.clone());
    let worker = builder.build().unwrap();
    let handle = worker.handle();
    let (release, held) = gate();
    let (begins, began) = gate();
    let stuck = Blocking(move || {
        begins.send(()).unwrap();
        held.recv().unwrap_or(());
    });
    handle.submit_with(stuck, Options::new().timeout(Duration::from_secs(1))).unwrap();
    began.recv().unwrap();
    // One waits already when the first runs out of its time, and one comes later.
    handle.submit(Blocking(|| ())).unwrap();
    handle.submit(async {}).unwrap();
    until("it waits in the pool", || {
        worker.stats().in_flight == 2 && worker.stats().completed == 1
    });
    clock.advance(Duration::from_secs(1));
    until("it ran", || worker.stats().completed == 2);
    handle.submit(Blocking(|| ())).unwrap();
    handle.flush_blocking(LONG).unwrap();
    let stats = worker.stats();
    assert_eq!((stats.completed, stats.timed_out, stats.stuck_blocking), (3, 1, 1), "{stats:?}");
    drop(release);
    until("it came back", || worker.stats().stuck_blocking == 0);
    assert!(worker.shutdown_blocking(LONG).is_clean());
}

#[test]
fn a_clock_that_was_moved_as_far_as_can_be_moves_on() {
    let clock = ManualClock::new();
    clock.advance(Duration::MAX);
    let worker = CleanupWorker::builder().clock(clock.clone()).build().unwrap();
    worker.handle().submit(std::future::pending::<()>()).unwrap();
    until("it runs", || worker.stats().in_flight == 1);
    clock.advance(Duration::from_secs(30));
    worker.handle().flush_blocking(LONG).unwrap();
    assert_eq!(worker.stats().timed_out, 1);
}
