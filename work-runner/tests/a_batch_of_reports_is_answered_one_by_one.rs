//! Reports that come together are judged each for itself, however a store writes them.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::sqlite::SqliteRegistry;
use lastout_work_runner::{
    Applied, Fence, Identity, MemoryRegistry, NewJob, Order, Outcome, Registry, Report, State,
    TurnRequest, WorkerId,
};
use std::time::Duration;
use support::Folder;

const JOBS: usize = 90;

/// Claims a batch, spoils some of it, reports all at once; returns what became of each.
async fn answers(registry: &dyn Registry) -> Vec<&'static str> {
    let worker = WorkerId::random();
    registry.register(worker, Identity::current().into(), Duration::from_secs(60)).await.unwrap();
    let mut jobs: Vec<_> = (0..JOBS).map(|_| NewJob::new("noop", &()).unwrap()).collect();
    jobs[20] = NewJob::new("noop", &()).unwrap().unique("key");
    jobs[30] = NewJob::new("noop", &()).unwrap().limit("limit", 3);
    registry.enqueue(jobs).await.unwrap();
    let claim = TurnRequest::new(worker).claim("default", JOBS);
    let claimed = registry.turn(claim).await.unwrap().claimed;
    assert_eq!(claimed.len(), JOBS);
    assert!(claimed.is_sorted_by_key(|claimed| claimed.lease.job), "in the order of the queue");
    registry.order(Order::Cancel, vec![claimed[40].lease.job]).await.unwrap();
    let done = || Outcome::Done { result: None };
    let mut reports: Vec<_> = claimed.iter().map(|job| Report::new(job.lease, done())).collect();
    reports[10].lease.fence = Fence(9);
    reports[50].outcome = Outcome::Done { result: Some(b"7".to_vec()) };
    reports.push(reports[60].clone());
    let turn = registry.turn(TurnRequest::new(worker).reports(reports)).await.unwrap();
    assert_eq!(turn.applied.len(), JOBS + 1);
    let rows = registry.fetch(claimed.iter().map(|job| job.lease.job).collect()).await.unwrap();
    let running = rows.iter().filter(|row| row.state == State::Running).count();
    assert_eq!(running, 1, "only the one whose report was stale");
    let word = |applied: &Applied| match applied {
        Applied::Now(state) => state.name(),
        Applied::Before => "before",
        Applied::Lost(_) => "lost",
        _ => "unknown",
    };
    turn.applied.iter().map(word).collect()
}

#[tokio::test]
async fn a_stale_a_doubled_and_a_cancelled_report_spoil_no_other() {
    let folder = Folder::new();
    let sqlite = SqliteRegistry::open(folder.path().join("jobs.db")).unwrap();
    // Twice: after the first batch the store goes row by row for a while.
    for _ in 0..2 {
        let said = answers(&sqlite).await;
        assert_eq!(
            (said[0], said[10], said[20], said[30]),
            ("succeeded", "lost", "succeeded", "succeeded")
        );
        assert_eq!((said[50], said[60], said[JOBS]), ("succeeded", "succeeded", "before"));
        assert_eq!(said, answers(&MemoryRegistry::new()).await);
    }
}
