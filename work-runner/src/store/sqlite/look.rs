//! Looking: peek, lists and counts; and the housekeeping that people rarely see.

use super::super::counting::{
    Counting, FIRST, MOST, MOST_RUNNING, bound_of, by_queue, count_of, oldest_of,
};
use super::super::table::{Table, at_once};
use super::hot::is_live;
use super::members;
use super::periodic;
use super::rates;
use super::rows::{Sql, Tx, json_of};
use crate::job::JobId;
use crate::lease::WorkerId;
use crate::lifecycle::State;
use crate::registry::{Keep, MOST_LOOKED, Overview, Page, Peek, Query, QueueCount};
use rusqlite::params;
use std::sync::Arc;

/// Rows that one pruning looks at for each that it may delete.
const PRUNE_LOOKS: usize = 5;

pub(super) fn peek(
    tx: &mut Tx<'_>,
    worker: WorkerId,
    queues: &[Arc<str>],
    kinds: &Option<String>,
) -> Sql<Peek> {
    let now_ms = tx.now_ms;
    let mut peek = Peek { now_ms, live: is_live(tx, worker)?, ..Peek::default() };
    for queue in queues {
        let sql = "SELECT 1 FROM lastout_jobs WHERE state = {ready} AND queue = ?1 \
                   AND (?2 IS NULL OR +kind IN (SELECT value FROM json_each(?2))) \
                   AND NOT EXISTS (SELECT 1 FROM lastout_pauses p WHERE p.queue = ?1) \
                   AND NOT EXISTS (SELECT 1 FROM lastout_rates r WHERE r.scope = 0 AND r.name = ?1 \
                   AND r.free_at > ?3 AND r.free_at <= ?3 + r.span_ms) \
                   AND (limit_key IS NULL OR NOT EXISTS (SELECT 1 FROM lastout_rates r WHERE r.scope = 1 \
                   AND r.name = limit_key AND r.free_at > ?3 AND r.free_at <= ?3 + r.span_ms)) LIMIT 1";
        peek.ready |= tx.one(sql, params![&**queue, kinds, now_ms], |_| Ok(()))?.is_some();
    }
    let sql = "SELECT due_at FROM lastout_jobs WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1";
    let first = tx.one(sql, params![], |row| row.get::<_, i64>(0))?;
    peek.promotable = first.is_some_and(|run_at| run_at <= now_ms);
    let sql = "SELECT due_at FROM lastout_jobs WHERE due_at > ?1 ORDER BY due_at LIMIT 1";
    let mut next = tx.one(sql, params![now_ms], |row| row.get::<_, i64>(0))?;
    for periodic in periodic::enabled(tx)? {
        if periodic.at_ms <= now_ms {
            peek.periodic.push(periodic);
        } else {
            next = Some(next.map_or(periodic.at_ms, |next| next.min(periodic.at_ms)));
        }
    }
    let next = next.into_iter().chain(rates::next_token(tx, &json_of(queues))?).min();
    peek.next_due_ms = next.map(|at| at.saturating_sub(now_ms));
    peek.peers = members::peers(tx)?;
    peek.expired = peek.peers.iter().any(|peer| peer.lease_ms <= 0);
    peek.peers.retain(|peer| peer.id != worker);
    let sql = "SELECT job FROM lastout_signals WHERE owner = ?1";
    peek.cancels = tx.all(sql, params![worker.0], |row| row.get(0).map(JobId))?;
    Ok(peek)
}

/// The statement of a page: the rows to look at, each with whether it matches. Their order is that of an index of
/// ids, or of the table: only the running jobs, of which there are no more than places, are sorted.
fn page_statement(state: Option<State>, newest_first: bool) -> String {
    let (from, rows) = match state {
        None | Some(State::Succeeded) => ("lastout_jobs", "true"),
        Some(State::Scheduled) => {
            ("lastout_jobs INDEXED BY lastout_scheduled_ids", "due_at IS NOT NULL")
        }
        Some(State::Held) => ("lastout_jobs INDEXED BY lastout_held_ids", "held_key IS NOT NULL"),
        Some(State::Ready) => ("lastout_jobs INDEXED BY lastout_ready_ids", "state = {ready}"),
        Some(State::Running) => ("lastout_jobs INDEXED BY lastout_running", "state = {running}"),
        Some(_) => ("lastout_jobs INDEXED BY lastout_unhappy", "unhappy = ?2"),
    };
    let (beyond, order) = if newest_first { ("<", "DESC") } else { (">", "ASC") };
    format!(
        "SELECT id, (?2 IS NULL OR ?2 > {{succeeded}} OR state = ?2) \
         AND (?3 IS NULL OR queue = ?3) AND (?4 IS NULL OR kind = ?4) AND (?5 IS NULL OR owner = ?5) \
         AND (?6 IS NULL OR max(created_at, claimed_at, ended_at) >= ?6) \
         AND (?7 IS NULL OR coalesce(instr(error, ?7), 0) > 0) \
         FROM {from} WHERE {rows} AND id {beyond} ?1 ORDER BY id {order} LIMIT {MOST_LOOKED}"
    )
}

