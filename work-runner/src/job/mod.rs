//! What a job is: the request that a caller writes ([`NewJob`]) and the row that a store keeps
//! ([`JobRecord`]). No store logic lives here.

mod attempt;
mod digest;
mod edit;
mod new;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod template;
mod unique;

use crate::lease::{Fence, Lease, WorkerId};
use crate::lifecycle::State;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use attempt::Ending;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) use attempt::stored;
pub use attempt::{Attempt, AttemptOutcome, MAX_ATTEMPTS_KEPT};
pub use edit::Edit;
#[cfg(feature = "postgres")]
pub(crate) use new::Due;
pub use new::{NewJob, PayloadError};
pub(crate) use new::{check_bytes, check_jobs, check_name, check_pause, fault_of_name};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) use template::Template;
pub(crate) use unique::Unique;
pub use unique::UniqueWhile;

/// One step of priority is worth this much waiting: a job of priority `p` is claimed before every
/// job of priority 0 that became due up to `p` minutes earlier.
///
/// That is the whole of ageing: a low job is overtaken only by jobs that come within that head
/// start, so nothing waits for ever, and no pass over the table is needed to keep it so.
pub const PRIORITY_STEP: Duration = Duration::from_secs(60);

/// The name of a job in its store; increasing in the order of enqueueing, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number with a name, for ever")]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What happens to a job whose worker died while it held the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Recovery {
    /// Run it again: effects happen at least once.
    #[default]
    Rerun,
    /// Never run it again once it was started: effects happen at most once. The job ends
    /// [`Abandoned`](State::Abandoned), which says that nobody knows how far it came. A failure is
    /// final as well.
    NeverRerun,
    /// Somebody outside runs it: it is leased to its creator when it is enqueued, and no runner ever
    /// claims it. It ends by [`settle`](crate::WorkDriver::settle) with the lease, or by an
    /// operator's [`abandon`](crate::WorkDriver::abandon); with an
    /// [`own_lease`](NewJob::own_lease) that nobody renews it ends abandoned.
    External,
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl Recovery {
    pub(crate) const fn code(self) -> i16 {
        match self {
            Self::Rerun => 0,
            Self::NeverRerun => 1,
            Self::External => 2,
        }
    }

    pub(crate) const fn from_code(code: i16) -> Self {
        match code {
            1 => Self::NeverRerun,
            2 => Self::External,
            _ => Self::Rerun,
        }
    }
}

/// A job as a store keeps it: what `get` and `list` show and what a store's own code moves along
/// the edges of [`lifecycle`](crate::lifecycle). Times are milliseconds since the epoch on the
/// clock of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobRecord {
    /// The name of the job.
    pub id: JobId,
    /// The queue it waits in.
    pub queue: Arc<str>,
    /// Which handler runs it.
    pub kind: Arc<str>,
    /// Where it stands.
    pub state: State,
    /// Higher goes first.
    pub priority: i16,
    /// The order of claiming: `run_at` less the head start of the priority.
    pub rank: i64,
    /// It is not due before this.
    pub run_at: i64,
    /// How often it was claimed and not given back unstarted.
    pub attempt: i32,
    /// Attempts that may fail before it is dead.
    pub max_attempts: i32,
    /// Workers that died while they held it.
    pub crashes: i32,
    /// Crashes after which it is set aside.
    pub max_crashes: i32,
    /// Goes up with each claim and never down: the token that every write must show.
    pub fence: Fence,
    /// The worker that holds it, or held it last; [`WorkerId::NONE`] after it was taken away.
    pub owner: WorkerId,
    /// The fence under which a start was recorded; [`Fence::ZERO`] when none was.
    pub started: Fence,
    /// What happens when its worker dies.
    pub recovery: Recovery,
    /// Length of its own lease, 0 for none.
    pub own_lease_ms: i64,
    /// When its own lease ends, on the lease clock of the store; 0 for none.
    pub lease_until: i64,
    /// Longest attempt, 0 for no limit.
    pub timeout_ms: i64,
    /// The key that no other job may have.
    pub unique_key: Option<String>,
    /// How long that key is taken.
    pub unique_kept: bool,
    /// The key whose jobs share a limit.
    pub limit_key: Option<Arc<str>>,
    /// That limit.
    pub limit_max: i32,
    /// Somebody asked for it to end.
    pub cancel: bool,
    /// The payload as it was enqueued.
    pub payload: Vec<u8>,
    /// The last progress or checkpoint that the handler saved.
    pub progress: Option<Vec<u8>>,
    /// What the handler returned.
    pub result: Option<Vec<u8>>,
    /// Why the last attempt, or the job, ended without success.
    pub error: Option<String>,
    /// Attempts that ended and that the other fields do not tell; see [`attempts`](Self::attempts).
    pub history: Vec<Attempt>,
    /// When it was enqueued.
    pub created_at: i64,
    /// When it was last claimed; 0 for never.
    pub claimed_at: i64,
    /// When it reached a terminal state; 0 while it lives.
    pub ended_at: i64,
}

