//! The edges that have SQL of their own: enqueue, claim, done. What they leave aside (limit keys,
//! cancelled jobs, anything refused) goes to the shared transitions.

use super::super::counting::bound_of;
use super::super::table::{Table, at_once};
use super::super::transitions;
use super::bulk;
use super::many;
use super::rates::Gate;
use super::rows::{INLINE_BYTES, Sql, Tx};
use super::schema::{boot, failed};
use crate::job::{JobId, JobRecord, NewJob, Recovery};
use crate::lease::{Fence, Lease, WorkerId};
use crate::lifecycle::{Outcome, State};
use crate::registry::{Applied, Claimed, Enqueued, Report, Turn, TurnRequest};
use rusqlite::params;
use std::sync::Arc;

/// Scheduled jobs made ready by one turn.
const PROMOTE_LIMIT: usize = 1000;
/// Room made for the answer before it is known how long it is.
const PICKED: usize = 1024;

pub(super) fn enqueue(tx: &mut Tx<'_>, jobs: &[NewJob]) -> Sql<Vec<Enqueued>> {
    let mut enqueued = Vec::with_capacity(jobs.len());
    for job in jobs {
        let plain = job.limit.is_none() && job.recovery == Recovery::Rerun;
        if plain && job.payload.len() <= INLINE_BYTES {
            enqueued.push(bulk::enqueue(tx, job)?);
        } else {
            let mut row = JobRecord::new(JobId(0), job.clone(), tx.now_ms);
            enqueued.push(at_once(transitions::enqueue(tx, &mut row))?);
        }
    }
    Ok(enqueued)
}

pub(super) fn turn(tx: &mut Tx<'_>, turn: &TurnRequest, kinds: &Option<String>) -> Sql<Turn> {
    let mut answer = Turn {
        applied: report(tx, &turn.reports)?,
        live: is_live(tx, turn.worker)?,
        ..Turn::default()
    };
    if turn.promote {
        at_once(transitions::promote(tx, PROMOTE_LIMIT))?;
    }
    for (queue, count) in &turn.claim {
        if answer.live {
            let count = room(tx, queue, *count)?;
            let mut gate = Gate::open(tx, queue)?;
            let before = answer.claimed.len();
            let free = gate.free(count);
            answer.set_aside +=
                claim(tx, turn.worker, queue, kinds, free, &mut gate, &mut answer.claimed)?;
            let wait = gate.close(tx, queue, answer.claimed.len() - before, count)?;
            answer.next_due_ms = answer.next_due_ms.into_iter().chain(wait).min();
        }
    }
    Ok(answer)
}

pub(super) fn is_live(tx: &mut Tx<'_>, worker: WorkerId) -> Sql<bool> {
    let sql =
        "SELECT 1 FROM lastout_workers WHERE id = ?1 AND lease_until > ?2 AND boot_of_lease = ?3";
    let boot_ms = tx.boot_ms;
    Ok(tx.one(sql, params![worker.0, boot_ms, boot()], |_| Ok(()))?.is_some())
}

/// How many of `count` jobs the limit of the queue allows to claim now.
fn room(tx: &mut Tx<'_>, queue: &str, count: usize) -> Sql<usize> {
    let sql = "SELECT 1 FROM lastout_pauses WHERE queue = ?1";
    if tx.one(sql, params![queue], |_| Ok(()))?.is_some() {
        return Ok(0);
    }
    let sql = "SELECT max_running FROM lastout_queues WHERE name = ?1";
    let Some(max) = tx.one(sql, params![queue], |row| row.get::<_, i64>(0))? else {
        return Ok(count);
    };
    let sql = "SELECT count(*) FROM lastout_jobs WHERE state = {running} AND queue = ?1";
    let running = tx.one(sql, params![queue], |row| row.get::<_, i64>(0))?.unwrap_or(0);
    Ok(count.min(usize::try_from(max - running).unwrap_or(0)))
}

/// Claims the first ready jobs, in order. A row that cannot be read is set aside, a job that the rate of its key
/// keeps back is passed over, and the next one is claimed instead. Returns how many rows were set aside.
fn claim(
    tx: &mut Tx<'_>,
    worker: WorkerId,
    queue: &Arc<str>,
    kinds: &Option<String>,
    count: usize,
    gate: &mut Gate,
    claimed: &mut Vec<Claimed>,
) -> Sql<usize> {
    let (mut left, mut set_aside) = (count, 0);
    while left > 0 {
        let mut names = tx.take_names();
        let picked = pick(tx, worker, queue, kinds, left, gate, &mut names);
        tx.put_names(names);
        let Picked { jobs, mut unreadable, kept_back } = picked?;
        if kept_back {
            // What has no token left is passed over by the next round.
            gate.note_keys(tx)?;
        }
        let before = claimed.len();
        for (mut job, beside) in jobs {
            if beside {
                match tx.payload_beside(job.lease.job)? {
                    Some(payload) => job.payload = payload,
                    None => {
                        unreadable.push(job.lease.job);
                        continue;
                    }
                }
            }
            claimed.push(job);
        }
        let got = claimed.len() - before;
        left -= got;
        if unreadable.is_empty() && !(kept_back && got > 0) {
            break;
        }
        set_aside += unreadable.len();
        for row in at_once(tx.load(&unreadable))? {
            at_once(transitions::set_aside(tx, row))?;
        }
    }
    Ok(set_aside)
}

/// Rows of the index of ready jobs: those that were claimed, each with whether its payload is elsewhere;
/// and those that cannot be read.
struct Picked {
    jobs: Vec<(Claimed, bool)>,
    unreadable: Vec<JobId>,
    /// The rate of a key let some not start.
    kept_back: bool,
}

