//! Every spawned task ends in exactly one outcome, which its handle reports, and its future is
//! dropped exactly once.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{Drops, on_both_cores, until, within};
use lastout_async_rt::time::{sleep, yield_now};
use lastout_async_rt::{AbortHandle, JoinHandle, PanicPolicy, spawn_boxed};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("destructor");
    }
}

fn quiet_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

on_both_cores! {
    fn an_output_reaches_its_handle(core) {
        let runtime = core.runtime();
        let local = String::from("borrowed by the root future, which is not 'static");
        let length = runtime.block_on(async {
            let task = spawn_boxed(async { yield_now().await; 7 });
            task.await.unwrap() + local.len()
        });
        assert_eq!(length, 7 + local.len());
        let stats = runtime.stats();
        assert_eq!((stats.spawned, stats.completed, stats.live), (1, 1, 0));
    }

    fn tasks_run_first_in_first_out(core) {
        let runtime = core.runtime();
        let order = Rc::new(RefCell::new(Vec::new()));
        runtime.block_on(async {
            let tasks: Vec<_> = (0..5).map(|id| {
                let order = Rc::clone(&order);
                spawn_boxed(async move {
                    for round in 0..3 {
                        order.borrow_mut().push((round, id));
                        yield_now().await;
                    }
                })
            }).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        let fair: Vec<_> = (0..3).flat_map(|round| (0..5).map(move |id| (round, id))).collect();
        assert_eq!(*order.borrow(), fair);
    }

    fn abort_takes_effect_on_a_parked_task(core) {
        let runtime = core.runtime();
        let drops = Drops::default();
        runtime.block_on(async {
            let guard = drops.guard();
            let task = spawn_boxed(async move { let _guard = guard; pending::<()>().await });
            yield_now().await;
            task.abort();
            assert!(within("join of an aborted task", task).await.unwrap_err().is_cancelled());
        });
        assert_eq!(drops.count(), 1);
        assert_eq!(runtime.stats().cancelled, 1);
    }

    fn abort_before_the_first_poll_never_polls(core) {
        let polled = Rc::new(Cell::new(false));
        let set = Rc::clone(&polled);
        core.runtime().block_on(async {
            let task = spawn_boxed(async move { set.set(true) });
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        });
        assert!(!polled.get());
    }

    fn abort_of_a_done_task_keeps_its_output(core) {
        core.runtime().block_on(async {
            let task = spawn_boxed(async { 3 });
            let abort = task.abort_handle().unwrap();
            yield_now().await;
            assert!(task.is_finished());
            task.abort();
            abort.abort();
            assert_eq!(task.await.unwrap(), 3);
            abort.abort();
        });
    }

    fn a_task_that_aborts_itself_ends_after_the_poll(core) {
        core.runtime().block_on(async {
            let own: Rc<RefCell<Option<AbortHandle>>> = Rc::default();
            let (mine, drops) = (Rc::clone(&own), Drops::default());
            let guard = drops.guard();
            let task = spawn_boxed(async move {
                let _guard = guard;
                mine.borrow().as_ref().unwrap().abort();
                pending::<()>().await;
            });
            *own.borrow_mut() = task.abort_handle();
            assert!(within("join of a suicide", task).await.unwrap_err().is_cancelled());
            assert_eq!(drops.count(), 1);
        });
    }

    fn abort_from_another_thread_wakes_the_runtime(core) {
        core.runtime().block_on(async {
            let drops = Drops::default();
            let guard = drops.guard();
            let task = spawn_boxed(async move { let _guard = guard; pending::<()>().await });
            let abort = task.abort_handle().unwrap();
            let thread = std::thread::spawn(move || abort.abort());
            assert!(within("join of a task aborted elsewhere", task).await.unwrap_err().is_cancelled());
            assert_eq!(drops.count(), 1);
            thread.join().unwrap();
        });
    }

    fn a_handle_polled_after_ready_panics(core) {
        core.runtime().block_on(async {
            let mut task = spawn_boxed(async { String::from("once") });
            assert_eq!((&mut task).await.unwrap(), "once");
            let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _ = Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop()));
            }));
            assert!(again.unwrap_err().downcast_ref::<String>().unwrap().contains("after it was ready")
                , "a clear panic, not a second output");
            assert!(task.is_finished() && task.abort_handle().is_none() && task.id().is_none());
            task.abort();
        });
    }

    fn a_panic_is_a_join_error_and_the_runtime_goes_on(core) {
        quiet_panics();
        let runtime = core.runtime();
        let beside = runtime.handle().spawn_boxed(async {
            sleep(Duration::from_millis(1)).await;
            5
        });
        runtime.block_on(async {
            let error = spawn_boxed(async { panic!("in a task") }).await.unwrap_err();
            assert!(error.is_panic());
            assert_eq!(error.to_string(), "the task panicked: in a task");
            assert_eq!(*error.try_into_panic().unwrap().downcast::<&str>().unwrap(), "in a task");
        });
        let root = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async { panic!("in the root") });
        }));
        assert!(root.is_err());
        assert_eq!(runtime.block_on(beside).unwrap(), 5);
        assert_eq!(runtime.stats().panicked, 1);
    }

    fn a_detached_panic_is_counted_or_propagated(core) {
        quiet_panics();
        let runtime = core.runtime();
        runtime.block_on(async {
            spawn_boxed(async { panic!("nobody joins") }).detach();
            yield_now().await;
        });
        assert_eq!(runtime.stats().panicked, 1);
        let runtime = core.builder().panic_policy(PanicPolicy::Propagate).build().unwrap();
        let out = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                spawn_boxed(async { panic!("out") }).detach();
                pending::<()>().await;
            });
        }));
        assert_eq!(*out.unwrap_err().downcast::<&str>().unwrap(), "out");
        assert_eq!(runtime.block_on(async { spawn_boxed(async { 1 }).await.unwrap() }), 1);
    }

    fn a_panicking_destructor_is_a_join_error(core) {
        quiet_panics();
        core.runtime().block_on(async {
            let done = spawn_boxed(poll_fn({
                let guard = PanicsOnDrop;
                move |_| { let _ = &guard; Poll::Ready(1) }
            }));
            assert!(done.await.unwrap_err().is_panic());
            let guard = PanicsOnDrop;
            let aborted = spawn_boxed(async move { let _guard = guard; pending::<()>().await });
            yield_now().await;
            aborted.abort();
            assert!(aborted.await.unwrap_err().is_panic());
            spawn_boxed(async { PanicsOnDrop }).detach();
            yield_now().await;
            let unread = spawn_boxed(async { PanicsOnDrop });
            yield_now().await;
            assert!(unread.is_finished());
            drop(unread);
        });
    }

    fn a_task_that_joins_itself_can_be_aborted(core) {
        core.runtime().block_on(async {
            let own: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
            let mine = Rc::clone(&own);
            let drops = Drops::default();
            let guard = drops.guard();
            let task = spawn_boxed(async move {
                let _guard = guard;
                let own = mine.borrow_mut().take().unwrap();
                own.await.unwrap();
            });
            let abort = task.abort_handle().unwrap();
            *own.borrow_mut() = Some(task);
            yield_now().await;
            yield_now().await;
            assert_eq!(drops.count(), 0, "it waits for itself");
            abort.abort();
            yield_now().await;
            yield_now().await;
            assert_eq!(drops.count(), 1);
        });
    }

    fn a_million_tasks_come_and_go(core) {
        let runtime = core.runtime();
        runtime.block_on(async {
            for _ in 0..1000 {
                let tasks: Vec<_> = (0..1000).map(|n| spawn_boxed(async move { n })).collect();
                let mut sum = 0;
                for task in tasks {
                    sum += task.await.unwrap();
                }
                assert_eq!(sum, 499_500);
            }
        });
        let stats = runtime.stats();
        assert_eq!((stats.spawned, stats.completed, stats.live), (1_000_000, 1_000_000, 0));
    }

    /// A wake of the root from its own thread, a foreign
    /// wake, and a wake outside `block_on` all arrive.
    fn wakes_arrive_from_everywhere(core) {
        let runtime = core.runtime();
        let slot: Rc<RefCell<Option<Waker>>> = Rc::default();
        let (store, woken) = (Rc::clone(&slot), Rc::new(Cell::new(0)));
        let count = Rc::clone(&woken);
        let task = runtime.handle().spawn_boxed(poll_fn(move |cx| {
            *store.borrow_mut() = Some(cx.waker().clone());
            count.set(count.get() + 1);
            if count.get() == 4 { Poll::Ready(()) } else { Poll::Pending }
        }));
        runtime.run_until_stalled();
        assert_eq!(woken.get(), 1);
        slot.borrow().as_ref().unwrap().wake_by_ref();
        runtime.run_until_stalled();
        assert_eq!(woken.get(), 2, "woken outside the runtime, on its thread");
        let waker = slot.borrow().clone().unwrap();
        runtime.block_on(async {
            waker.wake_by_ref();
            yield_now().await;
        });
        assert_eq!(woken.get(), 3, "woken inside");
        std::thread::spawn(move || waker.wake()).join().unwrap();
        runtime.block_on(task).unwrap();
    }

    fn a_foreign_wake_ends_a_sleep(core) {
        let runtime = core.runtime();
        for _ in 0..200 {
            let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let (theirs, mut thread) = (std::sync::Arc::clone(&flag), None);
            runtime.block_on(poll_fn(|cx| {
                if flag.load(std::sync::atomic::Ordering::Relaxed) {
                    return Poll::Ready(());
                }
                if thread.is_none() {
                    let (waker, theirs) = (cx.waker().clone(), std::sync::Arc::clone(&theirs));
                    thread = Some(std::thread::spawn(move || {
                        theirs.store(true, std::sync::atomic::Ordering::Relaxed);
                        waker.wake();
                    }));
                }
                Poll::Pending
            }));
            thread.unwrap().join().unwrap();
        }
        until("nothing is left", || runtime.task_count() == 0);
    }
}
