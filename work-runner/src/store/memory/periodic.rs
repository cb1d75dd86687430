//! Periodic jobs in memory.

use super::rows::Rows;
use crate::registry::{Enqueued, Pause, Periodic, PeriodicRecord};

/// A periodic job with what became of it.
#[derive(Debug)]
pub(super) struct Kept {
    periodic: Periodic,
    /// Why it is disabled.
    error: Option<String>,
    paused: Option<Pause>,
}

impl Rows {
    /// The next run is kept when the expression is, and a pause always.
    pub(super) fn put_periodic(&mut self, new: Periodic) {
        let old = self.periodic.remove(&new.name);
        let same = old.as_ref().filter(|old| old.periodic.cron == new.cron);
        let first_ms = same.map_or(new.first_ms, |old| old.periodic.first_ms);
        let paused = old.and_then(|old| old.paused);
        let periodic = Periodic { first_ms, ..new };
        self.periodic.insert(periodic.name.clone(), Kept { periodic, error: None, paused });
    }

    pub(super) fn fire_periodic(
        &mut self,
        name: &str,
        at_ms: i64,
        next_ms: i64,
        runs: u32,
    ) -> bool {
        let due = self.periodic.get_mut(name).filter(|kept| kept.periodic.first_ms == at_ms);
        let Some(Kept { periodic, error: None, paused: None }) = due else {
            return false;
        };
        periodic.first_ms = next_ms;
        let job = periodic.job.clone();
        for _ in 0..runs {
            self.enqueue(job.clone());
        }
        true
    }

    pub(super) fn run_periodic(&mut self, name: &str) -> Option<Enqueued> {
        let job = self.periodic.get(name).map(|kept| kept.periodic.job.clone());
        job.map(|job| self.enqueue(job))
    }

    pub(super) fn disable_periodic(&mut self, name: &str, at_ms: i64, error: String) {
        let due = self.periodic.get_mut(name).filter(|kept| kept.periodic.first_ms == at_ms);
        if let Some(kept) = due {
            kept.error = Some(error);
        }
    }

    /// The first pause stays.
    pub(super) fn pause_periodic(&mut self, name: &str, by: String) -> bool {
        let at_ms = self.now_ms;
        let running = self.periodic.get_mut(name).filter(|kept| kept.paused.is_none());
        running.map(|kept| kept.paused = Some(Pause::new(by, at_ms))).is_some()
    }

    pub(super) fn resume_periodic(&mut self, name: &str, at_ms: i64, next_ms: i64) -> bool {
        let kept = self.periodic.get_mut(name).filter(|kept| kept.periodic.first_ms == at_ms);
        let Some(kept) = kept.filter(|kept| kept.paused.is_some()) else {
            return false;
        };
        kept.paused = None;
        kept.periodic.first_ms = next_ms;
        true
    }

    pub(super) fn periodic(&self) -> Vec<PeriodicRecord> {
        let record = |kept: &Kept| {
            let Periodic { name, cron, first_ms, catch_up, job } = &kept.periodic;
            let record = PeriodicRecord::new(name.clone(), cron.clone(), *first_ms);
            let record = record.catch_up(*catch_up).job(job).error(kept.error.clone());
            record.paused(kept.paused.clone())
        };
        self.periodic.values().map(record).collect()
    }
}
