//! A steady trickle of jobs at a worker whose polls and beats are hours apart: only pokes and ends can
//! start anything, so one lost wake-up stops everything behind it.

use super::eventually;
use lastout_work_runner::{DurableWorker, Job, LeaseTimings, NewJob, Registry, WorkRunner};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const HOURS: Duration = Duration::from_secs(10 * 3600);

/// Enqueues `jobs`, one every `pause`, and waits until each has started.
pub(crate) async fn every_job_starts(registry: Arc<dyn Registry>, jobs: usize, pause: Duration) {
    let started = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&started);
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .lease(LeaseTimings::new(HOURS * 3, HOURS).unwrap())
        .wedged_after(HOURS)
        .handle("noop", move |_: Job<()>| {
            counts.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok(()))
        })
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker.clone()).poll(HOURS);
    let driver = runner.driver(registry);
    let running = runner.spawn();
    for n in 1..=jobs {
        driver.enqueue(NewJob::raw("noop", b"null".to_vec())).await.unwrap();
        tokio::time::sleep(pause).await;
        if n % 50 == 0 {
            eventually("what was enqueued starts", async || started.load(Ordering::SeqCst) == n)
                .await;
        }
    }
    eventually("the last one starts", async || started.load(Ordering::SeqCst) == jobs).await;
    eventually("its end is written", async || worker.stats().in_flight == 0).await;
    assert_eq!(worker.stats().succeeded as usize, jobs);
    let report = running.stop(super::PATIENCE).await;
    assert!(report.is_clean(), "{report}");
}
