//! Foreign code that runs in the middle of the engine's work, from every place where it does: it spawns,
//! aborts, joins, wakes, sleeps, asks for the counts, and panics; the engine goes on, and its counts hold.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{Core, DEADLINE, on_both_cores, within};
use lastout_async_rt::channel::local;
use lastout_async_rt::time::{Sleep, sleep, yield_now};
use lastout_async_rt::{
    CancellationToken, Handle, JoinHandle, PanicPolicy, Runtime, RuntimeStats, World, spawn_boxed,
};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use std::time::Duration;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static KEPT: RefCell<Vec<JoinHandle<usize>>> = const { RefCell::new(Vec::new()) };
    static KNOWN: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// Does everything that foreign code may do where it runs.
fn re_enter() {
    let Some(handle) = Handle::try_current() else { return };
    if DEPTH.with(|depth| depth.replace(depth.get() + 1)) < 2 {
        let shared = Rc::new(7);
        handle
            .spawn_boxed(async move {
                yield_now().await;
                *shared
            })
            .detach();
        let gone = handle.spawn_boxed(pending::<()>());
        gone.abort();
        drop(gone);
        let keep = handle.spawn_boxed(async { 1 });
        let before = KEPT.with(|kept| std::mem::replace(&mut *kept.borrow_mut(), vec![keep]));
        for mut task in before {
            let _ = Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop()));
        }
        let mut nap = sleep(Duration::from_micros(10));
        assert!(Pin::new(&mut nap).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let known = KNOWN.with(|known| known.borrow().clone());
        known.iter().for_each(Waker::wake_by_ref);
        let stats = handle.stats();
        assert_eq!(stats.spawned, stats.live + stats.completed + stats.panicked + stats.cancelled);
        handle.shutdown_handle().token().child().cancel();
        if handle.try_claim_slab().is_ok() {
            handle.spawn_slab(async {}).detach();
        }
    }
    DEPTH.with(|depth| depth.set(depth.get() - 1));
}

/// Re-enters, then panics.
struct OnDrop;

impl Drop for OnDrop {
    fn drop(&mut self) {
        re_enter();
        panic_any(OnPayload);
    }
}

/// A payload whose destructor does the same.
struct OnPayload;

impl Drop for OnPayload {
    fn drop(&mut self) {
        re_enter();
        panic!("the destructor of a payload");
    }
}

/// A waker that re-enters and panics wherever it is asked to do something.
static HOSTILE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        re_enter();
        RawWaker::new(data, &HOSTILE)
    },
    |_| {
        re_enter();
        panic!("wake")
    },
    |_| {
        re_enter();
        panic!("wake by reference")
    },
    |_| {
        re_enter();
        panic!("drop")
    },
);

#[expect(unsafe_code, reason = "the only way to a waker whose clone is foreign code")]
fn hostile() -> std::mem::ManuallyDrop<Waker> {
    // SAFETY: the functions use no data.
    std::mem::ManuallyDrop::new(unsafe { Waker::new(std::ptr::null(), &HOSTILE) })
}

fn runtime(core: Core) -> Runtime {
    std::panic::set_hook(Box::new(|_| {}));
    core.builder().slab_unbounded(2, 512).build().unwrap()
}

/// Lets everything end, and checks the sum.
fn end(runtime: Runtime) -> RuntimeStats {
    runtime.shutdown_quiesce(DEADLINE).unwrap();
    KEPT.take();
    KNOWN.take();
    let handle = runtime.handle();
    let report = runtime.shutdown_blocking(DEADLINE);
    assert!(report.is_clean(), "{report:?}");
    let stats = handle.stats();
    assert_eq!(stats.live, 0);
    assert_eq!(stats.spawned, stats.completed + stats.panicked + stats.cancelled);
    stats
}

