//! Rates: buckets of tokens in a table, which claims take from.

use super::rows::{Sql, Tx};
use crate::job::JobId;
use crate::registry::{Bucket, Rate, RateOf, RateRecord, TurnRequest};
use std::collections::HashMap;
use tokio_postgres::Row;

/// The same rate again changes nothing; another one begins with a full bucket.
pub(super) async fn set(tx: &mut Tx<'_>, of: &RateOf, rate: Option<Rate>) -> Sql<()> {
    let (code, name) = (of.code(), of.name());
    let Some(rate) = rate else {
        let sql = "DELETE FROM lastout.rates WHERE scope = $1 AND name = $2";
        return tx.run(sql, &[&code, &name]).await.map(drop);
    };
    let full = Bucket::full(rate, tx.now_ms);
    let sql = "INSERT INTO lastout.rates AS old (scope, name, most, per_ms, burst, at_ms, missing, free_at, span_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8) ON CONFLICT (scope, name) DO UPDATE SET most = $3, \
               per_ms = $4, burst = $5, at_ms = $6, missing = 0, free_at = $7, span_ms = $8 \
               WHERE old.most <> $3 OR old.per_ms <> $4 OR old.burst <> $5";
    let (most, burst) = (i64::from(rate.max), i64::from(rate.burst));
    let (free_at, span) = (full.free_at_ms(), full.span_ms());
    let at = full.at_ms();
    tx.run(sql, &[&code, &name, &most, &rate.per_ms, &burst, &at, &free_at, &span]).await.map(drop)
}

pub(super) async fn list(tx: &mut Tx<'_>) -> Sql<Vec<RateRecord>> {
    let sql = "SELECT scope, name, most, per_ms, burst FROM lastout.rates ORDER BY scope, name";
    let read = |row: &Row| {
        let rate = Rate::stored(row.get(2), row.get(3), row.get(4))?;
        Some(RateRecord::new(RateOf::of_code(row.get::<_, i16>(0).into(), row.get(1)), rate))
    };
    Ok(tx.all(sql, &[]).await?.iter().filter_map(read).collect())
}

/// The bucket in the columns from the second on; `None` when it cannot be.
fn read(row: &Row) -> Option<Bucket> {
    let rate = Rate::stored(row.get(1), row.get(2), row.get(3))?;
    Some(Bucket::stored(rate, row.get(4), row.get(5)))
}

/// What the rates let start of one queue in this transaction. It holds the locks of the buckets.
pub(super) struct Gate {
    now_ms: i64,
    queue: Option<Bucket>,
    /// Some key has a rate.
    pub(super) keyed: bool,
    keys: HashMap<String, Bucket>,
    /// The rates of keys kept jobs back that were looked at.
    kept_back: bool,
}

/// The clock once the locks are held: the transaction may have waited for them.
async fn clock(tx: &mut Tx<'_>) -> Sql<i64> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8";
    let now = tx.all(sql, &[]).await?;
    Ok(now.first().map_or(tx.now_ms, |row| row.get(0)))
}

impl Gate {
    pub(super) async fn open(tx: &mut Tx<'_>, queue: &str) -> Sql<Self> {
        let sql = "SELECT name, most, per_ms, burst, at_ms, missing FROM lastout.rates \
                   WHERE scope = 0 AND name = $1 FOR UPDATE";
        let bucket = tx.all(sql, &[&queue]).await?.first().and_then(read);
        let sql = "SELECT 1 FROM lastout.rates WHERE scope = 1 LIMIT 1";
        let keyed = !tx.all(sql, &[]).await?.is_empty();
        let now_ms = clock(tx).await?;
        Ok(Self { now_ms, queue: bucket, keyed, keys: HashMap::new(), kept_back: false })
    }

    /// How many of `count` jobs the rate of the queue lets start.
    pub(super) fn free(&self, count: usize) -> usize {
        self.queue.map_or(count, |bucket| bucket.free(self.now_ms).min(count))
    }

