//! The life of a job: every state, every event and every edge, in one table and one pure function.
//!
//! ```text
//!  enqueue ─► Scheduled ──promote──►┐                       ┌─done──────► Succeeded
//!      │          ▲                 ▼                       ├─fail──────► Failed
//!      ├────────────────────────► Ready ──claim──► Running ─┼─reject────► Dead
//!      │          │                 ▲                 │ │ ▲ ├─stopped───► Cancelled
//!      └─► Held ──admit─────────────┘◄────release─────┘ │ │ ├─retry─────► Scheduled, Dead or Failed
//!   (limit key full)                 ◄────crash─────────┘ │ ├─snooze────► Scheduled
//!                                                  cancel─┘ └─crash─────► Dead or Abandoned
//! ```
//!
//! `cancel` ends what waits and flags what runs; `abandon` ends anything that lives; `requeue`
//! brings anything that ended back; `edit` moves what waits in its queue, to another one, or to a later time. The three stores have SQL of their own for three hot edges only
//! (claim, done, promote); all others load the row, call [`step`] and save it.
//!
//! Invariants, which the conformance suite checks on every store:
//! - I1: no job is lost: what was enqueued lives or has ended.
//! - I2: one terminal transition for each life of a job, under the largest fence ever issued for it.
//! - I3: no write under a smaller fence than the row's, or by another owner, is applied.
//! - I4: `attempt <= max_attempts + crashes` and `crashes <= max_crashes`.

mod step;

use crate::job::Edit;
use crate::lease::{Lease, WorkerId};
use std::fmt;

pub(crate) use step::bounded;
pub use step::{LeaseLost, MAX_ERROR_BYTES, Refused, step};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum State {
    /// It waits for its time.
    Scheduled,
    /// It is due and waits for a place under its limit key.
    Held,
    /// It can be claimed.
    Ready,
    /// A worker holds it under a lease.
    Running,
    /// It ended with a result.
    Succeeded,
    /// Its handler said that trying again is useless, or it may not be tried again.
    Failed,
    /// It ended because somebody asked for it.
    Cancelled,
    /// A dead letter: its attempts or crashes are used up, or nobody can read it. `requeue` revives it.
    Dead,
    /// Its worker vanished and it may not run again, or an operator gave it up: how far it came is unknown.
    Abandoned,
    /// Its row in the store is damaged, or is in a state that this build does not know. It was set aside,
    /// and is shown as far as it can be read. No edge leads out of it, and it is never deleted.
    Unreadable,
}

impl State {
    /// All states, in the order of their codes.
    pub const ALL: [Self; 10] = [
        Self::Scheduled,
        Self::Held,
        Self::Ready,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Dead,
        Self::Abandoned,
        Self::Unreadable,
    ];

    /// Whether nothing but `requeue` leads out of it, or nothing at all.
    pub const fn is_terminal(self) -> bool {
        self.code() > Self::Running.code()
    }

    /// The number under which stores keep it.
    pub const fn code(self) -> i16 {
        match self {
            Self::Scheduled => 0,
            Self::Held => 1,
            Self::Ready => 2,
            Self::Running => 3,
            Self::Succeeded => 4,
            Self::Failed => 5,
            Self::Cancelled => 6,
            Self::Dead => 7,
            Self::Abandoned => 8,
            Self::Unreadable => 9,
        }
    }

    /// The state kept under `code`.
    pub const fn from_code(code: i16) -> Option<Self> {
        if code < 0 || code as usize >= Self::ALL.len() {
            return None;
        }
        Some(Self::ALL[code as usize])
    }

    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Held => "held",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
            Self::Abandoned => "abandoned",
            Self::Unreadable => "unreadable",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a worker says about a job that it holds; applied only under its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is done, with this result.
    Done {
        /// What is kept for whoever waits.
        result: Option<Vec<u8>>,
    },
    /// The handler completed it inside a transaction of its own; if that was rolled back the job is
    /// tried again.
    Confirm,
    /// It failed and is tried again after `delay_ms`, as long as attempts are left.
    Retry {
        /// Why.
        error: String,
        /// When, from now on the store's clock.
        delay_ms: i64,
    },
    /// It failed and trying again is useless.
    Fail {
        /// Why.
        error: String,
    },
    /// Nobody can run it: its payload does not decode. It becomes a dead letter at once.
    Reject {
        /// Why.
        error: String,
    },
    /// It is not time yet; the attempt does not count.
    Snooze {
        /// When, from now on the store's clock.
        delay_ms: i64,
    },
    /// It stopped because it was asked to.
    Stopped {
        /// What it said while it stopped.
        error: Option<String>,
    },
    /// It is given back: the attempt does not count. A job that may never run again and was started
    /// is abandoned instead.
    Release,
}

