//! A waker is foreign code, its clone and its destructor too: while either runs, the channel, the lock
//! or the task that it is for can be used, and what happens then is not missed.
//!
//! Each case polls with a waker whose clone brings what is waited for, so that the clone is not needed,
//! and whose destructor uses the same channel again.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use lastout_async_rt::channel::{
    broadcast, local, mpsc, mpsc_bytes, oneshot, spsc, spsc_bytes, unbounded, watch,
};
use lastout_async_rt::lock::{Mutex, RwLock};
use lastout_async_rt::time::{sleep, yield_now};
use lastout_async_rt::{AsyncFd, CancellationToken, JoinSet, Notify, Runtime, Semaphore};
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc as std_mpsc;
use std::task::{Context, RawWaker, RawWakerVTable, Waker};
use std::thread;
use std::time::Duration;

type Hook = Rc<dyn Fn()>;

thread_local! {
    static ON_CLONE: RefCell<Option<Hook>> = const { RefCell::new(None) };
    static ON_DROP: RefCell<Option<Hook>> = const { RefCell::new(None) };
    /// Destructors that ran to their end.
    static DROPPED: Cell<usize> = const { Cell::new(0) };
}

static FOREIGN: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // Once: what it brings may clone the waker again.
        let hook = ON_CLONE.take();
        hook.into_iter().for_each(|hook| hook());
        RawWaker::new(data, &FOREIGN)
    },
    |_| dropped(),
    |_| {},
    |_| dropped(),
);

fn dropped() {
    let hook = ON_DROP.with_borrow(Clone::clone);
    hook.into_iter().for_each(|hook| hook());
    DROPPED.set(DROPPED.get() + 1);
}

/// Wakers of different numbers do not wake the same.
#[expect(unsafe_code, reason = "the only way to a waker whose clone is foreign code")]
fn waker(number: usize) -> std::mem::ManuallyDrop<Waker> {
    // SAFETY: the functions do not use the data.
    let waker = unsafe { Waker::new(std::ptr::without_provenance(number), &FOREIGN) };
    std::mem::ManuallyDrop::new(waker)
}

/// Takes the lock under which others wait: the future waits, and is dropped.
fn queue_up(future: impl Future) {
    let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
}

/// Drops what `future` took in its first poll.
fn hold(future: impl Future<Output = ()> + 'static) -> impl Fn() {
    let mut future = Box::pin(future);
    queue_up(future.as_mut());
    let held = Cell::new(Some(future));
    move || drop(held.take())
}

/// `future` becomes ready by what the clone of a waker does: of the first, or, if `registered`, of the
/// second, while the first is registered.
fn check(
    registered: bool,
    future: impl Future,
    on_clone: impl Fn() + 'static,
    on_drop: impl Fn() + 'static,
) {
    let mut future = pin!(future);
    DROPPED.set(0);
    ON_DROP.set(Some(Rc::new(on_drop)));
    if registered {
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker(1)));
        assert!(polled.is_pending(), "nothing has come yet");
    }
    ON_CLONE.set(Some(Rc::new(on_clone)));
    let polled = future.as_mut().poll(&mut Context::from_waker(&waker(2)));
    assert!(polled.is_ready(), "what came while the waker was cloned is not missed");
    assert!(DROPPED.get() > 0, "a clone that is not needed is dropped, and used the channel");
    ON_CLONE.take();
    ON_DROP.take();
}

