//! I3: the edge on which the worker is woken.

use super::{Count, drive, worker};
use crate::shared::Shared;
use crate::sync::Arc;
use crate::task::Options;
use loom::thread;

/// One submit against a driver that goes to sleep: it runs, or loom sees everybody asleep.
#[test]
fn i3_a_submit_is_never_slept_over() {
    loom::model(|| {
        let shared = worker();
        let count = Count::default();
        let (producer, task) = (Arc::clone(&shared), count.task());
        let producer = thread::spawn(move || {
            Shared::submit(&producer, task, Options::new(), false).unwrap();
        });
        drive(&shared, || count.value() == 1);
        producer.join().unwrap();
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
            Shared::submit(&producer, task, Options::new(), false).unwrap();
        });
        let looker = Arc::clone(&shared);
        let looker = thread::spawn(move || {
            let now = std::time::Instant::now();
            looker.state().collect(looker.intake(), false, now);
        });
        drive(&shared, || count.value() == 1);
        producer.join().unwrap();
        looker.join().unwrap();
    });
}