/// Everything that can happen to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Its time has come.
    Promote,
    /// A place under its limit key is free.
    Admit,
    /// A worker takes it.
    Claim {
        /// That worker.
        owner: WorkerId,
    },
    /// The holder of the lease reports.
    Report(Lease, Outcome),
    /// The holder's lease ran out, or the holder is provably dead.
    Crash,
    /// Somebody asks for it to end.
    Cancel,
    /// An operator gives it up.
    Abandon {
        /// Why.
        reason: String,
    },
    /// An operator wants it run again.
    Requeue,
    /// An operator changes where, when or how urgently it is to run.
    Edit(Edit),
}

/// The name of an event in the table of edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is described at `Event` and `Outcome`")]
pub enum EventName {
    Promote,
    Admit,
    Claim,
    Done,
    Confirm,
    Retry,
    Fail,
    Reject,
    Snooze,
    Stopped,
    Release,
    Crash,
    Cancel,
    Abandon,
    Requeue,
    Edit,
}

impl Event {
    /// Its name.
    pub const fn name(&self) -> EventName {
        match self {
            Self::Promote => EventName::Promote,
            Self::Admit => EventName::Admit,
            Self::Claim { .. } => EventName::Claim,
            Self::Report(_, outcome) => match outcome {
                Outcome::Done { .. } => EventName::Done,
                Outcome::Confirm => EventName::Confirm,
                Outcome::Retry { .. } => EventName::Retry,
                Outcome::Fail { .. } => EventName::Fail,
                Outcome::Reject { .. } => EventName::Reject,
                Outcome::Snooze { .. } => EventName::Snooze,
                Outcome::Stopped { .. } => EventName::Stopped,
                Outcome::Release => EventName::Release,
            },
            Self::Crash => EventName::Crash,
            Self::Cancel => EventName::Cancel,
            Self::Abandon { .. } => EventName::Abandon,
            Self::Requeue => EventName::Requeue,
            Self::Edit(_) => EventName::Edit,
        }
    }
}

use EventName as N;
use State as S;

/// Every edge: from, event, and the states it may lead to. `Ready` stands for `Ready` or `Held`:
/// the store decides by the limit key. What is not here is refused.
pub const EDGES: &[(State, EventName, &[State])] = &[
    (S::Scheduled, N::Promote, &[S::Ready]),
    (S::Scheduled, N::Edit, &[S::Scheduled]),
    (S::Scheduled, N::Cancel, &[S::Cancelled]),
    (S::Scheduled, N::Abandon, &[S::Abandoned]),
    (S::Held, N::Admit, &[S::Ready]),
    (S::Held, N::Edit, &[S::Ready, S::Scheduled]),
    (S::Held, N::Cancel, &[S::Cancelled]),
    (S::Held, N::Abandon, &[S::Abandoned]),
    (S::Ready, N::Claim, &[S::Running]),
    (S::Ready, N::Edit, &[S::Ready, S::Scheduled]),
    (S::Ready, N::Cancel, &[S::Cancelled]),
    (S::Ready, N::Abandon, &[S::Abandoned]),
    (S::Running, N::Done, &[S::Succeeded]),
    (S::Running, N::Confirm, &[S::Scheduled, S::Dead, S::Failed, S::Cancelled]),
    (S::Running, N::Retry, &[S::Scheduled, S::Dead, S::Failed, S::Cancelled]),
    (S::Running, N::Fail, &[S::Failed]),
    (S::Running, N::Reject, &[S::Dead]),
    (S::Running, N::Snooze, &[S::Scheduled, S::Cancelled]),
    (S::Running, N::Stopped, &[S::Cancelled]),
    (S::Running, N::Release, &[S::Ready, S::Cancelled, S::Abandoned]),
    (S::Running, N::Crash, &[S::Ready, S::Scheduled, S::Dead, S::Abandoned, S::Cancelled]),
    (S::Running, N::Cancel, &[S::Running]),
    (S::Running, N::Abandon, &[S::Abandoned]),
    (S::Succeeded, N::Requeue, &[S::Ready]),
    (S::Failed, N::Requeue, &[S::Ready]),
    (S::Cancelled, N::Requeue, &[S::Ready]),
    (S::Dead, N::Requeue, &[S::Ready]),
    (S::Abandoned, N::Requeue, &[S::Ready]),
];
