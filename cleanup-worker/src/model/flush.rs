//! I6: a flush against submits.

use super::{Bell, Count, Held, counts, drive, model_seeing, worker};
use crate::clock::{Clock, ManualClock};
use crate::config::Config;
use crate::config::Options;
use crate::contain::{Inside, TaskRef, run_inside};
use crate::driver::{Driver, Turn};
use crate::handle::submit;
use crate::shared::Shared;
use crate::state::{Sweeper, Work};
use crate::sweep::sweep;
use crate::sync::Arc;
use crate::waiting::{Goal, Wait};
use loom::thread;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(3600);

/// A submit, then a flush on the same thread, while another thread submits as well: the first task
/// has ended when the flush has, and the flush is told.
#[test]
fn i6_a_flush_waits_for_what_was_submitted_before_it() {
    loom::model(|| {
        let shared = worker();
        let (mine, other) = (Count::default(), Count::default());
        let task = other.task();
        let producer = Arc::clone(&shared);
        let producer = thread::spawn(move || {
            submit(&producer, task, Options::new(), false).unwrap();
        });
        let (flusher, count) = (Arc::clone(&shared), mine.clone());
        let flusher = thread::spawn(move || {
            submit(&flusher, count.task(), Options::new(), false).unwrap();
            let deadline = Instant::now() + Duration::from_secs(3600);
            let mut wait = Wait::attended(&flusher, Goal::Unlined, deadline);
            let (bell, waker) = Bell::new();
            while Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)) == Poll::Pending {
                bell.0.wait();
            }
            let counts = counts(&flusher);
            assert_eq!(count.value(), 1, "the flush ended before the task: {counts:?}");
        });
        drive(&shared, || mine.value() + other.value() == 2);
        producer.join().unwrap();
        flusher.join().unwrap();
    });
}

/// A flush from inside a task races with the timeout of that task: it ends, counts nothing twice, and
/// waits for the task that does not wait itself.
#[test]
fn i6_a_flush_from_inside_ends_with_the_time_of_its_task() {
    // The flush begins inside of its task, or after the time of that has run out.
    model_seeing([0, 1], || {
        let clock = ManualClock::new();
        let config = Config { clock: Clock::Manual(clock.clone()), ..Config::default() };
        let shared = Shared::for_model(config);
        let done = Count::default();
        submit(&shared, std::future::pending::<()>(), Options::new(), false).unwrap();
        submit(&shared, done.task(), Options::new(), false).unwrap();
        let mut driver = Driver::new(Arc::clone(&shared), 0);
        let (bell, waker) = Bell::new();
        let now = shared.config.clock.now();
        // The first task is in flight, in the first slot.
        let first = shared.state().next(shared.intake(), now, &shared.side().ready, LONG);
        let Work::Poll { slot, node, info, .. } = first else { unreachable!("it starts") };
        assert!(shared.state().put_back(slot, node).is_none());
        let task = Some(TaskRef { slot, id: info.id });
        let (flusher, flushed) = (Arc::clone(&shared), done.clone());
        let flusher = thread::spawn(move || {
            let inside = Inside { worker: Shared::identity(&flusher), on_driver: false, task };
            let deadline = Instant::now() + LONG;
            let mut wait = run_inside(inside, || Wait::attended(&flusher, Goal::Unlined, deadline));
            let timed_out = counts(&flusher).timed_out;
            let (bell, waker) = Bell::new();
            while Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)) == Poll::Pending {
                bell.0.wait();
            }
            assert_eq!(flushed.value(), 1, "the flush ended before the other task");
            timed_out
        });
        clock.advance(LONG);
        while counts(&shared).ended() < 2 {
            match driver.turn(&waker) {
                Turn::Sleep(_) if counts(&shared).ended() < 2 => bell.0.wait(),
                Turn::Nap | Turn::Stalled(_) => thread::yield_now(),
                _ => {}
            }
        }
        driver.dismiss();
        let timed_out = flusher.join().unwrap();
        let counts = counts(&shared);
        assert_eq!((counts.completed, counts.timed_out), (1, 1), "{counts:?}");
        timed_out
    });
}

/// An end gives up a task that the driver may be polling: a flush ends after the task is dropped, whichever
/// thread drops it.
#[test]
fn i6_a_flush_waits_until_what_is_given_up_is_dropped() {
    // The task is given up by a thread other than the driver while it is polled, or not.
    model_seeing([true, false], || {
        let shared = worker();
        let dropped = Count::default();
        let held = Held(dropped.clone());
        let task = async move {
            let _held = held;
            thread::yield_now();
            std::future::pending::<()>().await;
        };
        submit(&shared, task, Options::new(), false).unwrap();
        let owner = Arc::clone(&shared);
        let owner = thread::spawn(move || {
            let deadline = Instant::now() + LONG;
            let mut wait = Wait::attended(&owner, Goal::Unlined, deadline);
            owner.gate().close();
            let given_up = owner.state().condemn(owner.intake(), Instant::now());
            given_up.nudge.wake();
            match given_up.sweeper {
                Sweeper::Driver => owner.side().ready.kick.wake(),
                Sweeper::Other | Sweeper::Caller => sweep(&owner, usize::MAX),
            }
            let (bell, waker) = Bell::new();
            while Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)) == Poll::Pending {
                bell.0.wait();
            }
            assert_eq!(dropped.value(), 1, "the flush ended before the task was dropped");
            given_up.sweeper == Sweeper::Other
        });
        drive(&shared, || false);
        owner.join().unwrap()
    });
}
