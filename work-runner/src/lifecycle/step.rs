//! The one function that moves a row along an edge. No clock, no I/O, no async.

use super::{EDGES, Event, EventName, Outcome, State, State as S};
use crate::job::{Ending, JobRecord, Recovery, rank};
use crate::lease::{Fence, Lease, WorkerId};
use std::fmt;

/// Longest error text that a row keeps, in bytes.
pub const MAX_ERROR_BYTES: usize = 4096;

/// First wait after a crash that is not the first, in milliseconds; doubles with each.
const CRASH_BACKOFF_MS: i64 = 1000;

/// A write that was not applied because its lease is no longer the row's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseLost {
    /// The lease that was shown.
    pub shown: Lease,
    /// The state of the row; `None` when the row is gone.
    pub state: Option<State>,
    /// The fence of the row.
    pub fence: Fence,
}

impl LeaseLost {
    /// `shown` met a row with this state and fence.
    pub fn new(shown: Lease, state: Option<State>, fence: Fence) -> Self {
        Self { shown, state, fence }
    }
}

impl fmt::Display for LeaseLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lease { job, fence, owner } = self.shown;
        write!(f, "write about job {job} with fence {} of worker {owner}: ", fence.0)?;
        match self.state {
            None => f.write_str("the job is gone"),
            Some(state) => write!(f, "the job is {state} with fence {}", self.fence.0),
        }
    }
}

impl std::error::Error for LeaseLost {}

/// Why [`step`] left a row as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The lease shown is not the row's.
    LeaseLost(LeaseLost),
    /// This very report was applied before: a retry of a write whose answer was lost.
    AlreadyApplied,
    /// No edge leads from this state by this event.
    NoEdge(State, EventName),
}

/// Moves `row` along the edge of `event` at `now_ms`, or says why not and leaves it as it was.
///
/// A row that goes to [`State::Ready`] and has a limit key must then be held by the store if its
/// key has no place free.
///
/// # Errors
///
/// [`Refused`], with the row unchanged.
pub fn step(row: &mut JobRecord, event: Event, now_ms: i64) -> Result<(), Refused> {
    if let Event::Report(lease, outcome) = &event {
        check_lease(row, *lease, outcome)?;
    }
    let name = event.name();
    if !EDGES.iter().any(|(from, by, _)| *from == row.state && *by == name) {
        return Err(Refused::NoEdge(row.state, name));
    }
    let ending = Ending::before(row, &event, now_ms);
    match event {
        Event::Promote | Event::Admit => row.state = S::Ready,
        Event::Claim { owner } => claim(row, owner, now_ms),
        Event::Report(_, outcome) => report(row, outcome, now_ms),
        Event::Crash => crash(row, now_ms),
        Event::Cancel if row.state == S::Running => row.cancel = true,
        Event::Cancel => end(row, S::Cancelled, now_ms),
        Event::Abandon { reason } => {
            row.error = Some(bounded(reason, MAX_ERROR_BYTES));
            row.owner = WorkerId::NONE;
            end(row, S::Abandoned, now_ms);
        }
        Event::Requeue => requeue(row, now_ms),
        Event::Edit(edit) => {
            let later = edit.change(row, now_ms);
            // One that is scheduled is made ready by the next promotion, like any other.
            row.state = if later || row.state == S::Scheduled { S::Scheduled } else { S::Ready };
        }
    }
    ending.record(row);
    Ok(())
}

fn check_lease(row: &JobRecord, lease: Lease, outcome: &Outcome) -> Result<(), Refused> {
    if row.fence != lease.fence || row.owner != lease.owner {
        return Err(Refused::LeaseLost(LeaseLost::new(lease, Some(row.state), row.fence)));
    }
    if row.state == S::Running {
        return Ok(());
    }
    // The same holder wrote last: a repeated report finds the state that it led to. A sweep and an
    // operator clear the owner, so nothing of theirs is taken for the holder's own.
    let before = EDGES.iter().find(|(from, by, _)| {
        *from == S::Running && *by == Event::Report(lease, outcome.clone()).name()
    });
    let own_report = before.is_some_and(|(_, _, to)| to.contains(&row.state))
        || (*outcome == Outcome::Confirm && row.state == S::Succeeded)
        || (*outcome == Outcome::Release && row.state == S::Held);
    Err(if own_report {
        Refused::AlreadyApplied
    } else {
        Refused::LeaseLost(LeaseLost::new(lease, Some(row.state), row.fence))
    })
}

fn claim(row: &mut JobRecord, owner: WorkerId, now_ms: i64) {
    row.state = S::Running;
    row.fence = Fence(row.fence.0 + 1);
    row.attempt = row.attempt.saturating_add(1);
    row.owner = owner;
    row.claimed_at = now_ms;
}

