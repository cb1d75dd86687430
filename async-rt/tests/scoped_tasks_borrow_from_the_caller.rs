//! Scoped tasks may borrow from the caller, and none of them outlives the call.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{Drops, on_both_cores};
use lastout_async_rt::time::{sleep, yield_now};
use lastout_async_rt::{JoinError, Notify, Scope, ScopedJoinHandle};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

on_both_cores! {
    fn the_call_returns_when_every_task_has_ended(core) {
        let ended = Cell::new(0);
        let count = &ended;
        let output = core.runtime().scope(|scope| async move {
            for n in 0..300 {
                scope.spawn(async move {
                    yield_now().await;
                    sleep(Duration::from_micros(n)).await;
                    count.set(count.get() + 1);
                }).detach();
            }
            7
        });
        assert_eq!((output, ended.get()), (7, 300));
    }

    fn a_scoped_task_spawns_others_and_joins_them(core) {
        let order = RefCell::new(Vec::new());
        let note = &order;
        core.runtime().scope(|scope| async move {
            let inner = scope.clone();
            let task = scope.spawn(async move {
                note.borrow_mut().push("outer");
                inner.spawn(async move { note.borrow_mut().push("inner") }).await.unwrap();
                note.borrow_mut().push("joined");
            });
            task.await.unwrap();
        });
        assert_eq!(*order.borrow(), ["outer", "inner", "joined"]);
    }

    fn a_wake_from_another_thread_reaches_a_scoped_task(core) {
        let mut thread = None;
        let start = &mut thread;
        core.runtime().scope(|scope| async move {
            let (give, take) = lastout_async_rt::channel::oneshot::channel();
            let task = scope.spawn(async move { take.await.unwrap() });
            *start = Some(std::thread::spawn(move || give.send(7).unwrap()));
            assert_eq!(task.await.unwrap(), 7);
        });
        thread.unwrap().join().unwrap();
    }

    fn only_the_task_that_was_woken_is_polled(core) {
        let (bystander, bell) = (Cell::new(0), Notify::new());
        let (polls, bell) = (&bystander, &bell);
        core.runtime().scope(|scope| async move {
            let still = scope.spawn(poll_fn(move |_| {
                polls.set(polls.get() + 1);
                Poll::<()>::Pending
            }));
            let rung = scope.spawn(async move { bell.notified().await });
            for _ in 0..20 {
                yield_now().await;
            }
            bell.notify_one();
            rung.await.unwrap();
            still.abort();
            assert!(still.await.unwrap_err().is_cancelled());
        });
        assert_eq!(bystander.get(), 1, "polled by the spawn, and by nothing else");
    }

    fn the_panic_of_a_task_goes_to_its_handle(core) {
        let error: JoinError = core.runtime().scope(|scope| async move {
            scope.spawn(async { panic!("one task") }).await.unwrap_err()
        });
        assert!(error.is_panic());
    }

    fn the_panic_of_the_first_task_drops_the_others_and_goes_on(core) {
        let (runtime, drops) = (core.runtime(), Drops::default());
        let counted = &drops;
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            runtime.scope(|scope| async move {
                scope.spawn(async move {
                    let _guard = counted.guard();
                    pending::<()>().await;
                }).detach();
                yield_now().await;
                panic!("the first task");
            })
        }));
        assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "the first task");
        assert_eq!(drops.count(), 1);
        assert_eq!(runtime.block_on(async { 7 }), 7, "the runtime is as good as before");
    }

    fn a_panic_while_the_first_task_is_made_leaves_nothing(core) {
        let (runtime, drops) = (core.runtime(), Drops::default());
        let guard = drops.guard();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            runtime.scope(|scope| {
                scope.spawn(async move { drop(guard) }).detach();
                if runtime.task_count() == 0 {
                    panic!("no future");
                }
                pending::<()>()
            });
        }));
        assert!(panicked.is_err());
        assert_eq!(drops.count(), 1);
    }

    fn a_scope_that_escapes_takes_no_more_tasks(core) {
        let (escaped, drops) = (RefCell::new(None), Drops::default());
        let keep: &RefCell<Option<Scope<'static>>> = &escaped;
        core.runtime().scope(|scope| { *keep.borrow_mut() = Some(scope); async {} });
        let guard = drops.guard();
        let scope = escaped.borrow_mut().take().unwrap();
        let late: ScopedJoinHandle<'_, ()> = scope.spawn(async move { drop(guard) });
        assert_eq!(drops.count(), 1);
        assert!(late.is_finished());
        assert!(core.runtime().block_on(late).unwrap_err().is_cancelled());
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("a destructor");
            }
        }
        let bomb = Bomb;
        let late: ScopedJoinHandle<'_, ()> = scope.spawn(async move { drop(bomb) });
        assert!(core.runtime().block_on(late).unwrap_err().is_panic());
    }

    fn a_destructor_that_spawns_at_the_end_of_a_scope_is_harmless(core) {
        struct SpawnsAgain<'env>(Scope<'env>, Rc<Cell<usize>>);
        impl Drop for SpawnsAgain<'_> {
            fn drop(&mut self) {
                let late = self.0.spawn(async {});
                self.1.set(self.1.get() + usize::from(late.is_finished()));
            }
        }
        let refused = Rc::new(Cell::new(0));
        let panicked = catch_unwind(AssertUnwindSafe(|| core.runtime().scope(|scope| {
            let again = SpawnsAgain(scope.clone(), refused.clone());
            scope.spawn(async move { let _again = again; pending::<()>().await }).detach();
            async move { yield_now().await; panic!("the end") }
        })));
        assert!(panicked.is_err());
        assert_eq!(refused.get(), 1);
    }

    fn a_task_that_is_always_ready_lets_the_runtime_go_on(core) {
        let (runtime, seen) = (core.runtime(), Rc::new(Cell::new(false)));
        let set = Rc::clone(&seen);
        runtime.handle().spawn_boxed(async move { set.set(true) }).detach();
        runtime.scope(|_| async { while !seen.get() { yield_now().await } });
    }
}
