//! Periodic jobs: what people do with them, and how many runs are due.

use crate::cron::{Cron, CronError};
use crate::driver::WorkDriver;
use crate::error::{StoreError, StoreErrorKind};
use crate::job::NewJob;
use crate::registry::{Enqueued, Periodic, PeriodicRecord};
use std::fmt;

/// A run counts as missed when it is late by this much.
const LATE_MS: i64 = 60_000;

/// How many runs are due at `now_ms` of a periodic job whose next one was to be at `at_ms`: one, and up to
/// `catch_up` when more times have passed; or none, when nothing is made up for and all are late.
pub(crate) fn runs_due(cron: &Cron, at_ms: i64, now_ms: i64, catch_up: u32) -> u32 {
    let next_by_now = |after: i64| cron.next_after(after).filter(|next| *next <= now_ms);
    if catch_up == 0 {
        let late = now_ms.saturating_sub(LATE_MS);
        return u32::from(at_ms > late || next_by_now(late).is_some());
    }
    let later = std::iter::successors(Some(at_ms), |at| next_by_now(*at));
    later.zip(0..catch_up).map(|_| 1).sum()
}

impl WorkDriver {
    /// Creates or changes a periodic job: `job` is enqueued at every time of `cron` (in UTC unless it begins with
    /// a time zone; see [`Cron`](crate::cron::Cron)), once over all workers. Times that passed while no worker ran are made up for by one run. A run whose
    /// unique key is taken is skipped.
    ///
    /// # Errors
    ///
    /// [`PeriodicError`] when the expression does not parse, as with a time zone that is not known here, or the
    /// store fails.
    pub async fn put_periodic(
        &self,
        name: &str,
        cron: &str,
        job: NewJob,
    ) -> Result<(), PeriodicError> {
        self.schedule(Periodic::new(name, cron, job)).await
    }

    /// Creates or changes a periodic job, with all its options.
    ///
    /// ```
    /// use lastout_work_runner::{MemoryRegistry, NewJob, Periodic, WorkDriver};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let driver = WorkDriver::producer(std::sync::Arc::new(MemoryRegistry::new()));
    /// // What was missed is not made up for.
    /// let beat = Periodic::new("beat", "* * * * *", NewJob::new("beat", &())?).catch_up(0);
    /// driver.schedule(beat).await?;
    /// assert_eq!(driver.periodic().await?[0].kind, "beat");
    /// // Once more, now, whatever its next time is.
    /// assert!(driver.run_periodic("beat").await?.is_some_and(|run| run.is_new()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`put_periodic`](Self::put_periodic).
    pub async fn schedule(&self, periodic: Periodic) -> Result<(), PeriodicError> {
        let parsed = Cron::parse(&periodic.cron).map_err(PeriodicError::Cron)?;
        let now_ms = self.registry().now_ms().await.map_err(PeriodicError::Store)?;
        let first_ms = parsed.next_after(now_ms).unwrap_or(i64::MAX);
        let put = self.registry().put_periodic(Periodic { first_ms, ..periodic });
        put.await.map_err(PeriodicError::Store)
    }