/// Runs `test` for a first waker and for one that replaces another, on a thread of its own, which would
/// never end if a destructor ran under the lock that it takes.
fn ends(test: impl Fn(bool) + Send + 'static) {
    let (done, is_done) = std_mpsc::channel();
    let thread = thread::spawn(move || {
        test(false);
        test(true);
        done.send(()).unwrap();
    });
    match is_done.recv_timeout(Duration::from_secs(60)) {
        Err(std_mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        _ => thread.join().unwrap(),
    }
}

#[test]
fn of_mpsc() {
    ends(|registered| {
        let (send, mut recv) = mpsc::channel(8);
        let other = send.clone();
        check(
            registered,
            recv.recv(),
            move || send.try_send(1).unwrap(),
            move || {
                let _ = other.try_send(2);
            },
        );
    });
    ends(|registered| {
        let (send, recv) = mpsc::channel(1);
        send.try_send(1).unwrap();
        let (recv, other) = (RefCell::new(recv), send.clone());
        let take = move || assert_eq!(recv.borrow_mut().try_recv(), Ok(1));
        check(registered, send.send(2), take, move || queue_up(other.send(3)));
    });
}

#[test]
fn of_senders_that_wait_for_the_close() {
    ends(|registered| {
        let (send, recv) = mpsc::channel::<u8>(1);
        let (recv, other) = (RefCell::new(recv), send.clone());
        check(
            registered,
            send.closed(),
            move || recv.borrow_mut().close(),
            move || queue_up(other.closed()),
        );
    });
    ends(|registered| {
        let (mut send, recv) = spsc::channel::<u8>(1);
        let recv = Rc::new(RefCell::new(recv));
        let other = Rc::clone(&recv);
        let close = move || recv.borrow_mut().close();
        check(registered, send.closed(), close, move || {
            if let Ok(mut recv) = other.try_borrow_mut() {
                recv.close();
            }
        });
    });
}

#[test]
fn of_spsc() {
    ends(|registered| {
        let (send, mut recv) = spsc::channel(64);
        let send = Rc::new(RefCell::new(send));
        let other = Rc::clone(&send);
        let bring = move || send.borrow_mut().try_send(1).unwrap();
        check(registered, recv.recv(), bring, move || {
            if let Ok(mut send) = other.try_borrow_mut() {
                let _ = send.try_send(2);
            }
        });
    });
    ends(|registered| {
        let (mut send, recv) = spsc::channel(1);
        send.try_send(1).unwrap();
        let recv = Rc::new(RefCell::new(recv));
        let other = Rc::clone(&recv);
        let take = move || assert_eq!(recv.borrow_mut().try_recv(), Ok(1));
        check(registered, send.send(2), take, move || {
            if let Ok(mut recv) = other.try_borrow_mut() {
                let _ = recv.try_recv();
            }
        });
    });
}

#[test]
fn of_byte_channels() {
    ends(|registered| {
        let (send, recv) = mpsc_bytes::channel(1);
        send.try_send(&[1]).unwrap();
        let (recv, other) = (RefCell::new(recv), send.clone());
        let take = move || drop(recv.borrow_mut().try_recv().unwrap());
        check(registered, send.claim(1), take, move || queue_up(other.claim(1)));
    });
    ends(|registered| {
        let (send, mut recv) = spsc_bytes::channel(64);
        let send = Rc::new(send);
        let other = Rc::clone(&send);
        let bring = move || send.try_send(&[1]).unwrap();
        check(registered, recv.recv(), bring, move || drop(other.try_claim(1)));
    });
}

#[test]
fn of_unbounded() {
    ends(|registered| {
        let (send, mut recv) = unbounded::channel();
        let other = send.clone();
        check(
            registered,
            recv.recv(),
            move || send.send(1).unwrap(),
            move || {
                let _ = other.send(2);
            },
        );
    });
}

#[test]
fn of_oneshot() {
    ends(|registered| {
        let (send, recv) = oneshot::channel();
        let (send, used) = (Cell::new(Some(send)), Cell::new(0));
        let bring = move || send.take().unwrap().send(1).unwrap();
        check(registered, recv, bring, move || used.set(used.get() + 1));
    });
    ends(|registered| {
        let (mut send, recv) = oneshot::channel::<u8>();
        let recv = Rc::new(RefCell::new(recv));
        let other = Rc::clone(&recv);
        let close = move || recv.borrow_mut().close();
        check(registered, send.closed(), close, move || {
            if let Ok(mut recv) = other.try_borrow_mut() {
                let _ = recv.try_recv();
            }
        });
    });
}

#[test]
fn of_broadcast() {
    ends(|registered| {
        let (send, mut recv) = broadcast::channel(8);
        let other = send.clone();
        let bring = move || assert_eq!(send.send(1).unwrap(), 1);
        check(registered, recv.recv(), bring, move || assert_eq!(other.receiver_count(), 1));
    });
}

#[test]
fn of_watch() {
    ends(|registered| {
        let (send, mut recv) = watch::channel(0);
        let other = send.clone();
        let bring = move || send.send(1).unwrap();
        check(registered, recv.changed(), bring, move || drop(other.borrow()));
    });
}

#[test]
fn of_local() {
    ends(|registered| {
        let (send, mut recv) = local::channel(8);
        let other = send.clone();
        check(
            registered,
            recv.recv(),
            move || send.try_send(1).unwrap(),
            move || {
                let _ = other.try_send(2);
            },
        );
    });
    ends(|registered| {
        let (send, recv) = local::channel(1);
        send.try_send(1).unwrap();
        let (recv, other) = (RefCell::new(recv), send.clone());
        let take = move || assert_eq!(recv.borrow_mut().try_recv(), Ok(1));
        check(registered, send.send(2), take, move || assert!(other.room() <= 1));
    });
}

#[test]
fn of_notify_semaphore_and_locks() {
    ends(|registered| {
        let notify = Notify::new();
        let (tell, other) = (notify.clone(), notify.clone());
        check(
            registered,
            notify.notified(),
            move || tell.notify_one(),
            move || {
                other.notify_waiters();
            },
        );
    });
    ends(|registered| {
        let semaphore = Semaphore::new(0);
        let (add, other) = (semaphore.clone(), semaphore.clone());
        check(
            registered,
            semaphore.acquire(1),
            move || add.add(1).unwrap(),
            move || {
                let _ = other.try_acquire(1);
            },
        );
    });
    ends(|registered| {
        let lock = Rc::new(Mutex::new(1));
        let (owned, other) = (Rc::clone(&lock), Rc::clone(&lock));
        let release = hold(async move {
            let _guard = owned.lock().await;
            pending::<()>().await;
        });
        check(registered, lock.lock(), release, move || drop(other.try_lock()));
    });
    ends(|registered| {
        let lock = Rc::new(RwLock::new(1));
        let (owned, other) = (Rc::clone(&lock), Rc::clone(&lock));
        let release = hold(async move {
            let _guard = owned.write().await;
            pending::<()>().await;
        });
        check(registered, lock.read(), release, move || drop(other.try_read()));
    });
}

#[test]
fn of_tokens() {
    ends(|registered| {
        let token = CancellationToken::new();
        let (cancel, other) = (token.clone(), token.clone());
        check(
            registered,
            token.cancelled(),
            move || cancel.cancel(),
            move || {
                drop(other.child());
            },
        );
    });
}

#[test]
fn of_joins() {
    ends(|registered| {
        let runtime = Rc::new(Runtime::new().unwrap());
        let task = runtime.handle().spawn_boxed(yield_now());
        let other = runtime.handle();
        let turn = move || runtime.block_on(async { sleep(Duration::from_millis(1)).await });
        check(registered, task, turn, move || drop(other.spawn_boxed(async {})));
    });
    ends(|registered| {
        let runtime = Rc::new(Runtime::new().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn_on(yield_now(), &runtime.handle());
        let other = runtime.handle();
        let turn = move || runtime.block_on(async { sleep(Duration::from_millis(1)).await });
        // The set keeps its waker until the next one comes.
        check(registered, async { tasks.join_next().await.unwrap() }, turn, move || {
            drop(other.spawn_boxed(async {}));
        });
    });
}

#[test]
fn of_timers_and_descriptors() {
    ends(|_| {
        let runtime = Runtime::new().unwrap();
        let nap = runtime.block_on(async { Some(sleep(Duration::from_millis(1))) }).unwrap();
        let other = runtime.handle();
        let turn = move || runtime.block_on(async { sleep(Duration::from_millis(5)).await });
        check(true, nap, turn, move || assert_eq!(other.stats().panicked, 0));
    });
    ends(|registered| {
        let runtime = Runtime::new().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        far.set_nonblocking(true).unwrap();
        let far = runtime.block_on(async { AsyncFd::new(far).unwrap() });
        // What it was ready for when it was added is looked at first.
        runtime.block_on(async { sleep(Duration::from_millis(1)).await });
        let other = runtime.handle();
        let turn = move || {
            use std::io::Write;
            near.write_all(b"x").unwrap();
            runtime.block_on(async { sleep(Duration::from_millis(1)).await });
        };
        let turn = RefCell::new(turn);
        let ready = far.readable();
        check(
            registered,
            ready,
            move || (turn.borrow_mut())(),
            move || assert_eq!(other.stats().panicked, 0),
        );
    });
}