/// The next rows of the index that the state has, or of the table; of these, those that match. Reads no row
/// after the last one of the page.
pub(super) fn page(tx: &mut Tx<'_>, query: &Query) -> Sql<Page> {
    let first = if query.newest_first { i64::MAX } else { i64::MIN };
    let after = query.after.map_or(first, |job| job.0);
    let state = query.state.map(State::code);
    let Query { queue, kind, worker, since_ms, error, .. } = query;
    let worker = worker.map(|worker| worker.0);
    let params = params![after, state, queue, kind, worker, since_ms, error];
    let (limit, mut found, mut looked) = (query.page(), Vec::new(), 0);
    let mut last = None;
    tx.walk(&page_statement(query.state, query.newest_first), params, |row| {
        let id = JobId(row.get(0)?);
        looked += 1;
        last = Some(id);
        if row.get(1)? {
            found.push(id);
        }
        Ok(found.len() < limit)
    })?;
    let more = found.len() == limit || looked == MOST_LOOKED;
    Ok(Page::new(at_once(tx.load(&found))?, last.filter(|_| more)))
}

/// The name in the first column, as far as it can be read.
fn text(row: &rusqlite::Row<'_>) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?).into_owned())
}

pub(super) fn overview(tx: &mut Tx<'_>) -> Sql<Overview> {
    macro_rules! ready {
        () => {
            "lastout_jobs INDEXED BY lastout_ready WHERE state = {ready}"
        };
    }
    let sql = by_queue!(ready!(), oldest_of!(ready!(), "?1"));
    let ready = tx.all(sql, params![FIRST], |row| Ok((text(row)?, row.get(1)?)))?;
    let sql = "SELECT queue, min(claimed_at) FROM (SELECT queue, claimed_at FROM lastout_jobs \
               INDEXED BY lastout_running WHERE state = {running} LIMIT ?1) GROUP BY queue";
    let running = tx.all(sql, params![MOST_RUNNING], |row| Ok((text(row)?, row.get(1)?)))?;
    let sql = "SELECT due_at FROM lastout_jobs WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1";
    let next = tx.one(sql, params![], |row| row.get(0))?;
    let live = members::peers(tx)?.iter().filter(|worker| worker.lease_ms > 0).count();
    Ok(Overview::new(tx.now_ms, ready, running).next_due(next).workers(live))
}

/// The statement that counts by an index; without that index it does not run.
macro_rules! by_index {
    ($index:literal, $rows:literal) => {
        by_index!(concat!("lastout_jobs INDEXED BY ", $index, " WHERE ", $rows))
    };
    ($rows:expr) => {
        by_queue!($rows, count_of!($rows, "?1"))
    };
}

pub(super) fn counts(tx: &mut Tx<'_>) -> Sql<Vec<QueueCount>> {
    let mut counting = Counting::default();
    let parts = [
        (State::Scheduled, by_index!("lastout_scheduled_in", "due_at IS NOT NULL")),
        (State::Held, by_index!("lastout_held_in", "held_key IS NOT NULL")),
        (State::Ready, by_index!("lastout_ready", "state = {ready}")),
        (State::Failed, by_index!("lastout_unhappy_in", "unhappy = {failed}")),
        (State::Cancelled, by_index!("lastout_unhappy_in", "unhappy = {cancelled}")),
        (State::Dead, by_index!("lastout_unhappy_in", "unhappy = {dead}")),
        (State::Abandoned, by_index!("lastout_unhappy_in", "unhappy = {abandoned}")),
        (State::Unreadable, by_index!("lastout_unhappy_in", "unhappy = {unreadable}")),
    ];
    for (state, sql) in parts {
        for (queue, jobs) in tx.all(sql, params![MOST], |row| Ok((text(row)?, row.get(1)?)))? {
            counting.add(queue, state, jobs, jobs >= MOST);
        }
    }
    let sql = "SELECT queue, count(*) FROM (SELECT queue FROM lastout_jobs INDEXED BY lastout_running \
               WHERE state = {running} LIMIT ?1) GROUP BY queue";
    let running = tx.all(sql, params![MOST_RUNNING], |row| Ok((text(row)?, row.get(1)?)))?;
    let capped = running.iter().map(|(_, jobs)| *jobs).sum::<i64>() >= MOST_RUNNING;
    running.into_iter().for_each(|(queue, jobs)| counting.add(queue, State::Running, jobs, capped));
    let sql = "SELECT 1 FROM lastout_jobs ORDER BY id DESC LIMIT 1 OFFSET ?1";
    let capped = tx.one(sql, params![MOST], |_| Ok(()))?.is_some();
    // A state that is not known is in none of the indexes.
    let sql = "SELECT queue, count(*), state = {succeeded} AS well FROM (SELECT queue, state FROM \
               lastout_jobs ORDER BY id DESC LIMIT ?1) \
               WHERE state = {succeeded} OR state NOT BETWEEN {scheduled} AND {unreadable} GROUP BY queue, well";
    for (queue, jobs, well) in
        tx.all(sql, params![MOST], |row| Ok((text(row)?, row.get(1)?, row.get(2)?)))?
    {
        let state = if well { State::Succeeded } else { State::Unreadable };
        counting.add(queue, state, jobs, capped);
    }
    Ok(counting.finish())
}

