//! I7: what is given up has one owner.

use super::{Bell, Count, Held, counts, drive, model_seeing, stay, worker};
use crate::armed::push;
use crate::config::Options;
use crate::driver::Driver;
use crate::handle::{arm, submit};
use crate::state::Sweeper;
use crate::sweep::sweep;
use crate::sync::Arc;
use crate::waiting::{Goal, Wait};
use loom::thread;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The end of a shutdown against the end of the driver: one of the two drops the task.
#[test]
fn i7_what_a_shutdown_gives_up_is_dropped() {
    loom::model(|| {
        let shared = worker();
        let dropped = Count::default();
        let held = Held(dropped.clone());
        let task = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        submit(&shared, task, Options::new(), false).unwrap();
        let owner = Arc::clone(&shared);
        let owner = thread::spawn(move || {
            owner.gate().close();
            let given_up = owner.state().condemn(owner.intake(), Instant::now());
            given_up.nudge.wake();
            match given_up.sweeper {
                Sweeper::Driver => owner.side().ready.kick.wake(),
                Sweeper::Other | Sweeper::Caller => sweep(&owner, usize::MAX),
            }
        });
        drive(&shared, || false);
        owner.join().unwrap();
        let counts = counts(&shared);
        assert_eq!((counts.accepted, counts.abandoned, dropped.value()), (1, 1, 1), "{counts:?}");
        assert_eq!(shared.gate().snapshot().submitted(), 0);
    });
}

/// Two late guards: the thread that drops its task as the other comes in drops that one as well, or
/// leaves it to the other thread; the task is never left over.
#[test]
fn i7_a_sweep_ends_with_nothing_left() {
    loom::model(|| {
        let shared = worker();
        let dropped = Count::default();
        let guards = [(); 2].map(|()| {
            let held = Held(dropped.clone());
            arm(&shared, async move { drop(held) }, Options::new(), false).unwrap()
        });
        shared.gate().close();
        let given_up = shared.state().condemn(shared.intake(), Instant::now());
        given_up.nudge.wake();
        drive(&shared, || false);
        let guards = guards.map(|guard| thread::spawn(move || push(guard.erase())));
        guards.into_iter().for_each(|guard| guard.join().unwrap());
        stay(&shared);
        assert_eq!((counts(&shared).abandoned, dropped.value()), (2, 2));
    });
}

/// A driver is torn down with its runtime, and no other can be started, while a shutdown seals the worker and
/// waits for its end: whichever comes first, the wait is told.
#[test]
fn i7_the_end_is_told_when_the_driver_is_torn_down() {
    // The driver is there when the worker is sealed, or it has gone.
    model_seeing([true, false], || {
        let shared = worker();
        let driver = Driver::new(Arc::clone(&shared), 0);
        shared.gate().close();
        let owner = Arc::clone(&shared);
        let owner = thread::spawn(move || {
            let (sealed, nudge) = owner.state().try_seal(owner.intake(), Instant::now());
            nudge.wake();
            assert!(sealed);
            let was_running = owner.is_running();
            let deadline = Instant::now() + Duration::from_secs(3600);
            let mut wait = Wait::attended(&owner, Goal::Finished, deadline);
            let (bell, waker) = Bell::new();
            while Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)) == Poll::Pending {
                bell.0.wait();
            }
            was_running
        });
        drop(driver);
        let was_running = owner.join().unwrap();
        assert!(!shared.is_running());
        was_running
    });
}
