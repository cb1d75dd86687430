//! What became of each run of a job: the last ten, in the row itself, so that they go with it.
//! The attempt that runs, and one that succeeded, are told by the row's other fields and are not written twice.

use super::JobRecord;
use crate::lease::{Fence, WorkerId};
use crate::lifecycle::{Event, Outcome, State, bounded};
use std::fmt;

/// How many ended attempts a row keeps.
pub const MAX_ATTEMPTS_KEPT: usize = 10;
/// Longest error text of a kept attempt, in bytes.
const MAX_ERROR_BYTES: usize = 1024;

/// One run of a job, from its claim to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The fence of its claim.
    pub fence: Fence,
    /// The worker that held the job.
    pub worker: WorkerId,
    /// When the job was claimed, in milliseconds since the epoch on the clock of the store.
    pub started_at: i64,
    /// When that was over; `None` while the job runs.
    pub ended_at: Option<i64>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// What the handler or the operator said, up to 1024 bytes of it.
    pub error: Option<String>,
}

/// How a run of a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// It has not ended.
    Running,
    /// It succeeded.
    Succeeded,
    /// It failed; whether the job is tried again is the state of the job.
    Failed,
    /// It ended because the job was cancelled.
    Cancelled,
    /// The handler asked for a later run.
    Snoozed,
    /// The worker gave the job back, uncharged.
    Released,
    /// The worker died, or its lease ran out.
    Crashed,
    /// Nobody knows how far it came: an operator gave it up, or it may not be run again.
    Abandoned,
    /// What the store kept of it cannot be read; the error says why.
    Unknown,
}

impl AttemptOutcome {
    const ALL: [(Self, &str); 9] = [
        (Self::Running, "running"),
        (Self::Succeeded, "succeeded"),
        (Self::Failed, "failed"),
        (Self::Cancelled, "cancelled"),
        (Self::Snoozed, "snoozed"),
        (Self::Released, "released"),
        (Self::Crashed, "crashed"),
        (Self::Abandoned, "abandoned"),
        (Self::Unknown, "unknown"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(outcome, _)| *outcome == self).map_or("", |(_, name)| name)
    }

    /// How a run ends by `event`, and the error that the event brings; `None` when no run ends by it.
    fn of(event: &Event) -> Option<(Self, Option<&str>)> {
        Some(match event {
            Event::Report(_, outcome) => match outcome {
                Outcome::Done { .. } => (Self::Succeeded, None),
                Outcome::Confirm => {
                    (Self::Failed, Some("the transaction that completed it was rolled back"))
                }
                Outcome::Retry { error, .. }
                | Outcome::Fail { error }
                | Outcome::Reject { error } => (Self::Failed, Some(error)),
                Outcome::Snooze { .. } => (Self::Snoozed, None),
                Outcome::Stopped { error } => (Self::Cancelled, error.as_deref()),
                Outcome::Release => (Self::Released, None),
            },
            Event::Crash => (Self::Crashed, None),
            Event::Abandon { reason } => (Self::Abandoned, Some(reason)),
            _ => return None,
        })
    }
}

impl fmt::Display for AttemptOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl JobRecord {
    /// The last attempts, oldest first: up to [`MAX_ATTEMPTS_KEPT`] that ended, and the one that runs, if any.
    ///
    /// ```
    /// use lastout_work_runner::{AttemptOutcome, DurableWorker, Job, JobError, MemoryRegistry, NewJob, WorkRunner};
    /// use std::{sync::Arc, time::Duration};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Arc::new(MemoryRegistry::new());
    /// let worker = DurableWorker::builder(registry.clone())
    ///     .handle("ping", |_: Job<()>| async { Err::<(), _>(JobError::discard("no such host")) })
    ///     .build()?;
    /// let runner = WorkRunner::inline(worker);
    /// let driver = runner.driver(registry);
    /// let running = runner.spawn();
    /// let id = driver.enqueue(NewJob::new("ping", &())?).await?.id();
    /// let row = driver.wait(id, Duration::from_secs(10)).await?.expect("it was enqueued");
    /// let attempts = row.attempts();
    /// assert_eq!(attempts[0].outcome, AttemptOutcome::Failed);
    /// assert_eq!(attempts[0].error.as_deref(), Some("no such host"));
    /// # let _ = running.stop(Duration::from_secs(10)).await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn attempts(&self) -> Vec<Attempt> {
        let mut attempts = self.history.clone();
        attempts.extend(self.last_attempt());
        let too_many = attempts.iter().filter(|attempt| attempt.ended_at.is_some()).count();
        attempts.drain(..too_many.saturating_sub(MAX_ATTEMPTS_KEPT));
        attempts
    }

    /// The attempt that the row tells without its history: one that runs, or succeeded.
    fn last_attempt(&self) -> Option<Attempt> {
        let (outcome, ended_at) = match self.state {
            State::Running => (AttemptOutcome::Running, None),
            State::Succeeded => (AttemptOutcome::Succeeded, Some(self.ended_at)),
            _ => return None,
        };
        Some(Attempt {
            fence: self.fence,
            worker: self.owner,
            started_at: self.claimed_at,
            ended_at,
            outcome,
            error: None,
        })
    }
}

