//! A wake from another thread arrives, whatever the owner does at that time.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::waker_clone_wake,
    clippy::redundant_clone,
    reason = "cloning to wake is what these tests are about"
)]

mod common;

use common::{on_both_cores, until, within};
use lastout_async_rt::channel::{mpsc, mpsc_bytes, oneshot, spsc};
use lastout_async_rt::{Idle, Runtime, spawn_boxed};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

on_both_cores! {
    fn a_plain_waker_works_from_a_thread_with_a_runtime_of_its_own(core) {
        let runtime = core.runtime();
        let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
        let (store, woken) = (Rc::clone(&waker), Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&woken);
        let task = runtime.handle().spawn_boxed(poll_fn(move |cx| {
            *store.borrow_mut() = Some(cx.waker().clone());
            if flag.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        }));
        runtime.run_until_stalled();
        let theirs = waker.borrow().clone().unwrap();
        let thread = thread::spawn(move || {
            Runtime::new().unwrap().block_on(async move {
                woken.store(true, Ordering::SeqCst);
                theirs.wake();
            });
        });
        runtime.block_on(async { within("the wake", task).await.unwrap() });
        thread.join().unwrap();
    }

    fn no_message_between_threads_is_lost(core) {
        const EACH: usize = 50_000;
        for idle in [Idle::Park, Idle::SpinThenPark(Duration::from_micros(20)), Idle::Busy] {
            let runtime = core.builder().idle(idle).build().unwrap();
            let (send, mut recv) = mpsc::channel(16);
            let threads: Vec<_> = (0..2).map(|producer| {
                let send = send.clone();
                thread::spawn(move || futures_executor(async move {
                    for n in 0..EACH { send.send((producer, n)).await.unwrap(); }
                }))
            }).collect();
            drop(send);
            let mut next = [0; 2];
            runtime.block_on(async {
                while let Some((producer, n)) = within("a message", recv.recv()).await {
                    assert_eq!(next[producer], n, "in order");
                    next[producer] += 1;
                }
            });
            assert_eq!(next, [EACH; 2]);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    }

    fn spsc_bytes_and_oneshot_cross_threads(core) {
        let runtime = core.runtime();
        runtime.block_on(async {
            let (mut send, mut recv) = spsc::channel(4);
            let (bytes, mut records) = mpsc_bytes::channel(64);
            let (reply, answer) = oneshot::channel();
            let thread = thread::spawn(move || futures_executor(async move {
                for n in 0..5000_u32 {
                    send.send(n).await.unwrap();
                    bytes.send(&n.to_le_bytes()).await.unwrap();
                }
                reply.send("done").unwrap();
            }));
            for n in 0..5000_u32 {
                assert_eq!(within("a value", recv.recv()).await, Some(n));
                assert_eq!(*within("a record", records.recv()).await.unwrap(), n.to_le_bytes());
            }
            assert_eq!(within("the answer", answer).await, Ok("done"));
            assert_eq!(recv.recv().await, None);
            assert!(records.recv().await.is_none());
            thread.join().unwrap();
        });
    }

    fn wakers_are_harmless_after_the_runtime(core) {
        let runtime = core.runtime();
        let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
        let store = Rc::clone(&wakers);
        runtime.handle().spawn_boxed(poll_fn(move |cx| {
            store.borrow_mut().push(cx.waker().clone());
            Poll::<()>::Pending
        })).detach();
        runtime.run_until_stalled();
        let stats = runtime.shutdown_stats();
        drop(runtime);
        let waker = wakers.borrow_mut().pop().unwrap();
        waker.wake_by_ref();
        thread::spawn(move || waker.clone().wake()).join().unwrap();
        let stats = stats.snapshot();
        assert!(stats.ended && !stats.is_clean());
        assert_eq!((stats.tasks_cancelled, stats.leaked_box_tasks, stats.aborted_unwinds), (1, 0, 0));
    }

    fn ten_threads_clone_and_wake_while_the_runtime_drops(core) {
        for _ in 0..50 {
            let runtime = core.builder().slab_bounded(8, 512).build().unwrap();
            let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
            let polls = Rc::new(Cell::new(0));
            for n in 0..10 {
                let (store, polls) = (Rc::clone(&wakers), Rc::clone(&polls));
                let task = poll_fn(move |cx| {
                    store.borrow_mut().push(cx.waker().clone());
                    polls.set(polls.get() + 1);
                    Poll::<()>::Pending
                });
                if n % 2 == 0 {
                    runtime.handle().spawn_boxed(task).detach();
                } else {
                    runtime.handle().spawn_slab(task).detach();
                }
            }
            runtime.run_until_stalled();
            let go = Arc::new(AtomicBool::new(false));
            let threads: Vec<_> = wakers.borrow_mut().drain(..).map(|waker| {
                let go = Arc::clone(&go);
                thread::spawn(move || {
                    while !go.load(Ordering::Relaxed) { std::hint::spin_loop(); }
                    for _ in 0..50 {
                        waker.clone().wake();
                        waker.wake_by_ref();
                    }
                })
            }).collect();
            go.store(true, Ordering::Relaxed);
            runtime.run_until_stalled();
            drop(runtime);
            assert!(polls.get() >= 10);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    }

    fn many_runtimes_on_many_threads(core) {
        let done = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4).map(|_| {
            let done = Arc::clone(&done);
            thread::spawn(move || for _ in 0..20 {
                core.runtime().block_on(async { spawn_boxed(async {}).await.unwrap() });
                done.fetch_add(1, Ordering::Relaxed);
            })
        }).collect();
        until("all of them", || done.load(Ordering::Relaxed) == 80);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    fn two_runtimes_of_one_thread_wake_each_other(core) {
        let (one, two) = (core.runtime(), core.runtime());
        let (send, mut recv) = mpsc::channel(1);
        let receiver = one.handle().spawn_boxed(async move { recv.recv().await });
        one.run_until_stalled();
        two.block_on(async { send.send(9).await.unwrap() });
        assert_eq!(one.block_on(receiver).unwrap(), Some(9));
        let nested = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            one.block_on(async { two.block_on(pending::<()>()) });
        }));
        assert!(nested.is_err(), "a clear panic instead of a blocked runtime");
        assert_eq!(one.block_on(async { 1 }) + two.block_on(async { 2 }), 3);
    }

    fn a_limit_on_foreign_wakes_only_delays_them(core) {
        let runtime = core.builder().cross_thread_drain_limit(3).build().unwrap();
        let (tx, rx): (Vec<_>, Vec<_>) = (0..100).map(|_| oneshot::channel::<()>()).unzip();
        runtime.block_on(async {
            let tasks: Vec<_> = rx.into_iter().map(spawn_boxed).collect();
            lastout_async_rt::time::yield_now().await;
            let thread = thread::spawn(move || tx.into_iter().for_each(|tx| tx.send(()).unwrap()));
            for task in tasks {
                within("a limited wake", task).await.unwrap().unwrap();
            }
            thread.join().unwrap();
        });
    }
}

/// Runs a future of our channels under another executor: a thread that parks.
fn futures_executor<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
