//! The queue: one SQLite file, or a PostgreSQL database.

use crate::options::{Options, Store};
use crate::plan::Work;
use lastout::supervisor::Failure;
use lastout::work_runner::{JobId, JobRecord, NewJob, Query, Registry, UniqueWhile, WorkDriver};
use std::sync::Arc;

/// The queue of the captures, and that of the process jobs.
pub(crate) const CAPTURES: &str = "captures";
pub(crate) const PROCESSES: &str = "processes";

/// A page of a list.
const PAGE: usize = 1000;

/// Opens the queue, and creates it if need be.
pub(crate) async fn open(options: &Options) -> Result<Arc<dyn Registry>, Failure> {
    match options.store {
        Store::Sqlite => {
            let path = options.out.join("queue.db");
            Ok(Arc::new(lastout::work_runner::sqlite::SqliteRegistry::open(path)?))
        }
        #[cfg(feature = "postgres")]
        Store::Postgres => postgres().await,
        #[cfg(not(feature = "postgres"))]
        Store::Postgres => Err("built without the feature postgres".into()),
    }
}

#[cfg(feature = "postgres")]
async fn postgres() -> Result<Arc<dyn Registry>, Failure> {
    let url = std::env::var("LASTOUT_POSTGRES");
    let url = url.map_err(|_| "set LASTOUT_POSTGRES to the address of the database")?;
    Ok(Arc::new(lastout::work_runner::postgres::PostgresRegistry::connect(&url).await?))
}

/// The jobs of the newest batch that has not ended, and its number.
pub(crate) async fn unfinished(driver: &WorkDriver) -> Result<Option<(i64, Vec<JobId>)>, Failure> {
    let rows = all(driver).await?;
    let works = rows.iter().filter_map(|row| Some((row, work(row)?)));
    let works: Vec<_> = works.collect();
    let open = works.iter().filter(|(row, _)| !row.state.is_terminal());
    let Some(batch) = open.map(|(_, work)| work.batch).max() else {
        return Ok(None);
    };
    let ids = works.iter().filter(|(_, work)| work.batch == batch);
    Ok(Some((batch, ids.map(|(row, _)| row.id).collect())))
}

/// Stores the jobs of a batch, all or none.
pub(crate) async fn enqueue(driver: &WorkDriver, plan: &[Work]) -> Result<Vec<JobId>, Failure> {
    let jobs: Result<Vec<_>, _> = plan.iter().map(job).collect();
    let enqueued = driver.enqueue_all(jobs?).await?;
    Ok(enqueued.into_iter().map(|job| job.id()).collect())
}

fn job(work: &Work) -> Result<NewJob, Failure> {
    let (kind, queue) = match work.kind.is_capture() {
        true => ("capture", CAPTURES),
        false => ("digest", PROCESSES),
    };
    // What cannot be cured is tried twice; what can, until the faults are over.
    let attempts = if work.kind.is_curable() { 50 } else { 2 };
    let key = format!("{}/{}", work.batch, work.n);
    Ok(NewJob::new(kind, work)?
        .queue(queue)
        .max_attempts(attempts)
        .max_crashes(1000)
        .unique_while(key, UniqueWhile::Kept))
}

/// The payload of a job of ours.
pub(crate) fn work(row: &JobRecord) -> Option<Work> {
    serde_json::from_slice(&row.payload).ok()
}

/// These jobs as they are now.
pub(crate) async fn rows(driver: &WorkDriver, ids: &[JobId]) -> Result<Vec<JobRecord>, Failure> {
    Ok(driver.registry().fetch(ids.to_vec()).await?)
}

async fn all(driver: &WorkDriver) -> Result<Vec<JobRecord>, Failure> {
    let mut rows: Vec<JobRecord> = Vec::new();
    loop {
        let mut query = Query::all().limit(PAGE);
        if let Some(last) = rows.last() {
            query = query.after(last.id);
        }
        let page = driver.list(query).await?;
        let is_last = page.len() < PAGE;
        rows.extend(page);
        if is_last {
            return Ok(rows);
        }
    }
}
