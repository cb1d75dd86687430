//! Enqueue and complete inside a transaction of the caller, on the caller's own connection.

use super::super::client::{ClientStatement, check_for_client, check_result, hex};
use super::super::names::with_codes;
use super::hot;
use super::rows::Tx;
use super::schema;
use crate::clock::Clock;
use crate::error::{StoreError, WriteError};
use crate::job::{JobId, JobRecord, NewJob, check_jobs};
use crate::lease::Lease;
use crate::lifecycle::{LeaseLost, Outcome, State};
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
/// answers for the job. [`WriteError::TooLarge`] for a result of more than 1 MiB.
pub fn complete_in(
    transaction: &Transaction<'_>,
    lease: Lease,
    result: Option<Vec<u8>>,
) -> Result<(), WriteError> {
    check_result(result.as_deref())?;
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

/// The statement that enqueues `jobs`, for a client that is not rusqlite, such as sqlx: they exist if and only if
/// the transaction is committed. It returns the ids of those that were stored, in the order of `jobs`; a job whose
/// unique key is taken is not stored and has none. It needs SQLite 3.41.
///
/// A delay counts from this call, and the period of a unique key is the one of this call. The tables must be of the version that this build reads and writes, as they are
/// once a [`SqliteRegistry`](super::SqliteRegistry) has opened the file. Begin the transaction with
/// `BEGIN IMMEDIATE`, for the same reason as with [`enqueue_in`]; the runner finds the jobs with its next poll, or
/// with a [`Poke::poke`](crate::Poke::poke) after the commit.
///
/// ```
/// use lastout_work_runner::NewJob;
/// use lastout_work_runner::sqlite::enqueue_statement;
///
/// let statement = enqueue_statement(&[NewJob::new("mail", &"hello")?])?;
/// // sqlx::query_scalar::<_, i64>(AssertSqlSafe(statement.sql))
/// //     .bind(statement.parameter).fetch_all(&mut *transaction).await?
/// # assert!(statement.sql.contains("?1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`StoreError`]: of kind `Other` for a job with a limit key or an external one, which need the registry.
pub fn enqueue_statement(jobs: &[NewJob]) -> Result<ClientStatement, StoreError> {
    check_for_client(jobs)?;
    let now_ms = Clock::system().wall_ms();
    let row = |job: &NewJob| {
        let row = JobRecord::new(JobId(0), job.clone(), now_ms);
        serde_json::json!({
            "state": row.state.code(),
            "rank": row.rank,
            "run_at": row.run_at,
            "priority": row.priority,
            "max_attempts": row.max_attempts,
            "max_crashes": row.max_crashes,
            "recovery": row.recovery.code(),
            "own_lease_ms": row.own_lease_ms,
            "timeout_ms": row.timeout_ms,
            "unique_kept": i32::from(row.unique_kept),
            "created_at": row.created_at,
            "queue": &*row.queue,
            "kind": &*row.kind,
            "payload": hex(&row.payload),
            "due_at": (row.state == State::Scheduled).then_some(row.run_at),
            "key": row.unique_key,
        })
    };
    let sql = "INSERT INTO lastout_jobs (id, state, fence, owner, attempt, rank, run_at, claimed_at, ended_at, \
        lease_until, crashes, started, cancel, priority, max_attempts, max_crashes, recovery, own_lease_ms, \
        timeout_ms, unique_kept, limit_max, created_at, queue, kind, payload, due_at, unique_key, open_key) \
        SELECT (SELECT max(coalesce((SELECT max(id) FROM lastout_jobs), 0), value) FROM lastout_meta \
        WHERE key = 'last_id') + 1 + given.key, given.value ->> 'state', 0, 0, 0, given.value ->> 'rank', \
        given.value ->> 'run_at', 0, 0, 0, 0, 0, 0, given.value ->> 'priority', given.value ->> 'max_attempts', \
        given.value ->> 'max_crashes', given.value ->> 'recovery', given.value ->> 'own_lease_ms', \
        given.value ->> 'timeout_ms', given.value ->> 'unique_kept', 0, given.value ->> 'created_at', \
        given.value ->> 'queue', given.value ->> 'kind', unhex(given.value ->> 'payload'), \
        given.value ->> 'due_at', given.value ->> 'key', given.value ->> 'key' FROM json_each(?1) AS given \
        WHERE true ORDER BY given.key ON CONFLICT DO NOTHING RETURNING id";
    Ok(ClientStatement::new(sql.to_owned(), &jobs.iter().map(row).collect()))
}

/// The statement that completes the job held under `lease`, for a client that is not rusqlite; otherwise as
/// [`complete_in`]. It returns the id of the job. It needs SQLite 3.41. When it returns no row, roll the transaction back: the lease is
/// stale, or the job has a limit key or is to be cancelled, and then its handler's return must end it.
///
/// # Errors
///
/// [`WriteError::TooLarge`] for a result of more than 1 MiB.
pub fn complete_statement(
    lease: Lease,
    result: Option<Vec<u8>>,
) -> Result<ClientStatement, WriteError> {
    check_result(result.as_deref())?;
    let mut parameter = ClientStatement::completion(lease, result);
    // Not in the text, which clients keep prepared.
    parameter["ended_at"] = Clock::system().wall_ms().into();
    let sql = "UPDATE lastout_jobs SET state = {succeeded}, ended_at = ?1 ->> 'ended_at', \
         result = unhex(?1 ->> 'result'), \
         error = NULL, lease_until = 0, open_key = CASE WHEN unique_kept = 1 THEN unique_key END \
         WHERE id = ?1 ->> 'job' AND state = {running} AND fence = ?1 ->> 'fence' AND owner = ?1 ->> 'owner' \
         AND limit_key IS NULL AND cancel = 0 RETURNING id";
    Ok(ClientStatement::new(with_codes(sql), &parameter))
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
