//! Many new jobs with unique keys: by one COPY if all keys are free, otherwise by INSERTs that pass over those
//! that are taken, because a COPY fails as a whole over one of them.

use super::copy;
use super::pool::{failed, is_taken};
use super::rows::{Params, Sql, Tx};
use crate::error::{StoreError, StoreErrorKind};
use crate::job::{JobId, JobRecord, NewJob};
use crate::registry::Enqueued;
use std::collections::{HashMap, HashSet};

/// Rows of one statement, so that a long enqueue does not hold everything twice.
const CHUNK: usize = 5000;
/// Payload bytes of one statement: PostgreSQL takes messages below 1 GiB.
const CHUNK_BYTES: usize = 64 << 20;

const INSERT: &str = "INSERT INTO lastout.jobs (id, rank, run_at, timeout_ms, own_lease_ms, max_attempts, \
    max_crashes, state, priority, recovery, unique_kept, unique_key, queue, kind, payload, created_at) \
    SELECT new.*, $16::int8 FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], \
    $6::int4[], $7::int4[], $8::int2[], $9::int2[], $10::int2[], $11::bool[], $12::text[], $13::text[], \
    $14::text[], $15::bytea[]) AS new ON CONFLICT DO NOTHING RETURNING id";

const HOLDERS: &str = "SELECT unique_key, id FROM lastout.jobs WHERE unique_key = ANY($1) \
    AND unique_key IS NOT NULL AND (state < {succeeded} OR unique_kept)";

/// Stores jobs without limit keys that no handler outside holds, some of them with unique keys.
pub(super) async fn insert(tx: &mut Tx<'_>, jobs: &[NewJob]) -> Sql<Vec<Enqueued>> {
    if jobs.len() >= copy::WORTH {
        if let Some(copied) = copy_all(tx, jobs).await? {
            return Ok(copied);
        }
    }
    let mut enqueued = Vec::with_capacity(jobs.len());
    let mut rest = jobs;
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fits = |job: &&NewJob| {
            bytes = bytes.saturating_add(job.payload.len());
            bytes <= CHUNK_BYTES
        };
        let count = rest.iter().take(CHUNK).take_while(fits).count().max(1);
        enqueued.append(&mut insert_chunk(tx, &rest[..count]).await?);
        rest = &rest[count..];
    }
    Ok(enqueued)
}

/// Stores all of them; `None` if that cannot be, because a key is taken or two of them have the same.
async fn copy_all(tx: &mut Tx<'_>, jobs: &[NewJob]) -> Sql<Option<Vec<Enqueued>>> {
    let key = |job: &NewJob| job.unique.as_ref().map(|unique| unique.key_at(tx.now_ms));
    let mut order: Vec<_> = jobs.iter().enumerate().map(|(at, job)| (key(job), at)).collect();
    // In the order of keys, so that two enqueues of the same keys do not wait for each other.
    order.sort_unstable();
    if order.windows(2).any(|pair| pair[0].0.is_some() && pair[0].0 == pair[1].0) {
        return Ok(None);
    }
    let ids = copy::take_ids(tx.connection, jobs.len()).await?;
    let rows = order.iter().map(|(_, at)| (ids[*at], &jobs[*at]));
    savepoint(tx, "SAVEPOINT free_keys").await?;
    match copy::copy(tx.connection, tx.now_ms, rows).await {
        Ok(()) => savepoint(tx, "RELEASE SAVEPOINT free_keys").await?,
        Err(error) if is_taken(&error) => {
            savepoint(tx, "ROLLBACK TO SAVEPOINT free_keys; RELEASE SAVEPOINT free_keys").await?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    Ok(Some(ids.into_iter().map(|id| Enqueued::New(JobId(id))).collect()))
}

async fn savepoint(tx: &mut Tx<'_>, sql: &str) -> Sql<()> {
    let done = tx.connection.client.batch_execute(sql).await;
    done.map_err(|error| failed("enqueue jobs", error))
}

async fn insert_chunk(tx: &mut Tx<'_>, jobs: &[NewJob]) -> Sql<Vec<Enqueued>> {
    let ids = copy::take_ids(tx.connection, jobs.len()).await?;
    let row = |(id, job): (i64, &NewJob)| JobRecord::new(JobId(id), job.clone(), tx.now_ms);
    let mut rows: Vec<JobRecord> = ids.into_iter().zip(jobs).map(row).collect();
    // In the order of keys, so that two enqueues of the same keys do not wait for each other.
    rows.sort_by(|one, other| one.unique_key.cmp(&other.unique_key));
    let stored = store(tx, &rows).await?;
    rows.sort_by_key(|row| row.id);
    let key = |row: &JobRecord| row.unique_key.clone().unwrap_or_default();
    let mut holders = HashMap::new();
    for row in rows.iter().filter(|row| stored.contains(&row.id)) {
        holders.insert(key(row), row.id);
    }
    let refused = rows.iter().filter(|row| !stored.contains(&row.id)).map(key);
    let elsewhere: Vec<String> = refused.filter(|key| !holders.contains_key(key)).collect();
    if !elsewhere.is_empty() {
        let found = tx.all(HOLDERS, &[&elsewhere]).await?;
        holders.extend(found.iter().map(|row| (row.get(0), JobId(row.get(1)))));
    }
    let answer = |row: &JobRecord| match stored.contains(&row.id) {
        true => Ok(Enqueued::New(row.id)),
        // Its holder ended between the two statements: the transaction is tried again.
        false => match holders.get(&key(row)) {
            Some(holder) => Ok(Enqueued::Duplicate(*holder)),
            None => Err(StoreError::new(StoreErrorKind::Unavailable, "enqueue jobs")),
        },
    };
    rows.iter().map(answer).collect()
}

/// The rows that were stored: no other one has their key.
async fn store(tx: &mut Tx<'_>, rows: &[JobRecord]) -> Sql<HashSet<JobId>> {
    fn column<'a, T>(rows: &'a [JobRecord], value: impl Fn(&'a JobRecord) -> T) -> Vec<T> {
        rows.iter().map(value).collect()
    }
    let now_ms = tx.now_ms;
    let values: Params<'_> = &[
        &column(rows, |row| row.id.0),
        &column(rows, |row| row.rank),
        &column(rows, |row| row.run_at),
        &column(rows, |row| row.timeout_ms),
        &column(rows, |row| row.own_lease_ms),
        &column(rows, |row| row.max_attempts),
        &column(rows, |row| row.max_crashes),
        &column(rows, |row| row.state.code()),
        &column(rows, |row| row.priority),
        &column(rows, |row| row.recovery.code()),
        &column(rows, |row| row.unique_kept),
        &column(rows, |row| row.unique_key.as_deref()),
        &column(rows, |row| &*row.queue),
        &column(rows, |row| &*row.kind),
        &column(rows, |row| &*row.payload),
        &now_ms,
    ];
    Ok(tx.all(INSERT, values).await?.iter().map(|row| JobId(row.get(0))).collect())
}
