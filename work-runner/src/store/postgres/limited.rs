//! Claims from a queue with a limit, a pause or a rate: one worker at a time counts and claims.

use super::hot::{self, Claims};
use super::pool::Pool;
use super::rates::Gate;
use super::rows::{Sql, Tx, transact};
use crate::job::JobId;
use crate::registry::{Claimed, TurnRequest};
use std::sync::Arc;

/// The answer to a claim.
#[derive(Default)]
pub(super) struct Limited {
    pub(super) jobs: Vec<Claimed>,
    /// Time until a rate that kept some back lets the next one start.
    pub(super) wait_ms: Option<i64>,
}

pub(super) async fn claim(
    pool: &Pool,
    turn: &TurnRequest,
    queue: &Arc<str>,
    count: usize,
) -> Sql<Limited> {
    pool.bounds.reset(queue);
    transact(pool, async |tx| claim_in_transaction(tx, turn, queue, count).await).await
}

async fn claim_in_transaction(
    tx: &mut Tx<'_>,
    turn: &TurnRequest,
    queue: &Arc<str>,
    count: usize,
) -> Sql<Limited> {
    let sql = "SELECT 1 FROM lastout.pauses WHERE queue = $1";
    if !tx.all(sql, &[&&**queue]).await?.is_empty() {
        return Ok(Limited::default());
    }
    let sql = "SELECT max_running FROM lastout.queues WHERE name = $1 FOR UPDATE";
    let limit = tx.all(sql, &[&&**queue]).await?;
    let mut count = count;
    if let Some(row) = limit.first() {
        let sql = "SELECT count(*) FROM lastout.jobs WHERE state = {running} AND queue = $1";
        let running = tx.all(sql, &[&&**queue]).await?;
        let running: i64 = running.first().map_or(0, |row| row.get(0));
        let free = i64::from(row.get::<_, i32>(0)) - running;
        count = count.min(usize::try_from(free).unwrap_or(0));
    }
    let mut gate = Gate::open(tx, queue).await?;
    let free = gate.free(count);
    let jobs = if gate.keyed {
        let picked = gate.pick(tx, turn, queue, free).await?;
        claim_picked(tx, turn, queue, &picked).await?.jobs
    } else {
        hot::claim_from_head(tx.connection, turn, queue, free).await?.jobs
    };
    let wait_ms = gate.close(tx, queue, jobs.len(), count).await?;
    Ok(Limited { jobs, wait_ms })
}

async fn claim_picked(
    tx: &mut Tx<'_>,
    turn: &TurnRequest,
    queue: &Arc<str>,
    picked: &[JobId],
) -> Sql<Claims> {
    let sql = "UPDATE lastout.jobs j SET state = {running}, fence = j.fence + 1, \
        attempt = LEAST(j.attempt::int8 + 1, 2147483647)::int4, owner = $2, claimed_at = $3, \
        lease_until = CASE WHEN j.own_lease_ms > 0 THEN $3 + LEAST(j.own_lease_ms, 4611686018427387904) ELSE 0 END \
        WHERE j.id = ANY($1) AND j.state + 0 = {ready} \
        RETURNING j.id, j.fence, j.kind, j.attempt, j.max_attempts, j.crashes, j.recovery, j.timeout_ms, \
        j.own_lease_ms, j.payload, j.progress, NULL::bool, NULL::bool, NULL::int8[], j.rank, j.max_crashes";
    let ids: Vec<i64> = picked.iter().map(|id| id.0).collect();
    let now_ms = tx.now_ms;
    let rows = tx.all(sql, &[&ids, &turn.worker.0, &now_ms]).await?;
    Ok(hot::read_claims(&rows, turn.worker, queue, false).1)
}
