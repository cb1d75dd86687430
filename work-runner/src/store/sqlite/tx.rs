//! Enqueue and complete inside a transaction of the caller, on the caller's own connection.

use super::hot;
use super::rows::Tx;
use super::schema;
use crate::clock::Clock;
use crate::error::{StoreError, WriteError};
use crate::job::{NewJob, check_jobs};
use crate::lease::Lease;
use crate::lifecycle::{LeaseLost, Outcome};
use crate::registry::{Applied, DEFAULT_MAX_BYTES, Enqueued, Report};
use rusqlite::{Transaction, params};

/// Enqueues `jobs` inside `transaction`: they exist if and only if it is committed.
///
/// The connection is the caller's own, on the file of the registry. Begin it with
/// [`TransactionBehavior::Immediate`](rusqlite::TransactionBehavior::Immediate): SQLite refuses to
/// turn a transaction that has read into one that writes when somebody else wrote in between. After
/// the commit, [`Poke::poke`](crate::Poke::poke) saves the runner a poll.
///
/// # Errors
///
/// [`StoreError`]; roll the transaction back.
pub fn enqueue_in(
    transaction: &Transaction<'_>,
    jobs: &[NewJob],
) -> Result<Vec<Enqueued>, StoreError> {
    check_jobs(jobs, DEFAULT_MAX_BYTES)?;
    let mut tx = begun(transaction)?;
    let enqueued = hot::enqueue(&mut tx, jobs)?;
    tx.finish()?;
    Ok(enqueued)
}

/// Completes the job held under `lease` inside `transaction`: its effects and its end are then one
/// commit. Call [`Job::completed_in_transaction`](crate::Job::completed_in_transaction) before the
/// handler returns.
///
/// # Errors
///
/// [`WriteError::LeaseLost`] when the lease is stale: roll the transaction back, another worker
/// answers for the job.
pub fn complete_in(
    transaction: &Transaction<'_>,
    lease: Lease,
    result: Option<Vec<u8>>,
) -> Result<(), WriteError> {
    let mut tx = begun(transaction)?;
    let report = Report::new(lease, Outcome::Done { result });
    let applied = hot::report(&mut tx, std::slice::from_ref(&report))?;
    tx.finish()?;
    match applied.first() {
        Some(Applied::Now(_) | Applied::Before) => Ok(()),
        Some(Applied::Lost(lost)) => Err(WriteError::LeaseLost(*lost)),
        None => Err(WriteError::LeaseLost(LeaseLost::new(lease, None, lease.fence))),
    }
}

fn begun<'c>(transaction: &'c Transaction<'_>) -> Result<Tx<'c>, StoreError> {
    let mut tx = Tx::new(transaction);
    let clock = Clock::system();
    tx.begin(clock.wall_ms(), clock.boot_ms());
    let sql = "SELECT value FROM lastout_meta WHERE key = 'schema'";
    let have = tx.one(sql, params![], |row| row.get::<_, i64>(0))?.unwrap_or(0);
    if have != schema::VERSION {
        let want = schema::VERSION;
        let kind = crate::StoreErrorKind::SchemaVersion { have, want };
        return Err(StoreError::new(kind, "use the job store in a transaction"));
    }
    Ok(tx)
}
