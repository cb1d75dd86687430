//! The table of periodic jobs, and how a run becomes a job.

use super::super::transitions;
use super::hot;
use super::rows::{Sql, Tx};
use crate::job::{JobId, JobRecord, NewJob, Template};
use crate::registry::{Enqueued, Pause, Periodic, PeriodicRecord};
use tokio_postgres::Row;

/// How many runs are enqueued together, so that catching up takes few round trips.
const AT_ONCE: usize = 100;

/// The next run is kept when the expression is, and a pause always.
pub(super) async fn put(tx: &mut Tx<'_>, new: &Periodic, template: &str) -> Sql<()> {
    let sql = "INSERT INTO lastout.periodic AS old (name, cron, next_at, job, catch_up) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO UPDATE SET cron = $2, job = $4, \
               error = NULL, catch_up = $5, next_at = CASE WHEN old.cron = $2 THEN old.next_at ELSE $3 END";
    let runs = i32::try_from(new.catch_up).unwrap_or(i32::MAX);
    tx.run(sql, &[&new.name, &new.cron, &new.first_ms, &template, &runs]).await.map(drop)
}

/// All of them.
pub(super) async fn list(tx: &mut Tx<'_>) -> Sql<Vec<PeriodicRecord>> {
    let sql = "SELECT name, cron, next_at, catch_up, error, job, paused_by, paused_at FROM lastout.periodic \
         ORDER BY name";
    let each = |row: &Row| {
        let record = PeriodicRecord::new(row.get(0), row.get(1), row.get(2)).error(row.get(4));
        let by = row.get::<_, Option<String>>(6).unwrap_or_default();
        let record = record.paused(row.get::<_, Option<i64>>(7).map(|at| Pause::new(by, at)));
        let record = record.catch_up(u32::try_from(row.get::<_, i32>(3)).unwrap_or(0));
        // One whose job cannot be read is shown without it.
        match Template::read(row.get::<_, &str>(5).as_bytes()) {
            Ok(job) => record.job(&job),
            Err(_) => record,
        }
    };
    Ok(tx.all(sql, &[]).await?.iter().map(each).collect())
}

pub(super) async fn fire(
    tx: &mut Tx<'_>,
    name: &str,
    at_ms: i64,
    next_ms: i64,
    runs: u32,
) -> Sql<bool> {
    let sql = "UPDATE lastout.periodic SET next_at = $3 WHERE name = $1 AND next_at = $2 AND error IS NULL \
               AND paused_at IS NULL RETURNING job";
    let moved = tx.all(sql, &[&name, &at_ms, &next_ms]).await?;
    let Some(row) = moved.first() else {
        return Ok(false);
    };
    let job = read(row)?;
    let mut left = runs as usize;
    while left > 0 {
        let jobs = vec![job.clone(); left.min(AT_ONCE)];
        hot::enqueue_in_transaction(tx, &jobs).await?;
        left -= jobs.len();
    }
    Ok(true)
}

/// The first pause stays.
pub(super) async fn pause(tx: &mut Tx<'_>, name: &str, by: &str) -> Sql<bool> {
    let now_ms = tx.now_ms;
    let sql = "UPDATE lastout.periodic SET paused_by = $2, paused_at = $3 WHERE name = $1 AND paused_at IS NULL";
    Ok(tx.run(sql, &[&name, &by, &now_ms]).await? == 1)
}

pub(super) async fn resume(tx: &mut Tx<'_>, name: &str, at_ms: i64, next_ms: i64) -> Sql<bool> {
    let sql = "UPDATE lastout.periodic SET paused_by = NULL, paused_at = NULL, next_at = $3 \
               WHERE name = $1 AND next_at = $2 AND paused_at IS NOT NULL";
    Ok(tx.run(sql, &[&name, &at_ms, &next_ms]).await? == 1)
}

/// Enqueues the job of `name` once.
pub(super) async fn run(tx: &mut Tx<'_>, name: &str) -> Sql<Option<Enqueued>> {
    let found = tx.all("SELECT job FROM lastout.periodic WHERE name = $1", &[&name]).await?;
    match found.first() {
        Some(row) => enqueue(tx, &read(row)?).await.map(Some),
        None => Ok(None),
    }
}

/// It may have been written by somebody else.
fn read(row: &Row) -> Sql<NewJob> {
    let job = Template::read(row.get::<_, &str>(0).as_bytes())?;
    job.check(usize::MAX)?;
    Ok(job)
}

async fn enqueue(tx: &mut Tx<'_>, job: &NewJob) -> Sql<Enqueued> {
    let mut row = JobRecord::new(JobId(0), job.clone(), tx.now_ms);
    transitions::enqueue(tx, &mut row).await
}
