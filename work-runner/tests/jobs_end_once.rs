//! Every job that is enqueued ends in one counted outcome, whatever its handler does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lastout_work_runner::{
    Backoff, DurableWorker, Job, JobError, MemoryRegistry, NewJob, Registry, State, WorkDriver,
    WorkRunner,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn fast() -> Backoff {
    Backoff::new(Duration::from_millis(1), Duration::from_millis(5))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_leads_to_its_state() {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .handle("double", |job: Job<u32>| async move { Ok(job.payload * 2) })
        .handle("discard", |_: Job<()>| async { Err::<(), _>(JobError::discard("useless")) })
        .handle_with_backoff("fail", fast(), |_: Job<()>| async {
            Err::<(), _>(std::io::Error::other("down"))?;
            Ok(())
        })
        .handle_with_backoff("panic", fast(), |_: Job<()>| async {
            if true {
                panic!("as always");
            }
            Ok(())
        })
        .handle_with_backoff("third_time", fast(), |job: Job<()>| async move {
            if job.attempt() < 3 {
                return Err(JobError::retry("not yet"));
            }
            Ok(job.attempt())
        })
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker.clone());
    let driver = runner.driver(registry);
    let running = runner.spawn();
    let mut ids = Vec::new();
    for (kind, payload, state) in [
        ("double", "21", State::Succeeded),
        ("double", "\"no number\"", State::Dead),
        ("discard", "null", State::Failed),
        ("fail", "null", State::Dead),
        ("panic", "null", State::Dead),
        ("third_time", "null", State::Succeeded),
    ] {
        let job = NewJob::raw(kind, payload.into()).max_attempts(4);
        ids.push((driver.enqueue(job).await.unwrap().id(), kind, state));
    }
    for (id, kind, state) in &ids {
        let row = driver.wait(*id, PATIENCE).await.unwrap().unwrap();
        assert_eq!(row.state, *state, "{kind}: {row:?}");
    }
    let row = driver.get(ids[0].0).await.unwrap().unwrap();
    assert_eq!(row.result_as::<u32>(), Some(42));
    let row = driver.get(ids[4].0).await.unwrap().unwrap();
    assert_eq!(row.error.as_deref(), Some("the handler panicked: as always"));
    assert_eq!(row.attempt, 4);
    let report = running.stop(PATIENCE).await;
    assert!(report.is_clean(), "{report}");
    let stats = worker.stats();
    assert_eq!(stats.in_flight, 0, "{stats:?}");
    assert_eq!((stats.succeeded, stats.failed, stats.dead, stats.panicked), (2, 1, 3, 4));
    assert_eq!(stats.claimed, stats.ended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_end_once_each() {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let runs = Arc::new((0..10_000).map(|_| AtomicU32::new(0)).collect::<Vec<_>>());
    let seen = Arc::clone(&runs);
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .queue("default", 64)
        .prefetch(128)
        .handle("count", move |job: Job<usize>| {
            let seen = Arc::clone(&seen);
            async move {
                seen[job.payload].fetch_add(1, Ordering::Relaxed);
                if job.payload.is_multiple_of(3) {
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
        })
        .build()
        .unwrap();
    let driver = WorkDriver::producer(registry);
    let jobs = (0..10_000_usize).map(|n| NewJob::new("count", &n).unwrap()).collect();
    driver.enqueue_all(jobs).await.unwrap();
    worker.run_until_idle().await.unwrap();
    assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
    let stats = worker.stats();
    assert_eq!((stats.succeeded, stats.in_flight, stats.lost), (10_000, 0, 0));
}
