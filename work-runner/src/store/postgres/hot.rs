//! The edges that have SQL of their own: enqueue, claim, done. Complete and claim are one statement
//! and one round trip. What it leaves aside goes to the shared transitions.

use super::super::counting::bound_of;
use super::super::table::Table as _;
use super::super::transitions;
use super::copy;
use super::keyed;
use super::limited;
use super::pool::{Connection, Pool, failed};
use super::rows::{Sql, Tx, transact, transact_within};
use crate::job::{JobId, JobRecord, NewJob, Recovery};
use crate::lease::{Fence, Lease, WorkerId};
use crate::lifecycle::{Outcome, State};
use crate::registry::{Applied, Claimed, Enqueued, Report, Turn, TurnRequest};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::Row;

/// Scheduled jobs made ready by one turn.
const PROMOTE_LIMIT: usize = 1000;
/// A claim starts where the last one ended, so that it does not read the dead entries before that
/// again; after so many claims, or after so long, it starts at the head, for what came in before: a
/// more urgent job waits no longer than that for slow ones.
const FROM_HEAD_EVERY: u32 = 64;
const FROM_HEAD_AFTER: Duration = Duration::from_millis(250);

/// Where the claims of each queue have come to.
#[derive(Debug, Default)]
pub(super) struct Bounds(RefCell<HashMap<Arc<str>, Bound>>);

#[derive(Debug, Clone, Copy)]
struct Bound {
    rank: i64,
    id: i64,
    /// Claims since one started at the head, and when that was.
    claims: u32,
    at_head: Option<Instant>,
}

const HEAD: Bound = Bound { rank: i64::MIN, id: i64::MIN, claims: 0, at_head: None };

pub(super) async fn enqueue(pool: &Pool, jobs: &[NewJob]) -> Sql<Vec<Enqueued>> {
    let few = jobs.len() < copy::WORTH;
    if few && jobs.iter().all(is_plain) && one_shape(jobs) {
        // One statement is a transaction of its own: no round trips around it.
        return pool.with(async |connection| insert(connection, jobs).await).await;
    }
    let more = Duration::from_millis(jobs.len() as u64);
    transact_within(pool, more, async |tx| enqueue_in_transaction(tx, jobs).await).await
}

pub(super) async fn enqueue_in_transaction(tx: &mut Tx<'_>, jobs: &[NewJob]) -> Sql<Vec<Enqueued>> {
    let mut enqueued = Vec::with_capacity(jobs.len());
    let keys: Vec<&str> = jobs.iter().filter_map(|job| job.limit.as_ref()).map(|l| &*l.0).collect();
    tx.lock_keys(&keys).await?;
    let mut rest = jobs;
    while let Some(first) = rest.first() {
        let mut run = rest.iter().take_while(|job| is_plain(job)).count();
        let free = rest.iter().take_while(|job| is_free(job)).count();
        if run >= copy::WORTH {
            let mut copied = copy::insert(tx.connection, tx.now_ms, &rest[..run]).await?;
            enqueued.append(&mut copied);
        } else if free > run.max(1) {
            run = free;
            enqueued.append(&mut keyed::insert(tx, &rest[..run]).await?);
        } else if run > 0 {
            run = rest[..run].iter().take_while(|job| same_shape(first, job)).count();
            enqueued.append(&mut insert(tx.connection, &rest[..run]).await?);
        } else {
            let mut row = JobRecord::new(JobId(0), first.clone(), tx.now_ms);
            enqueued.push(transitions::enqueue(tx, &mut row).await?);
        }
        rest = &rest[run.max(1)..];
    }
    Ok(enqueued)
}

/// Whether it can be stored with others in one statement, whatever key it has.
fn is_free(job: &NewJob) -> bool {
    job.limit.is_none() && job.recovery != Recovery::External
}

fn is_plain(job: &NewJob) -> bool {
    job.unique.is_none() && job.limit.is_none() && job.recovery == Recovery::Rerun
}

