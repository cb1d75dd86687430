//! A server that crashes and recovers under load: what was acknowledged is there, and every job ends
//! once.
#![cfg(feature = "postgres")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a real server, and a test fails by panicking"
)]

mod support;

use lastout_work_runner::postgres::PostgresRegistry;
use lastout_work_runner::{DurableWorker, Job, NewJob, Registry, State, WorkDriver, WorkRunner};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use support::database::run;
use support::server::Server;
use support::{PATIENCE, eventually, history};

/// Connects as soon as the server has started.
async fn connect(config: &str) -> Arc<dyn Registry> {
    Arc::new(PostgresRegistry::connect(config).await.unwrap())
}

/// Enqueues one job, as often as it takes to be told so.
async fn enqueue_until_told(driver: &WorkDriver, n: u32) -> lastout_work_runner::JobId {
    let job = || NewJob::new("noop", &n).unwrap().unique(format!("job {n}"));
    loop {
        match driver.enqueue(job()).await {
            Ok(enqueued) => return enqueued.id(),
            Err(error) => assert!(error.is_transient(), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_crashes_under_load() {
    const JOBS: u32 = 1500;
    let mut server = Server::start();
    let registry = connect(&server.config()).await;
    run(&server.config(), history::postgres::TRIGGERS).await;
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .queue("default", 8)
        .prefetch(16)
        .handle("noop", |_: Job<u32>| async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Ok(())
        })
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(50));
    let driver = runner.driver(registry);
    let running = runner.spawn();
    let producer = driver.clone();
    let produced = tokio::spawn(async move {
        let mut ids = HashSet::new();
        for n in 0..JOBS {
            ids.insert(enqueue_until_told(&producer, n).await);
        }
        ids
    });
    for round in 1..=3 {
        let some = async || worker.stats().succeeded >= round * 100;
        eventually("work goes on", some).await;
        server.crash();
        server.launch();
    }
    let ids = produced.await.unwrap();
    for id in &ids {
        let row =
            driver.wait(*id, PATIENCE).await.unwrap().expect("what was acknowledged is there");
        assert_eq!((row.state, row.crashes), (State::Succeeded, 0), "{row:?}");
    }
    eventually("all is counted", async || worker.stats().in_flight == 0).await;
    let stats = worker.stats();
    assert_eq!(stats.claimed, stats.ended(), "{stats:?}");
    assert_eq!((stats.fenced, stats.lost), (0, 0), "shorter than the lease: {stats:?}");
    assert!(running.stop(PATIENCE).await.is_clean());
    let sums = history::check(&history::postgres::read(&server.config()).await);
    // A job whose first acknowledgement was lost may have ended before its repetition: its key is free then.
    assert!(sums.ended >= ids.len() as u64, "{sums:?}");
}
