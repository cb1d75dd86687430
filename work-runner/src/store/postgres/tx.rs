//! Enqueue and complete inside a transaction of the caller, on the caller's own connection.

use super::super::client::{ClientStatement, check_for_client, check_result, hex};
use super::rows::Params;
use super::schema;
use crate::error::{StoreError, StoreErrorKind, WriteError};
use crate::job::{Due, JobId, NewJob, Unique};
use crate::lease::{Fence, Lease};
use crate::lifecycle::{LeaseLost, State};
use crate::registry::Enqueued;
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

/// The job that holds a key.
const HOLDER: &str = "SELECT id FROM lastout.jobs WHERE unique_key = $1 AND (state < {succeeded} OR unique_kept) LIMIT 1";

/// The tables of a job store, for transactions of the caller's own: of tokio-postgres by [`enqueue_in`](Self::enqueue_in)
/// and [`complete_in`](Self::complete_in), of any other client, such as sqlx, by the statements.
///
/// The tables must be of the version that this build reads and writes, as they are once a
/// [`PostgresRegistry`](super::PostgresRegistry) has connected.
///
/// ```
/// use lastout_work_runner::NewJob;
/// use lastout_work_runner::postgres::Tables;
///
/// let tables = Tables::in_schema("jobs")?;
/// let statement = tables.enqueue_statement(&[NewJob::new("mail", &"hello")?])?;
/// // sqlx::query_scalar::<_, i64>(AssertSqlSafe(statement.sql))
/// //     .bind(statement.parameter).fetch_all(&mut *transaction).await?
/// # assert!(statement.sql.contains("$1") && statement.sql.contains("\"jobs\".jobs"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    schema: String,
}

impl Default for Tables {
    /// The tables in the schema `lastout`.
    fn default() -> Self {
        Self { schema: schema::DEFAULT.to_owned() }
    }
}

impl Tables {
    /// Those of a schema, see [`PostgresOptions::schema`](super::PostgresOptions::schema).
    ///
    /// # Errors
    ///
    /// [`StoreError`] for a name that no registry would take.
    pub fn in_schema(schema: impl Into<String>) -> Result<Self, StoreError> {
        let schema = schema.into();
        schema::check_name(&schema)?;
        Ok(Self { schema })
    }

    fn named(&self, sql: &str) -> String {
        schema::named(sql, &self.schema)
    }

