//! New jobs of a transaction without limit keys, stored many at a time.
//!
//! Each run of a statement opens the table and every index of it again, which costs more than the
//! row. So the rows wait in the transaction until something else is to be done in it, or until its
//! end, and are then stored by statements of many rows.

use super::rows::{Sql, Tx};
use super::schema::failed;
use crate::job::{JobId, NewJob, Unique};
use crate::lifecycle::State;
use crate::registry::Enqueued;
use rusqlite::{OptionalExtension, ToSql};
use std::collections::HashMap;
use std::sync::LazyLock;

/// A job under the id and the unique key that it will have.
struct Waiting {
    id: i64,
    job: NewJob,
    key: Option<String>,
}

/// The rows that wait, and which of them took which key.
#[derive(Default)]
pub(super) struct Pending {
    rows: Vec<Waiting>,
    keys: HashMap<String, JobId>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.keys.clear();
    }
}

/// Rows of one statement, the largest first; the last one is for what is left.
pub(super) const SIZES: [usize; 4] = [64, 16, 4, 1];
/// Rows that wait at most, so that a long enqueue does not hold everything twice.
const MOST: usize = 256;

static INSERTS: LazyLock<[String; 4]> = LazyLock::new(|| {
    SIZES.map(|rows| {
        let row =
            "(?, ?, 0, 0, 0, ?, ?, 0, 0, 0, 0, 0, 0, ?, ?, ?, 0, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)";
        format!(
            "INSERT INTO lastout_jobs (id, state, fence, owner, attempt, rank, run_at, claimed_at, \
             ended_at, lease_until, crashes, started, cancel, priority, max_attempts, max_crashes, \
             recovery, own_lease_ms, timeout_ms, unique_kept, limit_max, created_at, queue, kind, \
             payload, due_at, unique_key, open_key) VALUES {}",
            vec![row; rows].join(", ")
        )
    })
});

/// Stores a job, together with others like it, unless its unique key is taken.
pub(super) fn enqueue(tx: &mut Tx<'_>, job: &NewJob) -> Sql<Enqueued> {
    let key = job.unique.as_ref().map(|unique| unique.key_at(tx.now_ms));
    if let Some(holder) = key.as_deref().map(|key| holder_of(tx, key)).transpose()?.flatten() {
        return Ok(Enqueued::Duplicate(holder));
    }
    let id = tx.next_id()?;
    if let Some(key) = &key {
        tx.pending.keys.insert(key.clone(), JobId(id));
    }
    tx.pending.rows.push(Waiting { id, job: job.clone(), key });
    if tx.pending.rows.len() >= MOST {
        tx.insert_pending()?;
    }
    Ok(Enqueued::New(JobId(id)))
}

/// The job that has taken the key, stored or pending.
fn holder_of(tx: &mut Tx<'_>, key: &str) -> Sql<Option<JobId>> {
    if let Some(holder) = tx.pending.keys.get(key) {
        return Ok(Some(*holder));
    }
    let sql = "SELECT id FROM lastout_jobs WHERE open_key = ?1";
    let reading = |error| failed("read the job store", error);
    // Not by `statement`: what is pending stays so.
    let found = tx.prepared(sql).map_err(reading)?;
    found.query_row([key], |row| row.get(0).map(JobId)).optional().map_err(reading)
}

/// Stores `pending`, which no other row of the transaction depends on.
pub(super) fn insert(tx: &mut Tx<'_>, pending: &Pending) -> Sql<()> {
    let mut rows = &*pending.rows;
    for (size, sql) in SIZES.iter().zip(&*INSERTS) {
        while rows.len() >= *size {
            let (now, rest) = rows.split_at(*size);
            insert_by(tx, sql, now)?;
            rows = rest;
        }
    }
    Ok(())
}

fn insert_by(tx: &mut Tx<'_>, sql: &'static str, rows: &[Waiting]) -> Sql<()> {
    let now_ms = tx.now_ms;
    let statement = tx.statement(sql)?;
    let mut at = 0;
    let mut bind = |value: &dyn ToSql| {
        at += 1;
        statement.raw_bind_parameter(at, value).map_err(|error| failed("enqueue jobs", error))
    };
    for Waiting { id, job, key } in rows {
        let run_at = job.due.at(now_ms);
        let state = if run_at > now_ms { State::Scheduled } else { State::Ready };
        bind(id)?;
        bind(&state.code())?;
        bind(&crate::job::rank(run_at, job.priority))?;
        bind(&run_at)?;
        bind(&job.priority)?;
        bind(&job.max_attempts)?;
        bind(&job.max_crashes)?;
        bind(&job.own_lease_ms)?;
        bind(&job.timeout_ms)?;
        bind(&job.unique.as_ref().is_some_and(Unique::is_kept))?;
        bind(&now_ms)?;
        bind(&&*job.queue)?;
        bind(&&*job.kind)?;
        bind(&job.payload)?;
        bind(&(state == State::Scheduled).then_some(run_at))?;
        // It is taken from now on.
        bind(key)?;
        bind(key)?;
    }
    statement.raw_execute().map_err(|error| failed("enqueue jobs", error))?;
    Ok(())
}
