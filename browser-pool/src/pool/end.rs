//! How a pool ends: drained, destroyed, or dropped.

use super::{Pool, Shared};
use crate::config::FOREVER;
use crate::driver::{Driver, IN_A_DROP, LiveBrowser};
use crate::report::{EndReason, LeftBehind, PoolReport};
use crate::shell::Core;
use crate::state::Event;
use crate::tasks;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long after an end's deadline the pool still waits for processes that were killed to be gone.
const AFTER_KILL: Duration = Duration::from_secs(5);

impl<D: Driver> Pool<D> {
    /// Refuses new leases, waits for those that are out, then ends every browser. At `deadline`
    /// whatever is left is revoked and killed; that takes milliseconds, and at most five seconds more
    /// before a browser is reported as left behind.
    ///
    /// # Cancel safety
    ///
    /// The pool stays closed to new leases and goes on draining; the report is lost.
    pub async fn drain(&self, deadline: Duration) -> PoolReport {
        let end_by = Instant::now() + deadline.min(FOREVER);
        let before = self.numbers();
        self.core().apply(Event::Drain);
        self.end(end_by, before).await
    }

    /// Revokes every lease and ends every browser: first asking, at `deadline` by force, for at most five
    /// seconds more.
    ///
    /// # Cancel safety
    ///
    /// The browsers go on ending; the report is lost.
    pub async fn destroy_all(&self, deadline: Duration) -> PoolReport {
        let end_by = Instant::now() + deadline.min(FOREVER);
        let before = self.numbers();
        self.core().end_by(end_by);
        self.core().apply(Event::Destroy);
        self.end(end_by, before).await
    }

    async fn end(&self, end_by: Instant, mut before: Vec<u64>) -> PoolReport {
        let core = self.core();
        if timeout_at(end_by, ended(core)).await.is_err() {
            core.end_by(end_by);
            core.apply(Event::Destroy);
            core.hurry();
            drop(timeout_at(Instant::now() + AFTER_KILL, ended(core)).await);
        } else {
            core.alarm.notify_one();
            drop(timeout_at(end_by, core.tasks.join()).await);
        }
        before.sort_unstable();
        let mut report = report(core).await;
        report.browsers.retain(|ended| before.binary_search(&ended.browser).is_ok());
        report
    }
}

/// Resolves when the pool gives no leases and has no browser.
async fn ended<D: Driver>(core: &Arc<Core<D>>) {
    loop {
        let changed = core.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if core.has_ended() {
            return;
        }
        changed.await;
    }
}

async fn report<D: Driver>(core: &Arc<Core<D>>) -> PoolReport {
    let reported = core.read(|_, tally| tally.left.clone());
    let mut left = core.driver.left_behind(core.id, reported).await;
    core.read(|state, tally| {
        let counts = state.counts();
        left.extend(state.slots().map(|(id, _)| LeftBehind::Browser { browser: id.0 }));
        PoolReport {
            browsers: tally.reports.iter().cloned().collect(),
            leases: counts.granted,
            returned: counts.returned,
            revoked: counts.revoked,
            left,
        }
    })
}

impl<D: Driver> Drop for Shared<D> {
    fn drop(&mut self) {
        let core = &self.core;
        core.end_by(Instant::now());
        let live = core.live();
        core.apply(Event::Destroy);
        core.alarm.notify_one();
        tasks::side_by_side(live, |(slot, live)| {
            let mut report = live.end_now(IN_A_DROP);
            report.browser = slot.0;
            report.reason = Some(EndReason::PoolEnded);
            crate::trace::ended(&report);
        });
    }
}