    /// The statement that enqueues `jobs`: they exist if and only if the transaction is committed. It returns the
    /// ids of those that were stored, in the order of `jobs`; a job whose unique key is taken is not stored and has
    /// none. Times are those of the server. After the commit, [`Poke::poke`](crate::Poke::poke) saves the runner a
    /// poll.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: of kind `Other` for a job with a limit key or an external one, which need the registry.
    pub fn enqueue_statement(&self, jobs: &[NewJob]) -> Result<ClientStatement, StoreError> {
        check_for_client(jobs)?;
        let row = |job: &NewJob| {
            let (absolute, due) = match job.due {
                Due::In(delay) => (false, delay),
                Due::At(at) => (true, at),
            };
            serde_json::json!({
                "queue": &*job.queue,
                "kind": &*job.kind,
                "payload": hex(&job.payload),
                "absolute": absolute,
                "due": due,
                "priority": job.priority,
                "max_attempts": job.max_attempts,
                "max_crashes": job.max_crashes,
                "recovery": job.recovery.code(),
                "timeout_ms": job.timeout_ms,
                "own_lease_ms": job.own_lease_ms,
                "key": job.unique.as_ref().map(|unique| &*unique.key),
                "period": job.unique.as_ref().map_or(0, |unique| unique.period_ms),
                "kept": job.unique.as_ref().is_some_and(Unique::is_kept),
            })
        };
        let sql = "WITH clock AS MATERIALIZED (SELECT (extract(epoch FROM now()) * 1000)::int8 AS now_ms), \
            due AS MATERIALIZED (SELECT job, n, now_ms, (job ->> 'priority')::int2 AS priority, \
            (job ->> 'period')::int8 AS period, CASE WHEN (job ->> 'absolute')::bool THEN (job ->> 'due')::int8 \
            ELSE now_ms + (job ->> 'due')::int8 END AS run_at \
            FROM clock, json_array_elements($1::text::json) WITH ORDINALITY AS given (job, n)) \
            INSERT INTO lastout.jobs (id, rank, run_at, created_at, state, payload, queue, kind, priority, \
            max_attempts, max_crashes, recovery, timeout_ms, own_lease_ms, unique_key, unique_kept) \
            SELECT nextval('lastout.job_id'), run_at - priority * 60000::int8, run_at, now_ms, \
            CASE WHEN run_at > now_ms THEN {scheduled} ELSE {ready} END, decode(job ->> 'payload', 'hex'), \
            job ->> 'queue', job ->> 'kind', priority, (job ->> 'max_attempts')::int4, \
            (job ->> 'max_crashes')::int4, (job ->> 'recovery')::int2, (job ->> 'timeout_ms')::int8, \
            (job ->> 'own_lease_ms')::int8, CASE WHEN period = 0 THEN job ->> 'key' \
            ELSE job ->> 'key' || '@' || (now_ms - now_ms % period) END, (job ->> 'kept')::bool \
            FROM (SELECT * FROM due ORDER BY n) AS ordered ON CONFLICT DO NOTHING RETURNING id";
        Ok(ClientStatement::new(self.named(sql), &jobs.iter().map(row).collect()))
    }

    /// The statement that completes the job held under `lease`; otherwise as [`complete_in`](Self::complete_in). It
    /// returns the id of the job. When it returns no row, roll the transaction back: the lease is stale, or the job
    /// has a limit key or is to be cancelled, and then its handler's return must end it.
    ///
    /// # Errors
    ///
    /// [`WriteError::TooLarge`] for a result of more than 1 MiB.
    pub fn complete_statement(
        &self,
        lease: Lease,
        result: Option<Vec<u8>>,
    ) -> Result<ClientStatement, WriteError> {
        check_result(result.as_deref())?;
        let sql = "UPDATE lastout.jobs SET state = {succeeded}, result = decode(held ->> 'result', 'hex'), \
            error = NULL, lease_until = 0, ended_at = (extract(epoch FROM now()) * 1000)::int8 \
            FROM (SELECT $1::text::json AS held) AS given WHERE id = (held ->> 'job')::int8 \
            AND state + 0 = {running} AND fence = (held ->> 'fence')::int8 \
            AND owner = (held ->> 'owner')::int8 AND limit_key IS NULL AND NOT cancel RETURNING id";
        Ok(ClientStatement::new(self.named(sql), &ClientStatement::completion(lease, result)))
    }