    /// Every periodic job, with the error of those that were disabled.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn periodic(&self) -> Result<Vec<PeriodicRecord>, StoreError> {
        self.registry().periodic().await
    }

    /// Enqueues the job of a periodic job once, now, in addition to its scheduled times and even if it is disabled or paused; `None` when there is
    /// no periodic job of that name.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; of the kind [`Corrupt`](crate::StoreErrorKind::Corrupt) when its job cannot be read.
    pub async fn run_periodic(&self, name: &str) -> Result<Option<Enqueued>, StoreError> {
        self.registry().run_periodic(name.to_owned()).await
    }

    /// Keeps a periodic job from its times until it is resumed, on all workers. `by` says who did it. What it has
    /// enqueued stays, and [`run_periodic`](Self::run_periodic) runs it all the same. A pause outlives
    /// [`put_periodic`](Self::put_periodic), so that a program which puts its periodic jobs at its start does not
    /// end it. Returns false when there is none of that name, or it was paused before: the first pause stays.
    ///
    /// ```
    /// use lastout_work_runner::{MemoryRegistry, NewJob, WorkDriver};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let driver = WorkDriver::producer(std::sync::Arc::new(MemoryRegistry::new()));
    /// driver.put_periodic("report", "0 3 * * *", NewJob::new("report", &())?).await?;
    /// assert!(driver.pause_periodic("report", "ann").await?);
    /// let paused = &driver.periodic().await?[0].paused;
    /// assert_eq!(paused.as_ref().map(|pause| &*pause.by), Some("ann"));
    /// // Its next run is the next of its times from now on.
    /// assert!(driver.resume_periodic("report").await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError`]; of the kind [`Invalid`](StoreErrorKind::Invalid) for a name that no store can keep.
    pub async fn pause_periodic(&self, name: &str, by: &str) -> Result<bool, StoreError> {
        self.registry().pause_periodic(name.to_owned(), by.to_owned()).await
    }

    /// Ends the pause of a periodic job. Times that passed meanwhile are not made up for: its next run is at the
    /// first of its times after now. Returns whether it was paused.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; of the kind [`Invalid`](StoreErrorKind::Invalid) when its expression cannot be read here, as
    /// with a time zone that is not known. It stays paused then.
    pub async fn resume_periodic(&self, name: &str) -> Result<bool, StoreError> {
        /// Each further try needs that another caller changes its expression at the same moment.
        const TRIES: u32 = 10;
        let doing = "resume a periodic job";
        for _ in 0..TRIES {
            let all = self.registry().periodic().await?;
            let paused = |record: &PeriodicRecord| record.name == name && record.paused.is_some();
            let Some(record) = all.into_iter().find(paused) else {
                return Ok(false);
            };
            let now_ms = self.registry().now_ms().await?;
            let mut next_ms = record.at_ms;
            if next_ms <= now_ms {
                let cron = Cron::parse(&record.cron);
                let unread =
                    |error| StoreError::new(StoreErrorKind::Invalid, doing).with_source(error);
                next_ms = cron.map_err(unread)?.next_after(now_ms).unwrap_or(i64::MAX);
            }
            if self.registry().resume_periodic(record.name, record.at_ms, next_ms).await? {
                return Ok(true);
            }
        }
        Err(StoreError::new(StoreErrorKind::Unavailable, doing))
    }

    /// Removes a periodic job; what it enqueued stays. Returns whether it existed.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn drop_periodic(&self, name: &str) -> Result<bool, StoreError> {
        self.registry().drop_periodic(name.to_owned()).await
    }
}

/// A periodic job could not be stored.
#[derive(Debug)]
#[non_exhaustive]
pub enum PeriodicError {
    /// Its expression does not parse.
    Cron(CronError),
    /// The store failed.
    Store(StoreError),
}

impl fmt::Display for PeriodicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("store a periodic job")
    }
}

impl std::error::Error for PeriodicError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Cron(source) => Some(source),
            Self::Store(source) => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn missed_runs_are_made_up_for_as_asked() {
        let hourly = Cron::parse("0 * * * *").unwrap();
        let due = |passed: i64, catch_up| runs_due(&hourly, HOUR, HOUR + passed, catch_up);
        // On time there is one run, whatever is made up for.
        for catch_up in [0, 1, 5, u32::MAX] {
            assert_eq!(due(0, catch_up), 1, "{catch_up}");
            assert_eq!(due(LATE_MS - 1, catch_up), 1, "{catch_up}");
        }
        // Ten more times have passed, the last one half an hour ago.
        let late = 10 * HOUR + HOUR / 2;
        let runs = [0, 1, 5, 11, 12, 1000].map(|catch_up| due(late, catch_up));
        assert_eq!(runs, [0, 1, 5, 11, 11, 11]);
        // One has come just now: it is no missed one.
        assert_eq!(due(10 * HOUR, 0), 1);
        assert_eq!(due(LATE_MS, 0), 0);
        for (at, now) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN)] {
            assert!(runs_due(&hourly, at, now, 3) >= 1, "{at} {now}");
            runs_due(&hourly, at, now, 0);
        }
    }
}
