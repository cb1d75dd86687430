//! What waiting costs the worker: many flushes at once, and the end of a task beside many of them.

use lastout_cleanup_worker::{CleanupWorker, Flush};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(600);
const FLUSHES: usize = 2_000;
const WAITERS: usize = 10_000;
const ENDS: usize = 5_000;

/// Milliseconds for 2 000 flushes at once, each behind a task of its own, from the first submit until the
/// last flush has ended.
pub fn flushes() -> f64 {
    let worker = CleanupWorker::builder().build().expect("valid settings");
    worker.pause();
    let start = Instant::now();
    let mut waiting: Vec<Flush> = (0..FLUSHES).map(|_| flush_behind_a_task(&worker)).collect();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    waiting.retain_mut(|flush| Pin::new(flush).poll(&mut cx).is_pending());
    assert_eq!(waiting.len(), FLUSHES, "the worker is paused");
    worker.resume();
    while !waiting.is_empty() {
        // The lines are reached in order, so the last one that is left says whether all are.
        let last = waiting.last_mut().expect("not empty");
        if Pin::new(last).poll(&mut cx).is_ready() {
            waiting.pop();
            waiting.retain_mut(|flush| Pin::new(flush).poll(&mut cx).is_pending());
        } else {
            std::thread::park();
        }
    }
    start.elapsed().as_secs_f64() * 1e3
}

fn flush_behind_a_task(worker: &CleanupWorker) -> Flush {
    worker.handle().submit(async {}).expect("there is room");
    worker.handle().flush(LONG)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A worker with a task that does not end, and waiters for it.
pub struct Waited {
    worker: CleanupWorker,
    _flushes: Vec<Flush>,
    _holds: Sender<()>,
}

impl Waited {
    pub fn new(waiters: bool) -> Self {
        let worker = CleanupWorker::builder().build().expect("valid settings");
        let (holds, held) = channel::<()>();
        let hangs = lastout_cleanup_worker::Blocking(move || held.recv().unwrap_or(()));
        let slow = lastout_cleanup_worker::Options::new().timeout(LONG);
        worker.handle().submit_with(hangs, slow).expect("there is room");
        let mut flushes: Vec<_> =
            (0..if waiters { WAITERS } else { 0 }).map(|_| worker.handle().flush(LONG)).collect();
        let mut cx = Context::from_waker(Waker::noop());
        for flush in &mut flushes {
            assert!(Pin::new(flush).poll(&mut cx).is_pending());
        }
        Self { worker, _flushes: flushes, _holds: holds }
    }

    /// Nanoseconds of the worker for one task from its start to its end, over a burst that waits for it.
    pub fn end(&self) -> f64 {
        self.worker.pause();
        let before = self.worker.stats().completed;
        for _ in 0..ENDS {
            self.worker.handle().submit(async {}).expect("there is room");
        }
        let start = Instant::now();
        self.worker.resume();
        while self.worker.stats().completed < before + ENDS as u64 {
            std::thread::sleep(Duration::from_micros(50));
        }
        start.elapsed().as_nanos() as f64 / ENDS as f64
    }
}
