//! The words of the calls that people make: orders, lists and counts.

use crate::error::StoreError;
use crate::job::{Edit, JobId, JobRecord};
use crate::lease::WorkerId;
use crate::lifecycle::State;
use std::time::Duration;

/// The longest payload, result and progress that a store takes unless it is told otherwise: 1 MiB.
pub const DEFAULT_MAX_BYTES: usize = 1 << 20;

/// The most rows that a store looks at for one page, and so the most on one: more at once would hold the store
/// and the memory of the caller for too long.
pub(crate) const MOST_LOOKED: usize = 10_000;

/// How long ended jobs are kept; `None` for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Keep {
    /// Jobs that succeeded or were cancelled.
    pub done: Option<Duration>,
    /// Jobs that failed, are dead letters or were abandoned.
    pub unhappy: Option<Duration>,
}

impl Keep {
    /// The same time for all of them.
    pub fn all(keep: Duration) -> Self {
        Self { done: Some(keep), unhappy: Some(keep) }
    }

    /// The times before which jobs of each sort are old, as seen at `now_ms`.
    pub(crate) fn newest(self, now_ms: i64) -> (i64, i64) {
        let newest = |keep: Option<Duration>| {
            keep.map_or(i64::MIN, |keep| now_ms.saturating_sub(crate::job::millis(keep)))
        };
        (newest(self.done), newest(self.unhappy))
    }
}

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// End what waits, ask what runs to end.
    Cancel,
    /// Mark it as abandoned.
    Abandon {
        /// Why.
        reason: String,
    },
    /// Run what has ended once more, with fresh attempts.
    Requeue,
    /// Make due what is scheduled for later.
    RunNow,
    /// Change the queue, the priority or the due time of what waits.
    Edit(Edit),
    /// Delete what has ended, one that cannot be read included; a job that lives must be cancelled first.
    Delete,
}

impl Order {
    /// Whether every store could keep what it asks for.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Edit(edit) => edit.check(),
            _ => Ok(()),
        }
    }
}

/// What became of an order for one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ordered {
    /// It is in this state now.
    Now(State),
    /// The job is in this state, from which the order leads nowhere.
    Refused(State),
    /// It is gone.
    Deleted,
    /// Another job holds its unique key now.
    KeyTaken,
    /// No such job.
    NotFound,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Query {
    /// Only this queue.
    pub queue: Option<String>,
    /// Only this state.
    pub state: Option<State>,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only jobs that this worker holds or held last.
    pub worker: Option<WorkerId>,
    /// Only jobs that were enqueued, claimed or ended at this time or later, in milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// Only jobs whose error holds this text, as it is written.
    pub error: Option<String>,
    /// The newest job first.
    pub newest_first: bool,
    /// Only ids above this, or below it when the newest comes first: the last of the page before.
    pub after: Option<JobId>,
    /// Length of the page; 0 stands for 100, and 10 000 is the most.
    pub limit: usize,
}

impl Query {
    /// Everything, 100 on a page.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only this state.
    #[must_use]
    pub fn state(mut self, state: State) -> Self {
        self.state = Some(state);
        self
    }

    /// Only this queue.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Only this kind.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Only jobs that `worker` holds or held last.
    #[must_use]
    pub fn worker(mut self, worker: WorkerId) -> Self {
        self.worker = Some(worker);
        self
    }

    /// Only jobs that were enqueued, claimed or ended at this time or later.
    #[must_use]
    pub fn since_ms(mut self, since_ms: i64) -> Self {
        self.since_ms = Some(since_ms);
        self
    }

    /// Only jobs whose error holds `text`.
    #[must_use]
    pub fn error(mut self, text: impl Into<String>) -> Self {
        self.error = Some(text.into());
        self
    }

    /// The newest job first.
    #[must_use]
    pub fn newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }

    /// The page that follows `job`.
    #[must_use]
    pub fn after(mut self, job: JobId) -> Self {
        self.after = Some(job);
        self
    }

    /// This many on a page.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn page(&self) -> usize {
        if self.limit == 0 { 100 } else { self.limit.min(MOST_LOOKED) }
    }

    /// Whether the row is one of those that are asked for, wherever the page begins.
    pub(crate) fn matches(&self, row: &JobRecord) -> bool {
        let latest = row.created_at.max(row.claimed_at).max(row.ended_at);
        let holds = |text: &String| row.error.as_ref().is_some_and(|error| error.contains(text));
        self.state.is_none_or(|state| row.state == state)
            && self.queue.as_deref().is_none_or(|queue| *row.queue == *queue)
            && self.kind.as_deref().is_none_or(|kind| *row.kind == *kind)
            && self.worker.is_none_or(|worker| row.owner == worker)
            && self.since_ms.is_none_or(|since| latest >= since)
            && self.error.as_ref().is_none_or(holds)
    }
}

/// Some of the jobs that a query asks for.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Page {
    /// In the order of the query.
    pub jobs: Vec<JobRecord>,
    /// Where to go on, if there may be more: a page may be short, or empty, when few jobs match.
    pub next: Option<JobId>,
}

impl Page {
    /// These jobs; there may be more after `next`.
    pub fn new(jobs: Vec<JobRecord>, next: Option<JobId>) -> Self {
        Self { jobs, next }
    }
}

/// How many jobs of a queue are in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueCount {
    /// The queue.
    pub queue: String,
    /// The state.
    pub state: State,
    /// How many.
    pub jobs: u64,
    /// There may be more: counting stopped.
    pub capped: bool,
}

impl QueueCount {
    /// `jobs` jobs of `queue` are in `state`.
    pub fn new(queue: String, state: State, jobs: u64) -> Self {
        Self { queue, state, jobs, capped: false }
    }

    /// Says whether counting stopped before the end.
    #[must_use]
    pub fn capped(mut self, capped: bool) -> Self {
        self.capped = capped;
        self
    }
}
