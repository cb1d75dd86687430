//! Jobs that a rate keeps back start when it lets them, whatever the poll is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::{
    DurableWorker, Job, MemoryRegistry, NewJob, Query, Rate, RateOf, Registry, State, WorkDriver,
    WorkRunner,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::PATIENCE;

const JOBS: usize = 15;

async fn starts_at_its_rate(registry: Arc<dyn Registry>) {
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let rate = Rate::new(100, Duration::from_secs(1)).burst(1);
    driver.limit_rate(RateOf::Queue("default".into()), Some(rate)).await.unwrap();
    driver.limit_rate(RateOf::Key("key".into()), Some(rate)).await.unwrap();
    let worker = DurableWorker::builder(registry)
        .queue("default", 4)
        .queue("keyed", 4)
        .handle("any", |_: Job<()>| async { Ok(()) })
        .build()
        .unwrap();
    let running = WorkRunner::inline(worker).poll(Duration::from_secs(3600)).spawn();
    let began = Instant::now();
    let job = || NewJob::raw("any", b"null".to_vec());
    let plain = (0..JOBS).map(|_| job());
    let keyed = (0..JOBS).map(|_| job().queue("keyed").limit("key", 100));
    let enqueued = driver.enqueue_all(plain.chain(keyed).collect()).await.unwrap();
    for one in enqueued {
        let row = driver.wait(one.id(), PATIENCE).await.unwrap().unwrap();
        assert_eq!(row.state, State::Succeeded, "{row:?}");
    }
    let least = Duration::from_millis(10) * (JOBS as u32 - 1);
    assert!(began.elapsed() >= least, "{JOBS} started in {:?}", began.elapsed());
    for queue in ["default", "keyed"] {
        let rows = driver.list(Query::all().queue(queue)).await.unwrap();
        let mut times: Vec<i64> = rows.iter().map(|row| row.claimed_at).collect();
        times.sort_unstable();
        for pair in times.windows(2) {
            assert!(pair[1] - pair[0] >= 10, "{queue}: {times:?}");
        }
    }
    assert!(running.stop(PATIENCE).await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    starts_at_its_rate(Arc::new(MemoryRegistry::new())).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_sqlite() {
    use lastout_work_runner::sqlite::SqliteRegistry;
    let folder = support::Folder::new();
    let registry = SqliteRegistry::open(folder.path().join("jobs.db")).unwrap();
    starts_at_its_rate(Arc::new(registry)).await;
}