fn one_shape(jobs: &[NewJob]) -> bool {
    jobs.first().is_none_or(|first| jobs.iter().all(|job| same_shape(first, job)))
}

/// Whether two plain jobs differ in their payloads alone.
fn same_shape(one: &NewJob, other: &NewJob) -> bool {
    one.queue == other.queue
        && one.kind == other.kind
        && one.priority == other.priority
        && one.due == other.due
        && one.max_attempts == other.max_attempts
        && one.max_crashes == other.max_crashes
        && one.timeout_ms == other.timeout_ms
        && one.own_lease_ms == other.own_lease_ms
}

/// Inserts plain jobs of one shape.
async fn insert(connection: &mut Connection, jobs: &[NewJob]) -> Sql<Vec<Enqueued>> {
    let Some(first) = jobs.first() else {
        return Ok(Vec::new());
    };
    let statement = connection
        .prepare(
            "WITH clock AS (SELECT (extract(epoch FROM now()) * 1000)::int8 AS now_ms), \
             due AS (SELECT now_ms, CASE WHEN $2 THEN $3 ELSE now_ms + $3 END AS run_at FROM clock) \
             INSERT INTO lastout.jobs (id, rank, run_at, created_at, state, queue, kind, priority, \
             max_attempts, max_crashes, timeout_ms, own_lease_ms, payload) \
             SELECT nextval('lastout.job_id'), due.run_at - $4, due.run_at, due.now_ms, \
             CASE WHEN due.run_at > due.now_ms THEN {scheduled} ELSE {ready} END, $5, $6, $7, $8, $9, $10, $11, new.payload \
             FROM due, unnest($1::bytea[]) WITH ORDINALITY AS new (payload, n) RETURNING id",
        )
        .await?;
    let payloads: Vec<&[u8]> = jobs.iter().map(|job| &*job.payload).collect();
    let (absolute, due) = match first.due {
        crate::job::Due::In(delay) => (false, delay),
        crate::job::Due::At(at) => (true, at),
    };
    let head_start = -crate::job::rank(0, first.priority);
    let inserted = connection
        .client
        .query(
            &statement,
            &[
                &payloads,
                &absolute,
                &due,
                &head_start,
                &&*first.queue,
                &&*first.kind,
                &first.priority,
                &first.max_attempts,
                &first.max_crashes,
                &first.timeout_ms,
                &first.own_lease_ms,
            ],
        )
        .await
        .map_err(|error| failed("enqueue jobs", error))?;
    // Numbers of one statement ascend with its rows.
    Ok(inserted.iter().map(|row| Enqueued::New(JobId(row.get(0)))).collect())
}

pub(super) async fn turn(pool: &Pool, turn: &TurnRequest) -> Sql<Turn> {
    let bounds = &pool.bounds;
    if turn.promote {
        transact(pool, async |tx| transitions::promote(tx, PROMOTE_LIMIT).await).await?;
    }
    let none = (Arc::from(""), 0);
    let (queue, count) = turn.claim.first().unwrap_or(&none);
    let mut answer = Turn::default();
    let mut limited = Vec::new();
    let once = async |connection: &mut Connection| {
        exchange(connection, bounds, turn, &turn.reports, queue, *count).await
    };
    let (done, claims) = pool.with(once).await?;
    answer.live = claims.live;
    answer.applied = settle(pool, &turn.reports, done).await?;
    if claims.limited {
        limited.push((queue, *count));
    }
    answer.claimed = claims.jobs;
    for (queue, count) in turn.claim.iter().skip(1) {
        let once = async |connection: &mut Connection| {
            exchange(connection, bounds, turn, &[], queue, *count).await
        };
        let (_, mut claims) = pool.with(once).await?;
        answer.claimed.append(&mut claims.jobs);
        if claims.limited {
            limited.push((queue, *count));
        }
    }
    for (queue, count) in limited {
        let mut claimed = limited::claim(pool, turn, queue, count).await?;
        answer.claimed.append(&mut claimed.jobs);
        answer.next_due_ms = answer.next_due_ms.into_iter().chain(claimed.wait_ms).min();
    }
    Ok(answer)
}

