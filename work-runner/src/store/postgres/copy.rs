//! Many new jobs by one binary COPY: the server stores them page by page, which costs less than half
//! of an INSERT of as many.
//!
//! A COPY returns no rows, so the ids are taken from their sequence before, in the same transaction.
//! What the sequence gave to a transaction that failed is a gap in the numbers, as with any INSERT.

use super::pool::{Connection, failed};
use super::rows::Sql;
use crate::error::{StoreError, StoreErrorKind};
use crate::job::{JobId, NewJob};
use crate::lifecycle::State;
use crate::registry::Enqueued;
use futures_util::SinkExt as _;
use std::io::Cursor;
use std::pin::pin;

/// As many jobs are worth the round trips of a transaction and a COPY.
pub(super) const WORTH: usize = 200;
/// Bytes on their way at once, so that a long enqueue does not hold everything twice.
const CHUNK: usize = 64 * 1024;

/// The columns that an enqueue sets, in the order of [`encode`]; the others have their defaults.
const COPY: &str = "COPY lastout.jobs (id, rank, run_at, created_at, timeout_ms, own_lease_ms, \
    max_attempts, max_crashes, state, priority, recovery, unique_kept, unique_key, queue, kind, payload) \
    FROM STDIN (FORMAT binary)";
const COLUMNS: i16 = 16;
/// The signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Stands in the place of a number of columns.
const END: i16 = -1;
/// Stands in the place of a length.
const NULL: i32 = -1;

/// Inserts plain jobs of any shape, inside the open transaction of `connection`.
pub(super) async fn insert(
    connection: &mut Connection,
    now_ms: i64,
    jobs: &[NewJob],
) -> Sql<Vec<Enqueued>> {
    let ids = take_ids(connection, jobs.len()).await?;
    copy(connection, now_ms, ids.iter().copied().zip(jobs)).await?;
    Ok(ids.into_iter().map(|id| Enqueued::New(JobId(id))).collect())
}

/// Inserts jobs without limit keys that no handler outside holds, in this order and with these ids. Fails as a
/// whole over one unique key that is taken.
pub(super) async fn copy(
    connection: &mut Connection,
    now_ms: i64,
    jobs: impl ExactSizeIterator<Item = (i64, &'_ NewJob)>,
) -> Sql<()> {
    let doing = |error| failed("enqueue jobs", error);
    let count = jobs.len();
    let statement = connection.prepare(COPY).await?;
    let sink = connection.client.copy_in::<_, Cursor<Vec<u8>>>(&statement).await.map_err(doing)?;
    // Dropped before its end, it tells the server to forget what came.
    let mut sink = pin!(sink);
    let mut rows = HEADER.to_vec();
    for (id, job) in jobs {
        encode(&mut rows, id, job, now_ms)?;
        if rows.len() >= CHUNK {
            let full = std::mem::replace(&mut rows, Vec::with_capacity(CHUNK + CHUNK / 8));
            sink.feed(Cursor::new(full)).await.map_err(doing)?;
        }
    }
    rows.extend_from_slice(&END.to_be_bytes());
    sink.feed(Cursor::new(rows)).await.map_err(doing)?;
    let stored = sink.as_mut().finish().await.map_err(doing)?;
    if stored != count as u64 {
        let why = format!("{stored} of {count} jobs were stored");
        return Err(StoreError::new(StoreErrorKind::Other, "enqueue jobs").with_source(why));
    }
    Ok(())
}

/// As many ids, ascending.
pub(super) async fn take_ids(connection: &mut Connection, count: usize) -> Sql<Vec<i64>> {
    let statement = connection
        .prepare("SELECT array_agg(nextval('lastout.job_id')) FROM generate_series(1, $1::int8)")
        .await?;
    let row = connection.client.query_one(&statement, &[&(count as i64)]).await;
    row.map(|row| row.get(0)).map_err(|error| failed("enqueue jobs", error))
}

fn encode(row: &mut Vec<u8>, id: i64, job: &NewJob, now_ms: i64) -> Sql<()> {
    let run_at = job.due.at(now_ms);
    let state = if run_at > now_ms { State::Scheduled } else { State::Ready };
    let rank = crate::job::rank(run_at, job.priority);
    row.extend_from_slice(&COLUMNS.to_be_bytes());
    for value in [id, rank, run_at, now_ms, job.timeout_ms, job.own_lease_ms] {
        field(row, &value.to_be_bytes())?;
    }
    for value in [job.max_attempts, job.max_crashes] {
        field(row, &value.to_be_bytes())?;
    }
    for value in [state.code(), job.priority, job.recovery.code()] {
        field(row, &value.to_be_bytes())?;
    }
    match &job.unique {
        Some(unique) => {
            field(row, &[u8::from(unique.is_kept())])?;
            field(row, unique.key_at(now_ms).as_bytes())?;
        }
        None => {
            field(row, &[0])?;
            row.extend_from_slice(&NULL.to_be_bytes());
        }
    }
    for value in [job.queue.as_bytes(), job.kind.as_bytes(), &job.payload] {
        field(row, value)?;
    }
    Ok(())
}

fn field(row: &mut Vec<u8>, value: &[u8]) -> Sql<()> {
    let length = i32::try_from(value.len()).map_err(|error| {
        StoreError::new(StoreErrorKind::Full, "enqueue jobs").with_source(error)
    })?;
    row.extend_from_slice(&length.to_be_bytes());
    row.extend_from_slice(value);
    Ok(())
}
