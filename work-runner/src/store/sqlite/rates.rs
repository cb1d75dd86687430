//! Rates: buckets of tokens in a table, which claims take from.

use super::rows::{Sql, Tx};
use crate::registry::{Bucket, Rate, RateOf, RateRecord};
use rusqlite::{Row, params};
use std::collections::HashMap;

/// The same rate again changes nothing; another one begins with a full bucket.
pub(super) fn set(tx: &mut Tx<'_>, of: &RateOf, rate: Option<Rate>) -> Sql<()> {
    let Some(rate) = rate else {
        let sql = "DELETE FROM lastout_rates WHERE scope = ?1 AND name = ?2";
        return tx.run(sql, params![of.code(), of.name()]).map(drop);
    };
    let full = Bucket::full(rate, tx.now_ms);
    let sql = "INSERT INTO lastout_rates (scope, name, most, per_ms, burst, at_ms, missing, free_at, span_ms) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8) ON CONFLICT (scope, name) DO UPDATE SET most = ?3, \
               per_ms = ?4, burst = ?5, at_ms = ?6, missing = 0, free_at = ?7, span_ms = ?8 \
               WHERE most <> ?3 OR per_ms <> ?4 OR burst <> ?5";
    let params = params![
        of.code(),
        of.name(),
        rate.max,
        rate.per_ms,
        rate.burst,
        full.at_ms(),
        full.free_at_ms(),
        full.span_ms()
    ];
    tx.run(sql, params).map(drop)
}

pub(super) fn list(tx: &mut Tx<'_>) -> Sql<Vec<RateRecord>> {
    let sql = "SELECT scope, CAST(name AS BLOB), most, per_ms, burst FROM lastout_rates ORDER BY scope, name";
    let read = |row: &Row<'_>| {
        let name = String::from_utf8_lossy(row.get_ref(1)?.as_bytes()?).into_owned();
        let rate = Rate::stored(row.get(2)?, row.get(3)?, row.get(4)?);
        Ok(rate.map(|rate| RateRecord::new(RateOf::of_code(row.get_unwrap(0), name), rate)))
    };
    Ok(tx.all(sql, params![], read)?.into_iter().flatten().collect())
}

/// When the first rate lets a job start again, of those of these queues, given as JSON, and of keys that let none start
/// now.
pub(super) fn next_token(tx: &mut Tx<'_>, queues: &str) -> Sql<Option<i64>> {
    let now_ms = tx.now_ms;
    let sql = "SELECT min(free_at) FROM lastout_rates WHERE free_at > ?1 AND free_at <= ?1 + span_ms \
               AND (scope = 1 OR name IN (SELECT value FROM json_each(?2)))";
    Ok(tx.one(sql, params![now_ms, queues], |row| row.get(0))?.flatten())
}

/// The bucket in the columns from `first` on; `None` where there is none, or one that cannot be.
fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Bucket>> {
    let Some(most) = row.get::<_, Option<i64>>(first)? else {
        return Ok(None);
    };
    let rate = Rate::stored(most, row.get(first + 1)?, row.get(first + 2)?);
    let (at_ms, missing) = (row.get(first + 3)?, row.get(first + 4)?);
    Ok(rate.map(|rate| Bucket::stored(rate, at_ms, missing)))
}

/// What the rates let start of one queue in this transaction.
pub(super) struct Gate {
    now_ms: i64,
    queue: Option<Bucket>,
    /// Some key has a rate.
    pub(super) keyed: bool,
    /// The buckets of the keys that jobs were claimed from.
    keys: HashMap<String, Bucket>,
}

impl Gate {
    pub(super) fn open(tx: &mut Tx<'_>, queue: &str) -> Sql<Self> {
        let sql = "SELECT most, per_ms, burst, at_ms, missing FROM lastout_rates \
                   WHERE scope = 0 AND name = ?1";
        let bucket = tx.one(sql, params![queue], |row| read(row, 0))?.flatten();
        let sql = "SELECT 1 FROM lastout_rates WHERE scope = 1 LIMIT 1";
        let keyed = tx.one(sql, params![], |_| Ok(()))?.is_some();
        Ok(Self { now_ms: tx.now_ms, queue: bucket, keyed, keys: HashMap::new() })
    }

    /// How many of `count` jobs the rate of the queue lets start.
    pub(super) fn free(&self, count: usize) -> usize {
        self.queue.map_or(count, |bucket| bucket.free(self.now_ms).min(count))
    }

    /// Whether the rate of its key lets the job of this row start, whose key is in column `first` and the bucket
    /// of that in those after it. Its token is taken.
    pub(super) fn passes(&mut self, row: &Row<'_>, first: usize) -> rusqlite::Result<bool> {
        let (Some(key), Some(bucket)) =
            (row.get::<_, Option<String>>(first)?, read(row, first + 1)?)
        else {
            return Ok(true);
        };
        let bucket = self.keys.entry(key).or_insert(bucket);
        let free = bucket.free(self.now_ms) > 0;
        bucket.take(usize::from(free), self.now_ms);
        Ok(free)
    }

    /// Writes down which tokens of keys are taken.
    pub(super) fn note_keys(&self, tx: &mut Tx<'_>) -> Sql<()> {
        self.keys.iter().try_for_each(|(key, bucket)| note(tx, 1, key, *bucket))
    }

    /// `started` jobs of the queue were claimed, where `asked` were asked for. Returns the time until the next one
    /// may start, if a rate kept any back.
    pub(super) fn close(
        self,
        tx: &mut Tx<'_>,
        queue: &str,
        started: usize,
        asked: usize,
    ) -> Sql<Option<i64>> {
        let now_ms = self.now_ms;
        self.note_keys(tx)?;
        let waits = self.keys.values().filter(|bucket| bucket.free(now_ms) == 0);
        let mut wait = waits.map(|bucket| bucket.wait_ms(now_ms)).min();
        if let Some(mut bucket) = self.queue {
            let kept_back = bucket.free(now_ms) < asked;
            if started > 0 {
                bucket.take(started, now_ms);
                note(tx, 0, queue, bucket)?;
            }
            if kept_back {
                let of_queue = bucket.wait_ms(now_ms);
                wait = Some(wait.map_or(of_queue, |wait| wait.min(of_queue)));
            }
        }
        if self.keyed && started < asked {
            // Of keys that were passed over.
            let next = next_token(tx, "[]")?.map(|at| at.saturating_sub(now_ms));
            wait = wait.into_iter().chain(next).min();
        }
        Ok(wait)
    }
}

fn note(tx: &mut Tx<'_>, scope: i16, name: &str, bucket: Bucket) -> Sql<()> {
    let sql = "UPDATE lastout_rates SET at_ms = ?3, missing = ?4, free_at = ?5 WHERE scope = ?1 AND name = ?2";
    let params = params![scope, name, bucket.at_ms(), bucket.missing(), bucket.free_at_ms()];
    tx.run(sql, params).map(drop)
}
