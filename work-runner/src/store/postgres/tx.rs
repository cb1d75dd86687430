//! Enqueue and complete inside a transaction of the caller, on the caller's own connection.

use super::super::names::with_codes;
use super::rows::Params;
use super::schema;
use crate::error::{StoreError, StoreErrorKind, WriteError};
use crate::job::{Due, JobId, NewJob, Recovery, Unique, check_jobs};
use crate::lease::{Fence, Lease};
use crate::lifecycle::{LeaseLost, State};
use crate::registry::{DEFAULT_MAX_BYTES, Enqueued};
use tokio_postgres::Transaction;

/// The statement that enqueues one job, for any client of PostgreSQL: payload, queue, kind, whether
/// the time is absolute, time or delay in milliseconds, priority, attempts, crashes, recovery,
/// timeout and own lease in milliseconds, unique key and whether it is kept. It returns the id, or no
/// row when the key is taken. Jobs with a limit key, and external ones, go through the registry.
pub const ENQUEUE_SQL: &str = "\
    WITH clock AS (SELECT (extract(epoch FROM now()) * 1000)::int8 AS now_ms), \
    due AS (SELECT now_ms, CASE WHEN $4 THEN $5 ELSE now_ms + $5::int8 END AS run_at FROM clock) \
    INSERT INTO lastout.jobs (id, rank, run_at, created_at, state, payload, queue, kind, priority, \
    max_attempts, max_crashes, recovery, timeout_ms, own_lease_ms, unique_key, unique_kept) \
    SELECT nextval('lastout.job_id'), run_at - $6::int2 * 60000::int8, run_at, now_ms, \
    CASE WHEN run_at > now_ms THEN 0 ELSE 2 END, $1::bytea, $2::text, $3::text, $6, $7::int4, $8::int4, \
    $9::int2, $10::int8, $11::int8, $12::text, $13::bool FROM due ON CONFLICT DO NOTHING RETURNING id";

// The text above is for other programs, so it holds the codes themselves.
const _: () = assert!(State::Scheduled.code() == 0 && State::Ready.code() == 2);

/// Enqueues `jobs` inside `transaction`, in the tables of the schema `lastout`: they exist if and
/// only if it is committed. After the commit, [`Poke::poke`](crate::Poke::poke) saves the runner a
/// poll.
///
/// # Errors
///
/// [`StoreError`]: of kind `Other` for a job with a limit key or an external one, which need the
/// registry; roll the transaction back.
///
/// # Cancel safety
///
/// Roll the transaction back when the future is dropped.
pub async fn enqueue_in(
    transaction: &Transaction<'_>,
    jobs: &[NewJob],
) -> Result<Vec<Enqueued>, StoreError> {
    let doing = "enqueue in a transaction";
    let failed = |error| super::pool::failed(doing, error);
    let statement = transaction.prepare(ENQUEUE_SQL).await.map_err(failed)?;
    let mut enqueued = Vec::with_capacity(jobs.len());
    check_jobs(jobs, DEFAULT_MAX_BYTES)?;
    // Only keys of periods depend on the time.
    let timed = jobs.iter().any(|job| job.unique.as_ref().is_some_and(|key| key.period_ms != 0));
    let now_ms = match timed {
        true => transaction.query_one(super::rows::NOW_MS, &[]).await.map_err(failed)?.get(0),
        false => 0,
    };
    for job in jobs {
        if job.limit.is_some() || job.recovery == Recovery::External {
            let why = "a job with a limit key, or an external one, must go through the registry";
            return Err(StoreError::new(StoreErrorKind::Other, doing).with_source(why));
        }
        let (absolute, due) = match job.due {
            Due::In(delay) => (false, delay),
            Due::At(at) => (true, at),
        };
        let key = job.unique.as_ref().map(|unique| unique.key_at(now_ms));
        let kept = job.unique.as_ref().is_some_and(Unique::is_kept);
        let values: Params<'_> = &[
            &job.payload,
            &&*job.queue,
            &&*job.kind,
            &absolute,
            &due,
            &job.priority,
            &job.max_attempts,
            &job.max_crashes,
            &job.recovery.code(),
            &job.timeout_ms,
            &job.own_lease_ms,
            &key,
            &kept,
        ];
        let key = key.as_deref();
        enqueued.push(insert_or_find(transaction, &statement, values, key).await.map_err(failed)??);
    }
    Ok(enqueued)
}

