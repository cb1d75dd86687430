//! A worker keeps its lease over single failures, and gives itself up before the lease can lapse when
//! it cannot renew.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::{
    DurableWorker, Job, JobError, LeaseTimings, MemoryRegistry, NewJob, Registry, State, StopCause,
    WorkDriver, WorkRunner,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::faulty::{Faulty, Moment, Verdict};
use support::{PATIENCE, eventually};

fn timings(ttl_ms: u64) -> LeaseTimings {
    LeaseTimings::with_ttl(Duration::from_millis(ttl_ms)).unwrap()
}

/// Two of three beats end as `verdict` says, over more than two leases; the job keeps its lease.
async fn beats_may(verdict: impl Fn() -> Verdict + Send + Sync + 'static) {
    let beats = AtomicUsize::new(0);
    let registry = Faulty::before(Arc::new(MemoryRegistry::new()), move |call, moment| {
        let fails = call == "beat"
            && moment == Moment::Before
            && beats.fetch_add(1, Ordering::SeqCst) % 3 != 2;
        if fails { verdict() } else { Verdict::Pass }
    });
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .lease(timings(3000))
        .handle("long", |job: Job<()>| async move {
            let cause = job.stopped().await;
            assert_eq!(cause, StopCause::Cancelled, "the lease was never lost");
            Err::<(), _>(JobError::retry("as asked"))
        })
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(100));
    let driver = runner.driver(registry);
    let running = runner.spawn();
    let id = driver.enqueue(NewJob::raw("long", b"null".to_vec())).await.unwrap().id();
    // Longer than two leases, if every beat counted from the one before.
    let many = async || worker.stats().failed_beats >= 8;
    eventually("beats fail", many).await;
    driver.cancel(id).await.unwrap();
    let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
    assert_eq!((row.state, row.crashes), (State::Cancelled, 0), "{row:?}");
    let stats = worker.stats();
    assert_eq!((stats.fenced, stats.lost), (0, 0), "{stats:?}");
    assert!(running.stop(PATIENCE).await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_beats_may_fail() {
    beats_may(|| Verdict::Fail).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_beats_may_panic() {
    beats_may(|| panic!("a store of somebody's own")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hangs_stops_the_job_while_the_lease_still_lives() {
    let store: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let hangs = Arc::new(AtomicBool::new(false));
    let hung = Arc::clone(&hangs);
    let registry = Faulty::before(Arc::clone(&store), move |_, _| {
        if hung.load(Ordering::SeqCst) { Verdict::Hang } else { Verdict::Pass }
    });
    let (told, mut stops) = tokio::sync::mpsc::unbounded_channel();
    let watched = Arc::clone(&store);
    let worker = DurableWorker::builder(registry)
        .lease(timings(6000))
        .handle("long", move |job: Job<()>| {
            let (told, store) = (told.clone(), Arc::clone(&watched));
            async move {
                let cause = job.stopped().await;
                // What the store itself thinks of the lease at this moment.
                let left = store.workers().await?.pop().map(|worker| worker.lease_ms);
                told.send((cause, left)).unwrap();
                Ok(())
            }
        })
        .build()
        .unwrap();
    let driver = WorkDriver::producer(Arc::clone(&store));
    let id = driver.enqueue(NewJob::raw("long", b"null".to_vec())).await.unwrap().id();
    let running = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(100)).spawn();
    let runs = async || driver.get(id).await.unwrap().unwrap().state == State::Running;
    eventually("it runs", runs).await;
    hangs.store(true, Ordering::SeqCst);
    let (cause, left) = tokio::time::timeout(PATIENCE, stops.recv()).await.unwrap().unwrap();
    assert_eq!(cause, StopCause::LeaseLost);
    assert!(left.is_some_and(|ms| ms > 0), "before anybody else could take the job: {left:?}");
    assert_eq!(driver.get(id).await.unwrap().unwrap().state, State::Running, "and wrote nothing");
    eventually("it is counted", async || worker.stats().lost == 1).await;
    let stats = worker.stats();
    assert_eq!((stats.fenced, stats.lost, stats.succeeded), (1, 1, 0), "{stats:?}");
    // The store stays silent: the stop keeps its deadline all the same, and says what it left.
    let report = running.stop(Duration::from_millis(500)).await;
    assert!(!report.is_clean(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_runner_goes_on_where_the_first_one_stopped() {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let worker = |holds: bool| {
        DurableWorker::builder(Arc::clone(&registry))
            .grace(Duration::from_millis(100))
            .handle("job", move |job: Job<()>| async move {
                if holds {
                    job.stopped().await;
                    return Err(JobError::retry("stopped"));
                }
                Ok(())
            })
            .build()
            .unwrap()
    };
    let first = worker(true);
    let running = WorkRunner::inline(first.clone()).spawn();
    let jobs = (0..10).map(|_| NewJob::raw("job", b"null".to_vec())).collect();
    let ids = driver.enqueue_all(jobs).await.unwrap();
    eventually("all run", async || first.stats().claimed == 10).await;
    // The second one polls once an hour: what wakes it is what the first one gives back.
    let second = worker(false);
    let runner = WorkRunner::inline(second.clone()).poll(Duration::from_secs(3600));
    let next = runner.spawn();
    eventually("it waits", async || next.drives().0 >= 1).await;
    let report = running.stop(Duration::from_secs(2)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.given_back, report.finished), (10, 0), "{report}");
    for id in ids {
        let row = driver.wait(id.id(), PATIENCE).await.unwrap().unwrap();
        assert_eq!((row.state, row.attempt, row.crashes), (State::Succeeded, 1, 0), "not burnt");
    }
    eventually("they are counted", async || second.stats().succeeded == 10).await;
    assert!(next.stop(PATIENCE).await.is_clean());
}
