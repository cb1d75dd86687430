//! A connection inside a transaction: its statements, prepared once, and the rows behind them.

use super::super::counting::bound_of;
use super::super::names::with_codes;
use super::super::table::Table;
use super::bulk::{self, Pending};
use super::many::Completing;
use super::record::{read_row, select};
use super::schema::{boot, failed};
use crate::error::StoreError;
use crate::job::{JobId, JobRecord, stored};
use crate::lease::WorkerId;
use crate::lifecycle::State;
use rusqlite::{Connection, OptionalExtension, Row, Statement, ToSql, params};
use std::collections::HashMap;
use std::sync::Arc;

/// Payloads up to this length live in the row; longer ones beside it.
pub(super) const INLINE_BYTES: usize = 1024;
/// Different queue and kind names remembered, so that claiming allocates none of them again.
const NAMES: usize = 1024;

/// An open transaction, and the statements that outlive it.
pub(super) struct Tx<'c> {
    conn: &'c Connection,
    /// By the address of their text: that is a literal, and hashing its hundreds of bytes for each row
    /// would cost more than the row.
    statements: HashMap<(usize, usize), Statement<'c>>,
    names: HashMap<Box<str>, Arc<str>>,
    pub(super) now_ms: i64,
    pub(super) boot_ms: i64,
    /// The last id given out; read at the first insert of the transaction.
    last_id: Option<i64>,
    /// Stored before anything else is done; see `bulk`.
    pub(super) pending: Pending,
    pub(super) completing: Completing,
}

pub(super) type Sql<T> = Result<T, StoreError>;

