//! I6: a flush against submits.

use super::{Bell, Count, drive, worker};
use crate::flush::Wait;
use crate::shared::Shared;
use crate::sync::Arc;
use crate::task::Options;
use crate::wait::Goal;
use loom::thread;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

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
            Shared::submit(&producer, task, Options::new(), false).unwrap();
        });
        let (flusher, count) = (Arc::clone(&shared), mine.clone());
        let flusher = thread::spawn(move || {
            Shared::submit(&flusher, count.task(), Options::new(), false).unwrap();
            let deadline = Instant::now() + Duration::from_secs(3600);
            let mut wait = Wait::attended(&flusher, Goal::Line(None), deadline);
            let (bell, waker) = Bell::new();
            while Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)) == Poll::Pending {
                bell.0.wait();
            }
            let counts = flusher.state().ledger.counts();
            assert_eq!(count.value(), 1, "the flush ended before the task: {counts:?}");
        });
        drive(&shared, || mine.value() + other.value() == 2);
        producer.join().unwrap();
        flusher.join().unwrap();
    });
}
