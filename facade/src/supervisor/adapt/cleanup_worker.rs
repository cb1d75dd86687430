//! A cleanup worker as a member: flushed by its deadline, and only then closed.

use crate::supervisor::IntoDrain;
use crate::supervisor::drain::{Drain, DrainFuture, Drained, Until};
use crate::supervisor::stats::Counters;
use lastout_cleanup_worker::{CleanupHandle, CleanupWorker, LeftReason, ShutdownReport};
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

fn drained(report: &ShutdownReport) -> Drained {
    let stats = report.stats();
    let ended = stats.ended() - stats.abandoned;
    let mut drained = Drained::new().ended("cleanups", ended);
    for left in report.left_behind() {
        let what = match left.label {
            "" => "a cleanup".to_owned(),
            label => format!("cleanup {label:?}"),
        };
        let (what, reason) = match left.reason {
            LeftReason::Abandoned => (what, format!("given up, {:.1?} old", left.age)),
            LeftReason::StillPolled => (what, "it holds the worker's thread".to_owned()),
            LeftReason::BlockingClosures { count } => {
                (format!("{count} blocking closures"), "they do not return".to_owned())
            }
            LeftReason::Armed { weight } => {
                (format!("armed guards of weight {weight}"), "they were not dropped".to_owned())
            }
            LeftReason::Unattended { pending } => {
                (format!("{pending} cleanups"), "the worker goes on without an owner".to_owned())
            }
            other => (what, format!("{other:?}")),
        };
        drained = drained.left(what, reason);
    }
    drained
}
