//! A browser pool as a member.

use super::runtime::Home;
use crate::supervisor::IntoDrain;
use crate::supervisor::drain::{Drain, DrainFuture, Drained, Until};
use crate::supervisor::stats::Counters;
use lastout_browser_pool::{Driver, Pool, PoolReport};

/// The part of the deadline that is kept for ending browsers whose leases do not come back.
const KEPT: u32 = 5;

struct Member<D: Driver> {
    pool: Pool<D>,
    home: Home,
}

impl<D: Driver> IntoDrain for Pool<D> {
    fn into_drain(self) -> Box<dyn Drain> {
        Box::new(Member { pool: self, home: Home::current() })
    }
}

impl<D: Driver> Drain for Member<D> {
    fn drain(&self, until: Until) -> DrainFuture<'_> {
        let time = until.remaining();
        self.home.inside(async move { drained(&self.pool.drain(time - time / KEPT).await) })
    }

    fn force(&self, until: Until) -> DrainFuture<'_> {
        let time = until.remaining() / 2;
        self.home.inside(async move { drained(&self.pool.destroy_all(time).await) })
    }

    fn stats(&self) -> Counters {
        let stats = self.pool.stats();
        Counters::new()
            .count("pool.asked", stats.asked)
            .count("pool.granted", stats.granted)
            .count("pool.returned", stats.returned)
            .count("pool.revoked", stats.revoked)
            .count("pool.refused", stats.refused)
            .count("pool.launches", stats.launches)
            .count("pool.launch_failures", stats.launch_failures)
            .count("pool.lost", stats.lost)
            .count("pool.page_crashes", stats.page_crashes)
            .sum(
                "leases: granted = returned + revoked + out",
                stats.granted,
                stats.returned + stats.revoked + stats.out,
            )
    }
}

fn drained(report: &PoolReport) -> Drained {
    let forced = report.browsers().iter().filter(|browser| browser.forced()).count();
    let ended = report.browsers().len() - forced;
    let mut drained =
        Drained::new().ended("browsers", ended as u64).forced("browsers", forced as u64);
    for left in report.left_behind() {
        drained = drained.left(left.what(), left.reason());
    }
    drained
}
