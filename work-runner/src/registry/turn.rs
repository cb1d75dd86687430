//! The words of the hot calls: enqueue, beat, peek, turn and sweep.

use super::{PeriodicRecord, WorkerRecord};
use crate::job::{JobId, JobRecord, Recovery};
use crate::lease::{Lease, WorkerId};
use crate::lifecycle::{LeaseLost, Outcome, State};
use std::sync::Arc;

/// What became of one job of an enqueue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Enqueued {
    /// It was stored under this id.
    New(JobId),
    /// This job holds the unique key; nothing was stored.
    Duplicate(JobId),
}

impl Enqueued {
    /// The new job or the one that holds the key.
    pub fn id(self) -> JobId {
        match self {
            Self::New(id) | Self::Duplicate(id) => id,
        }
    }

    /// Whether it was stored.
    pub fn is_new(self) -> bool {
        matches!(self, Self::New(_))
    }
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Peek {
    /// The wall clock of the store.
    pub now_ms: i64,
    /// Whether the lease of the worker lives.
    pub live: bool,
    /// Something can be claimed from one of the queues.
    pub ready: bool,
    /// Some scheduled job has come due, or a held one may be admitted.
    pub promotable: bool,
    /// Time until the next scheduled job or periodic run that is not due yet, or until a rate lets more start.
    pub next_due_ms: Option<i64>,
    /// Some worker's lease has run out.
    pub expired: bool,
    /// The other workers, for whoever can prove one of them dead.
    pub peers: Vec<WorkerRecord>,
    /// Jobs of this worker that somebody wants cancelled or took away.
    pub cancels: Vec<JobId>,
    /// Periodic jobs that are due.
    pub periodic: Vec<PeriodicRecord>,
}

/// Outcomes to apply and places to fill.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TurnRequest {
    /// Who claims.
    pub worker: WorkerId,
    /// What became of jobs claimed before.
    pub reports: Vec<Report>,
    /// How many to claim from each queue, in this order.
    pub claim: Vec<(Arc<str>, usize)>,
    /// Only jobs of these kinds are claimed; `None` for all.
    pub kinds: Option<Arc<[Arc<str>]>>,
    /// First make ready what has come due.
    pub promote: bool,
}

impl TurnRequest {
    /// A turn of `worker` that does nothing yet.
    pub fn new(worker: WorkerId) -> Self {
        Self { worker, reports: Vec::new(), claim: Vec::new(), kinds: None, promote: false }
    }

    /// Adds outcomes to apply.
    #[must_use]
    pub fn reports(mut self, reports: impl IntoIterator<Item = Report>) -> Self {
        self.reports.extend(reports);
        self
    }

    /// Adds up to `count` jobs of `queue` to claim.
    #[must_use]
    pub fn claim(mut self, queue: impl Into<Arc<str>>, count: usize) -> Self {
        self.claim.push((queue.into(), count));
        self
    }

    /// Claims only jobs of these kinds.
    #[must_use]
    pub fn kinds(mut self, kinds: impl Into<Arc<[Arc<str>]>>) -> Self {
        self.kinds = Some(kinds.into());
        self
    }

    /// Makes ready what has come due, first.
    #[must_use]
    pub fn promote(mut self) -> Self {
        self.promote = true;
        self
    }
}

/// What the holder of a lease says about its job.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The token.
    pub lease: Lease,
    /// What became of the job.
    pub outcome: Outcome,
}

impl Report {
    /// `outcome` of the job held under `lease`.
    pub fn new(lease: Lease, outcome: Outcome) -> Self {
        Self { lease, outcome }
    }
}

/// Whether a report was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// Now; the job is in this state.
    Now(State),
    /// It had been before: the answer to an earlier call was lost.
    Before,
    /// Not: the lease is stale.
    Lost(LeaseLost),
}

impl Applied {
    /// Whether the store holds the outcome, from this call or an earlier one.
    pub fn is_applied(self) -> bool {
        !matches!(self, Self::Lost(_))
    }
}

/// The answer to a turn.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Turn {
    /// For each report, in order.
    pub applied: Vec<Applied>,
    /// What was claimed; running since, under the leases in it.
    pub claimed: Vec<Claimed>,
    /// Whether the worker's lease lives; nothing is claimed without.
    pub live: bool,
    /// Rows that could not be read and were set aside.
    pub set_aside: usize,
    /// Time until more can be claimed, if a rate kept jobs back.
    pub next_due_ms: Option<i64>,
}

/// A job as a worker gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claimed {
    /// The token for everything that is written about it.
    pub lease: Lease,
    /// The queue it came from.
    pub queue: Arc<str>,
    /// Which handler runs it.
    pub kind: Arc<str>,
    /// This attempt, from 1.
    pub attempt: i32,
    /// Attempts that may fail.
    pub max_attempts: i32,
    /// Workers that died of it, or near it.
    pub crashes: i32,
    /// Crashes after which it is set aside.
    pub max_crashes: i32,
    /// What happens when this worker dies.
    pub recovery: Recovery,
    /// Longest attempt, 0 for no limit.
    pub timeout_ms: i64,
    /// Length of its own lease, 0 for none.
    pub own_lease_ms: i64,
    /// Its payload.
    pub payload: Vec<u8>,
    /// The checkpoint of an earlier attempt.
    pub progress: Option<Vec<u8>>,
}

impl Claimed {
    /// Whether it runs with no other such job beside it: the next crash would be its last, and must
    /// not be the fault of a neighbour that is one crash short of its end as well.
    pub(crate) fn is_isolated(&self) -> bool {
        self.crashes > 0 && self.crashes + 1 >= self.max_crashes
    }
}

impl From<JobRecord> for Claimed {
    fn from(row: JobRecord) -> Self {
        Self {
            lease: row.lease(),
            queue: row.queue,
            kind: row.kind,
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            crashes: row.crashes,
            max_crashes: row.max_crashes,
            recovery: row.recovery,
            timeout_ms: row.timeout_ms,
            own_lease_ms: row.own_lease_ms,
            payload: row.payload,
            progress: row.progress,
        }
    }
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Swept {
    /// Jobs taken back.
    pub jobs: usize,
    /// Of these, set aside as poisoned.
    pub poisoned: usize,
    /// Of these, abandoned because they may not run again.
    pub abandoned: usize,
    /// Workers forgotten.
    pub workers: usize,
}