    /// Locks the first ready jobs, up to `count`, and picks those that the rates of their keys let start. Jobs whose
    /// key has no token left are passed over, if it had none when the transaction looked.
    pub(super) async fn pick(
        &mut self,
        tx: &mut Tx<'_>,
        turn: &TurnRequest,
        queue: &str,
        count: usize,
    ) -> Sql<Vec<JobId>> {
        let sql = "SELECT id, limit_key FROM lastout.jobs j WHERE state = {ready} AND queue = $1 \
                   AND ($2::text[] IS NULL OR kind = ANY($2)) AND fence < 9223372036854775807 \
                   AND (limit_key IS NULL OR NOT EXISTS (SELECT 1 FROM lastout.rates r WHERE r.scope = 1 \
                   AND r.name = j.limit_key AND r.free_at > $3 AND r.free_at <= $3 + r.span_ms)) \
                   AND EXISTS (SELECT 1 FROM lastout.workers w WHERE w.id = $4 AND w.lease_until > $3) \
                   ORDER BY rank, id LIMIT $5 FOR UPDATE OF j SKIP LOCKED";
        let kinds: Option<Vec<&str>> =
            turn.kinds.as_deref().map(|kinds| kinds.iter().map(|kind| &**kind).collect());
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let params: super::rows::Params<'_> =
            &[&queue, &kinds, &self.now_ms, &turn.worker.0, &count];
        let found = tx.all(sql, params).await?;
        let key = |row: &Row| row.get::<_, Option<String>>(1);
        let mut keys: Vec<String> = found.iter().filter_map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        if !keys.is_empty() {
            // In the order of names, so that two workers do not wait for each other.
            let sql = "SELECT name, most, per_ms, burst, at_ms, missing FROM lastout.rates \
                       WHERE scope = 1 AND name = ANY($1) ORDER BY name FOR UPDATE";
            let locked = tx.all(sql, &[&keys]).await?;
            let bucket = |row: &Row| Some((row.get(0), read(row)?));
            self.keys = locked.iter().filter_map(bucket).collect();
            self.now_ms = clock(tx).await?;
        }
        let mut picked = Vec::with_capacity(found.len());
        for row in &found {
            let bucket = key(row).and_then(|key| self.keys.get_mut(&key));
            let free = bucket.is_none_or(|bucket| {
                let free = bucket.free(self.now_ms).min(1);
                bucket.take(free, self.now_ms);
                free > 0
            });
            if free {
                picked.push(JobId(row.get(0)));
            }
            self.kept_back |= !free;
        }
        Ok(picked)
    }

    /// `started` jobs of the queue were claimed, where `asked` were asked for. Returns the time until the next one
    /// may start, if a rate kept any back.
    pub(super) async fn close(
        self,
        tx: &mut Tx<'_>,
        queue: &str,
        started: usize,
        asked: usize,
    ) -> Sql<Option<i64>> {
        let now_ms = self.now_ms;
        for (key, bucket) in &self.keys {
            note(tx, 1, key, *bucket).await?;
        }
        let exhausted = self.keys.values().filter(|bucket| bucket.free(now_ms) == 0);
        let mut wait = exhausted.map(|bucket| bucket.wait_ms(now_ms)).min();
        if let Some(mut bucket) = self.queue {
            let kept_back = bucket.free(now_ms) < asked;
            if started > 0 {
                bucket.take(started, now_ms);
                note(tx, 0, queue, bucket).await?;
            }
            if kept_back {
                let of_queue = bucket.wait_ms(now_ms);
                wait = Some(wait.map_or(of_queue, |wait| wait.min(of_queue)));
            }
        }
        if self.keyed && started < asked {
            // Of keys that were passed over.
            let sql = "SELECT min(free_at) FROM lastout.rates \
                       WHERE scope = 1 AND free_at > $1 AND free_at <= $1 + span_ms";
            let next = tx.all(sql, &[&now_ms]).await?;
            let next = next.first().and_then(|row| row.get::<_, Option<i64>>(0));
            wait = wait.into_iter().chain(next.map(|at| at.saturating_sub(now_ms))).min();
        }
        // Behind jobs that were kept back others may be ready; the next turn passes over the former.
        Ok(if self.kept_back { Some(0) } else { wait })
    }
}

async fn note(tx: &mut Tx<'_>, scope: i16, name: &str, bucket: Bucket) -> Sql<()> {
    let sql = "UPDATE lastout.rates SET at_ms = $3, missing = $4, free_at = $5 WHERE scope = $1 AND name = $2";
    let (at, missing, free_at) = (bucket.at_ms(), bucket.missing(), bucket.free_at_ms());
    tx.run(sql, &[&scope, &name, &at, &missing, &free_at]).await.map(drop)
}
