//! What programs written for tokio rely on: a set of tasks joins each of them once and ends them with
//! itself; a `select!` polls its branches in turn and drops the losers; an interval is a stream.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{Drops, on_both_cores, within};
use futures_util::{FutureExt as _, select, select_biased};
use lastout_async_rt::channel::{local, oneshot};
use lastout_async_rt::time::{sleep, timeout, yield_now};
use lastout_async_rt::{JoinSet, Runtime, spawn_boxed};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

on_both_cores! {
    fn tasks_are_joined_in_the_order_in_which_they_end(core) {
        core.runtime().block_on(async {
            let mut tasks = JoinSet::new();
            let (mut senders, order) = (Vec::new(), [2, 0, 3, 1]);
            for n in 0..4 {
                let (send, recv) = oneshot::channel::<()>();
                senders.push(Some(send));
                tasks.spawn(async move { recv.await.unwrap(); n });
            }
            assert!(tasks.try_join_next().is_none(), "none has ended");
            for n in order {
                senders[n].take().unwrap().send(()).unwrap();
                assert_eq!(within("the one that was told", tasks.join_next()).await.unwrap().unwrap(), n);
            }
            assert!(tasks.join_next().await.is_none());
            assert!(tasks.try_join_next().is_none());
        });
    }

    fn each_output_is_joined_once_and_counted_until_then(core) {
        core.runtime().block_on(async {
            let mut tasks = JoinSet::new();
            for n in 0..10_usize {
                tasks.spawn(async move { assert!(n != 3, "as told"); n });
            }
            assert_eq!(tasks.len(), 10);
            yield_now().await;
            assert_eq!(tasks.len(), 10, "an ended task counts until it is joined");
            let mut seen = Vec::new();
            while let Some(output) = tasks.try_join_next() {
                match output {
                    Ok(n) => seen.push(n),
                    Err(error) => { assert!(error.is_panic()); seen.push(3) }
                }
            }
            assert_eq!(seen, (0..10).collect::<Vec<_>>());
            assert!(tasks.is_empty());
        });
    }

    fn a_cancelled_join_loses_no_output(core) {
        core.runtime().block_on(async {
            let mut tasks = JoinSet::new();
            let (send, recv) = oneshot::channel();
            tasks.spawn(async move { recv.await.unwrap() });
            for _ in 0..3 {
                assert!(timeout(MS, tasks.join_next()).await.is_err());
            }
            send.send(7).unwrap();
            assert_eq!(within("the output", tasks.join_next()).await.unwrap().unwrap(), 7);
        });
    }

    fn a_set_ends_its_tasks_unless_it_detaches_them(core) {
        let runtime = core.runtime();
        let drops = Drops::default();
        runtime.block_on(async {
            let stuck = |guard| async move { let _guard = guard; pending::<()>().await };
            let mut dropped = JoinSet::new();
            for _ in 0..3 { dropped.spawn(stuck(drops.guard())); }
            yield_now().await;
            drop(dropped);
            yield_now().await;
            assert_eq!(drops.count(), 3);

            let mut ended = JoinSet::new();
            for _ in 0..3 { ended.spawn(stuck(drops.guard())); }
            within("shutdown", ended.shutdown()).await;
            assert_eq!((drops.count(), ended.len()), (6, 0), "it waits until they are gone");

            let mut aborted = JoinSet::new();
            aborted.spawn(stuck(drops.guard()));
            aborted.abort_all();
            assert!(within("the aborted one", aborted.join_next()).await.unwrap().unwrap_err().is_cancelled());

            let mut detached = JoinSet::new();
            let (done, told) = oneshot::channel();
            detached.spawn(async move { yield_now().await; done.send(()).unwrap(); });
            detached.detach_all();
            assert!(detached.join_next().await.is_none());
            drop(detached);
            within("the detached one", told).await.unwrap();
        });
        assert_eq!(runtime.task_count(), 0);
    }

    fn a_set_holds_tasks_of_a_runtime_that_does_not_run(core) {
        let (one, two) = (core.runtime(), core.runtime());
        let mut tasks = JoinSet::new();
        tasks.spawn_on(async { 1 }, &one.handle());
        tasks.spawn_on(async { 2 }, &two.handle());
        assert!(tasks.try_join_next().is_none());
        assert_eq!(one.block_on(tasks.join_next()).unwrap().unwrap(), 1);
        two.block_on(async { yield_now().await });
        assert_eq!(tasks.try_join_next().unwrap().unwrap(), 2, "outside any runtime");
        let late = Runtime::new().unwrap();
        let handle = late.handle();
        drop(late);
        tasks.spawn_on(async { 3 }, &handle);
        assert!(tasks.try_join_next().unwrap().unwrap_err().is_cancelled());
    }

    /// A destructor may look at the set that its own task belongs to.
    fn a_set_may_be_used_from_the_end_of_its_task(core) {
        struct Looks(Rc<RefCell<JoinSet<()>>>, Rc<Cell<usize>>);
        impl Drop for Looks {
            fn drop(&mut self) {
                let joined = self.0.borrow_mut().try_join_next().is_some();
                self.0.borrow_mut().spawn(async {});
                self.1.set(self.1.get() + 1 + usize::from(joined) * 100);
            }
        }
        core.runtime().block_on(async {
            let (tasks, looked) = (Rc::new(RefCell::new(JoinSet::new())), Rc::new(Cell::new(0)));
            let looks = Looks(Rc::clone(&tasks), Rc::clone(&looked));
            tasks.borrow_mut().spawn(async move { let _looks = looks; });
            for _ in 0..2 {
                let joined = poll_fn(|cx| tasks.borrow_mut().poll_join_next(cx));
                within("both tasks", joined).await.unwrap().unwrap();
            }
            assert_eq!(looked.get(), 1, "a task is not joined before it has ended");
        });
    }

    fn a_select_takes_one_branch_and_drops_the_others(core) {
        core.runtime().block_on(async {
            let drops = Drops::default();
            let guard = drops.guard();
            let (send, mut recv) = local::channel(4);
            let loser = async move { let _guard = guard; pending::<u8>().await };
            let winner = async { sleep(MS).await; 1 };
            let taken = {
                let (mut loser, mut winner) = (pin!(loser.fuse()), pin!(winner.fuse()));
                let taken = select! { n = loser => n, n = winner => n };
                assert_eq!(drops.count(), 0, "a pinned branch lives as long as its place");
                taken
            };
            assert_eq!((taken, drops.count()), (1, 1));
            // A branch that loses again and again takes nothing from the channel.
            for n in 0..3 {
                let value = select_biased! {
                    () = std::future::ready(()).fuse() => None,
                    value = recv.recv().fuse() => value,
                };
                assert_eq!(value, None);
                send.try_send(n).unwrap();
            }
            let mut values = Vec::new();
            while let Some(value) = recv.recv().now_or_never().flatten() { values.push(value); }
            assert_eq!(values, [0, 1, 2]);
        });
    }

    /// Every branch of a loop over `select!` is served, though another one is always ready.
    fn no_branch_of_a_select_starves(core) {
        core.runtime().block_on(async {
            let (send, mut busy) = local::channel(1);
            let (tell, mut quiet) = local::channel(1);
            let feeder = spawn_boxed(async move { loop { if send.send(()).await.is_err() { return } } });
            let told = spawn_boxed(async move { sleep(MS).await; tell.send(()).await.unwrap(); });
            let served = within("the quiet branch", async {
                loop {
                    select! {
                        _ = busy.recv().fuse() => {}
                        _ = quiet.recv().fuse() => break true,
                    }
                }
            }).await;
            assert!(served);
            drop(busy);
            feeder.await.unwrap();
            told.await.unwrap();
        });
    }

    /// The order of a biased select is the order of its branches.
    fn a_biased_select_prefers_its_first_ready_branch(core) {
        core.runtime().block_on(async {
            let polled = RefCell::new(Vec::new());
            let branch = |name, ready| {
                let polled = &polled;
                poll_fn(move |_| {
                    polled.borrow_mut().push(name);
                    if ready { Poll::Ready(name) } else { Poll::Pending }
                })
            };
            let (mut a, mut b, mut c) = (branch('a', false).fuse(), branch('b', true).fuse(), branch('c', true).fuse());
            let taken = select_biased! { n = a => n, n = b => n, n = c => n };
            assert_eq!((taken, polled.take()), ('b', vec!['a', 'b']));
        });
    }
}

#[test]
fn an_interval_is_a_stream_of_its_ticks() {
    use futures_util::StreamExt as _;
    let runtime = Runtime::builder().virtual_clock().build().unwrap();
    runtime.block_on(async {
        let ticks = lastout_async_rt::time::interval(MS);
        let due: Vec<_> = ticks.take(4).collect().await;
        assert!(due.windows(2).all(|pair| pair[1] - pair[0] == MS), "{due:?}");
    });
}