fn report(row: &mut JobRecord, outcome: Outcome, now_ms: i64) {
    match outcome {
        Outcome::Done { result } => {
            row.result = result;
            row.error = None;
            end(row, S::Succeeded, now_ms);
        }
        Outcome::Confirm => {
            let error = "the transaction that completed it was rolled back".into();
            retry(row, error, 0, now_ms);
        }
        Outcome::Retry { error, delay_ms } => retry(row, error, delay_ms, now_ms),
        Outcome::Fail { error } => fail(row, S::Failed, error, now_ms),
        Outcome::Reject { error } => fail(row, S::Dead, error, now_ms),
        Outcome::Snooze { delay_ms } => {
            row.attempt -= 1;
            if row.cancel {
                return end(row, S::Cancelled, now_ms);
            }
            schedule(row, delay_ms, now_ms);
        }
        Outcome::Stopped { error } => {
            row.error = error.map(|error| bounded(error, MAX_ERROR_BYTES)).or(row.error.take());
            end(row, S::Cancelled, now_ms);
        }
        Outcome::Release => {
            row.attempt -= 1;
            if row.recovery == Recovery::NeverRerun && row.started == row.fence {
                row.attempt += 1;
                return fail(row, S::Abandoned, "its worker gave it up midway".into(), now_ms);
            }
            if row.cancel {
                return end(row, S::Cancelled, now_ms);
            }
            row.state = S::Ready;
            row.lease_until = 0;
        }
    }
}

fn retry(row: &mut JobRecord, error: String, delay_ms: i64, now_ms: i64) {
    if row.cancel {
        return fail(row, S::Cancelled, error, now_ms);
    }
    if row.recovery != Recovery::Rerun {
        return fail(row, S::Failed, error, now_ms);
    }
    if row.attempt.saturating_sub(row.crashes) >= row.max_attempts {
        return fail(row, S::Dead, error, now_ms);
    }
    row.error = Some(bounded(error, MAX_ERROR_BYTES));
    schedule(row, delay_ms, now_ms);
}

fn fail(row: &mut JobRecord, state: State, error: String, now_ms: i64) {
    row.error = Some(bounded(error, MAX_ERROR_BYTES));
    end(row, state, now_ms);
}

/// Its worker died. A first crash is charged to every job the worker held; from then on the start
/// of the job is recorded before it runs, and only a recorded start is charged again.
fn crash(row: &mut JobRecord, now_ms: i64) {
    row.owner = WorkerId::NONE;
    let started = row.started == row.fence;
    if row.recovery == Recovery::External {
        let error = "its outside holder did not renew its lease".into();
        return fail(row, S::Abandoned, error, now_ms);
    }
    let must_record = row.crashes > 0 || row.recovery == Recovery::NeverRerun;
    if row.cancel {
        return end(row, S::Cancelled, now_ms);
    }
    if must_record && !started {
        row.attempt -= 1;
        row.lease_until = 0;
        row.state = S::Ready;
        return;
    }
    row.crashes += 1;
    let error = format!("its worker died while it held the job (crash {})", row.crashes);
    if row.recovery == Recovery::NeverRerun {
        return fail(row, S::Abandoned, error, now_ms);
    }
    if row.crashes >= row.max_crashes {
        return fail(row, S::Dead, format!("poisoned: {error}"), now_ms);
    }
    row.error = Some(bounded(error, MAX_ERROR_BYTES));
    row.lease_until = 0;
    if row.crashes == 1 {
        row.state = S::Ready;
    } else {
        let doublings = (row.crashes - 2).clamp(0, 10) as u32;
        schedule(row, CRASH_BACKOFF_MS << doublings, now_ms);
    }
}

fn requeue(row: &mut JobRecord, now_ms: i64) {
    row.state = S::Ready;
    row.attempt = 0;
    row.crashes = 0;
    row.cancel = false;
    row.ended_at = 0;
    row.result = None;
    row.owner = WorkerId::NONE;
    row.run_at = now_ms;
    row.rank = rank(now_ms, row.priority);
    if row.recovery == Recovery::External {
        // The outside holder's lease is gone; its revival is an ordinary job no longer its own.
        row.recovery = Recovery::Rerun;
    }
}

fn schedule(row: &mut JobRecord, delay_ms: i64, now_ms: i64) {
    row.state = S::Scheduled;
    row.run_at = now_ms.saturating_add(delay_ms.max(0));
    row.rank = rank(row.run_at, row.priority);
    row.lease_until = 0;
}

fn end(row: &mut JobRecord, state: State, now_ms: i64) {
    row.state = state;
    row.ended_at = now_ms;
    row.lease_until = 0;
}

/// Cuts a text to what a row keeps, without the NUL bytes that PostgreSQL refuses.
pub(crate) fn bounded(mut text: String, most: usize) -> String {
    if text.contains('\0') {
        text = text.replace('\0', "\u{fffd}");
    }
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    text
}