    /// Enqueues `jobs` inside `transaction`: they exist if and only if it is committed. After the commit,
    /// [`Poke::poke`](crate::Poke::poke) saves the runner a poll.
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
        &self,
        transaction: &Transaction<'_>,
        jobs: &[NewJob],
    ) -> Result<Vec<Enqueued>, StoreError> {
        let doing = "enqueue in a transaction";
        check_for_client(jobs)?;
        let failed = |error| super::pool::failed(doing, error);
        let statement = transaction.prepare(&self.named(ENQUEUE_SQL)).await.map_err(failed)?;
        let mut enqueued = Vec::with_capacity(jobs.len());
        // Only keys of periods depend on the time.
        let timed =
            jobs.iter().any(|job| job.unique.as_ref().is_some_and(|key| key.period_ms != 0));
        let now_ms = match timed {
            true => transaction.query_one(super::rows::NOW_MS, &[]).await.map_err(failed)?.get(0),
            false => 0,
        };
        for job in jobs {
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
            let holder = self.named(HOLDER);
            let found = insert_or_find(transaction, &statement, &holder, values, key).await;
            enqueued.push(found.map_err(failed)??);
        }
        Ok(enqueued)
    }

    /// Completes the job held under `lease` inside `transaction`: its effects and its end are then one commit. Call
    /// [`Job::completed_in_transaction`](crate::Job::completed_in_transaction) before the handler returns. A job
    /// with a limit key is not completed here, because others wait for its place.
    ///
    /// # Errors
    ///
    /// [`WriteError::LeaseLost`] when the lease is stale: roll the transaction back, another worker
    /// answers for the job. [`WriteError::TooLarge`] for a result of more than 1 MiB.
    ///
    /// # Cancel safety
    ///
    /// Roll the transaction back when the future is dropped.
    pub async fn complete_in(
        &self,
        transaction: &Transaction<'_>,
        lease: Lease,
        result: Option<Vec<u8>>,
    ) -> Result<(), WriteError> {
        check_result(result.as_deref())?;
        let failed =
            |error| WriteError::Store(super::pool::failed("complete in a transaction", error));
        let sql = "UPDATE lastout.jobs SET state = {succeeded}, result = $4, error = NULL, lease_until = 0, \
                   ended_at = (extract(epoch FROM now()) * 1000)::int8 \
                   WHERE id = $1 AND state + 0 = {running} AND fence = $2 AND owner = $3 AND limit_key IS NULL";
        let keys = (lease.job.0, lease.fence.0, lease.owner.0);
        let sql = self.named(sql);
        let written = transaction.execute(&sql, &[&keys.0, &keys.1, &keys.2, &result]).await;
        if written.map_err(failed)? == 1 {
            return Ok(());
        }
        let sql = self
            .named("SELECT state, fence, limit_key IS NOT NULL FROM lastout.jobs WHERE id = $1");
        let row = transaction.query_opt(&sql, &[&keys.0]).await.map_err(failed)?;
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
}

/// [`Tables::enqueue_in`] in the tables of the schema `lastout`.
///
/// # Errors
///
/// As for [`Tables::enqueue_in`].
pub async fn enqueue_in(
    transaction: &Transaction<'_>,
    jobs: &[NewJob],
) -> Result<Vec<Enqueued>, StoreError> {
    Tables::default().enqueue_in(transaction, jobs).await
}

/// [`Tables::complete_in`] in the tables of the schema `lastout`.
///
/// # Errors
///
/// As for [`Tables::complete_in`].
pub async fn complete_in(
    transaction: &Transaction<'_>,
    lease: Lease,
    result: Option<Vec<u8>>,
) -> Result<(), WriteError> {
    Tables::default().complete_in(transaction, lease, result).await
}

/// Inserts, or finds the job that holds the key. Its holder may end between the two statements, and the
/// key be taken again: then from the start, for as long as that goes on.
async fn insert_or_find(
    transaction: &Transaction<'_>,
    statement: &tokio_postgres::Statement,
    holder: &str,
    values: Params<'_>,
    key: Option<&str>,
) -> Result<Result<Enqueued, StoreError>, tokio_postgres::Error> {
    /// Each time another holder of the key must end within the microseconds between two statements.
    const TRIES: u32 = 100;
    for _ in 0..TRIES {
        if let Some(row) = transaction.query_opt(statement, values).await? {
            return Ok(Ok(Enqueued::New(JobId(row.get(0)))));
        }
        if let Some(holder) = transaction.query_opt(holder, &[&key]).await? {
            return Ok(Ok(Enqueued::Duplicate(JobId(holder.get(0)))));
        }
    }
    let kind = StoreErrorKind::Unavailable;
    Ok(Err(StoreError::new(kind, "enqueue in a transaction, against others with the same key")))
}

/// The version of the tables that the statements here are written for.
pub const SCHEMA_VERSION: i64 = schema::VERSION;
