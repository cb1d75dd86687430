//! Looking: peek, lists and counts; and the housekeeping that people rarely see.

use super::super::table::at_once;
use super::super::transitions;
use super::hot::is_live;
use super::rows::{Sql, Tx, select};
use super::schema::boot;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::Identity;
use crate::job::{JobId, JobRecord, NewJob, Template, millis};
use crate::lease::WorkerId;
use crate::lifecycle::State;
use crate::registry::{Peek, PeriodicRecord, Query, QueueCount, WorkerRecord};
use rusqlite::params;
use std::sync::Arc;
use std::time::Duration;

/// Rows that one pruning looks at for each that it may delete.
const PRUNE_LOOKS: usize = 5;

pub(super) fn peek(tx: &mut Tx<'_>, worker: WorkerId, queues: &[Arc<str>]) -> Sql<Peek> {
    let now_ms = tx.now_ms;
    let mut peek = Peek { now_ms, live: is_live(tx, worker)?, ..Peek::default() };
    for queue in queues {
        let sql = "SELECT 1 FROM lastout_jobs WHERE state = 2 AND queue = ?1 LIMIT 1";
        peek.ready |= tx.one(sql, params![&**queue], |_| Ok(()))?.is_some();
    }
    let sql = "SELECT due_at FROM lastout_jobs WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1";
    let first = tx.one(sql, params![], |row| row.get::<_, i64>(0))?;
    peek.promotable = first.is_some_and(|run_at| run_at <= now_ms);
    let sql = "SELECT due_at FROM lastout_jobs WHERE due_at > ?1 ORDER BY due_at LIMIT 1";
    let mut next = tx.one(sql, params![now_ms], |row| row.get::<_, i64>(0))?;
    let sql = "SELECT name, cron, next_at FROM lastout_periodic";
    let periodic = tx.all(sql, params![], |row| {
        Ok(PeriodicRecord::new(row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    for periodic in periodic {
        if periodic.at_ms <= now_ms {
            peek.periodic.push(periodic);
        } else {
            next = Some(next.map_or(periodic.at_ms, |next| next.min(periodic.at_ms)));
        }
    }
    peek.next_due_ms = next.map(|at| at - now_ms);
    peek.peers = workers(tx)?;
    peek.expired = peek.peers.iter().any(|peer| peer.lease_ms <= 0);
    peek.peers.retain(|peer| peer.id != worker);
    let sql = "SELECT job FROM lastout_signals WHERE owner = ?1";
    peek.cancels = tx.all(sql, params![worker.0], |row| row.get(0).map(JobId))?;
    Ok(peek)
}

pub(super) fn list(tx: &mut Tx<'_>, query: &Query) -> Sql<Vec<JobRecord>> {
    let after = query.after.map_or(i64::MIN, |job| job.0);
    let limit = query.page() as i64;
    let queue = query.queue.as_deref();
    let state = query.state.map(State::code);
    // The unhappy ends have an index; the others are read in the order of the table.
    if state.is_some_and(|code| code > State::Succeeded.code()) {
        let sql = select!(
            "WHERE unhappy = ?2 AND id > ?1 AND (?3 IS NULL OR queue = ?3) ORDER BY id LIMIT ?4"
        );
        return tx.rows(sql, params![after, state, queue, limit]);
    }
    let sql = select!(
        "WHERE id > ?1 AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR queue = ?3) ORDER BY id LIMIT ?4"
    );
    tx.rows(sql, params![after, state, queue, limit])
}

pub(super) fn counts(tx: &mut Tx<'_>) -> Sql<Vec<QueueCount>> {
    let sql = "SELECT queue, state, count(*) FROM lastout_jobs GROUP BY queue, state ORDER BY queue, state";
    let counted = tx.all(sql, params![], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i16>(1)?, row.get::<_, i64>(2)?))
    })?;
    let each = |(queue, code, jobs): (String, i16, i64)| {
        State::from_code(code).map(|state| QueueCount::new(queue, state, jobs.unsigned_abs()))
    };
    Ok(counted.into_iter().filter_map(each).collect())
}

pub(super) fn workers(tx: &mut Tx<'_>) -> Sql<Vec<WorkerRecord>> {
    let boot_ms = tx.boot_ms;
    let sql = "SELECT id, host, boot, pid, start, lease_until, boot_of_lease FROM lastout_workers";
    tx.all(sql, params![], |row| {
        let identity = Identity::new(row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        let this_boot = row.get_ref(6)?.as_str()? == boot();
        let left = if this_boot { row.get::<_, i64>(5)? - boot_ms } else { 0 };
        Ok(WorkerRecord::new(WorkerId(row.get(0)?), identity, left))
    })
}

/// Deletes old ends among the next few rows after `from`; returns how many, and where to go on.
pub(super) fn prune(tx: &mut Tx<'_>, age: Duration, limit: usize, from: i64) -> Sql<(usize, i64)> {
    let newest = tx.now_ms.saturating_sub(millis(age));
    let looks = limit.saturating_mul(PRUNE_LOOKS) as i64;
    let sql = "SELECT id, state > 3 AND ended_at < ?2 FROM lastout_jobs WHERE id > ?1 ORDER BY id LIMIT ?3";
    let looked = tx.all(sql, params![from, newest, looks], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?))
    })?;
    let mut pruned = 0;
    let mut last = from;
    for (id, old) in &looked {
        if pruned == limit {
            return Ok((pruned, last));
        }
        last = *id;
        if *old {
            tx.run("DELETE FROM lastout_jobs WHERE id = ?1", params![id])?;
            tx.run("DELETE FROM lastout_payloads WHERE id = ?1", params![id])?;
            pruned += 1;
        }
    }
    let at_end = (looked.len() as i64) < looks;
    Ok((pruned, if at_end { 0 } else { last }))
}

pub(super) fn fire(tx: &mut Tx<'_>, name: &str, at_ms: i64, next_ms: i64) -> Sql<bool> {
    let sql = "UPDATE lastout_periodic SET next_at = ?3 WHERE name = ?1 AND next_at = ?2";
    if tx.run(sql, params![name, at_ms, next_ms])? == 0 {
        return Ok(false);
    }
    let sql = "SELECT job FROM lastout_periodic WHERE name = ?1";
    let template = tx.one(sql, params![name], |row| row.get::<_, Vec<u8>>(0))?.unwrap_or_default();
    let template: Template = serde_json::from_slice(&template).map_err(|error| {
        StoreError::new(StoreErrorKind::Corrupt, "read a periodic job").with_source(error)
    })?;
    let mut row = JobRecord::new(JobId(0), NewJob::from(template), tx.now_ms);
    at_once(transitions::enqueue(tx, &mut row))?;
    Ok(true)
}
