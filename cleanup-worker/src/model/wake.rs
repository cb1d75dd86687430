//! I3: the edge on which the worker is woken.

use super::{Count, drive, model_seeing, worker};
use crate::config::Options;
use crate::handle::submit;
use crate::sync::Arc;
use loom::thread;

/// One submit against a driver that goes to sleep: it runs, or loom sees everybody asleep.
#[test]
fn i3_a_submit_is_never_slept_over() {
    // The submit comes while the driver is awake, or wakes it.
    model_seeing([0, 1], || {
        let shared = worker();
        let count = Count::default();
        let (producer, task) = (Arc::clone(&shared), count.task());
        let producer = thread::spawn(move || {
            submit(&producer, task, Options::new(), false).unwrap();
        });
        drive(&shared, || count.value() == 1);
        producer.join().unwrap();
        shared.inbox().wakes()
    });
}

/// A second thread takes what came in, as `stats` does: that must not eat the wake either.
#[test]
fn i3_a_look_from_outside_takes_no_wake_away() {
    loom::model(|| {
        let shared = worker();
        let count = Count::default();
        let (producer, task) = (Arc::clone(&shared), count.task());
        let producer = thread::spawn(move || {
            submit(&producer, task, Options::new(), false).unwrap();
        });
        let looker = Arc::clone(&shared);
        let looker = thread::spawn(move || {
            let now = std::time::Instant::now();
            looker.state().look(looker.intake(), now);
        });
        drive(&shared, || count.value() == 1);
        producer.join().unwrap();
        looker.join().unwrap();
    });
}

/// A lazy submit does not wake the worker, and the plain one behind it does. No timer helps here.
#[test]
fn i3_a_plain_submit_behind_a_lazy_one_wakes_the_worker() {
    loom::model(|| {
        let shared = worker();
        let count = Count::default();
        let (producer, tasks) = (Arc::clone(&shared), [count.task(), count.task()]);
        let producer = thread::spawn(move || {
            let [lazy, plain] = tasks;
            submit(&producer, lazy, Options::new(), true).unwrap();
            submit(&producer, plain, Options::new(), false).unwrap();
        });
        drive(&shared, || count.value() == 2);
        producer.join().unwrap();
    });
}

#[test]
fn i3_a_look_from_outside_leaves_a_sleeping_worker_asleep() {
    loom::model(|| {
        let shared = worker();
        let count = Count::default();
        let (producer, tasks) = (Arc::clone(&shared), [count.task(), count.task()]);
        let producer = thread::spawn(move || {
            let [lazy, plain] = tasks;
            submit(&producer, lazy, Options::new(), true).unwrap();
            producer.state().look(producer.intake(), std::time::Instant::now());
            submit(&producer, plain, Options::new(), false).unwrap();
        });
        drive(&shared, || count.value() == 2);
        producer.join().unwrap();
    });
}

/// Lazy and plain producers at once: the waker's cell has one owner at a time.
#[test]
fn i4_a_plain_submit_behind_a_lazy_one_owns_the_waker() {
    loom::model(|| {
        let shared = worker();
        let count = Count::default();
        let (lazy, task) = (Arc::clone(&shared), count.task());
        let lazy = thread::spawn(move || submit(&lazy, task, Options::new(), true).unwrap());
        let (plain, task) = (Arc::clone(&shared), count.task());
        let plain = thread::spawn(move || submit(&plain, task, Options::new(), false).unwrap());
        drive(&shared, || count.value() >= 1);
        lazy.join().unwrap();
        plain.join().unwrap();
    });
}