on_both_cores! {
    fn destructors_of_futures(core) {
        let runtime = runtime(core);
        runtime.block_on(async {
            let aborted = spawn_boxed(async { let _guard = OnDrop; pending::<()>().await });
            let done = spawn_boxed(poll_fn({ let guard = OnDrop; move |_| { let _ = &guard; Poll::Ready(3) } }));
            let panicked = spawn_boxed(poll_fn({ let guard = OnDrop; move |_| -> Poll<()> { let _ = &guard; panic_any(OnPayload) } }));
            spawn_boxed(async { let _guard = OnDrop; pending::<()>().await }).detach();
            let own = waker().await;
            KNOWN.with(|known| known.borrow_mut().push(own));
            yield_now().await;
            aborted.abort();
            for error in [aborted.await.unwrap_err(), done.await.unwrap_err(), panicked.await.unwrap_err()] {
                assert!(error.is_panic());
                // The payload of the error is the reader's.
                let payload = error.try_into_panic().unwrap();
                assert!(catch_unwind(AssertUnwindSafe(|| drop(payload))).is_err());
            }
            KNOWN.take();
        });
        assert_eq!(runtime.stats().panicked, 3);
        let handle = runtime.handle();
        drop(runtime);
        let stats = handle.stats();
        assert_eq!((stats.panicked, stats.live), (4, 0), "the one that nobody joined");
    }

    fn destructors_of_outputs(core) {
        let runtime = runtime(core);
        runtime.block_on(async {
            spawn_boxed(async { OnDrop }).detach();
            let dropped = spawn_boxed(async { OnDrop });
            yield_now().await;
            assert!(dropped.is_finished());
            drop(dropped);
            // The output is there, and then the destructor of its future panics: both are dropped.
            let both = spawn_boxed(poll_fn({ let guard = OnDrop; move |_| { let _ = &guard; Poll::Ready(OnDrop) } }));
            let error = both.await.err().unwrap();
            assert!(error.is_panic());
            assert!(catch_unwind(AssertUnwindSafe(|| drop(error))).is_err());
        });
        assert_eq!(end(runtime).panicked, 1);
    }

    fn wakers_of_joiners(core) {
        let runtime = runtime(core);
        let mut tasks: Vec<_> = (0..3).map(|_| runtime.handle().spawn_boxed(async { yield_now().await; 4 })).collect();
        let (waker, noop) = (hostile(), Waker::noop());
        for task in &mut tasks {
            assert!(Pin::new(task).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        // Replaced by another waker, dropped with its handle, and woken.
        assert!(Pin::new(&mut tasks[0]).poll(&mut Context::from_waker(noop)).is_pending());
        drop(tasks.pop());
        runtime.run_until_stalled();
        for task in tasks { assert_eq!(runtime.block_on(task).unwrap(), 4); }
        end(runtime);
    }

    fn wakers_of_timers_channels_and_tokens(core) {
        let runtime = runtime(core);
        let waker = hostile();
        let mut cx = Context::from_waker(&waker);
        let token = CancellationToken::new();
        let (mut waiters, mut timers): (Vec<_>, Vec<Sleep>) = runtime.block_on(async {
            let timers = (0..4).map(|_| sleep(Duration::from_millis(1))).collect();
            ((0..4).map(|_| token.cancelled()).collect(), timers)
        });
        for timer in &mut timers { assert!(Pin::new(timer).poll(&mut cx).is_pending()); }
        for waiter in &mut waiters { assert!(Pin::new(waiter).poll(&mut cx).is_pending()); }
        drop((timers.pop(), waiters.pop()));
        let (send, mut recv) = local::channel(1);
        runtime.block_on(async {
            assert!(std::pin::pin!(recv.recv()).poll(&mut cx).is_pending());
            within("a timer after the hostile ones", sleep(Duration::from_millis(2))).await;
            send.try_send(1).unwrap();
            assert_eq!(recv.recv().await, Some(1));
            token.cancel();
        });
        assert!(timers.iter().all(Sleep::is_elapsed));
        end(runtime);
    }

    fn destructors_of_scoped_tasks(core) {
        let runtime = runtime(core);
        let sum = runtime.scope(|scope| async move {
            scope.spawn(async { OnDrop }).detach();
            scope.spawn(async { let _guard = OnDrop; yield_now().await }).detach();
            let aborted = scope.spawn(async { let _guard = OnDrop; pending::<()>().await });
            yield_now().await;
            aborted.abort();
            let payload = aborted.await.unwrap_err().try_into_panic().unwrap();
            assert!(catch_unwind(AssertUnwindSafe(|| drop(payload))).is_err());
            scope.spawn(async { 5 }).await.unwrap()
        });
        assert_eq!(sum, 5);
        end(runtime);
    }

    fn worlds_at_the_end(core) {
        let runtime = runtime(core);
        let (one, two) = (World::new(OnDrop), World::new(vec![OnDrop]));
        runtime.provide(&one);
        runtime.provide(&two);
        drop((one, two));
        end(runtime);
    }

    fn panics_that_leave_block_on_leave_one_at_a_time(core) {
        std::panic::set_hook(Box::new(|_| {}));
        let runtime = core.builder().panic_policy(PanicPolicy::Propagate).build().unwrap();
        for n in 0..3 { runtime.handle().spawn_boxed(async move { panic_any(n) }).detach(); }
        for n in 0..3 {
            let out = catch_unwind(AssertUnwindSafe(|| runtime.block_on(pending::<()>())));
            assert_eq!(*out.unwrap_err().downcast::<i32>().unwrap(), n);
        }
        assert_eq!(runtime.stats().panicked, 3);
        runtime.handle().spawn_boxed(async { panic!("during the end") }).detach();
        assert!(runtime.shutdown_blocking(DEADLINE).is_clean());
    }

    fn handles_and_counts_agree_on_a_destructor_that_panics(core) {
        std::panic::set_hook(Box::new(|_| {}));
        struct Plain;
        impl Drop for Plain { fn drop(&mut self) { panic!("plain") } }
        let runtime = core.runtime();
        let task = runtime.handle().spawn_boxed(async { let _plain = Plain; pending::<()>().await });
        runtime.run_until_stalled();
        task.abort();
        assert!(runtime.block_on(task).unwrap_err().is_panic());
        let stats = runtime.stats();
        assert_eq!((stats.panicked, stats.cancelled), (1, 0));
    }
}

async fn waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

#[cfg(feature = "tracing")]
mod events {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    struct ReEnters;

    impl Subscriber for ReEnters {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "lastout_async_rt"
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {
            // What it spawns has events, too: an end to that.
            static EVENTS: AtomicUsize = AtomicUsize::new(0);
            if EVENTS.fetch_add(1, Ordering::Relaxed) < 1_000 {
                re_enter();
            }
            panic!("a subscriber");
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    on_both_cores! {
        /// Each future is dropped on its own thread, once, and each handle gets its own output.
        fn subscribers(core) {
            let runtime = runtime(core);
            tracing::subscriber::with_default(ReEnters, || {
                runtime.block_on(async {
                    for n in 0..50 {
                        let own = Rc::new(n);
                        let task = spawn_boxed(async move { yield_now().await; *own });
                        let gone = spawn_boxed(pending::<()>());
                        let panicked = spawn_boxed(async { panic!("a task") });
                        gone.abort();
                        assert_eq!(within("a task with an event", task).await.unwrap(), n);
                        assert!(gone.await.unwrap_err().is_cancelled());
                        assert!(panicked.await.unwrap_err().is_panic());
                    }
                });
                end(runtime);
            });
        }
    }
}
