//! What an end gives up is dropped, counted and told, and what goes on after it is named.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "real threads")]

mod support;

use lastout_cleanup_worker::{
    Blocking, Cleanup, CleanupContext, CleanupWorker, Event, LeftReason, ManualClock, Options,
    Outcome, Report,
};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
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
fn what_is_left_at_the_deadline_is_dropped_and_named() {
    let clock = ManualClock::new();
    let worker = CleanupWorker::builder().concurrency(1).clock(clock.clone()).build().unwrap();
    let handle = worker.handle().clone();
    let (drops, dropped) = mpsc::channel();
    for name in ["started", "waiting"] {
        let held = Dropped(drops.clone(), name);
        let task = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        handle.submit_with(task, label(name)).unwrap();
    }
    until("one has started", || worker.stats().in_flight == 1);
    clock.advance(Duration::from_secs(3));
    let report = worker.shutdown_blocking(SOON);
    assert_eq!(
        reasons(&report),
        [("started", LeftReason::Abandoned), ("waiting", LeftReason::Abandoned)]
    );
    assert!(report.left_behind().iter().all(|left| left.age() == Duration::from_secs(3)));
    assert_eq!((report.stats().abandoned, report.stats().used), (2, 0));
    let mut names: Vec<_> = dropped.try_iter().collect();
    names.sort_unstable();
    assert_eq!(names, ["started", "waiting"], "both are gone when the report is there");
    assert!(!handle.is_running());
}

#[test]
fn a_task_that_holds_the_thread_is_named_and_does_not_hold_the_shutdown() {
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle().clone();
    let (open, closed) = mpsc::channel::<()>();
    let task = async move { closed.recv().unwrap_or(()) };
    handle.submit_with(task, label("blocks")).unwrap();
    until("it is being polled", || worker.stats().in_flight == 1);
    let report = worker.shutdown_blocking(SOON);
    assert_eq!(reasons(&report), [("blocks", LeftReason::StillPolled)]);
    assert_eq!(report.stats().abandoned, 1);
    drop(open);
    until("the thread has ended after all", || !handle.is_running());
    let stats = handle.stats();
    assert!(stats.is_balanced() && stats.abandoned == 1 && stats.used == 0, "{stats:?}");
}

/// A kill waits for what is being polled: its poll returns in time, and nothing goes on after the report.
#[test]
fn a_kill_waits_for_the_poll_that_runs() {
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle().clone();
    let (drops, dropped) = mpsc::channel();
    let watch = handle.clone();
    let task = async move {
        let _held = Dropped(drops, "polled");
        // Until the kill has given the task up.
        until("it is given up", || watch.stats().abandoned == 1);
        std::future::pending::<()>().await;
    };
    handle.submit_with(task, label("polled")).unwrap();
    until("it is being polled", || worker.stats().in_flight == 1);
    let report = worker.kill_blocking(LONG);
    assert_eq!(reasons(&report), [("polled", LeftReason::Abandoned)]);
    assert_eq!(dropped.try_iter().collect::<Vec<_>>(), ["polled"], "dropped before the report");
    assert_eq!(report.stats().used, 0);
    assert!(!handle.is_running());
}

/// The event hook holds the worker's thread: the task that it was told of is named, and counted later.
#[test]
fn a_task_whose_end_the_hook_is_told_of_is_named() {
    for kill in [false, true] {
        let (open, closed) = gate();
        let closed = Mutex::new(closed);
        let (tells, told) = mpsc::channel();
        let builder = CleanupWorker::builder().on_event(move |_: &Event<'_>| {
            tells.send(()).unwrap();
            let _ = closed.lock().unwrap().recv();
        });
        let worker = builder.build().unwrap();
        let handle = worker.handle().clone();
        handle.submit_with(async { Err::<(), _>("no") }, label("fails")).unwrap();
        told.recv().unwrap();
        let report = if kill { worker.kill_blocking(SOON) } else { worker.drain_blocking(SOON) };
        assert_eq!(reasons(&report), [("fails", LeftReason::InEventHook)]);
        assert!(report.left_behind()[0].age() > Duration::ZERO);
        open.send(()).unwrap();
        until("it is counted", || handle.stats().failed == 1 && !handle.is_running());
    }
}

#[test]
fn a_closure_that_goes_on_is_named() {
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle().clone();
    let (open, closed) = gate();
    let (started, begun) = gate();
    let task = Blocking(move || {
        started.send(()).unwrap();
        closed.recv().unwrap();
    });
    handle.submit_with(task, label("hangs")).unwrap();
    begun.recv().unwrap();
    let report = worker.shutdown_blocking(SOON);
    assert_eq!(
        reasons(&report),
        [("hangs", LeftReason::Abandoned), ("", LeftReason::BlockingClosures { count: 1 })]
    );
    open.send(()).unwrap();
    until("it came back", || handle.stats().stuck_blocking == 0);
}

