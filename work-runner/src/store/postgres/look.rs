//! Looking: peek in one statement, lists and counts; and the housekeeping that people rarely see.

use super::super::counting::{
    Counting, FIRST, MOST, MOST_RUNNING, bound_of, by_queue, count_of, oldest_of,
};
use super::members;
use super::pool::{Connection, failed};
use super::rows::{Sql, Tx, read_row, select};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::Identity;
use crate::job::{JobId, JobRecord};
use crate::lease::WorkerId;
use crate::lifecycle::State;
use crate::registry::{
    Keep, MOST_LOOKED, Overview, Page, Peek, PeriodicRecord, Query, QueueCount, WorkerRecord,
};
use serde::Deserialize;
use std::sync::Arc;

/// A worker as the server writes it into JSON.
#[derive(Deserialize)]
struct Peer(i64, String, String, i64, i64, i64);

impl From<Peer> for WorkerRecord {
    fn from(Peer(id, host, boot, pid, start, left): Peer) -> Self {
        Self::new(WorkerId(id), Identity::new(host, boot, pid, start), left)
    }
}

fn json<T: for<'de> Deserialize<'de>>(text: Option<&str>) -> Sql<Vec<T>> {
    let parsed = serde_json::from_str(text.unwrap_or("[]"));
    parsed.map_err(|error| {
        StoreError::new(StoreErrorKind::Other, "look at the job store").with_source(error)
    })
}

pub(super) async fn peek(
    connection: &mut Connection,
    worker: WorkerId,
    queues: &[Arc<str>],
    kinds: Option<&[Arc<str>]>,
) -> Sql<Peek> {
    let queues: Vec<&str> = queues.iter().map(|queue| &**queue).collect();
    let kinds: Option<Vec<&str>> = kinds.map(|kinds| kinds.iter().map(|kind| &**kind).collect());
    let statement = connection.prepare(include_str!("peek.sql")).await?;
    let row = connection.client.query_one(&statement, &[&worker.0, &queues, &kinds]).await;
    let row = row.map_err(|error| failed("look at the job store", error))?;
    let now_ms: i64 = row.get(0);
    let next: Option<i64> = row.get(4);
    let mut peek = Peek {
        now_ms,
        live: row.get(1),
        ready: row.get(2),
        promotable: row.get::<_, Option<i64>>(3).is_some_and(|first| first <= now_ms),
        peers: json::<Peer>(row.get(5))?.into_iter().map(WorkerRecord::from).collect(),
        cancels: row.get::<_, Vec<i64>>(6).into_iter().map(JobId).collect(),
        ..Peek::default()
    };
    let mut ahead = next;
    for (name, cron, at_ms, runs) in json::<(String, String, i64, u32)>(row.get(7))? {
        if at_ms <= now_ms {
            peek.periodic.push(PeriodicRecord::new(name, cron, at_ms).catch_up(runs));
        } else {
            ahead = Some(ahead.map_or(at_ms, |next| next.min(at_ms)));
        }
    }
    let ahead = ahead.into_iter().chain(row.get::<_, Option<i64>>(8)).min();
    peek.next_due_ms = ahead.map(|at| at.saturating_sub(now_ms));
    peek.expired = peek.peers.iter().any(|peer| peer.lease_ms <= 0);
    peek.peers.retain(|peer| peer.id != worker);
    Ok(peek)
}

