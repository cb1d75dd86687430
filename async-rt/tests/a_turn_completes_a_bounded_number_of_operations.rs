//! The budget of a turn counts progress: what is idle costs nothing, and a task that always finds
//! something lets others run after a stated number of operations.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{on_both_cores, within};
use futures_util::future::{select, select_all};
use lastout_async_rt::channel::{
    broadcast, local, mpsc, mpsc_bytes, oneshot, spsc, unbounded, watch,
};
use lastout_async_rt::time::{timeout_at, yield_now};
use lastout_async_rt::{CancellationToken, JoinSet, PanicPolicy, spawn_boxed};
use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// What one turn may complete.
const BUDGET: usize = 128;

on_both_cores! {
    fn a_receiver_behind_many_idle_ones_is_served(core) {
        core.runtime().block_on(async {
            let (senders, mut receivers): (Vec<_>, Vec<_>) = (0..200).map(|_| mpsc::channel(4)).unzip();
            let served = spawn_boxed(poll_fn(move |cx| {
                let found = receivers.iter_mut().position(|recv| pin!(recv.recv()).poll(cx).is_ready());
                found.map_or(Poll::Pending, Poll::Ready)
            }));
            yield_now().await;
            senders[150].try_send(1).unwrap();
            assert_eq!(within("receiver 150", served).await.unwrap(), 150);
        });
    }

    fn a_turn_that_polls_thousands_of_ready_channels_completes_few(core) {
        const REFUSALS: usize = 4096;
        core.runtime().block_on(async {
            let mut receivers: Vec<_> = (0..10_000).map(|n| {
                let (send, recv) = mpsc::channel(1);
                send.try_send(n).unwrap();
                recv
            }).collect();
            let most = BUDGET * (1 + receivers.len() / REFUSALS);
            let turns = spawn_boxed(poll_fn(move |cx| {
                let before = receivers.len();
                receivers.retain_mut(|recv| recv.poll_recv(cx).is_pending());
                let served = before - receivers.len();
                assert!((1..=most).contains(&served), "{served} of at most {most}");
                if receivers.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            }));
            within("every channel", turns).await.unwrap();
        });
    }

    fn outside_of_a_runtime_nothing_is_refused(core) {
        let (send, mut recv) = mpsc::channel(1);
        let mut passes = |when: &str| {
            for n in 0..1000 {
                send.try_send(n).unwrap();
                let mut cx = Context::from_waker(Waker::noop());
                assert_eq!(recv.poll_recv(&mut cx), Poll::Ready(Some(n)), "{when}");
            }
        };
        let runtime = core.builder().panic_policy(PanicPolicy::Propagate).build().unwrap();
        passes("after a runtime was built");
        runtime.block_on(async { yield_now().await });
        passes("after a call");
        runtime.run_until_stalled();
        runtime.scope(|scope| async move { scope.spawn(async {}).await }).unwrap();
        passes("after a scope");
        runtime.handle().spawn_boxed(async { if true { panic!("on purpose") } }).detach();
        catch_unwind(AssertUnwindSafe(|| runtime.block_on(pending::<()>()))).unwrap_err();
        passes("after a panic");
        runtime.block_on(async {
            for _ in 0..BUDGET { spawn_boxed(async {}).await.unwrap(); }
            drop(core.runtime());
        });
        drop(runtime);
        passes("after the end");
    }

    fn a_runtime_that_is_built_in_a_task_renews_no_budget(core) {
        core.runtime().block_on(async {
            let (send, mut recv) = mpsc::channel(10 * BUDGET);
            (0..10 * BUDGET).for_each(|n| send.try_send(n).unwrap());
            yield_now().await;
            let most = poll_fn(|cx| {
                let mut received = 0;
                while received < 10 * BUDGET && recv.poll_recv(cx).is_ready() {
                    received += 1;
                    drop(core.runtime());
                }
                Poll::Ready(received)
            });
            assert!(most.await <= BUDGET);
        });
    }

    fn idle_channels_do_not_keep_a_task_awake(core) {
        core.runtime().block_on(async {
            let (senders, mut receivers): (Vec<_>, Vec<_>) = (0..200).map(|_| local::channel::<u8>(1)).unzip();
            let polls = Rc::new(Cell::new(0));
            let counted = Rc::clone(&polls);
            let task = spawn_boxed(async move {
                let all = select_all(receivers.iter_mut().map(|recv| Box::pin(recv.recv())));
                let mut all = pin!(all);
                poll_fn(|cx| { counted.set(counted.get() + 1); all.as_mut().poll(cx) }).await.0
            });
            for _ in 0..20 { yield_now().await; }
            assert_eq!(polls.get(), 1, "nothing happened, so the task sleeps");
            senders[199].try_send(7).unwrap();
            assert_eq!(within("the last channel", task).await.unwrap(), Some(7));
            assert_eq!(polls.get(), 2);
        });
    }

    fn joining_spends_the_budget(core) {
        core.runtime().block_on(async {
            let mut tasks = JoinSet::new();
            (0..5_000).for_each(|_| tasks.spawn(async {}));
            // Each task has its turn before this one has its next.
            yield_now().await;
            let joined = Rc::new(Cell::new(0));
            let (count, most) = (Rc::clone(&joined), most_between_turns(&joined));
            spawn_boxed(async move {
                while tasks.join_next().await.is_some() { count.set(count.get() + 1); }
            }).await.unwrap();
            assert_eq!(joined.get(), 5_000);
            assert!(most.get() <= BUDGET, "{} joins in one turn", most.get());
        });
    }

    /// A loop over what is over at once finds nothing to wait for.
    fn waits_that_are_over_at_once_end_their_turn(core) {
        core.runtime().block_on(async {
            let (past, token) = (Instant::now(), CancellationToken::new());
            token.cancel();
            let (latest, mut watched) = watch::channel(1);
            ends_its_turn("timeout_at", async move || {
                let _ = timeout_at(past, pending::<()>()).await;
            }).await;
            ends_its_turn("run_until_cancelled", async move || {
                let _ = token.run_until_cancelled(pending::<()>()).await;
            }).await;
            ends_its_turn("wait_for", async move || drop(watched.wait_for(|_| true).await)).await;
            drop(latest);
        });
    }

    fn what_is_overdue_comes_beside_a_neighbour_that_spends_each_budget(core) {
        core.runtime().block_on(async {
            let (send, mut recv) = unbounded::channel();
            let mut greedy = poll_fn(|cx| {
                loop {
                    send.send(1).unwrap();
                    if recv.poll_recv(cx).is_pending() { return Poll::<()>::Pending; }
                }
            });
            let late = timeout_at(Instant::now(), pending::<()>());
            within("the time-out", select(&mut greedy, pin!(late))).await;
            let token = CancellationToken::new();
            token.cancel();
            let stopped = token.run_until_cancelled(pending::<()>());
            within("the cancellation", select(&mut greedy, pin!(stopped))).await;
        });
    }

    fn every_operation_of_a_select_counts(core) {
        core.runtime().block_on(async {
            let (send, mut recv) = local::channel(8);
            let (other, mut idle) = local::channel::<u8>(1);
            let done = Rc::new(Cell::new(0));
            let (count, most) = (Rc::clone(&done), most_between_turns(&done));
            spawn_boxed(async move {
                for n in 0..2_000 {
                    send.try_send(n).unwrap();
                    select(pin!(idle.recv()), pin!(recv.recv())).await;
                    count.set(count.get() + 1);
                }
                drop(other);
            }).await.unwrap();
            assert_eq!(done.get(), 2_000);
            assert!(most.get() <= BUDGET, "{} operations in one turn", most.get());
        });
    }
}