/// Starts a blocking call and lets it go before it ends.
struct LetGo {
    closed: mpsc::Receiver<()>,
    began: mpsc::Sender<()>,
    how: &'static str,
    calls: mpsc::Sender<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Cleanup for LetGo {
    async fn run(self, cx: CleanupContext) -> Outcome {
        let call = cx.blocking(move || {
            self.began.send(()).unwrap();
            let _ = self.closed.recv();
        });
        let mut call = Box::pin(async move { drop(call.await) });
        if self.how != "elsewhere" {
            std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        }
        drop(self.calls.send(call));
        Ok(())
    }
}

/// However a closure outlives its task, it is counted while it runs and named.
#[test]
fn a_closure_whose_call_has_left_its_task_is_named() {
    for how in ["moved", "elsewhere"] {
        let worker = CleanupWorker::builder().blocking_threads(1).build().unwrap();
        let handle = worker.handle().clone();
        let (open, closed) = mpsc::channel();
        let (began, begins) = mpsc::channel();
        let (calls, moved) = mpsc::channel();
        handle.submit(LetGo { closed, began, how, calls }).unwrap();
        let mut call = moved.recv().unwrap();
        if how == "elsewhere" {
            until("its task has ended", || worker.stats().completed == 1);
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        begins.recv().unwrap();
        until("its task has ended", || worker.stats().completed == 1);
        assert_eq!(worker.stats().stuck_blocking, 1, "{how}");
        // Another thread takes its place.
        handle.submit(Blocking(|| {})).unwrap();
        handle.flush_blocking(LONG).unwrap();
        let report = worker.drain_blocking(LONG);
        let expected = LeftReason::BlockingClosures { count: 1 };
        assert_eq!(reasons(&report), [("", expected)], "{how}");
        drop(open);
        until("it has ended", || handle.stats().stuck_blocking == 0);
    }
}

#[test]
fn a_destructor_that_blocks_does_not_hold_up_a_shutdown() {
    struct Slow(mpsc::Receiver<()>, mpsc::Sender<()>);
    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.0.recv();
            let _ = self.1.send(());
        }
    }
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle().clone();
    let (release, held) = mpsc::channel();
    let (ends, ended) = mpsc::channel();
    let slow = Slow(held, ends);
    let task = async move {
        let _slow = slow;
        std::future::pending::<()>().await;
    };
    handle.submit_with(task, label("slow to drop")).unwrap();
    until("it has started", || worker.stats().in_flight == 1);
    let report = worker.shutdown_blocking(SOON);
    assert!(ended.try_recv().is_err(), "the shutdown did not wait for it");
    assert_eq!(
        reasons(&report),
        [("slow to drop", LeftReason::Abandoned), ("", LeftReason::Thread)]
    );
    drop(release);
    ended.recv().unwrap();
    until("the thread has ended after all", || !handle.is_running());
}

/// Holds its thread when that ends.
struct HoldsThread(mpsc::Receiver<()>);

impl Drop for HoldsThread {
    fn drop(&mut self) {
        let _ = self.0.recv();
    }
}

std::thread_local! {
    static HELD: std::cell::RefCell<Option<HoldsThread>> = const { std::cell::RefCell::new(None) };
}

/// A thread ends with its thread-locals; an end names the thread that they hold, and does not wait for it.
#[test]
fn a_thread_local_that_blocks_does_not_hold_up_a_shutdown() {
    for on_pool in [false, true] {
        let worker = CleanupWorker::builder().build().unwrap();
        let (open, closed) = mpsc::channel();
        let hold = move || HELD.with(|held| *held.borrow_mut() = Some(HoldsThread(closed)));
        if on_pool {
            worker.handle().submit(Blocking(hold)).unwrap();
        } else {
            worker.handle().submit(async move { hold() }).unwrap();
        }
        worker.handle().flush_blocking(LONG).unwrap();
        let report = worker.kill_blocking(SOON);
        assert_eq!(reasons(&report), [("", LeftReason::Thread)], "on the pool: {on_pool}");
        drop(open);
    }
}

/// A waker that blocks holds the thread that wakes it, and no end.
#[test]
fn a_waker_that_blocks_does_not_hold_up_a_shutdown() {
    struct Blocks(Mutex<mpsc::Receiver<()>>, mpsc::Sender<()>);
    impl Wake for Blocks {
        fn wake(self: Arc<Self>) {
            self.1.send(()).unwrap();
            let _ = self.0.lock().unwrap().recv();
        }
    }
    let worker = CleanupWorker::builder().build().unwrap();
    let (open, closed) = mpsc::channel();
    let (wakes, woken) = mpsc::channel();
    let (release, released) = gate();
    worker.handle().submit(Blocking(move || released.recv().unwrap())).unwrap();
    // Woken at its deadline, by the thread that watches the time.
    let waker = Waker::from(Arc::new(Blocks(Mutex::new(closed), wakes)));
    let mut flush = loop {
        let mut flush = Box::pin(worker.handle().flush(SOON));
        if flush.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            break flush;
        }
    };
    woken.recv().unwrap();
    // It is woken once: the end of the task finds no second waker that blocks.
    assert!(flush.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    release.send(()).unwrap();
    let report = worker.drain_blocking(SOON * 10);
    assert_eq!(reasons(&report), [("", LeftReason::Thread)]);
    drop(open);
}