/// Inserts, or finds the job that holds the key. Its holder may end between the two statements, and the
/// key be taken again: then from the start, for as long as that goes on.
async fn insert_or_find(
    transaction: &Transaction<'_>,
    statement: &tokio_postgres::Statement,
    values: Params<'_>,
    key: Option<&str>,
) -> Result<Result<Enqueued, StoreError>, tokio_postgres::Error> {
    /// Each time another holder of the key must end within the microseconds between two statements.
    const TRIES: u32 = 100;
    let sql = "SELECT id FROM lastout.jobs WHERE unique_key = $1 AND (state < {succeeded} OR unique_kept) LIMIT 1";
    let sql = with_codes(sql);
    for _ in 0..TRIES {
        if let Some(row) = transaction.query_opt(statement, values).await? {
            return Ok(Ok(Enqueued::New(JobId(row.get(0)))));
        }
        if let Some(holder) = transaction.query_opt(&sql, &[&key]).await? {
            return Ok(Ok(Enqueued::Duplicate(JobId(holder.get(0)))));
        }
    }
    let kind = StoreErrorKind::Unavailable;
    Ok(Err(StoreError::new(kind, "enqueue in a transaction, against others with the same key")))
}

/// Completes the job held under `lease` inside `transaction`, in the tables of the schema `lastout`:
/// its effects and its end are then one commit. Call
/// [`Job::completed_in_transaction`](crate::Job::completed_in_transaction) before the handler
/// returns. A job with a limit key is not completed here, because others wait for its place.
///
/// # Errors
///
/// [`WriteError::LeaseLost`] when the lease is stale: roll the transaction back, another worker
/// answers for the job.
///
/// # Cancel safety
///
/// Roll the transaction back when the future is dropped.
pub async fn complete_in(
    transaction: &Transaction<'_>,
    lease: Lease,
    result: Option<Vec<u8>>,
) -> Result<(), WriteError> {
    let failed = |error| WriteError::Store(super::pool::failed("complete in a transaction", error));
    let sql = "UPDATE lastout.jobs SET state = {succeeded}, result = $4, error = NULL, lease_until = 0, \
               ended_at = (extract(epoch FROM now()) * 1000)::int8 \
               WHERE id = $1 AND state + 0 = {running} AND fence = $2 AND owner = $3 AND limit_key IS NULL";
    let keys = (lease.job.0, lease.fence.0, lease.owner.0);
    let sql = with_codes(sql);
    let written = transaction.execute(&sql, &[&keys.0, &keys.1, &keys.2, &result]).await;
    if written.map_err(failed)? == 1 {
        return Ok(());
    }
    let sql = "SELECT state, fence, limit_key IS NOT NULL FROM lastout.jobs WHERE id = $1";
    let row = transaction.query_opt(sql, &[&keys.0]).await.map_err(failed)?;
    let Some(row) = row else {
        return Err(WriteError::LeaseLost(LeaseLost::new(lease, None, lease.fence)));
    };
    let (state, fence) = (State::from_code(row.get(0)), Fence(row.get(1)));
    if row.get(2) && state == Some(State::Running) && fence == lease.fence {
        let why = "a job with a limit key must be completed by its handler's return";
        let error = StoreError::new(StoreErrorKind::Other, "complete in a transaction");
        return Err(WriteError::Store(error.with_source(why)));
    }
    Err(WriteError::LeaseLost(LeaseLost::new(lease, state, fence)))
}

/// The version of the tables that the statements here are written for.
pub const SCHEMA_VERSION: i64 = schema::VERSION;