/// The statements of a page: the jobs that match among the rows to look at, and the last one of those rows, if
/// there are as many. The server reads the rows in the order of an index of ids and stops when the page is full.
fn page_statements(state: Option<State>, newest_first: bool) -> (String, String) {
    let (beyond, order) = if newest_first { ("<", "DESC") } else { (">", "ASC") };
    let rows = match state {
        None | Some(State::Succeeded) => format!("id {beyond} $1 ORDER BY id {order}"),
        // No more than there are places: they are sorted. The sum keeps the planner from reading the whole
        // table in the order of its ids.
        Some(State::Running) => {
            format!("state = {{running}} AND id + 0 {beyond} $1 ORDER BY id + 0 {order}")
        }
        // Each has an index of ids.
        Some(state) if !state.is_terminal() => {
            let code = state.code();
            format!("state = {code} AND id {beyond} $1 ORDER BY id {order}")
        }
        Some(state) => {
            let code = state.code();
            format!(
                "state > {{succeeded}} AND state = {code} AND id {beyond} $1 ORDER BY id {order}"
            )
        }
    };
    let matching = format!(
        "{}(SELECT id FROM (SELECT * FROM lastout.jobs WHERE {rows} LIMIT {MOST_LOOKED}) AS looked \
         WHERE ($2::int2 IS NULL OR state = $2) AND ($3::text IS NULL OR queue = $3) \
         AND ($4::text IS NULL OR kind = $4) AND ($5::int8 IS NULL OR owner = $5) \
         AND ($6::int8 IS NULL OR GREATEST(created_at, claimed_at, ended_at) >= $6) \
         AND ($7::text IS NULL OR strpos(error, $7) > 0) ORDER BY id {order} LIMIT $8)) ORDER BY id {order}",
        select!("WHERE id = ANY(ARRAY")
    );
    let last =
        format!("SELECT id FROM lastout.jobs WHERE {rows} LIMIT 1 OFFSET {}", MOST_LOOKED - 1);
    (matching, last)
}

/// The next rows of the index that the state has, or of the table; of these, those that match.
pub(super) async fn page(tx: &mut Tx<'_>, query: &Query) -> Sql<Page> {
    let first = if query.newest_first { i64::MAX } else { i64::MIN };
    let after = query.after.map_or(first, |job| job.0);
    let (matching, last) = page_statements(query.state, query.newest_first);
    let Query { queue, kind, worker, since_ms, error, .. } = query;
    let (state, worker) = (query.state.map(State::code), worker.map(|worker| worker.0));
    let limit = query.page();
    let params: super::rows::Params<'_> =
        &[&after, &state, queue, kind, &worker, since_ms, error, &bound_of(limit)];
    let jobs: Vec<JobRecord> = tx.look(&matching, params).await?.iter().map(read_row).collect();
    let next = match jobs.last() {
        Some(full) if jobs.len() == limit => Some(full.id),
        _ => tx.look(&last, &[&after]).await?.first().map(|row| JobId(row.get(0))),
    };
    Ok(Page::new(jobs, next))
}

