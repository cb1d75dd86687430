//! Timers: never early, never lost, gone when dropped.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{on_both_cores, within};
use lastout_async_rt::testing::advance;
use lastout_async_rt::time::{
    MissedTickBehavior, after, after_delay, event_time, interval, interval_at, sleep, sleep_until,
    timeout, timeout_at, yield_now,
};
use lastout_async_rt::{Backoff, Handle, spawn_boxed};
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

on_both_cores! {
    fn short_sleeps_return_and_are_never_early(core) {
        core.runtime().block_on(async {
            let busy = spawn_boxed(async { loop { yield_now().await } });
            for micros in [0, 1, 50, 250, 999, 1000, 5000, 50, 5000, 5000, 5000, 5000] {
                let (start, nap) = (Instant::now(), Duration::from_micros(micros));
                within("a short sleep", sleep(nap)).await;
                assert!(start.elapsed() >= nap, "{micros} us: early");
            }
            busy.abort();
            let alone = Instant::now();
            within("a sleep alone", sleep(MS)).await;
            assert!(alone.elapsed() >= MS);
        });
    }

    fn dropped_timers_are_gone(core) {
        let runtime = core.runtime();
        runtime.block_on(async {
            for _ in 0..10_000 {
                timeout(Duration::from_secs(3600), yield_now()).await.unwrap();
            }
            let (mut kept, mut cx) = (sleep(Duration::from_secs(9)), Context::from_waker(Waker::noop()));
            assert!(std::pin::Pin::new(&mut kept).poll(&mut cx).is_pending());
            assert_eq!(Handle::current().stats().timers, 1);
        });
        assert_eq!(runtime.stats().timers, 0);
    }

    fn endless_and_past_deadlines(core) {
        core.runtime().block_on(async {
            assert!(timeout(MS, sleep(Duration::MAX)).await.is_err());
            assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
            assert_eq!(timeout(Duration::ZERO, async { 1 }).await, Ok(1), "ready wins");
            within("the past", sleep_until(Instant::now() - MS)).await;
            assert_eq!(timeout_at(Instant::now() + common::DEADLINE, async { 2 }).await, Ok(2));
            let start = Instant::now();
            assert_eq!(after_delay(MS, async { 3 }).await + after(start, async { 4 }).await, 7);
            assert!(start.elapsed() >= MS && event_time() >= start + MS);
        });
    }

    fn a_deadline_is_shown_as_it_is(core) {
        const YEAR: u64 = 365 * 24 * 3600;
        core.runtime().block_on(async {
            for years in [0, 1, 36, 300, 540] {
                let deadline = Instant::now() + Duration::from_secs(years * YEAR);
                assert_eq!(sleep_until(deadline).deadline(), deadline, "{years} years");
            }
            assert!(sleep(Duration::MAX).deadline() > Instant::now() + Duration::from_secs(547 * YEAR));
            assert!(sleep(Duration::MAX).deadline() < Instant::now() + Duration::from_secs(585 * YEAR));
        });
    }

    fn a_virtual_clock_advances_by_itself(core) {
        let runtime = core.builder().virtual_clock().build().unwrap();
        let real = Instant::now();
        runtime.block_on(async {
            let start = event_time();
            let order = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = [5_u64, 1, 3, 86_400].map(|secs| {
                let order = Rc::clone(&order);
                spawn_boxed(async move {
                    sleep(Duration::from_secs(secs)).await;
                    order.borrow_mut().push(secs);
                })
            }).into();
            for task in tasks { task.await.unwrap(); }
            assert_eq!(*order.borrow(), [1, 3, 5, 86_400]);
            assert_eq!(event_time() - start, Duration::from_secs(86_400));
        });
        assert!(real.elapsed() < Duration::from_secs(86_400));
    }

    fn a_virtual_clock_moves_when_told(core) {
        core.builder().virtual_clock().build().unwrap().block_on(async {
            let fired = Rc::new(Cell::new(false));
            let set = Rc::clone(&fired);
            spawn_boxed(async move { sleep(10 * MS).await; set.set(true) }).detach();
            yield_now().await;
            advance(9 * MS).await;
            assert!(!fired.get());
            advance(MS).await;
            assert!(fired.get());
        });
    }

    fn intervals_keep_their_rhythm(core) {
        core.builder().virtual_clock().build().unwrap().block_on(async {
            let start = event_time();
            let mut ticks = interval(10 * MS);
            assert_eq!(ticks.tick().await - start, 10 * MS, "the first tick is one period away");
            assert_eq!(ticks.tick().await - start, 20 * MS);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            advance(35 * MS).await;
            assert_eq!(ticks.tick().await - start, 30 * MS);
            assert_eq!(ticks.tick().await - start, 60 * MS);
            ticks.reset();
            assert_eq!(ticks.tick().await - start, 70 * MS);
            let mut at = interval_at(start + 100 * MS, MS);
            assert_eq!(at.tick().await - start, 100 * MS);
        });
    }

    fn a_timer_follows_its_task_to_another_waker(core) {
        core.runtime().block_on(async {
            let mut nap = Box::pin(sleep(5 * MS));
            assert!(timeout(Duration::ZERO, &mut nap).await.is_err());
            within("a timer that moved to another task", spawn_boxed(nap)).await.unwrap();
            let mut reset = sleep(Duration::from_secs(3600));
            assert!(timeout(MS, &mut reset).await.is_err());
            reset.reset(Instant::now() + MS);
            within("a timer that was reset", reset).await;
        });
    }

    fn a_task_that_never_waits_leaves_time_to_others(core) {
        core.runtime().block_on(async {
            let greedy = spawn_boxed(async {
                let (send, mut recv) = lastout_async_rt::channel::local::channel(1);
                loop {
                    send.send(()).await.unwrap();
                    recv.recv().await.unwrap();
                }
            });
            within("a sleep beside a channel that is always ready", sleep(MS)).await;
            assert!(!greedy.is_finished());
        });
    }

    fn an_interval_may_start_before_its_runtime(core) {
        let start = Instant::now().checked_sub(Duration::from_millis(1_030)).unwrap();
        let runtime = core.builder().virtual_clock().build().unwrap();
        runtime.block_on(async {
            let mut ticks = interval_at(start, 100 * MS);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            assert_eq!(ticks.tick().await, start, "the first tick is due at its start");
            let second = ticks.tick().await;
            assert_eq!((second - start).as_nanos() % (100 * MS).as_nanos(), 0, "in the rhythm of its start");
            assert!(second - start >= Duration::from_millis(1_030));
        });
    }

    fn a_back_off_asks_the_clock_of_its_runtime(core) {
        core.builder().virtual_clock().build().unwrap().block_on(async {
            advance(Duration::from_secs(100)).await;
            let late = event_time() + 2 * MS;
            let mut backoff = Backoff::new(MS).deadline(late);
            backoff.wait("one").await.unwrap();
            assert_eq!(event_time(), late - MS);
            backoff.wait("two").await.unwrap_err();
        });
    }

    fn a_timer_outlives_its_runtime(core) {
        let first = core.runtime();
        let (mut armed, fresh, far) = first.block_on(async {
            let mut armed = Box::pin(sleep(20 * MS));
            assert!(timeout(Duration::ZERO, &mut armed).await.is_err());
            (armed, sleep(20 * MS), sleep(Duration::from_secs(3600)))
        });
        // Another executor holds it: the end of the runtime must reach that waker.
        let (woken, due) = (Arc::new(Woken::default()), armed.deadline());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(armed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(first);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "told of the end");
        let mut polls = 0;
        while armed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() { polls += 1; }
        assert!(Instant::now() >= due, "never early");
        assert_eq!(woken.0.load(Ordering::Relaxed), 1 + polls, "it asks to be polled again");
        core.runtime().block_on(async move {
            within("a timer of another runtime", fresh).await;
            let error = timeout(MS, far).await.unwrap_err();
            assert_eq!(error.to_string(), "deadline of 1ms passed");
        });
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