impl JobRecord {
    /// The row that `new` becomes at `now_ms`. A store admits it to [`State::Ready`] or holds it.
    pub fn new(id: JobId, new: NewJob, now_ms: i64) -> Self {
        let run_at = new.due.at(now_ms);
        let (unique_key, unique_kept) = match new.unique {
            Some(unique) => (Some(unique.key_at(now_ms)), unique.is_kept()),
            None => (None, false),
        };
        let external = new.recovery == Recovery::External;
        let (limit_key, limit_max) = new.limit.map_or((None, 0), |(key, max)| (Some(key), max));
        Self {
            id,
            queue: new.queue,
            kind: new.kind,
            state: if external {
                State::Running
            } else if run_at > now_ms {
                State::Scheduled
            } else {
                State::Ready
            },
            priority: new.priority,
            rank: rank(run_at, new.priority),
            run_at,
            attempt: i32::from(external),
            max_attempts: new.max_attempts,
            crashes: 0,
            max_crashes: new.max_crashes,
            fence: Fence(i64::from(external)),
            owner: if external { WorkerId::EXTERNAL } else { WorkerId::NONE },
            started: Fence::ZERO,
            recovery: new.recovery,
            own_lease_ms: new.own_lease_ms,
            lease_until: 0,
            timeout_ms: new.timeout_ms,
            unique_key,
            unique_kept,
            // An external job is leased at birth: there is nothing to hold it back from.
            limit_key: limit_key.filter(|_| !external),
            limit_max,
            cancel: false,
            payload: new.payload,
            progress: None,
            result: None,
            error: None,
            history: Vec::new(),
            created_at: now_ms,
            claimed_at: if external { now_ms } else { 0 },
            ended_at: 0,
        }
    }

    /// The token that its present holder must show.
    pub fn lease(&self) -> Lease {
        Lease { job: self.id, fence: self.fence, owner: self.owner }
    }

    /// Reads the result that the handler returned; `None` when there is none or it is of another type.
    pub fn result_as<R: DeserializeOwned>(&self) -> Option<R> {
        let bytes = self.result.as_deref().unwrap_or(b"null");
        serde_json::from_slice(bytes).ok()
    }

    /// Reads the progress that the handler saved; `None` when there is none or it is of another type.
    pub fn progress_as<R: DeserializeOwned>(&self) -> Option<R> {
        serde_json::from_slice(self.progress.as_deref()?).ok()
    }

    /// Whether it occupies one of the places of its limit key.
    pub(crate) fn holds_slot(&self) -> bool {
        self.limit_key.is_some() && matches!(self.state, State::Ready | State::Running)
    }

    /// Whether its unique key refuses another job now.
    pub(crate) fn holds_key(&self) -> bool {
        self.unique_key.is_some() && (self.unique_kept || !self.state.is_terminal())
    }
}

/// The order in which due jobs are claimed, as one number: smaller first.
pub(crate) fn rank(run_at: i64, priority: i16) -> i64 {
    run_at.saturating_sub(i64::from(priority) * PRIORITY_STEP.as_millis() as i64)
}

/// Whole milliseconds, saturating.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// Milliseconds since the epoch; negative before it.
pub(crate) fn wall_millis(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => -millis(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_priority_is_a_minute_of_waiting() {
        let early_and_low = rank(0, 0);
        assert!(rank(59_999, 1) < early_and_low, "within the head start");
        assert!(rank(60_001, 1) > early_and_low, "aged past it");
        assert!(rank(i64::MIN, i16::MAX) == i64::MIN, "saturates");
    }

    #[test]
    fn an_absolute_time_may_lie_before_the_epoch() {
        assert_eq!(wall_millis(UNIX_EPOCH - Duration::from_secs(2)), -2000);
    }
}