/// Deletes old ends among the next few rows after `from`; returns how many, and where to go on.
pub(super) fn prune(tx: &mut Tx<'_>, keep: Keep, limit: usize, from: i64) -> Sql<(usize, i64)> {
    let (done, unhappy) = keep.newest(tx.now_ms);
    let looks = bound_of(limit.saturating_mul(PRUNE_LOOKS));
    let sql = "SELECT id, (state IN ({succeeded}, {cancelled}) AND ended_at < ?2) OR (state IN ({failed}, {dead}, {abandoned}) AND ended_at < ?3) \
               FROM lastout_jobs WHERE id > ?1 ORDER BY id LIMIT ?4";
    let looked = tx.all(sql, params![from, done, unhappy, looks], |row| {
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
            at_once(tx.delete(JobId(*id)))?;
            pruned += 1;
        }
    }
    let at_end = (looked.len() as i64) < looks;
    Ok((pruned, if at_end { 0 } else { last }))
}

#[cfg(test)]
mod tests {
    use super::super::super::names::with_codes;
    use super::*;

    /// A million waiting jobs must not be sorted for a page of twenty.
    #[test]
    fn pages_come_in_the_order_of_an_index() {
        with_store("order", |conn| {
            let states = State::ALL.into_iter().filter(|state| *state != State::Running).map(Some);
            for state in states.chain([None]) {
                for newest_first in [false, true] {
                    let sql = page_statement(state, newest_first);
                    let sql = format!("EXPLAIN QUERY PLAN {}", with_codes(&sql));
                    let mut statement = conn.prepare(&sql).unwrap();
                    let (mut rows, mut plan) = (statement.raw_query(), String::new());
                    while let Some(row) = rows.next().unwrap() {
                        plan += &row.get::<_, String>(3).unwrap();
                    }
                    assert!(!plan.contains("TEMP B-TREE"), "{state:?} {newest_first}: {plan}");
                }
            }
        });
    }
    /// Counted in steps of SQLite's machine: a page of twenty costs the same whatever lies behind it.
    #[test]
    fn a_full_page_reads_no_further_than_its_last_row() {
        with_store("steps", |conn| {
            let rows = "WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n LIMIT 12000) \
                        INSERT INTO lastout_jobs (id, state, fence, owner, attempt, rank, run_at, claimed_at, \
                        ended_at, lease_until, crashes, started, cancel, priority, max_attempts, max_crashes, recovery, \
                        own_lease_ms, timeout_ms, unique_kept, limit_max, created_at, queue, kind, payload) \
                        SELECT id, {ready}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 'q', 'k', x'31' FROM n";
            conn.execute(&with_codes(rows), []).unwrap();
            let steps = |limit: usize, kind: &str| {
                let sql = with_codes(&page_statement(Some(State::Ready), true));
                let mut statement = conn.prepare(&sql).unwrap();
                let code = State::Ready.code();
                let params = params![
                    i64::MAX,
                    code,
                    None::<String>,
                    kind,
                    None::<i64>,
                    None::<i64>,
                    None::<String>
                ];
                let mut rows = statement.query(params).unwrap();
                let mut found = 0;
                while let Some(row) = rows.next().unwrap() {
                    found += usize::from(row.get::<_, bool>(1).unwrap());
                    if found == limit {
                        break;
                    }
                }
                drop(rows);
                (found, statement.get_status(rusqlite::StatementStatus::VmStep))
            };
            let (found, twenty) = steps(20, "k");
            assert_eq!(found, 20);
            let (none, all) = steps(20, "other");
            assert_eq!(none, 0);
            assert!(twenty * 100 < all, "{twenty} steps for twenty rows, {all} for {MOST_LOOKED}");
        });
    }

    fn with_store(name: &str, test: impl FnOnce(&rusqlite::Connection)) {
        let name = format!("lastout-pages-{name}-{}.db", std::process::id());
        let path = std::env::temp_dir().join(name);
        let options = super::super::SqliteOptions::new();
        let conn = super::super::schema::open_writer(&path, &options).unwrap();
        test(&conn);
        drop(conn);
        for end in ["", "-wal", "-shm"] {
            let mut file = path.clone().into_os_string();
            file.push(end);
            // SQLite removes the other two with its last connection.
            let _ = std::fs::remove_file(file);
        }
    }
}
