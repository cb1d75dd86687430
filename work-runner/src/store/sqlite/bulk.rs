//! New plain jobs of a transaction, stored many at a time.
//!
//! Each run of a statement opens the table and every index of it again, which costs more than the
//! row. So the rows wait in the transaction until something else is to be done in it, or until its
//! end, and are then stored by statements of many rows.

use super::rows::{Sql, Tx};
use super::schema::failed;
use crate::job::NewJob;
use crate::lifecycle::State;
use rusqlite::ToSql;
use std::sync::LazyLock;

/// A job under the id it will have.
pub(super) type Pending = (i64, NewJob);

/// Rows of one statement, the largest first; the last one is for what is left.
pub(super) const SIZES: [usize; 4] = [64, 16, 4, 1];
/// Rows that wait at most, so that a long enqueue does not hold everything twice.
pub(super) const MOST: usize = 256;

static INSERTS: LazyLock<[String; 4]> = LazyLock::new(|| {
    SIZES.map(|rows| {
        let row = "(?, ?, 0, 0, 0, ?, ?, 0, 0, 0, 0, 0, 0, ?, ?, ?, 0, ?, ?, 0, 0, ?, ?, ?, ?, ?)";
        format!(
            "INSERT INTO lastout_jobs (id, state, fence, owner, attempt, rank, run_at, claimed_at, \
             ended_at, lease_until, crashes, started, cancel, priority, max_attempts, max_crashes, \
             recovery, own_lease_ms, timeout_ms, unique_kept, limit_max, created_at, queue, kind, \
             payload, due_at) VALUES {}",
            vec![row; rows].join(", ")
        )
    })
});

/// Stores `rows`, which no other row of the transaction depends on.
pub(super) fn insert(tx: &mut Tx<'_>, mut rows: &[Pending]) -> Sql<()> {
    for (size, sql) in SIZES.iter().zip(&*INSERTS) {
        while rows.len() >= *size {
            let (now, rest) = rows.split_at(*size);
            insert_by(tx, sql, now)?;
            rows = rest;
        }
    }
    Ok(())
}

fn insert_by(tx: &mut Tx<'_>, sql: &'static str, rows: &[Pending]) -> Sql<()> {
    let now_ms = tx.now_ms;
    let statement = tx.statement(sql)?;
    let mut at = 0;
    let mut bind = |value: &dyn ToSql| {
        at += 1;
        statement.raw_bind_parameter(at, value).map_err(|error| failed("enqueue jobs", error))
    };
    for (id, job) in rows {
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
        bind(&now_ms)?;
        bind(&&*job.queue)?;
        bind(&&*job.kind)?;
        bind(&job.payload)?;
        bind(&(state == State::Scheduled).then_some(run_at))?;
    }
    statement.raw_execute().map_err(|error| failed("enqueue jobs", error))?;
    Ok(())
}
