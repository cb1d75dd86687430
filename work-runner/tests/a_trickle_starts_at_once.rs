//! No wake-up is lost: a steady trickle of jobs starts without a poll and without a beat.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::MemoryRegistry;
use std::sync::Arc;
use std::time::Duration;
use support::trickle::every_job_starts;

const PAUSES: [Duration; 3] =
    [Duration::from_millis(15), Duration::from_millis(3), Duration::from_micros(200)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    for pause in PAUSES {
        every_job_starts(Arc::new(MemoryRegistry::new()), 200, pause).await;
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_sqlite() {
    let folder = support::Folder::new();
    for (n, pause) in PAUSES.into_iter().enumerate() {
        let path = folder.path().join(format!("{n}.db"));
        let registry = lastout_work_runner::sqlite::SqliteRegistry::open(path).unwrap();
        every_job_starts(Arc::new(registry), 200, pause).await;
    }
}
