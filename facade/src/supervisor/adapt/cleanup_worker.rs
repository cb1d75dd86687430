//! A cleanup worker as a member: flushed by its deadline, and only then closed.

use crate::supervisor::IntoDrain;
use crate::supervisor::drain::{Drain, DrainFuture, Drained, Until};
use crate::supervisor::stats::Counters;
use lastout_cleanup_worker::{CleanupHandle, CleanupWorker, Report};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The part of the deadline that is kept for closing after the flush.
const CLOSING: u32 = 10;

struct Member {
    worker: Mutex<Option<CleanupWorker>>,
    handle: CleanupHandle,
}

impl IntoDrain for CleanupWorker {
    fn into_drain(self) -> Box<dyn Drain> {
        Box::new(Member { handle: self.handle().clone(), worker: Mutex::new(Some(self)) })
    }
}

impl Member {
    fn take(&self) -> Option<CleanupWorker> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn close(&self, deadline: Duration) -> Drained {
        match self.take() {
            Some(worker) => drained(&worker.shutdown(deadline).await),
            None => Drained::new(),
        }
    }
}

impl Drain for Member {
    fn drain(&self, until: Until) -> DrainFuture<'_> {
        Box::pin(async move {
            // The flush can be dropped half way; the worker is then still here to be forced.
            let time = until.remaining() - until.remaining() / CLOSING;
            // Whatever is still missing is named by the shutdown.
            let _ = self.handle.flush(time).await;
            self.close(until.remaining()).await
        })
    }

    fn force(&self, _until: Until) -> DrainFuture<'_> {
        Box::pin(self.close(Duration::ZERO))
    }

    fn stats(&self) -> Counters {
        let stats = self.handle.stats();
        Counters::new()
            .count("cleanup.accepted", stats.accepted)
            .count("cleanup.completed", stats.completed)
            .count("cleanup.failed", stats.failed)
            .count("cleanup.panicked", stats.panicked)
            .count("cleanup.timed_out", stats.timed_out)
            .count("cleanup.abandoned", stats.abandoned)
            .count("cleanup.refused", stats.refused)
            .sum(
                "cleanups: accepted = ended + queued + in flight",
                stats.accepted,
                stats.ended() + stats.queued + stats.in_flight,
            )
    }
}

fn drained(report: &Report) -> Drained {
    let stats = report.stats();
    let mut drained = Drained::new().ended("cleanups", stats.ended() - stats.abandoned);
    for left in report.left_behind() {
        let what = match left.name() {
            "" => left.what().to_owned(),
            name => format!("{} {name:?}", left.what()),
        };
        drained = drained.left(what, left.reason());
    }
    drained
}