/// An attempt that an event may end, taken down before the event is applied.
pub(crate) struct Ending(Option<Attempt>);

impl Ending {
    pub(crate) fn before(row: &JobRecord, event: &Event, now_ms: i64) -> Self {
        let mut last = row.last_attempt();
        let open = last.as_mut().filter(|attempt| attempt.ended_at.is_none());
        if let (Some(attempt), Some((outcome, error))) = (open, AttemptOutcome::of(event)) {
            attempt.ended_at = Some(now_ms);
            attempt.outcome = outcome;
            attempt.error = error.map(|error| bounded(error.to_owned(), MAX_ERROR_BYTES));
        }
        Self(last)
    }

    /// Adds it to the history, once the row tells it no longer.
    pub(crate) fn record(self, row: &mut JobRecord) {
        let Some(mut attempt) = self.0.filter(|_| row.last_attempt().is_none()) else {
            return;
        };
        match row.state {
            State::Cancelled => attempt.outcome = AttemptOutcome::Cancelled,
            State::Abandoned => attempt.outcome = AttemptOutcome::Abandoned,
            _ => {}
        }
        row.history.push(attempt);
        let too_many = row.history.len().saturating_sub(MAX_ATTEMPTS_KEPT);
        row.history.drain(..too_many);
    }
}

/// Histories as the durable stores keep them.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod stored {
    use super::{Attempt, AttemptOutcome};
    use crate::lease::{Fence, WorkerId};

    /// Fence, worker, start, end, outcome and error.
    type Entry<'a> = (i64, i64, i64, Option<i64>, std::borrow::Cow<'a, str>, Option<String>);

    /// The text of a history; `None` for an empty one.
    pub(crate) fn text_of(history: &[Attempt]) -> Option<String> {
        if history.is_empty() {
            return None;
        }
        let entries = history.iter().map(|attempt| -> Entry<'_> {
            let Attempt { fence, worker, started_at, ended_at, outcome, error } = attempt;
            (fence.0, worker.0, *started_at, *ended_at, outcome.name().into(), error.clone())
        });
        // Numbers and texts have no way to fail.
        serde_json::to_string(&entries.collect::<Vec<_>>()).ok()
    }

    /// Reads a history. The job can be run without it, so one that is damaged is told as one attempt of which
    /// nothing is known, with the reason.
    pub(crate) fn read(text: Option<&str>) -> Vec<Attempt> {
        let entries = serde_json::from_str::<Vec<Entry<'_>>>(text.unwrap_or("[]"));
        let read = |(fence, worker, started_at, ended_at, name, error): Entry<'_>| {
            let known = AttemptOutcome::ALL.iter().find(|(_, known)| *known == name);
            let outcome = known.map_or(AttemptOutcome::Unknown, |(outcome, _)| *outcome);
            Attempt {
                fence: Fence(fence),
                worker: WorkerId(worker),
                started_at,
                ended_at,
                outcome,
                error,
            }
        };
        match entries {
            Ok(entries) => entries.into_iter().map(read).collect(),
            Err(why) => vec![Attempt {
                fence: Fence::ZERO,
                worker: WorkerId::NONE,
                started_at: 0,
                ended_at: Some(0),
                outcome: AttemptOutcome::Unknown,
                error: Some(format!("the earlier attempts cannot be read: {why}")),
            }],
        }
    }
}
