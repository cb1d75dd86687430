//! The end of a runtime waits for nobody, leaks nothing, and leaves every handle harmless.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{Drops, on_both_cores, within};
use lastout_async_rt::time::{Sleep, sleep, yield_now};
use lastout_async_rt::{Handle, JoinHandle, RemoteError, Runtime, spawn_boxed};
use std::cell::RefCell;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Does something with the runtime when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

on_both_cores! {
    fn everything_outlives_its_runtime(core) {
        let runtime = core.builder().slab_bounded(2, 512).build().unwrap();
        let (handle, drops) = (runtime.handle(), Drops::default());
        let guard = drops.guard();
        let (mut sleeping, mut pending_task, mut done, claim): (Sleep, JoinHandle<()>, JoinHandle<_>, _) =
            runtime.block_on(async {
                let mut nap = sleep(Duration::from_secs(3600));
                assert!(Pin::new(&mut nap).poll(&mut Context::from_waker(Waker::noop())).is_pending());
                let task = spawn_boxed(async move { let _guard = guard; pending::<()>().await });
                let done = spawn_boxed(async { vec![1, 2] });
                yield_now().await;
                (nap, task, done, handle.claim_slab())
            });
        let abort = pending_task.abort_handle().unwrap();
        drop(runtime);
        assert_eq!(drops.count(), 1);
        assert!(pending_task.is_finished());
        abort.abort();
        pending_task.abort();
        sleeping.reset(std::time::Instant::now());
        let other = Runtime::new().unwrap();
        assert!(other.block_on(&mut pending_task).unwrap_err().is_cancelled());
        assert_eq!(other.block_on(&mut done).unwrap(), [1, 2]);
        assert!(other.block_on(handle.spawn_boxed(async {})).unwrap_err().is_cancelled());
        assert!(other.block_on(claim.spawn(async {})).unwrap_err().is_cancelled());
        assert!(handle.try_claim_slab().is_err());
        drop(sleeping);
        assert_eq!(handle.task_count(), 0);
    }

    fn destructors_may_spawn_wake_and_sleep(core) {
        let runtime = core.runtime();
        let drops = Drops::default();
        let (one, two) = (drops.guard(), drops.guard());
        let (send, mut recv) = lastout_async_rt::channel::local::channel(1);
        runtime.block_on(async {
            spawn_boxed(async move { let _one = one; recv.recv().await }).detach();
            let mut two = Some(two);
            let guard = OnDrop(move || {
                let two = two.take();
                drop(spawn_boxed(async move { let _two = two; pending::<()>().await }));
                drop(sleep(Duration::from_secs(1)));
                // The receiver may be gone already.
                let _ = send.try_send(());
                Handle::current().shutdown_handle().trigger();
            });
            spawn_boxed(async move { let _guard = guard; pending::<()>().await }).detach();
            yield_now().await;
        });
        let stats = runtime.shutdown_stats();
        drop(runtime);
        assert_eq!(drops.count(), 2);
        let stats = stats.snapshot();
        assert_eq!((stats.tasks_cancelled, stats.unbalanced_normal_shutdowns), (3, 0));
    }

    fn a_runtime_without_leftovers_ends_clean(core) {
        let runtime = core.runtime();
        runtime.block_on(async { spawn_boxed(async {}).await.unwrap() });
        let stats = runtime.shutdown_stats();
        assert!(!stats.snapshot().ended);
        drop(runtime);
        assert!(stats.snapshot().is_clean(), "{:?}", stats.snapshot());
    }

    fn quiesce_drives_timers_and_reports_who_stays(core) {
        let runtime = core.runtime();
        let ended = Rc::new(RefCell::new(Vec::new()));
        for n in [3_u64, 1, 2] {
            let ended = Rc::clone(&ended);
            runtime.handle().spawn_boxed(async move {
                sleep(Duration::from_millis(20 * n)).await;
                ended.borrow_mut().push(n);
            }).detach();
        }
        runtime.shutdown_quiesce(common::DEADLINE).unwrap();
        assert_eq!(*ended.borrow(), [1, 2, 3]);
        let stuck = runtime.handle().spawn_boxed(pending::<()>());
        let timeout = runtime.shutdown_quiesce(Duration::from_millis(5)).unwrap_err();
        assert_eq!(timeout.remaining_tasks, 1);
        assert!(timeout.elapsed >= Duration::from_millis(5));
        stuck.abort();
        runtime.shutdown_quiesce(common::DEADLINE).unwrap();
        let busy = runtime.handle().spawn_boxed(async { loop { yield_now().await } });
        assert!(runtime.shutdown_quiesce(Duration::from_millis(5)).is_err(), "a task that never waits");
        drop(busy);
    }

    fn a_runtime_may_end_with_its_thread(core) {
        thread_local! { static LATE: RefCell<Option<(Runtime, JoinHandle<()>)>> = const { RefCell::new(None) }; }
        std::thread::spawn(move || {
            let runtime = core.runtime();
            let task = runtime.handle().spawn_boxed(pending::<()>());
            runtime.run_until_stalled();
            LATE.with(|late| *late.borrow_mut() = Some((runtime, task)));
        }).join().unwrap();
    }

    fn a_runtime_that_ends_with_its_thread_ends_as_any_other(core) {
        thread_local! { static LATE: RefCell<Vec<Box<dyn std::any::Any>>> = const { RefCell::new(Vec::new()) }; }
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // It is dropped last: after the thread locals that a runtime has used.
            LATE.with(|late| assert!(late.borrow().is_empty()));
            let runtime = core.runtime();
            let told = tell.clone();
            let in_context = OnDrop(move || {
                spawn_boxed(async {}).detach();
                let mut nap = sleep(Duration::from_secs(1));
                let polled = Pin::new(&mut nap).poll(&mut Context::from_waker(Waker::noop()));
                told.send((Handle::try_current().is_some(), polled.is_pending())).unwrap();
            });
            runtime.handle().spawn_boxed(async move { let _in_context = in_context; pending::<()>().await }).detach();
            runtime.block_on(yield_now());
            let anew = OnDrop(move || {
                let outcome = core.runtime().block_on(async {
                    sleep(Duration::from_micros(1)).await;
                    spawn_boxed(async { Handle::try_current().is_some() }).await.unwrap()
                });
                tell.send((outcome, Handle::try_current().is_none())).unwrap();
            });
            LATE.with(|late| late.borrow_mut().extend([Box::new(runtime) as Box<dyn std::any::Any>, Box::new(anew)]));
        }).join().unwrap();
        assert_eq!(told.iter().collect::<Vec<_>>(), [(true, true); 2]);
    }

    fn runtimes_follow_each_other_on_a_thread(core) {
        for n in 0..100 {
            assert_eq!(core.runtime().block_on(async { spawn_boxed(async move { n }).await.unwrap() }), n);
        }
    }

    fn remote_work_ends_with_the_runtime(core) {
        let runtime = core.runtime();
        let remote = runtime.remote_handle();
        let theirs = remote.clone();
        let thread = std::thread::spawn(move || {
            let elsewhere = Runtime::new().unwrap();
            let sum = elsewhere.block_on(theirs.spawn(|| async { let rc = Rc::new(20); yield_now().await; *rc + 1 }));
            let panicked = elsewhere.block_on(theirs.run(|| if true { panic!("remote") }));
            (sum, panicked)
        });
        let (done, wait) = lastout_async_rt::channel::oneshot::channel();
        let joiner = std::thread::spawn(move || { let out = thread.join().unwrap(); done.send(()).unwrap(); out });
        runtime.block_on(async { within("remote work", wait).await.unwrap() });
        assert_eq!(joiner.join().unwrap(), (Ok(21), Err(RemoteError::Panicked)));
        runtime.shutdown_quiesce(common::DEADLINE).unwrap();
        drop(runtime);
        assert!(remote.is_ended());
        assert_eq!(Runtime::new().unwrap().block_on(remote.run(|| 1)), Err(RemoteError::Ended));
    }

    fn a_remote_caller_hears_why_there_is_no_output(core) {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) { panic!("a destructor") }
        }
        let runtime = core.runtime();
        let remote = runtime.remote_handle();
        let mut calls = [
            Box::pin(remote.spawn(|| async { if true { panic!("a poll") } })) as Pin<Box<dyn Future<Output = _>>>,
            Box::pin(remote.spawn(|| { if true { panic!("a maker") } async {} })),
            Box::pin(remote.spawn(|| async { let _bomb = Bomb; })),
            Box::pin(remote.spawn(pending)),
        ];
        let mut cx = Context::from_waker(Waker::noop());
        let mut poll_all = || calls.each_mut().map(|call| call.as_mut().poll(&mut cx));
        assert!(poll_all().iter().all(Poll::is_pending), "the runtime does not run");
        runtime.run_until_stalled();
        let panicked = Poll::Ready(Err(RemoteError::Panicked));
        assert_eq!(poll_all(), [panicked, panicked, panicked, Poll::Pending]);
        let mut waits = calls.into_iter().next_back().unwrap();
        // The end of a runtime in an unwinding thread is no panic of its jobs.
        let unwound = catch_unwind(AssertUnwindSafe(move || { let _runtime = runtime; panic!("a caller") }));
        assert!(unwound.is_err());
        assert_eq!(waits.as_mut().poll(&mut cx), Poll::Ready(Err(RemoteError::Ended)));
    }
}