#[test]
fn kill_gives_everything_up_at_once_and_waits_until_it_is_dropped() {
    let worker = CleanupWorker::builder().concurrency(1).build().unwrap();
    let (drops, dropped) = mpsc::channel();
    for name in ["started", "waiting"] {
        let held = Dropped(drops.clone(), name);
        let task = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        worker.handle().submit_with(task, label(name)).unwrap();
    }
    until("one has started", || worker.stats().in_flight == 1);
    let report = worker.kill_blocking(LONG);
    let lines: Vec<_> = report.left_behind().iter().map(ToString::to_string).collect();
    assert!(lines[0].starts_with("task \"started\" of age"), "{lines:?}");
    assert_eq!((report.stats().abandoned, dropped.try_iter().count()), (2, 2));
}

/// Says on which thread it is dropped.
struct DroppedOn(mpsc::Sender<std::thread::Thread>);

impl Drop for DroppedOn {
    fn drop(&mut self) {
        let _ = self.0.send(std::thread::current());
    }
}

/// On the worker's thread, on another one of that name while a task holds it, and a late guard where it is dropped.
#[test]
fn what_is_given_up_is_dropped_on_a_thread_of_the_worker() {
    let worker = || CleanupWorker::builder().name("given-up").build().unwrap();
    let (drops, dropped) = mpsc::channel();
    let hold = || {
        let held = DroppedOn(drops.clone());
        async move {
            let _held = held;
            std::future::pending::<()>().await;
        }
    };
    let (tells, told) = mpsc::channel();
    let tell = |tells: &mpsc::Sender<_>| tells.send(std::thread::current().id()).unwrap();

    let free = worker();
    let first = tells.clone();
    free.handle().submit(async move { tell(&first) }).unwrap();
    free.handle().submit(hold()).unwrap();
    let late = free.handle().arm(hold()).unwrap();
    let own = told.recv().unwrap();
    until("it has started", || free.stats().completed == 1 && free.stats().in_flight == 1);
    assert_eq!(free.kill_blocking(LONG).stats().abandoned, 1);
    assert_eq!(dropped.recv().unwrap().id(), own);
    drop(late);
    assert_eq!(dropped.recv().unwrap().id(), std::thread::current().id());

    let held = worker();
    let (open, closed) = mpsc::channel::<()>();
    held.handle().submit(hold()).unwrap();
    let blocks = async move {
        tell(&tells);
        closed.recv().unwrap_or(());
    };
    held.handle().submit(blocks).unwrap();
    let own = told.recv().unwrap();
    until("both have started", || held.stats().in_flight == 2);
    assert_eq!(held.kill_blocking(SOON).stats().abandoned, 2);
    let on = dropped.recv().unwrap();
    assert!(on.name() == Some("given-up") && on.id() != own, "{on:?}");
    drop(open);
}

/// Calls a closure and leaves before a thread has taken it.
struct CallAndLeave(Blocker);

/// Says that it is being dropped, and waits for leave to go on.
struct Blocker(mpsc::Sender<()>, mpsc::Receiver<()>);

impl Drop for Blocker {
    fn drop(&mut self) {
        self.0.send(()).unwrap();
        let _ = self.1.recv_timeout(LONG);
    }
}

impl Cleanup for CallAndLeave {
    async fn run(self, cx: CleanupContext) -> Outcome {
        let mut call = Box::pin(cx.blocking(move || drop(self.0)));
        std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        Ok(())
    }
}

/// What such a closure owns is dropped inside its task, and holds the driver as that task does.
#[test]
fn a_task_that_drops_a_closure_which_did_not_begin_is_named() {
    let worker = CleanupWorker::builder().blocking_threads(1).build().unwrap();
    let handle = worker.handle();
    let (runs, running) = mpsc::channel();
    let (open, closed) = mpsc::channel::<()>();
    let first = Blocking(move || {
        runs.send(()).unwrap();
        let _ = closed.recv_timeout(LONG);
    });
    handle.submit(first).unwrap();
    running.recv_timeout(LONG).unwrap();
    let (drops, dropping) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    handle.submit(CallAndLeave(Blocker(drops, goes_on))).unwrap();
    dropping.recv_timeout(LONG).unwrap();
    let report = worker.kill_blocking(Duration::ZERO);
    go_on.send(()).unwrap();
    open.send(()).unwrap();
    let expected = [
        ("", LeftReason::Abandoned),
        ("", LeftReason::StillPolled),
        ("", LeftReason::BlockingClosures { count: 1 }),
    ];
    assert_eq!(reasons(&report), expected);
}