/// Names as one value that a statement can take apart.
pub(super) fn json_of(names: &[Arc<str>]) -> String {
    serde_json::Value::from_iter(names.iter().map(|name| &**name)).to_string()
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: &'c Connection) -> Self {
        Self {
            conn,
            statements: HashMap::new(),
            names: HashMap::new(),
            now_ms: 0,
            boot_ms: 0,
            last_id: None,
            pending: Pending::default(),
            completing: Completing::one_by_one(),
        }
    }

    pub(super) fn conn(&self) -> &'c Connection {
        self.conn
    }

    /// Begins or commits, by a statement that is not read anew each time.
    pub(super) fn control(&mut self, sql: &'static str) -> rusqlite::Result<()> {
        self.prepared(sql)?.raw_execute().map(drop)
    }

    /// A transaction has begun at these times.
    pub(super) fn begin(&mut self, now_ms: i64, boot_ms: i64) {
        self.now_ms = now_ms;
        self.boot_ms = boot_ms;
        self.last_id = None;
        self.pending.clear();
    }

    /// Writes what the transaction kept in memory.
    pub(super) fn finish(&mut self) -> Sql<()> {
        self.insert_pending()
    }

    pub(super) fn insert_pending(&mut self) -> Sql<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        let inserted = bulk::insert(self, &pending);
        pending.clear();
        self.pending = pending;
        inserted
    }

    /// A statement, prepared at its first use. What it may look for is stored before.
    pub(super) fn statement(&mut self, sql: &'static str) -> Sql<&mut Statement<'c>> {
        self.insert_pending()?;
        self.prepared(sql).map_err(|error| failed("prepare", error))
    }

    pub(super) fn prepared(&mut self, sql: &'static str) -> rusqlite::Result<&mut Statement<'c>> {
        use std::collections::hash_map::Entry;
        match self.statements.entry((sql.as_ptr().addr(), sql.len())) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(self.conn.prepare(&with_codes(sql))?)),
        }
    }

    pub(super) fn run(&mut self, sql: &'static str, params: &[&dyn ToSql]) -> Sql<usize> {
        let changed = self.statement(sql)?.execute(params);
        changed.map_err(|error| failed("write to the job store", error))
    }

    pub(super) fn one<T>(
        &mut self,
        sql: &'static str,
        params: &[&dyn ToSql],
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Sql<Option<T>> {
        let row = self.statement(sql)?.query_row(params, read).optional();
        row.map_err(|error| failed("read the job store", error))
    }

    pub(super) fn all<T>(
        &mut self,
        sql: &'static str,
        params: &[&dyn ToSql],
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Sql<Vec<T>> {
        let statement = self.statement(sql)?;
        let rows = statement.query_map(params, read).and_then(Iterator::collect);
        rows.map_err(|error| failed("read the job store", error))
    }

    /// Walks over the rows of a statement of people, which is not kept, until `each` returns false.
    pub(super) fn walk(
        &mut self,
        sql: &str,
        params: &[&dyn ToSql],
        mut each: impl FnMut(&Row<'_>) -> rusqlite::Result<bool>,
    ) -> Sql<()> {
        let reading = |error| failed("read the job store", error);
        let mut statement = self.conn.prepare(&with_codes(sql)).map_err(reading)?;
        let mut rows = statement.query(params).map_err(reading)?;
        while let Some(row) = rows.next().map_err(reading)? {
            if !each(row).map_err(reading)? {
                break;
            }
        }
        Ok(())
    }

    /// Whole rows, with the payloads that live beside them. One that cannot be read is among them in the
    /// state [`State::Unreadable`], with what of it can be read and the reason as its error.
    pub(super) fn rows(&mut self, sql: &'static str, params: &[&dyn ToSql]) -> Sql<Vec<JobRecord>> {
        let rows = self.all(sql, params, |row| Ok(read_row(row)))?;
        self.with_payloads(rows)
    }

    /// Adds the payloads that live beside their rows.
    fn with_payloads(&mut self, rows: Vec<(JobRecord, bool)>) -> Sql<Vec<JobRecord>> {
        let mut whole = Vec::with_capacity(rows.len());
        for (mut row, beside) in rows {
            if beside {
                match self.payload_beside(row.id)? {
                    Some(payload) => row.payload = payload,
                    None if row.state == State::Unreadable => {}
                    None => {
                        row.state = State::Unreadable;
                        row.error = Some("the payload is missing".to_owned());
                    }
                }
            }
            whole.push(row);
        }
        Ok(whole)
    }

    /// A payload that is too long for its row; `None` when it is not there.
    pub(super) fn payload_beside(&mut self, id: JobId) -> Sql<Option<Vec<u8>>> {
        let sql = "SELECT payload FROM lastout_payloads WHERE id = ?1";
        self.one(sql, params![id.0], |row| row.get(0))
    }

    /// A name as the value that all jobs with it share.
    pub(super) fn name(names: &mut HashMap<Box<str>, Arc<str>>, text: &str) -> Arc<str> {
        if let Some(name) = names.get(text) {
            return Arc::clone(name);
        }
        let name: Arc<str> = text.into();
        if names.len() < NAMES {
            names.insert(text.into(), Arc::clone(&name));
        }
        name
    }

    pub(super) fn take_names(&mut self) -> HashMap<Box<str>, Arc<str>> {
        std::mem::take(&mut self.names)
    }

    pub(super) fn put_names(&mut self, names: HashMap<Box<str>, Arc<str>>) {
        self.names = names;
    }

    /// The id of the next job; given out only when the transaction commits.
    pub(super) fn next_id(&mut self) -> Sql<i64> {
        let last = match self.last_id {
            Some(last) => last,
            None => {
                // That of a row, or of one that was deleted: no id is given twice.
                let sql = "SELECT max(value, coalesce((SELECT max(id) FROM lastout_jobs), 0)) \
                           FROM lastout_meta WHERE key = 'last_id'";
                self.one(sql, params![], |row| row.get(0))?.unwrap_or(0)
            }
        };
        self.last_id = Some(last + 1);
        Ok(last + 1)
    }
}

impl Table for Tx<'_> {
    fn now_ms(&self) -> i64 {
        self.now_ms
    }

    fn lease_now_ms(&self) -> i64 {
        self.boot_ms
    }

    async fn load(&mut self, jobs: &[JobId]) -> Sql<Vec<JobRecord>> {
        let mut rows = Vec::with_capacity(jobs.len());
        for job in jobs {
            rows.append(&mut self.rows(select!("WHERE id = ?1"), params![job.0])?);
        }
        Ok(rows)
    }

    async fn save(&mut self, row: &JobRecord) -> Sql<()> {
        // What never changes after the insert is not written again.
        self.run(
            "UPDATE lastout_jobs SET state = ?2, fence = ?3, owner = ?4, attempt = ?5, rank = ?6, \
             run_at = ?7, claimed_at = ?8, ended_at = ?9, lease_until = ?10, crashes = ?11, \
             started = ?12, cancel = ?13, recovery = ?14, error = ?15, progress = ?16, result = ?17, history = ?18, queue = ?19, priority = ?20, \
             due_at = CASE WHEN ?2 = {scheduled} THEN ?7 END, held_key = CASE WHEN ?2 = {held} THEN limit_key END, \
             open_key = CASE WHEN ?2 < {succeeded} OR unique_kept = 1 THEN unique_key END, \
             unhappy = CASE WHEN ?2 > {succeeded} THEN ?2 END WHERE id = ?1",
            params![
                row.id.0, row.state.code(), row.fence.0, row.owner.0, row.attempt, row.rank,
                row.run_at, row.claimed_at, row.ended_at, row.lease_until, row.crashes,
                row.started.0, row.cancel, row.recovery.code(), row.error, row.progress, row.result,
                stored::text_of(&row.history), &*row.queue, row.priority,
            ],
        )?;
        Ok(())
    }

    async fn set_aside(&mut self, row: &JobRecord) -> Sql<bool> {
        let sql = "SELECT limit_key IS NOT NULL AND state IN ({ready}, {running}) FROM lastout_jobs WHERE id = ?1";
        let held = self.one(sql, params![row.id.0], |row| row.get(0))?.unwrap_or(false);
        let now_ms = self.now_ms;
        self.run(
            "UPDATE lastout_jobs SET state = {unreadable}, unhappy = {unreadable}, error = ?2, ended_at = ?3, lease_until = 0, \
             due_at = NULL, held_key = NULL, open_key = CASE WHEN unique_kept = 1 THEN unique_key END \
             WHERE id = ?1",
            params![row.id.0, row.error, now_ms],
        )?;
        Ok(held)
    }

    async fn insert(&mut self, row: &mut JobRecord) -> Sql<Option<JobId>> {
        row.id = JobId(self.next_id()?);
        let inline = row.payload.len() <= INLINE_BYTES;
        self.run(
            "INSERT INTO lastout_jobs (id, state, fence, owner, attempt, rank, run_at, claimed_at, \
             ended_at, lease_until, crashes, started, cancel, priority, max_attempts, max_crashes, \
             recovery, own_lease_ms, timeout_ms, unique_kept, limit_max, created_at, unique_key, \
             limit_key, queue, kind, payload, due_at, held_key, open_key, unhappy) VALUES (?1, ?2, ?3, \
             ?4, ?5, ?6, ?7, ?8, 0, ?9, 0, 0, 0, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, \
             ?20, ?21, ?22, ?23, CASE WHEN ?2 = {scheduled} THEN ?7 END, CASE WHEN ?2 = {held} THEN ?20 END, \
             CASE WHEN ?2 < {succeeded} OR ?16 THEN ?19 END, CASE WHEN ?2 > {succeeded} THEN ?2 END)",
            params![
                row.id.0, row.state.code(), row.fence.0, row.owner.0, row.attempt, row.rank,
                row.run_at, row.claimed_at, row.lease_until, row.priority, row.max_attempts,
                row.max_crashes, row.recovery.code(), row.own_lease_ms, row.timeout_ms,
                row.unique_kept, row.limit_max, row.created_at, row.unique_key,
                row.limit_key.as_deref(), &*row.queue, &*row.kind,
                inline.then_some(&row.payload),
            ],
        )?;
        if !inline {
            let sql = "INSERT INTO lastout_payloads (id, payload) VALUES (?1, ?2)";
            self.run(sql, params![row.id.0, row.payload])?;
        }
        Ok(None)
    }

    async fn delete(&mut self, job: JobId) -> Sql<()> {
        self.run("DELETE FROM lastout_jobs WHERE id = ?1", params![job.0])?;
        self.run("DELETE FROM lastout_payloads WHERE id = ?1", params![job.0])?;
        Ok(())
    }

    async fn key_holder(&mut self, row: &JobRecord) -> Sql<Option<JobId>> {
        let Some(key) = &row.unique_key else {
            return Ok(None);
        };
        let sql = "SELECT id FROM lastout_jobs WHERE open_key = ?1 AND id != ?2";
        self.one(sql, params![key, row.id.0], |row| row.get(0).map(JobId))
    }

    async fn take_slot(&mut self, key: &str, max: i32) -> Sql<bool> {
        let sql = "INSERT INTO lastout_slots (key, used) VALUES (?1, 1) ON CONFLICT (key) \
                   DO UPDATE SET used = used + 1 WHERE used < ?2";
        Ok(self.run(sql, params![key, max])? == 1)
    }

    async fn give_slot(&mut self, key: &str) -> Sql<()> {
        self.run("UPDATE lastout_slots SET used = used - 1 WHERE key = ?1", params![key])?;
        self.run("DELETE FROM lastout_slots WHERE key = ?1 AND used <= 0", params![key])?;
        Ok(())
    }

    async fn next_held(&mut self, key: Option<&str>) -> Sql<Option<JobRecord>> {
        // Under one writer nobody is left behind, so there is nothing to find without a key.
        let Some(key) = key else {
            return Ok(None);
        };
        let sql = select!("WHERE held_key = ?1 ORDER BY rank, id LIMIT 1");
        Ok(self.rows(sql, params![key])?.pop())
    }

    async fn promote_plain(&mut self, limit: usize) -> Sql<usize> {
        let now_ms = self.now_ms;
        self.run(
            "UPDATE lastout_jobs SET state = {ready}, due_at = NULL WHERE id IN (SELECT id FROM lastout_jobs \
             WHERE due_at <= ?1 AND limit_key IS NULL ORDER BY due_at LIMIT ?2)",
            params![now_ms, bound_of(limit)],
        )
    }

    async fn due_with_key(&mut self, limit: usize) -> Sql<Vec<JobRecord>> {
        let sql = select!("WHERE due_at <= ?1 AND limit_key IS NOT NULL ORDER BY due_at LIMIT ?2");
        let now_ms = self.now_ms;
        self.rows(sql, params![now_ms, bound_of(limit)])
    }

    async fn running_of(&mut self, owner: WorkerId, limit: usize) -> Sql<Vec<JobRecord>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.rows(
            select!("WHERE state = {running} AND owner = ?1 LIMIT ?2"),
            params![owner.0, limit],
        )
    }

    async fn running_ids(&mut self, owner: WorkerId) -> Sql<Vec<JobId>> {
        let sql = "SELECT id FROM lastout_jobs WHERE state = {running} AND owner = ?1";
        self.all(sql, params![owner.0], |row| row.get(0).map(JobId))
    }

    async fn adrift(&mut self, limit: usize) -> Sql<Vec<JobRecord>> {
        let sql = select!(
            "WHERE state = {running} AND ((owner > 0 AND owner NOT IN (SELECT id FROM lastout_workers)) \
             OR (lease_until != 0 AND lease_until <= ?1)) LIMIT ?2"
        );
        let boot_ms = self.boot_ms;
        self.rows(sql, params![boot_ms, bound_of(limit)])
    }

    async fn expired_workers(&mut self) -> Sql<Vec<WorkerId>> {
        let sql = "SELECT id FROM lastout_workers WHERE lease_until <= ?1 OR boot_of_lease != ?2";
        let boot_ms = self.boot_ms;
        self.all(sql, params![boot_ms, boot()], |row| row.get(0).map(WorkerId))
    }

    async fn forget_worker(&mut self, worker: WorkerId) -> Sql<bool> {
        self.run("DELETE FROM lastout_signals WHERE owner = ?1", params![worker.0])?;
        Ok(self.run("DELETE FROM lastout_workers WHERE id = ?1", params![worker.0])? == 1)
    }

    async fn signal(&mut self, owner: WorkerId, job: JobId) -> Sql<()> {
        let sql = "INSERT OR IGNORE INTO lastout_signals (owner, job) \
                   SELECT id, ?2 FROM lastout_workers WHERE id = ?1";
        self.run(sql, params![owner.0, job.0])?;
        Ok(())
    }

    async fn unsignal(&mut self, job: JobId) -> Sql<()> {
        self.run("DELETE FROM lastout_signals WHERE job = ?1", params![job.0])?;
        Ok(())
    }
}
