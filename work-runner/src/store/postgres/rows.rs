//! A connection inside a transaction, as the table that the shared transitions move rows in.

use super::super::counting::bound_of;
use super::super::table::Table;
use super::pool::{Connection, Pool, failed};
use crate::error::{StoreError, StoreErrorKind};
use crate::job::{JobId, JobRecord, Recovery, stored};
use crate::lease::{Fence, WorkerId};
use crate::lifecycle::State;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

pub(super) type Sql<T> = Result<T, StoreError>;
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// How often a transaction that lost against another one is tried.
const TRIES: u32 = 5;

/// The clock of the store: that of the database server.
pub(super) const NOW_MS: &str = "SELECT (extract(epoch FROM now()) * 1000)::int8";

/// An open transaction.
pub(super) struct Tx<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) now_ms: i64,
}

pub(super) async fn now_ms(connection: &mut Connection) -> Sql<i64> {
    let now = connection.prepare(NOW_MS).await?;
    let row = connection.client.query_one(&now, &[]).await;
    row.map(|row| row.get(0)).map_err(|error| failed("read the clock of the job store", error))
}

/// How a transaction begins that writes.
const WRITE: &str = "BEGIN";

/// How a transaction begins that only looks: all its statements see the store at one moment.
pub(super) const LOOK: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Runs `work` in one transaction; again when it lost against another transaction.
pub(super) async fn transact<T>(
    pool: &Pool,
    work: impl AsyncFnMut(&mut Tx<'_>) -> Sql<T>,
) -> Sql<T> {
    begun(pool, WRITE, Duration::ZERO, work).await
}

/// Like `transact`, for work that may take `more` than other calls.
pub(super) async fn transact_within<T>(
    pool: &Pool,
    more: Duration,
    work: impl AsyncFnMut(&mut Tx<'_>) -> Sql<T>,
) -> Sql<T> {
    begun(pool, WRITE, more, work).await
}

/// Like `transact`, for work that only looks.
pub(super) async fn look<T>(pool: &Pool, work: impl AsyncFnMut(&mut Tx<'_>) -> Sql<T>) -> Sql<T> {
    begun(pool, LOOK, Duration::ZERO, work).await
}

async fn begun<T>(
    pool: &Pool,
    begin: &str,
    more: Duration,
    mut work: impl AsyncFnMut(&mut Tx<'_>) -> Sql<T>,
) -> Sql<T> {
    let mut tries = 0;
    loop {
        tries += 1;
        let limit = pool.limit.saturating_add(more);
        let once = async |connection: &mut Connection| once(connection, begin, &mut work).await;
        let done = pool.with_within(limit, once).await;
        match done {
            Err(error) if error.kind() == StoreErrorKind::Unavailable && tries < TRIES => {}
            done => return done,
        }
    }
}

pub(super) async fn once<T>(
    connection: &mut Connection,
    begin: &str,
    work: &mut impl AsyncFnMut(&mut Tx<'_>) -> Sql<T>,
) -> Sql<T> {
    let clock = connection.prepare(NOW_MS).await?;
    let client = &connection.client;
    // Both are sent at once: one round trip.
    let (begun, now) = tokio::join!(client.batch_execute(begin), client.query_one(&clock, &[]));
    begun.map_err(|error| failed("begin a transaction", error))?;
    let now_ms = match now.map_err(|error| failed("read the clock of the job store", error)) {
        Ok(now) => now.get(0),
        Err(error) => {
            // The error that came first says more than that of the rollback.
            let _ = connection.client.batch_execute("ROLLBACK").await;
            return Err(error);
        }
    };
    let done = work(&mut Tx { connection: &mut *connection, now_ms }).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = connection.client.batch_execute(end).await;
    let value = done?;
    ended.map_err(|error| failed("commit a transaction", error))?;
    Ok(value)
}

impl Tx<'_> {
    pub(super) async fn run(&mut self, sql: &'static str, params: Params<'_>) -> Sql<u64> {
        let statement = self.connection.prepare(sql).await?;
        let changed = self.connection.client.execute(&statement, params).await;
        changed.map_err(|error| failed("write to the job store", error))
    }

    pub(super) async fn all(&mut self, sql: &'static str, params: Params<'_>) -> Sql<Vec<Row>> {
        let statement = self.connection.prepare(sql).await?;
        let rows = self.connection.client.query(&statement, params).await;
        rows.map_err(|error| failed("read the job store", error))
    }

    /// Runs a statement of people, which is not kept.
    pub(super) async fn look(&mut self, sql: &str, params: Params<'_>) -> Sql<Vec<Row>> {
        let rows = self.connection.client.query(&self.connection.text(sql), params).await;
        rows.map_err(|error| failed("read the job store", error))
    }

    pub(super) async fn rows(
        &mut self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Sql<Vec<JobRecord>> {
        Ok(self.all(sql, params).await?.iter().map(read_row).collect())
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, state, fence, owner, attempt, rank, run_at, claimed_at, ended_at, ",
            "lease_until, crashes, started, cancel, priority, max_attempts, max_crashes, recovery, ",
            "own_lease_ms, timeout_ms, unique_kept, limit_max, created_at, unique_key, limit_key, ",
            "queue, kind, error, progress, result, payload, history FROM lastout.jobs ",
            $rest
        )
    };
}
pub(super) use select;

/// Reads a row. The server keeps each column in its type; only the state may be one that is not known.
pub(super) fn read_row(row: &Row) -> JobRecord {
    let code: i16 = row.get(1);
    let state = State::from_code(code);
    let unknown = || Some(format!("it has the unknown state {code}"));
    JobRecord {
        id: JobId(row.get(0)),
        state: state.unwrap_or(State::Unreadable),
        fence: Fence(row.get(2)),
        owner: WorkerId(row.get(3)),
        attempt: row.get(4),
        rank: row.get(5),
        run_at: row.get(6),
        claimed_at: row.get(7),
        ended_at: row.get(8),
        lease_until: row.get(9),
        crashes: row.get(10),
        started: Fence(row.get(11)),
        cancel: row.get(12),
        priority: row.get(13),
        max_attempts: row.get(14),
        max_crashes: row.get(15),
        recovery: Recovery::from_code(row.get(16)),
        own_lease_ms: row.get(17),
        timeout_ms: row.get(18),
        unique_kept: row.get(19),
        limit_max: row.get(20),
        created_at: row.get(21),
        unique_key: row.get(22),
        limit_key: row.get::<_, Option<&str>>(23).map(Arc::from),
        queue: Arc::from(row.get::<_, &str>(24)),
        kind: Arc::from(row.get::<_, &str>(25)),
        error: if state.is_none() { unknown() } else { row.get(26) },
        progress: row.get(27),
        result: row.get(28),
        payload: row.get(29),
        history: stored::read(row.get(30)),
    }
}

impl Table for Tx<'_> {
    fn now_ms(&self) -> i64 {
        self.now_ms
    }

    fn lease_now_ms(&self) -> i64 {
        // One clock for all machines: the server's.
        self.now_ms
    }

    async fn load(&mut self, jobs: &[JobId]) -> Sql<Vec<JobRecord>> {
        // In the order of ids, so that two transactions cannot wait for each other.
        let mut ids: Vec<i64> = jobs.iter().map(|job| job.0).collect();
        ids.sort_unstable();
        self.rows(select!("WHERE id = ANY($1) ORDER BY id FOR UPDATE"), &[&ids]).await
    }

    async fn save(&mut self, row: &JobRecord) -> Sql<()> {
        self.run(
            "UPDATE lastout.jobs SET state = $2, fence = $3, owner = $4, attempt = $5, rank = $6, \
             run_at = $7, claimed_at = $8, ended_at = $9, lease_until = $10, crashes = $11, \
             started = $12, cancel = $13, recovery = $14, error = $15, progress = $16, result = $17, history = $18, \
             queue = $19, priority = $20 \
             WHERE id = $1",
            &[
                &row.id.0, &row.state.code(), &row.fence.0, &row.owner.0, &row.attempt, &row.rank,
                &row.run_at, &row.claimed_at, &row.ended_at, &row.lease_until, &row.crashes,
                &row.started.0, &row.cancel, &row.recovery.code(), &row.error, &row.progress,
                &row.result, &stored::text_of(&row.history), &&*row.queue, &row.priority,
            ],
        )
        .await?;
        Ok(())
    }

    async fn set_aside(&mut self, row: &JobRecord) -> Sql<bool> {
        let sql = "UPDATE lastout.jobs j SET state = {unreadable}, error = $2, ended_at = $3, lease_until = 0 \
                   FROM (SELECT id, limit_key IS NOT NULL AND state IN ({ready}, {running}) AS held \
                   FROM lastout.jobs WHERE id = $1 FOR UPDATE) old WHERE j.id = old.id RETURNING old.held";
        let now_ms = self.now_ms;
        let rows = self.all(sql, &[&row.id.0, &row.error, &now_ms]).await?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    async fn insert(&mut self, row: &mut JobRecord) -> Sql<Option<JobId>> {
        let inserted = self
            .all(
                "INSERT INTO lastout.jobs (id, state, fence, owner, attempt, rank, run_at, claimed_at, \
                 lease_until, priority, max_attempts, max_crashes, recovery, own_lease_ms, timeout_ms, \
                 unique_kept, limit_max, created_at, unique_key, limit_key, queue, kind, payload) \
                 VALUES (nextval('lastout.job_id'), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
                 $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) ON CONFLICT DO NOTHING RETURNING id",
                &[
                    &row.state.code(), &row.fence.0, &row.owner.0, &row.attempt, &row.rank,
                    &row.run_at, &row.claimed_at, &row.lease_until, &row.priority,
                    &row.max_attempts, &row.max_crashes, &row.recovery.code(), &row.own_lease_ms,
                    &row.timeout_ms, &row.unique_kept, &row.limit_max, &row.created_at,
                    &row.unique_key, &row.limit_key.as_deref(), &&*row.queue, &&*row.kind,
                    &row.payload,
                ],
            )
            .await?;
        if let Some(new) = inserted.first() {
            row.id = JobId(new.get(0));
            return Ok(None);
        }
        match self.key_holder(row).await? {
            Some(holder) => Ok(Some(holder)),
            // Its holder ended between the two statements: the transaction is tried again.
            None => Err(StoreError::new(StoreErrorKind::Unavailable, "enqueue a job")),
        }
    }

    async fn delete(&mut self, job: JobId) -> Sql<()> {
        self.run("DELETE FROM lastout.jobs WHERE id = $1", &[&job.0]).await.map(drop)
    }

    async fn key_holder(&mut self, row: &JobRecord) -> Sql<Option<JobId>> {
        let Some(key) = &row.unique_key else {
            return Ok(None);
        };
        let sql = "SELECT id FROM lastout.jobs WHERE unique_key = $1 AND unique_key IS NOT NULL \
                   AND (state < {succeeded} OR unique_kept) AND id <> $2";
        let found = self.all(sql, &[key, &row.id.0]).await?;
        Ok(found.first().map(|row| JobId(row.get(0))))
    }

    async fn lock_keys(&mut self, keys: &[&str]) -> Sql<()> {
        // One key alone is ordered by its own row.
        if keys.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(());
        }
        // Few locks for any number of keys, always in the same order.
        let sql = "SELECT pg_advisory_xact_lock(1818326900, bucket) FROM (SELECT DISTINCT \
                   (hashtextextended(key, 0) & 63)::int4 AS bucket FROM unnest($1::text[]) AS key \
                   ORDER BY bucket) AS buckets";
        self.run(sql, &[&keys]).await.map(drop)
    }

    async fn take_slot(&mut self, key: &str, max: i32) -> Sql<bool> {
        // The row of the key is locked either way, until the end: whoever gives a place back waits,
        // and then sees the job that is held for it.
        let sql = "INSERT INTO lastout.slots AS slot (key, used) VALUES ($1, 1) ON CONFLICT (key) \
                   DO UPDATE SET used = slot.used + 1 WHERE slot.used < $2";
        Ok(self.run(sql, &[&key, &max]).await? == 1)
    }

    async fn give_slot(&mut self, key: &str) -> Sql<()> {
        self.run("UPDATE lastout.slots SET used = used - 1 WHERE key = $1", &[&key]).await?;
        let sql = "DELETE FROM lastout.slots WHERE key = $1 AND used <= 0 AND NOT EXISTS \
                   (SELECT 1 FROM lastout.jobs WHERE state = {held} AND limit_key = $1)";
        self.run(sql, &[&key]).await?;
        Ok(())
    }

    async fn next_held(&mut self, key: Option<&str>) -> Sql<Option<JobRecord>> {
        let Some(key) = key else {
            return self.left_behind().await;
        };
        let sql = select!(
            "WHERE state = {held} AND limit_key = $1 ORDER BY rank, id LIMIT 1 FOR UPDATE SKIP LOCKED"
        );
        Ok(self.rows(sql, &[&key]).await?.pop())
    }

    async fn promote_plain(&mut self, limit: usize) -> Sql<usize> {
        let sql = "WITH due AS MATERIALIZED (SELECT id FROM lastout.jobs WHERE state = {scheduled} AND \
                   run_at <= $1 AND limit_key IS NULL ORDER BY run_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
                   UPDATE lastout.jobs j SET state = {ready} FROM due WHERE j.id = due.id";
        let now_ms = self.now_ms;
        let promoted = self.run(sql, &[&now_ms, &bound_of(limit)]).await?;
        Ok(usize::try_from(promoted).unwrap_or(usize::MAX))
    }

    async fn due_with_key(&mut self, limit: usize) -> Sql<Vec<JobRecord>> {
        let sql = select!(
            "WHERE state = {scheduled} AND run_at <= $1 AND limit_key IS NOT NULL ORDER BY run_at LIMIT $2 \
             FOR UPDATE SKIP LOCKED"
        );
        let now_ms = self.now_ms;
        self.rows(sql, &[&now_ms, &bound_of(limit)]).await
    }

    async fn running_of(&mut self, owner: WorkerId, limit: usize) -> Sql<Vec<JobRecord>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = select!("WHERE state = {running} AND owner = $1 ORDER BY id LIMIT $2 FOR UPDATE");
        self.rows(sql, &[&owner.0, &limit]).await
    }

    async fn running_ids(&mut self, owner: WorkerId) -> Sql<Vec<JobId>> {
        let sql = "SELECT id FROM lastout.jobs WHERE state = {running} AND owner = $1";
        let rows = self.all(sql, &[&owner.0]).await?;
        Ok(rows.iter().map(|row| JobId(row.get(0))).collect())
    }

    async fn adrift(&mut self, limit: usize) -> Sql<Vec<JobRecord>> {
        let sql = select!(
            "WHERE state = {running} AND ((owner > 0 AND NOT EXISTS (SELECT 1 FROM lastout.workers w \
             WHERE w.id = owner)) OR (lease_until <> 0 AND lease_until <= $1)) ORDER BY id LIMIT $2 \
             FOR UPDATE SKIP LOCKED"
        );
        let now_ms = self.now_ms;
        self.rows(sql, &[&now_ms, &bound_of(limit)]).await
    }

    async fn expired_workers(&mut self) -> Sql<Vec<WorkerId>> {
        // Locked: a worker renews before this or never again.
        let sql = "SELECT id FROM lastout.workers WHERE lease_until <= $1 ORDER BY id FOR UPDATE";
        let now_ms = self.now_ms;
        let rows = self.all(sql, &[&now_ms]).await?;
        Ok(rows.iter().map(|row| WorkerId(row.get(0))).collect())
    }

    async fn forget_worker(&mut self, worker: WorkerId) -> Sql<bool> {
        self.run("DELETE FROM lastout.signals WHERE owner = $1", &[&worker.0]).await?;
        let gone = self.run("DELETE FROM lastout.workers WHERE id = $1", &[&worker.0]).await?;
        Ok(gone == 1)
    }

    async fn signal(&mut self, owner: WorkerId, job: JobId) -> Sql<()> {
        let sql = "INSERT INTO lastout.signals (owner, job) SELECT id, $2 FROM lastout.workers \
                   WHERE id = $1 ON CONFLICT DO NOTHING";
        self.run(sql, &[&owner.0, &job.0]).await?;
        Ok(())
    }

    async fn unsignal(&mut self, job: JobId) -> Sql<()> {
        self.run("DELETE FROM lastout.signals WHERE job = $1", &[&job.0]).await?;
        Ok(())
    }
}

impl Tx<'_> {
    /// A held job whose key has a place free: whoever gave it back could not lock the job.
    async fn left_behind(&mut self) -> Sql<Option<JobRecord>> {
        let sql = "SELECT j.id FROM lastout.slots s CROSS JOIN LATERAL (SELECT id, limit_max FROM \
                   lastout.jobs WHERE state = {held} AND limit_key = s.key ORDER BY rank, id LIMIT 1) j \
                   WHERE s.used < j.limit_max LIMIT 1";
        let found = self.all(sql, &[]).await?;
        let Some(id) = found.first().map(|row| JobId(row.get(0))) else {
            return Ok(None);
        };
        let row = self.load(&[id]).await?.pop();
        Ok(row.filter(|row| row.state == State::Held))
    }
}