/// They are never refused; what comes after them is.
#[test]
fn sends_that_cannot_wait_count() {
    let (many, _all) = mpsc::channel(BUDGET);
    let (mut one, _other) = spsc::channel(BUDGET);
    let (near, _here) = local::channel(BUDGET);
    let (bytes, _records) = mpsc_bytes::channel(BUDGET);
    let (any, _rest) = unbounded::channel();
    let (cast, _heard) = broadcast::channel(1);
    let (set, _latest) = watch::channel(0);
    let mut sends: Vec<Box<dyn FnMut()>> = vec![
        Box::new(move || many.try_send(1).unwrap()),
        Box::new(move || one.try_send(1).unwrap()),
        Box::new(move || near.try_send(1).unwrap()),
        Box::new(move || bytes.try_send(b"a").unwrap()),
        Box::new(move || any.send(1).unwrap()),
        Box::new(move || assert_eq!(cast.send(1).unwrap(), 1)),
        Box::new(move || set.send(1).unwrap()),
        Box::new(|| {
            let (send, _recv) = oneshot::channel();
            send.send(1).unwrap();
        }),
    ];
    let runtime = lastout_async_rt::Runtime::new().unwrap();
    for (n, send) in sends.iter_mut().enumerate() {
        let (give, mut found) = local::channel(1);
        give.try_send(1).unwrap();
        let mut turns = 0;
        runtime.block_on(poll_fn(|cx| {
            turns += 1;
            if turns == 1 {
                (0..BUDGET).for_each(|_| send());
            }
            found.poll_recv(cx)
        }));
        assert_eq!(turns, 2, "the turn of send {n} was over");
    }
}

/// Waits thousands of times, and lets a neighbour run in between.
async fn ends_its_turn(what: &str, mut wait: impl AsyncFnMut() + 'static) {
    let done = Rc::new(Cell::new(0));
    let (count, most) = (Rc::clone(&done), most_between_turns(&done));
    let waits = spawn_boxed(async move {
        for _ in 0..2_000 {
            wait().await;
            count.set(count.get() + 1);
        }
    });
    waits.await.unwrap();
    yield_now().await;
    assert_eq!(done.get(), 2_000, "{what}");
    assert!(most.get() <= BUDGET, "{what}: {} waits in one turn", most.get());
}

/// The most by which `count` grew between two turns of a neighbour that is always ready.
fn most_between_turns(count: &Rc<Cell<usize>>) -> Rc<Cell<usize>> {
    let (count, most) = (Rc::clone(count), Rc::new(Cell::new(0)));
    let noted = Rc::clone(&most);
    spawn_boxed(async move {
        let mut before = count.get();
        loop {
            yield_now().await;
            noted.set(noted.get().max(count.get() - before));
            before = count.get();
        }
    })
    .detach();
    most
}
