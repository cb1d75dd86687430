//! Claims and completions of many rows by one statement.
//!
//! Each run of a statement opens the table and its indexes again, so a chunk of rows is changed by
//! one. Such a statement says how many rows it changed, not which: when a completion changed fewer
//! than it named (one is cancelled, has a key, was reported before, or its lease is stale), the
//! transaction is rolled back and run again with one statement for each row.

use super::bulk::SIZES;
use super::rows::{Sql, Tx};
use super::schema::failed;
use crate::error::{StoreError, StoreErrorKind};
use crate::lease::WorkerId;
use crate::lifecycle::Outcome;
use crate::registry::{Claimed, Report};
use rusqlite::ToSql;
use std::sync::LazyLock;

/// Transactions that go row by row after one that had to: such jobs come in numbers.
const DISTRUST: u32 = 32;

/// How the transactions of a connection complete jobs.
#[derive(Debug)]
pub(super) struct Completing {
    /// Whether a transaction can be rolled back and run again.
    repeatable: bool,
    /// Transactions to go row by row.
    one_by_one: u32,
    /// This one has to be run again.
    again: bool,
}

impl Completing {
    /// Inside a transaction of somebody else.
    pub(super) fn one_by_one() -> Self {
        Self { repeatable: false, one_by_one: 0, again: false }
    }

    /// By a writer that runs a transaction again when [`again`](Self::again) says so.
    pub(super) fn in_chunks() -> Self {
        Self { repeatable: true, one_by_one: 0, again: false }
    }

    /// A transaction is over: whether it failed only because it completed jobs in chunks.
    pub(super) fn again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }

    /// A transaction is committed.
    pub(super) fn committed(&mut self) {
        self.one_by_one = self.one_by_one.saturating_sub(1);
    }
}

// By id alone: the planner would think the index of running jobs to be shorter than the list.
static CLAIM: LazyLock<[String; 4]> = LazyLock::new(|| {
    // A sum beyond an integer would become another type: a lease for ever is long enough at half of it.
    statements(
        "UPDATE lastout_jobs NOT INDEXED SET state = {running}, fence = fence + 1, \
         attempt = min(attempt + 1, 2147483647), owner = ?1, claimed_at = ?2, \
         lease_until = CASE WHEN own_lease_ms > 0 \
         THEN ?3 + min(own_lease_ms, 4611686018427387904) ELSE 0 END WHERE id IN ",
    )
});
static COMPLETE: LazyLock<[String; 4]> = LazyLock::new(|| {
    statements(
        "UPDATE lastout_jobs NOT INDEXED SET state = {succeeded}, ended_at = ?1, result = NULL, error = NULL, \
         lease_until = 0 WHERE state = {running} AND owner = ?2 AND fence = ?3 AND limit_key IS NULL \
         AND unique_key IS NULL AND cancel = 0 AND id IN ",
    )
});

/// The statement for each size of a chunk; the first three parameters are its own.
fn statements(start: &str) -> [String; 4] {
    SIZES.map(|rows| format!("{start}({})", vec!["?"; rows].join(", ")))
}

/// Runs one statement for each chunk of `ids`; returns how many rows were changed.
fn change(
    tx: &mut Tx<'_>,
    sql: &'static [String; 4],
    head: [&dyn ToSql; 3],
    mut ids: &[i64],
) -> Sql<usize> {
    let doing = |error| failed("write to the job store", error);
    let mut changed = 0;
    for (size, sql) in SIZES.iter().zip(sql) {
        while ids.len() >= *size {
            let (now, rest) = ids.split_at(*size);
            ids = rest;
            let statement = tx.statement(sql)?;
            let values = head.into_iter().chain(now.iter().map(|id| id as &dyn ToSql));
            for (at, value) in values.enumerate() {
                statement.raw_bind_parameter(at + 1, value).map_err(doing)?;
            }
            changed += statement.raw_execute().map_err(doing)?;
        }
    }
    Ok(changed)
}

/// Writes down that `worker` holds these jobs, which were ready in this transaction.
pub(super) fn claim(tx: &mut Tx<'_>, worker: WorkerId, jobs: &[(Claimed, bool)]) -> Sql<()> {
    let ids: Vec<i64> = jobs.iter().map(|(job, _)| job.lease.job.0).collect();
    let (now_ms, boot_ms) = (tx.now_ms, tx.boot_ms);
    let changed = change(tx, &CLAIM, [&worker.0, &now_ms, &boot_ms], &ids)?;
    if changed == ids.len() {
        return Ok(());
    }
    // Under the write lock only a broken file has entries of an index without their rows.
    let why = format!("{} jobs are in the index of ready jobs, {changed} in the table", ids.len());
    Err(StoreError::new(StoreErrorKind::Corrupt, "claim jobs").with_source(why))
}

/// Whether a job that ends like this can be completed together with others.
pub(super) fn is_plain(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done { result: None })
}

/// Completes the plain ones of `reports` in chunks; false when they must go row by row. Fails to have
/// the transaction run again when a chunk could not be completed as a whole.
pub(super) fn complete(tx: &mut Tx<'_>, reports: &[Report]) -> Sql<bool> {
    if !tx.completing.repeatable || tx.completing.one_by_one > 0 {
        return Ok(false);
    }
    let now_ms = tx.now_ms;
    let mut ids: Vec<(WorkerId, i64, i64)> = reports
        .iter()
        .filter(|report| is_plain(&report.outcome))
        .map(|Report { lease, .. }| (lease.owner, lease.fence.0, lease.job.0))
        .collect();
    // In the order of the table.
    ids.sort_unstable();
    for alike in ids.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)) {
        let (owner, fence, _) = alike[0];
        let ids: Vec<i64> = alike.iter().map(|(_, _, id)| *id).collect();
        if change(tx, &COMPLETE, [&now_ms, &owner.0, &fence], &ids)? != ids.len() {
            tx.completing.one_by_one = DISTRUST;
            tx.completing.again = true;
            let kind = StoreErrorKind::Other;
            return Err(StoreError::new(kind, "complete jobs in chunks"));
        }
    }
    Ok(true)
}
