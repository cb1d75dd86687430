//! I2 and I5: submits and guards against the end of the worker.

use super::{Count, close, counts, drive, stay, worker};
use crate::config::Options;
use crate::handle::{arm, submit};
use crate::sync::Arc;
use loom::thread;

/// A submit races with the close: refused, or run; never accepted and given up, never run twice.
#[test]
fn i2_close_never_strands_a_task() {
    loom::model(|| {
        let shared = worker();
        let count = Count::default();
        let (producer, task) = (Arc::clone(&shared), count.task());
        let producer =
            thread::spawn(move || submit(&producer, task, Options::new(), false).is_ok());
        let closer = Arc::clone(&shared);
        let closer = thread::spawn(move || close(&closer));
        drive(&shared, || false);
        let accepted = producer.join().unwrap();
        closer.join().unwrap();
        let counts = counts(&shared);
        assert_eq!(counts.accepted, u64::from(accepted), "{counts:?}");
        assert_eq!(counts.completed, u64::from(accepted), "{counts:?}");
        assert_eq!(count.value(), usize::from(accepted));
        assert_eq!(shared.gate().snapshot().submitted(), 0);
    });
}

/// Two guards are dropped around the forced end: each is counted, whichever comes last.
#[test]
fn i2_a_late_guard_is_counted() {
    loom::model(|| {
        let shared = worker();
        let count = Count::default();
        let guards = [(); 2].map(|()| {
            let guard = arm(&shared, count.task(), Options::new(), false).unwrap();
            thread::spawn(move || crate::armed::push(guard.erase()))
        });
        shared.gate().close();
        let now = std::time::Instant::now();
        let given_up = shared.state().condemn(shared.intake(), now);
        given_up.nudge.wake();
        // One that was stopped before its link leaves its task to the driver, which stays for it.
        drive(&shared, || false);
        guards.into_iter().for_each(|guard| guard.join().unwrap());
        stay(&shared);
        let counts = counts(&shared);
        assert_eq!((counts.accepted, counts.abandoned), (2, 2), "{counts:?}");
        let room = shared.gate().snapshot();
        assert_eq!((count.value(), room.submitted(), room.armed()), (0, 0, 0));
    });
}

/// A guard races with the seal of a drained inbox: run before it, or abandoned after it.
#[test]
fn i2_the_seal_drops_no_guard_that_came_before_it() {
    loom::model(|| {
        let shared = worker();
        let count = Count::default();
        let guard = arm(&shared, count.task(), Options::new(), false).unwrap();
        let dropper = thread::spawn(move || crate::armed::push(guard.erase()));
        close(&shared);
        drive(&shared, || false);
        dropper.join().unwrap();
        let counts = counts(&shared);
        assert_eq!(counts.accepted, 1, "{counts:?}");
        assert_eq!(counts.completed, count.value() as u64, "{counts:?}");
        assert_eq!(counts.completed + counts.abandoned, 1, "{counts:?}");
        let room = shared.gate().snapshot();
        assert_eq!((room.submitted(), room.armed()), (0, 0));
    });
}

/// A guard that is dropped before the close is run, though the close sees no submit of it.
#[test]
fn i5_a_guard_dropped_before_the_close_is_run() {
    loom::model(|| {
        let shared = worker();
        let count = Count::default();
        let guard = arm(&shared, count.task(), Options::new(), false).unwrap();
        let owner = Arc::clone(&shared);
        let owner = thread::spawn(move || {
            crate::armed::push(guard.erase());
            close(&owner);
        });
        drive(&shared, || false);
        owner.join().unwrap();
        let counts = counts(&shared);
        assert_eq!((counts.completed, counts.abandoned), (1, 0), "{counts:?}");
        let room = shared.gate().snapshot();
        assert_eq!((count.value(), room.submitted(), room.armed()), (1, 0, 0));
    });
}

/// The guard holds the last reference: the queue lives until the push is over, and no longer.
#[test]
fn i5_a_guard_keeps_its_queue_until_it_is_linked() {
    loom::model(|| {
        let shared = worker();
        let count = Count::default();
        let guard = arm(&shared, count.task(), Options::new(), false).unwrap();
        let dropper = thread::spawn(move || crate::armed::push(guard.erase()));
        close(&shared);
        drive(&shared, || count.value() == 1);
        drop(shared);
        dropper.join().unwrap();
    });
}