/// The ready jobs of a queue in their order; with their limit keys and the buckets of these, if they are asked for.
macro_rules! ready {
    ($columns:literal, $joined:literal, $passes:literal) => {
        concat!(
            "SELECT id, CASE WHEN fence < 9223372036854775807 THEN fence + 1 END, \
             min(attempt + 1, 2147483647), kind, max_attempts, crashes, recovery, \
             timeout_ms, own_lease_ms, progress, payload, max_crashes",
            $columns,
            " FROM lastout_jobs ",
            $joined,
            "WHERE state = {ready} AND queue = ?1 \
             AND (?3 IS NULL OR +kind IN (SELECT value FROM json_each(?3))) ",
            $passes,
            "ORDER BY rank, id LIMIT ?2"
        )
    };
}

const READY: &str = ready!("", "", "");
const READY_BY_KEY: &str = ready!(
    ", limit_key, most, per_ms, burst, at_ms, missing",
    "LEFT JOIN lastout_rates ON scope = 1 AND name = limit_key ",
    "AND (free_at IS NULL OR free_at <= ?4 OR free_at > ?4 + span_ms) "
);
/// The first of the columns that only [`READY_BY_KEY`] has.
const KEY_COLUMN: usize = 12;

fn pick(
    tx: &mut Tx<'_>,
    worker: WorkerId,
    queue: &Arc<str>,
    kinds: &Option<String>,
    count: usize,
    gate: &mut Gate,
    names: &mut std::collections::HashMap<Box<str>, Arc<str>>,
) -> Sql<Picked> {
    // Nobody else writes before the commit, so what is read here is what is changed below. Reading
    // first comes in the order of the index, and spares the change the copies that RETURNING makes.
    let now_ms = tx.now_ms;
    let ready = tx.statement(if gate.keyed { READY_BY_KEY } else { READY })?;
    let doing = |error| failed("claim jobs", error);
    let rows = match gate.keyed {
        true => ready.query(params![&**queue, bound_of(count), kinds, now_ms]),
        false => ready.query(params![&**queue, bound_of(count), kinds]),
    };
    let mut rows = rows.map_err(doing)?;
    let jobs = Vec::with_capacity(count.min(PICKED));
    let mut picked = Picked { jobs, unreadable: Vec::new(), kept_back: false };
    while let Some(row) = rows.next().map_err(doing)? {
        let id = JobId(row.get(0).map_err(doing)?);
        let mut read = || -> rusqlite::Result<(Claimed, bool)> {
            let payload: Option<Vec<u8>> = row.get(10)?;
            let beside = payload.is_none();
            let claimed = Claimed {
                lease: Lease::new(id, Fence(row.get(1)?), worker),
                queue: Arc::clone(queue),
                kind: Tx::name(names, row.get_ref(3)?.as_str()?),
                attempt: row.get(2)?,
                max_attempts: row.get(4)?,
                crashes: row.get(5)?,
                max_crashes: row.get(11)?,
                recovery: Recovery::from_code(row.get(6)?),
                timeout_ms: row.get(7)?,
                own_lease_ms: row.get(8)?,
                payload: payload.unwrap_or_default(),
                progress: row.get(9)?,
            };
            Ok((claimed, beside))
        };
        let Ok(job) = read() else {
            picked.unreadable.push(id);
            continue;
        };
        match if gate.keyed { gate.passes(row, KEY_COLUMN) } else { Ok(true) } {
            Ok(true) => picked.jobs.push(job),
            Ok(false) => picked.kept_back = true,
            Err(_) => picked.unreadable.push(id),
        }
    }
    drop(rows);
    many::claim(tx, worker, &picked.jobs)?;
    Ok(picked)
}

pub(super) fn report(tx: &mut Tx<'_>, reports: &[Report]) -> Sql<Vec<Applied>> {
    let now_ms = tx.now_ms;
    let in_chunks = many::complete(tx, reports)?;
    let mut applied = Vec::with_capacity(reports.len());
    let mut aside = Vec::new();
    if !reports.is_empty() {
        let done = tx.statement(
            "UPDATE lastout_jobs NOT INDEXED SET state = {succeeded}, ended_at = ?4, result = ?5, error = NULL, \
             lease_until = 0, open_key = CASE WHEN unique_kept = 1 THEN unique_key END \
             WHERE id = ?1 AND state = {running} AND fence = ?2 AND owner = ?3 \
             AND limit_key IS NULL AND cancel = 0",
        )?;
        for (at, Report { lease, outcome }) in reports.iter().enumerate() {
            applied.push(Applied::Now(State::Succeeded));
            if in_chunks && many::is_plain(outcome) {
                continue;
            }
            let written = match outcome {
                Outcome::Done { result } => done
                    .execute(params![lease.job.0, lease.fence.0, lease.owner.0, now_ms, result])
                    .map_err(|error| failed("complete a job", error))?,
                _ => 0,
            };
            if written == 0 {
                aside.push(at);
            }
        }
    }
    if !aside.is_empty() {
        let slow = aside.iter().map(|at| reports[*at].clone()).collect();
        let slow = at_once(transitions::report(tx, slow))?;
        for (at, outcome) in aside.into_iter().zip(slow) {
            applied[at] = outcome;
        }
    }
    Ok(applied)
}

/// Gives every job of `worker` back and forgets it.
pub(super) fn deregister(tx: &mut Tx<'_>, worker: WorkerId) -> Sql<usize> {
    let given = at_once(transitions::give_back(tx, worker, &[]))?;
    at_once(tx.forget_worker(worker))?;
    Ok(given)
}
