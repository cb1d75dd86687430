//! A wait that is cancelled leaves nothing behind: no memory, and no permit that was never given.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "common/heap.rs"]
mod heap;

use lastout_async_rt::channel::{broadcast, local, mpsc, mpsc_bytes, unbounded, watch};
use lastout_async_rt::lock::{Mutex, RwLock};
use lastout_async_rt::{CancellationToken, Notify, Semaphore};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

const WAITS: usize = 10_000;

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The usual loop around `select!`: a wait is made, polled and dropped, behind one that stays.
fn keeps_nothing<F: Future>(what: &str, wait: impl Fn() -> F) {
    let mut first = pin!(wait());
    assert!(poll(first.as_mut()).is_pending(), "{what}");
    let rounds = || {
        for _ in 0..WAITS {
            let mut brief = pin!(wait());
            assert!(poll(brief.as_mut()).is_pending(), "{what}");
        }
    };
    // The first round takes the room that the queue of waiters keeps.
    rounds();
    assert_eq!(heap::kept(rounds), 0, "bytes after {WAITS} cancelled waits, of {what}");
}

#[test]
fn cancelled_waits_behind_a_waiting_one_take_no_memory() {
    let notify = Notify::new();
    keeps_nothing("Notify::notified", || notify.notified());
    let semaphore = Semaphore::new(0);
    keeps_nothing("Semaphore::acquire", || semaphore.acquire(1));
    let token = CancellationToken::new();
    keeps_nothing("CancellationToken::cancelled", || token.cancelled());
    keeps_nothing("CancellationToken::child", || token.child().cancelled());
    let (send, _recv) = mpsc::channel(1);
    send.try_send(0).unwrap();
    keeps_nothing("mpsc::Sender::send", || send.send(1));
    keeps_nothing("mpsc::Sender::reserve", || send.reserve());
    keeps_nothing("mpsc::Sender::closed", || send.closed());
    let (send, _recv) = unbounded::channel::<u8>();
    keeps_nothing("unbounded::Sender::closed", || send.closed());
    let (send, _recv) = local::channel(1);
    send.try_send(0).unwrap();
    keeps_nothing("local::Sender::send", || send.send(1));
    keeps_nothing("local::Sender::reserve", || send.reserve());
    keeps_nothing("local::Sender::closed", || send.closed());
    let (send, _recv) = broadcast::channel::<u8>(1);
    keeps_nothing("broadcast::Sender::closed", || send.closed());
    let (send, _recv) = watch::channel(0);
    keeps_nothing("watch::Sender::closed", || send.closed());
    let (send, _recv) = mpsc_bytes::channel(1);
    send.try_send(b"a").unwrap();
    keeps_nothing("mpsc_bytes::Sender::send", || send.send(b"b"));
    keeps_nothing("mpsc_bytes::Sender::claim", || send.claim(1));
    let mutex = Mutex::new(());
    let _held = mutex.try_lock().unwrap();
    keeps_nothing("Mutex::lock", || mutex.lock());
    let lock = RwLock::new(());
    let _held = lock.try_write().unwrap();
    keeps_nothing("RwLock::read", || lock.read());
    keeps_nothing("RwLock::write", || lock.write());
}

#[test]
fn five_words_to_waiters_that_are_dropped_are_one_word() {
    let notify = Notify::new();
    let mut waits: Vec<_> = (0..5).map(|_| Box::pin(notify.notified())).collect();
    assert!(waits.iter_mut().all(|wait| poll(wait.as_mut()).is_pending()));
    (0..5).for_each(|_| notify.notify_one());
    drop(waits);
    assert!(poll(pin!(notify.notified())).is_ready());
    assert!(poll(pin!(notify.notified())).is_pending());
}

#[test]
fn a_broadcast_word_is_not_kept_for_those_who_come_later() {
    let notify = Notify::new();
    let mut wait = Box::pin(notify.notified());
    assert!(poll(wait.as_mut()).is_pending());
    notify.notify_waiters();
    drop(wait);
    assert!(poll(pin!(notify.notified())).is_pending());
}

#[test]
fn permits_beyond_what_can_be_counted_are_refused() {
    let semaphore = Semaphore::new(usize::MAX - 1);
    semaphore.add(1).unwrap();
    let held = semaphore.try_acquire(usize::MAX).unwrap();
    let error = semaphore.add(1).unwrap_err();
    assert_eq!((error.total, error.added), (usize::MAX, 1));
    drop(held);
    assert_eq!(semaphore.available(), usize::MAX);
    assert!(semaphore.add(usize::MAX).is_err());
}

/// Counts, then panics.
#[derive(Default)]
struct Bomb(AtomicUsize);

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("a waker");
    }
}

#[test]
fn a_waker_that_panics_does_not_keep_the_others_asleep() {
    let (send, recv) = mpsc::channel(1);
    send.try_send(0).unwrap();
    let bomb = Arc::new(Bomb::default());
    let waker = Waker::from(Arc::clone(&bomb));
    let mut waits: Vec<_> = (0..5).map(|n| Box::pin(send.send(n))).collect();
    for wait in &mut waits {
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(recv);
    assert_eq!(bomb.0.load(Ordering::Relaxed), 5);
    let notify = Notify::new();
    let mut waits: Vec<_> = (0..5).map(|_| Box::pin(notify.notified())).collect();
    for wait in &mut waits {
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    notify.notify_waiters();
    assert_eq!(bomb.0.load(Ordering::Relaxed), 10);
}
