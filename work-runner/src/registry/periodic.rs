//! The words about periodic jobs.

use super::Pause;
use crate::error::{StoreError, StoreErrorKind};
use crate::job::{NewJob, check_name};

/// The most missed runs that are made up for at once.
const MOST_CATCH_UP: u32 = 1000;

/// A job that is enqueued again and again, once for each time of its expression over all workers.
///
/// ```
/// use lastout_work_runner::{NewJob, Periodic};
///
/// let report = NewJob::new("report", &"daily")?.queue("slow");
/// // After a night without workers, one run for each hour that was missed, up to six.
/// let periodic = Periodic::new("hourly report", "0 * * * *", report).catch_up(6);
/// # assert_eq!(periodic.catch_up, 6);
/// # Ok::<(), lastout_work_runner::PayloadError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Periodic {
    /// Its name in the store.
    pub name: String,
    /// When: five fields of cron, in UTC unless they begin with a time zone; see [`Cron`](crate::cron::Cron).
    pub cron: String,
    /// What is enqueued; a run whose unique key is taken is skipped.
    pub job: NewJob,
    /// How many runs make up for the times that passed while no worker ran, at most: 1 unless set. With 0 a run
    /// that is late by a minute or more is skipped.
    pub catch_up: u32,
    /// The first run, in milliseconds since the epoch; the driver works it out from the expression.
    pub first_ms: i64,
}

impl Periodic {
    /// `job` at every time of `cron`, under `name`. Whether it can be kept is checked when it is put.
    pub fn new(name: impl Into<String>, cron: impl Into<String>, job: NewJob) -> Self {
        Self { name: name.into(), cron: cron.into(), job, catch_up: 1, first_ms: 0 }
    }

    /// How many runs make up for missed ones at most, up to 1000; 0 for none. They are enqueued together, so of
    /// several with the same unique key one is kept.
    #[must_use]
    pub fn catch_up(mut self, runs: u32) -> Self {
        self.catch_up = runs;
        self
    }

    /// Whether every store can keep it and enqueue its job.
    pub(crate) fn check(&self, max_bytes: usize) -> Result<(), StoreError> {
        check_name("the name of the periodic job", &self.name)?;
        check_name("the cron expression", &self.cron)?;
        check_runs(self.catch_up)?;
        self.job.check(max_bytes)
    }
}

/// Whether so many runs can be enqueued together.
pub(crate) fn check_runs(runs: u32) -> Result<(), StoreError> {
    if runs <= MOST_CATCH_UP {
        return Ok(());
    }
    let why = format!("{runs} runs to catch up are over the limit of {MOST_CATCH_UP}");
    Err(StoreError::new(StoreErrorKind::Invalid, "check a periodic job").with_source(why))
}

/// A periodic job as a store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeriodicRecord {
    /// Its name in the store.
    pub name: String,
    /// When.
    pub cron: String,
    /// The next run, or the one that is due, in milliseconds since the epoch.
    pub at_ms: i64,
    /// How many runs make up for missed ones at most.
    pub catch_up: u32,
    /// The queue of its job; empty in a [`Peek`](crate::Peek), and when the job cannot be read.
    pub queue: String,
    /// The kind of its job; empty when [`queue`](Self::queue) is.
    pub kind: String,
    /// The length of the payload of its job; 0 when [`queue`](Self::queue) is empty.
    pub payload_bytes: usize,
    /// Why it was disabled; `None` while it is not.
    pub error: Option<String>,
    /// Who paused it, and when; `None` while it is not paused.
    pub paused: Option<Pause>,
}

impl PeriodicRecord {
    /// The run of `name` at `at_ms`.
    pub fn new(name: String, cron: String, at_ms: i64) -> Self {
        let (queue, kind) = (String::new(), String::new());
        let (error, paused) = (None, None);
        Self { name, cron, at_ms, catch_up: 1, queue, kind, payload_bytes: 0, error, paused }
    }

    /// Says how many runs make up for missed ones.
    #[must_use]
    pub fn catch_up(mut self, runs: u32) -> Self {
        self.catch_up = runs.min(MOST_CATCH_UP);
        self
    }

    /// Adds what its job is.
    #[must_use]
    pub fn job(mut self, job: &NewJob) -> Self {
        self.queue = job.queue.to_string();
        self.kind = job.kind.to_string();
        self.payload_bytes = job.payload.len();
        self
    }

    /// Says who paused it, if it is paused.
    #[must_use]
    pub fn paused(mut self, paused: Option<Pause>) -> Self {
        self.paused = paused;
        self
    }

    /// Says why it was disabled, if it was.
    #[must_use]
    pub fn error(mut self, error: Option<String>) -> Self {
        self.error = error;
        self
    }
}
