//! Numbers and names at their ends: each works or is refused.

use super::{Bench, job};
use crate::driver::WorkDriver;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::Identity;
use crate::job::Recovery;
use crate::lifecycle::{Outcome, State};
use crate::registry::{Keep, Periodic, Query, TurnRequest, WorkerProfile};
use std::sync::Arc;
use std::time::Duration;

fn invalid<T>(answer: Result<T, StoreError>) -> bool {
    answer.is_err_and(|error| error.kind() == StoreErrorKind::Invalid)
}

pub(super) async fn any_number_bounds_a_call(bench: Bench) {
    let registry = &bench.registry;
    let worker = bench.worker().await;
    registry.enqueue((0..30).map(|_| job("any")).collect()).await.expect("enqueue");
    let claim = |count| registry.turn(TurnRequest::new(worker).claim("default", count));
    assert!(claim(0).await.expect("claim nothing").claimed.is_empty());
    let claimed = claim(usize::MAX).await.expect("claim all").claimed;
    assert_eq!(claimed.len(), 30);
    for (at, one) in claimed.iter().enumerate() {
        let done = Outcome::Done { result: None };
        let outcome = if at < 20 { done } else { Outcome::Release };
        assert!(bench.report(one.lease, outcome).await.is_applied());
    }
    while registry.now_ms().await.expect("now") <= bench.get(claimed[19].lease.job).await.ended_at {
        tokio::task::yield_now().await;
    }
    let keep = Keep::all(Duration::ZERO);
    assert_eq!(registry.prune(keep, 0).await.expect("prune nothing"), 0);
    assert_eq!(registry.prune(Keep::all(Duration::MAX), usize::MAX).await.expect("prune"), 0);
    assert_eq!(registry.prune(keep, usize::MAX).await.expect("prune all"), 20);
    assert_eq!(claim(usize::MAX).await.expect("claim all").claimed.len(), 10);
    let swept = registry.sweep(vec![worker], 0).await.expect("sweep nothing");
    assert_eq!(swept.jobs, 0);
    let swept = registry.sweep(vec![worker], usize::MAX).await.expect("sweep all");
    assert_eq!(swept.jobs, 10);
}

pub(super) async fn a_periodic_job_runs_at_most_a_thousand_times_at_once(bench: Bench) {
    let registry = &bench.registry;
    registry.put_periodic(Periodic::new("often", "* * * * *", job("any"))).await.expect("put");
    let at_ms = registry.periodic().await.expect("list")[0].at_ms;
    let fire = |runs| registry.fire_periodic("often".to_owned(), at_ms, at_ms + 1, runs);
    assert!(invalid(fire(u32::MAX).await));
    assert!(invalid(fire(1001).await));
    assert!(fire(1000).await.expect("fire"));
    assert_eq!(registry.page(Query::all().limit(2000)).await.expect("page").jobs.len(), 1000);
}

pub(super) async fn the_id_of_a_worker_is_used_once(bench: Bench) {
    let worker = bench.worker_for(Duration::from_millis(1)).await;
    bench.lapse(worker).await;
    let profile = || WorkerProfile::from(Identity::current());
    assert!(invalid(bench.registry.register(worker, profile(), super::LONG).await));
    assert!(!bench.registry.beat(worker, super::LONG).await.expect("beat"), "it has lapsed");
}

pub(super) async fn an_outside_result_over_the_limit_is_refused(bench: Bench) {
    let most = bench.registry.max_bytes();
    let driver = WorkDriver::producer(Arc::clone(&bench.registry));
    let id = bench.enqueue(job("any").recovery(Recovery::External)).await;
    let lease = bench.get(id).await.lease();
    let done = |bytes| driver.settle(lease, Outcome::Done { result: Some(vec![b'1'; bytes]) });
    assert!(invalid(done(most + 1).await));
    assert_eq!(bench.get(id).await.state, State::Running);
    assert!(done(most).await.expect("settle").is_applied());
}

pub(super) async fn an_error_is_looked_for_where_there_is_one(bench: Bench) {
    let without = bench.enqueue(job("any")).await;
    let driver = WorkDriver::producer(Arc::clone(&bench.registry));
    let with = bench.enqueue(job("any")).await;
    driver.abandon(with, "100% of_it").await.expect("abandon");
    for (text, found) in [("", 1), ("100%", 1), ("of_it", 1), ("ofXit", 0), ("1%t", 0)] {
        let jobs = driver.list(Query::all().error(text)).await.expect("list");
        assert_eq!(jobs.len(), found, "{text:?}");
        assert!(jobs.iter().all(|row| row.id != without));
    }
}