#[derive(Default)]
pub(super) struct Claims {
    pub(super) jobs: Vec<Claimed>,
    live: bool,
    /// The queue has a limit or a rate or is paused: nothing was claimed, the slow way must be taken.
    limited: bool,
    /// Rank and id of the last one.
    last: Option<(i64, i64)>,
}

/// Which of the reports the fast way has written: by id.
pub(super) type Done = std::collections::HashSet<i64>;

/// Completes and claims in one statement.
async fn exchange(
    connection: &mut Connection,
    bounds: &Bounds,
    turn: &TurnRequest,
    reports: &[Report],
    queue: &Arc<str>,
    count: usize,
) -> Sql<(Done, Claims)> {
    let (bound, from_head) = bounds.next(queue);
    let (done, mut claims) =
        statement(connection, turn, reports, queue, count, bound, true).await?;
    if claims.live && !claims.limited && claims.jobs.len() < count && !from_head {
        // Fewer than asked for beyond the bound: look from the head before saying so.
        let left = count - claims.jobs.len();
        let (_, mut more) = statement(connection, turn, &[], queue, left, HEAD, true).await?;
        claims.jobs.append(&mut more.jobs);
        bounds.reset(queue);
    }
    bounds.advance(queue, &claims, count);
    Ok((done, claims))
}

async fn statement(
    connection: &mut Connection,
    turn: &TurnRequest,
    reports: &[Report],
    queue: &Arc<str>,
    count: usize,
    bound: Bound,
    unlimited_only: bool,
) -> Sql<(Done, Claims)> {
    let worker = turn.worker;
    let kinds: Option<Vec<&str>> =
        turn.kinds.as_deref().map(|kinds| kinds.iter().map(|kind| &**kind).collect());
    // In the order of ids, so that two workers cannot wait for each other.
    let mut ended: Vec<_> = reports.iter().filter_map(as_done).collect();
    ended.sort_unstable_by_key(|(lease, _)| lease.job);
    let ids: Vec<i64> = ended.iter().map(|(lease, _)| lease.job.0).collect();
    let fences: Vec<i64> = ended.iter().map(|(lease, _)| lease.fence.0).collect();
    let owners: Vec<i64> = ended.iter().map(|(lease, _)| lease.owner.0).collect();
    let results: Vec<Option<&[u8]>> = ended.iter().map(|(_, result)| *result).collect();
    let statement = connection.prepare(include_str!("turn.sql")).await?;
    let rows = connection
        .client
        .query(
            &statement,
            &[
                &ids,
                &fences,
                &owners,
                &results,
                &worker.0,
                &&**queue,
                &bound.rank,
                &bound.id,
                &bound_of(count),
                &unlimited_only,
                &kinds,
            ],
        )
        .await
        .map_err(|error| failed("complete and claim jobs", error))?;
    Ok(read_claims(&rows, worker, queue, unlimited_only))
}

pub(super) fn read_claims(
    rows: &[Row],
    worker: WorkerId,
    queue: &Arc<str>,
    unlimited_only: bool,
) -> (Done, Claims) {
    let mut claims = Claims::default();
    let mut done = Done::default();
    let mut jobs = Vec::with_capacity(rows.len());
    for row in rows {
        // The one row without an id says what became of the rest.
        match row.get::<_, Option<i64>>(0) {
            Some(id) => jobs.push((row.get::<_, i64>(14), read_claimed(row, id, worker, queue))),
            None => {
                claims.live = row.get(11);
                claims.limited = unlimited_only && row.get::<_, bool>(12);
                done.extend(row.get::<_, Option<Vec<i64>>>(13).into_iter().flatten());
            }
        }
    }
    jobs.sort_unstable_by_key(|(rank, claimed)| (*rank, claimed.lease.job));
    claims.last = jobs.last().map(|(rank, claimed)| (*rank, claimed.lease.job.0));
    claims.jobs = jobs.into_iter().map(|(_, claimed)| claimed).collect();
    (done, claims)
}

