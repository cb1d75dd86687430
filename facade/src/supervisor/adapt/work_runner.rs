//! A work runner as a member: the loop, and the handle that it drives.

use super::runtime::Home;
use crate::supervisor::IntoDrain;
use crate::supervisor::drain::{Drain, DrainFuture, Drained, EndedFuture, Until};
use crate::supervisor::stats::Counters;
use lastout_work_runner::{RunHandle, Running, StopReport};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

struct Member {
    running: Mutex<Option<Running>>,
    handle: Arc<dyn RunHandle>,
    home: Home,
}

impl IntoDrain for Running {
    fn into_drain(self) -> Box<dyn Drain> {
        let handle = self.handle();
        Box::new(Member { running: Mutex::new(Some(self)), handle, home: Home::current() })
    }
}

impl Member {
    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets running jobs end by themselves until near the end of `time`, or asks them to end at once.
    fn end(&self, time: Duration, at_once: bool) -> DrainFuture<'_> {
        let running = self.running().take();
        self.home.inside(async move {
            let report = match (running, at_once) {
                (Some(running), true) => running.stop(time).await,
                (Some(running), false) => running.drain(time).await,
                // A stop that was dropped half way goes on; this one finds what it left.
                (None, _) => self.handle.stop(time).await,
            };
            drained(&report)
        })
    }
}

impl Drain for Member {
    fn drain(&self, until: Until) -> DrainFuture<'_> {
        self.end(until.remaining(), false)
    }

    fn force(&self, until: Until) -> DrainFuture<'_> {
        self.end(until.remaining() / 2, true)
    }

    fn ended(&self) -> EndedFuture<'_> {
        let ended = poll_fn(|cx| match &mut *self.running() {
            Some(running) => Pin::new(running).poll(cx),
            None => Poll::Pending,
        });
        Box::pin(async move {
            ended.await;
            Err("the loop of the runner ended by itself".into())
        })
    }

    fn stats(&self) -> Counters {
        let stats = self.handle.stats();
        Counters::new()
            .count("work.claimed", stats.claimed)
            .count("work.succeeded", stats.succeeded)
            .count("work.retried", stats.retried)
            .count("work.failed", stats.failed)
            .count("work.cancelled", stats.cancelled)
            .count("work.dead", stats.dead)
            .count("work.abandoned", stats.abandoned)
            .count("work.released", stats.released)
            .count("work.lost", stats.lost)
            .count("work.recovered", stats.recovered)
            .sum(
                "jobs: claimed = ended + in flight",
                stats.claimed,
                stats.ended() + stats.in_flight,
            )
    }
}

fn drained(report: &StopReport) -> Drained {
    let mut drained = Drained::new()
        .ended("jobs", report.finished)
        .forced("jobs given back", report.given_back)
        .forced("leases lost", report.lost);
    for left in report.left_behind() {
        drained = drained.left(left.what(), left.reason());
    }
    drained
}