pub(super) async fn overview(tx: &mut Tx<'_>) -> Sql<Overview> {
    macro_rules! ready {
        () => {
            "lastout.jobs WHERE state = {ready}"
        };
    }
    let pairs = |rows: Vec<tokio_postgres::Row>| -> Vec<(String, i64)> {
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    let sql = by_queue!(ready!(), oldest_of!(ready!(), "$1"));
    let ready = pairs(tx.all(sql, &[&FIRST]).await?);
    let sql = "SELECT queue, min(claimed_at) FROM (SELECT queue, claimed_at FROM lastout.jobs \
               WHERE state = {running} LIMIT $1) AS runs GROUP BY queue";
    let running = pairs(tx.all(sql, &[&MOST_RUNNING]).await?);
    let sql = "SELECT run_at FROM lastout.jobs WHERE state = {scheduled} ORDER BY run_at LIMIT 1";
    let next = tx.all(sql, &[]).await?.first().map(|row| row.get(0));
    let live = members::living(tx).await?;
    Ok(Overview::new(tx.now_ms, ready, running).next_due(next).workers(live))
}

macro_rules! by_index {
    ($rows:literal) => {
        by_queue!(
            concat!("lastout.jobs WHERE ", $rows),
            count_of!(concat!("lastout.jobs WHERE ", $rows), "$1")
        )
    };
}

pub(super) async fn counts(tx: &mut Tx<'_>) -> Sql<Vec<QueueCount>> {
    let mut counting = Counting::default();
    let parts = [
        (State::Scheduled, by_index!("state = {scheduled}")),
        (State::Held, by_index!("state = {held}")),
        (State::Ready, by_index!("state = {ready}")),
        (State::Failed, by_index!("state = {failed}")),
        (State::Cancelled, by_index!("state = {cancelled}")),
        (State::Dead, by_index!("state = {dead}")),
        (State::Abandoned, by_index!("state = {abandoned}")),
        (State::Unreadable, by_index!("state = {unreadable}")),
    ];
    for (state, sql) in parts {
        for row in tx.all(sql, &[&MOST]).await? {
            let jobs = row.get(1);
            counting.add(row.get(0), state, jobs, jobs >= MOST);
        }
    }
    let sql = "SELECT queue, count(*) FROM (SELECT queue FROM lastout.jobs WHERE state = {running} \
               LIMIT $1) AS counted GROUP BY queue";
    let running = tx.all(sql, &[&MOST_RUNNING]).await?;
    let capped = running.iter().map(|row| row.get::<_, i64>(1)).sum::<i64>() >= MOST_RUNNING;
    for row in running {
        counting.add(row.get(0), State::Running, row.get(1), capped);
    }
    let sql = "SELECT 1 FROM lastout.jobs ORDER BY id DESC LIMIT 1 OFFSET $1";
    let capped = !tx.all(sql, &[&MOST]).await?.is_empty();
    // A state that is not known has no index of its own.
    let sql = "SELECT queue, count(*), state = {succeeded} AS well FROM (SELECT queue, state FROM \
               lastout.jobs ORDER BY id DESC LIMIT $1) AS newest \
               WHERE state = {succeeded} OR state NOT BETWEEN {scheduled} AND {unreadable} GROUP BY queue, well";
    for row in tx.all(sql, &[&MOST]).await? {
        let state = if row.get(2) { State::Succeeded } else { State::Unreadable };
        counting.add(row.get(0), state, row.get(1), capped);
    }
    Ok(counting.finish())
}

/// Deletes old ends among the next few rows after `from`; returns how many, and where to go on.
pub(super) async fn prune(
    tx: &mut Tx<'_>,
    keep: Keep,
    limit: usize,
    from: i64,
) -> Sql<(usize, i64)> {
    let (done, unhappy) = keep.newest(tx.now_ms);
    let sql = "WITH looked AS MATERIALIZED (SELECT id, (state IN ({succeeded}, {cancelled}) AND ended_at < $2) OR \
               (state IN ({failed}, {dead}, {abandoned}) AND ended_at < $5) AS old FROM \
               lastout.jobs WHERE id > $1 ORDER BY id LIMIT $3), old AS MATERIALIZED (SELECT id FROM \
               looked WHERE old ORDER BY id LIMIT $4), gone AS (DELETE FROM lastout.jobs j USING old \
               WHERE j.id = old.id AND j.state + 0 BETWEEN {succeeded} AND {abandoned} RETURNING j.id) \
               SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM looked), \
               (SELECT max(id) FROM old), (SELECT max(id) FROM looked)";
    let most = bound_of(limit);
    let looks = most.saturating_mul(5);
    let rows = tx.all(sql, &[&from, &done, &looks, &most, &unhappy]).await?;
    let Some(row) = rows.first() else {
        return Ok((0, 0));
    };
    let (gone, looked): (i64, i64) = (row.get(0), row.get(1));
    let next = match (gone == most, looked < looks) {
        (true, _) => row.get::<_, Option<i64>>(2).unwrap_or(0),
        (false, true) => 0,
        (false, false) => row.get::<_, Option<i64>>(3).unwrap_or(0),
    };
    Ok((usize::try_from(gone).unwrap_or(0), next))
}