fn as_done(report: &Report) -> Option<(Lease, Option<&[u8]>)> {
    match &report.outcome {
        Outcome::Done { result } => Some((report.lease, result.as_deref())),
        _ => None,
    }
}

fn read_claimed(row: &Row, id: i64, worker: WorkerId, queue: &Arc<str>) -> Claimed {
    Claimed {
        lease: Lease::new(JobId(id), Fence(row.get(1)), worker),
        queue: Arc::clone(queue),
        kind: Arc::from(row.get::<_, &str>(2)),
        attempt: row.get(3),
        max_attempts: row.get(4),
        crashes: row.get(5),
        max_crashes: row.get(15),
        recovery: Recovery::from_code(row.get(6)),
        timeout_ms: row.get(7),
        own_lease_ms: row.get(8),
        payload: row.get(9),
        progress: row.get(10),
    }
}

/// Writes what the fast way left aside, and answers each report.
async fn settle(pool: &Pool, reports: &[Report], done: Done) -> Sql<Vec<Applied>> {
    let fast = |report: &Report| as_done(report).is_some() && done.contains(&report.lease.job.0);
    let slow: Vec<Report> = reports.iter().filter(|report| !fast(report)).cloned().collect();
    if slow.is_empty() {
        return Ok(vec![Applied::Now(State::Succeeded); reports.len()]);
    }
    let work = async |tx: &mut Tx<'_>| transitions::report(tx, slow.clone()).await;
    let mut answers = transact(pool, work).await?.into_iter();
    let answer = |report: &Report| match fast(report) {
        true => Applied::Now(State::Succeeded),
        false => answers.next().unwrap_or(Applied::Before),
    };
    Ok(reports.iter().map(answer).collect())
}

/// Claims from a queue that the caller has found free to claim from.
pub(super) async fn claim_from_head(
    connection: &mut Connection,
    turn: &TurnRequest,
    queue: &Arc<str>,
    count: usize,
) -> Sql<Claims> {
    Ok(statement(connection, turn, &[], queue, count, HEAD, false).await?.1)
}

impl Bounds {
    /// Where the next claim of `queue` starts, and whether that is the head.
    fn next(&self, queue: &Arc<str>) -> (Bound, bool) {
        let mut bounds = self.0.borrow_mut();
        let bound = bounds.entry(Arc::clone(queue)).or_insert(HEAD);
        bound.claims += 1;
        let stale = bound.at_head.is_none_or(|at| at.elapsed() >= FROM_HEAD_AFTER);
        if stale || bound.claims >= FROM_HEAD_EVERY {
            *bound = Bound { at_head: Some(Instant::now()), ..HEAD };
        }
        (*bound, bound.rank == HEAD.rank)
    }

    pub(super) fn reset(&self, queue: &Arc<str>) {
        self.0.borrow_mut().remove(queue);
    }

    /// After a full claim the next one starts behind it. What was locked by others and came back is
    /// found from the head, sooner or later.
    fn advance(&self, queue: &Arc<str>, claims: &Claims, asked: usize) {
        let full = asked > 0 && claims.jobs.len() >= asked;
        match (full, claims.last) {
            (true, Some((rank, id))) => {
                let mut bounds = self.0.borrow_mut();
                let bound = bounds.entry(Arc::clone(queue)).or_insert(HEAD);
                // Two turns may be on their way: the one that came further counts.
                (bound.rank, bound.id) = (bound.rank, bound.id).max((rank, id));
            }
            _ => self.reset(queue),
        }
    }
}
