//! How jobs end, and what is refused.

use super::{Bench, done, job};
use crate::job::{JobRecord, NewJob, Recovery};
use crate::lease::{Fence, Lease, WorkerId};
use crate::lifecycle::{LeaseLost, Outcome, State};
use crate::registry::Applied;
use crate::registry::Keep;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn every_outcome() -> Vec<(Outcome, State)> {
    let error = || "because".to_owned();
    vec![
        (Outcome::Done { result: Some(b"7".to_vec()) }, State::Succeeded),
        (Outcome::Confirm, State::Scheduled),
        (Outcome::Retry { error: error(), delay_ms: 600_000 }, State::Scheduled),
        (Outcome::Fail { error: error() }, State::Failed),
        (Outcome::Reject { error: error() }, State::Dead),
        (Outcome::Snooze { delay_ms: 600_000 }, State::Scheduled),
        (Outcome::Stopped { error: None }, State::Cancelled),
        (Outcome::Release, State::Ready),
    ]
}

pub(super) async fn every_outcome_leads_where_the_table_says(bench: Bench) {
    let worker = bench.worker().await;
    for (outcome, expected) in every_outcome() {
        let id = bench.enqueue(job("any").queue(format!("{outcome:?}"))).await;
        let turn = crate::TurnRequest::new(worker).claim(format!("{outcome:?}"), 1);
        let claimed = bench.turn(turn).await.claimed.remove(0);
        let applied = bench.report(claimed.lease, outcome.clone()).await;
        assert_eq!(applied, Applied::Now(expected), "{outcome:?}");
        let row = bench.get(id).await;
        assert_eq!(row.state, expected, "{outcome:?}");
        assert_eq!(row.ended_at > 0, expected.is_terminal());
        assert_eq!(row.fence, Fence(1), "an end does not change the fence");
        if let Outcome::Done { result } = outcome {
            assert_eq!(row.result, result);
        }
    }
}

pub(super) async fn a_stale_fence_is_refused_for_every_outcome(bench: Bench) {
    let (old, new) = (bench.worker().await, bench.worker().await);
    let id = bench.enqueue(job("any")).await;
    let stale = bench.claim_one(old).await.lease;
    assert!(bench.report(stale, Outcome::Release).await.is_applied());
    let current = bench.claim_one(new).await.lease;
    assert!(current.fence > stale.fence);
    let before = bench.get(id).await;
    let foreign = Lease::new(id, current.fence, old);
    let unknown = Lease::new(crate::JobId(i64::MAX), Fence(1), new);
    for (outcome, _) in every_outcome() {
        for lease in [stale, foreign] {
            let applied = bench.report(lease, outcome.clone()).await;
            let lost = LeaseLost::new(lease, Some(State::Running), current.fence);
            assert_eq!(applied, Applied::Lost(lost), "{outcome:?}");
        }
        let applied = bench.report(unknown, outcome.clone()).await;
        assert!(matches!(applied, Applied::Lost(lost) if lost.state.is_none()), "{applied:?}");
    }
    assert_eq!(bench.get(id).await, before, "a refused write changes nothing");
    assert!(bench.report(current, done()).await.is_applied());
    let late = bench.report(stale, done()).await;
    assert!(matches!(late, Applied::Lost(_)), "{late:?}");
}

pub(super) async fn a_repeated_report_is_recognised(bench: Bench) {
    let worker = bench.worker().await;
    for outcome in [
        Outcome::Done { result: Some(b"1".to_vec()) },
        Outcome::Fail { error: "no".into() },
        Outcome::Retry { error: "not yet".into(), delay_ms: 600_000 },
    ] {
        let id = bench.enqueue(job("any")).await;
        let lease = bench.claim_one(worker).await.lease;
        assert!(matches!(bench.report(lease, outcome.clone()).await, Applied::Now(_)));
        let once = bench.get(id).await;
        assert_eq!(bench.report(lease, outcome).await, Applied::Before);
        assert_eq!(bench.get(id).await, once);
        let other = bench.report(lease, Outcome::Stopped { error: None }).await;
        assert!(matches!(other, Applied::Lost(_)), "another end after the end: {other:?}");
    }
    // A confirmation of a completion that was written by other means.
    bench.enqueue(job("any")).await;
    let lease = bench.claim_one(worker).await.lease;
    assert!(bench.report(lease, done()).await.is_applied());
    assert_eq!(bench.report(lease, Outcome::Confirm).await, Applied::Before);
}

pub(super) async fn attempts_are_used_up(bench: Bench) {
    let worker = bench.worker().await;
    let retry = || Outcome::Retry { error: "again".into(), delay_ms: 0 };
    let id = bench.enqueue(job("any").max_attempts(3)).await;
    for attempt in 1..=3 {
        let claimed = bench.claim_one(worker).await;
        assert_eq!(claimed.attempt, attempt);
        let expected = if attempt < 3 { State::Scheduled } else { State::Dead };
        assert_eq!(bench.report(claimed.lease, retry()).await, Applied::Now(expected));
    }
    let row = bench.get(id).await;
    assert_eq!((row.state, row.error.as_deref()), (State::Dead, Some("again")));
    let final_failure = bench.enqueue(job("any").recovery(Recovery::NeverRerun)).await;
    let claimed = bench.claim_one(worker).await;
    assert_eq!(bench.report(claimed.lease, retry()).await, Applied::Now(State::Failed));
    assert_eq!(bench.state(final_failure).await, State::Failed);
}

pub(super) async fn what_is_given_back_is_not_charged(bench: Bench) {
    let worker = bench.worker().await;
    let id = bench.enqueue(job("any").max_attempts(1)).await;
    for round in 1..=5 {
        let claimed = bench.claim_one(worker).await;
        assert_eq!((claimed.attempt, claimed.lease.fence), (1, Fence(round)));
        let outcome = match round % 2 {
            0 => Outcome::Release,
            _ => Outcome::Snooze { delay_ms: 0 },
        };
        assert!(bench.report(claimed.lease, outcome).await.is_applied());
    }
    assert_eq!(bench.get(id).await.attempt, 0);
}

pub(super) async fn big_and_odd_bytes_survive(bench: Bench) {
    let worker = bench.worker().await;
    let big: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let id = bench.enqueue(NewJob::raw("big", big.clone())).await;
    let claimed = bench.claim_one(worker).await;
    assert!(claimed.payload == big, "the payload as claimed");
    let saved = bench.registry.save(claimed.lease, big.clone()).await.expect("save");
    assert!(saved.is_ok());
    let outcome = Outcome::Done { result: Some(big.clone()) };
    assert!(bench.report(claimed.lease, outcome).await.is_applied());
    let row = bench.get(id).await;
    assert!(
        row.payload == big
            && row.progress.as_ref() == Some(&big)
            && row.result.as_ref() == Some(&big)
    );

    let odd = bench.enqueue(job("odd")).await;
    let lease = bench.claim_one(worker).await.lease;
    let error = format!("nul \0 and {}", "\u{1f600}".repeat(10_000));
    assert!(bench.report(lease, Outcome::Fail { error }).await.is_applied());
    let kept = bench.get(odd).await.error.expect("an error");
    assert!(kept.starts_with("nul \u{fffd} and \u{1f600}"), "{}", &kept[..20]);
    assert!(kept.len() <= crate::lifecycle::MAX_ERROR_BYTES);
}

pub(super) async fn a_waiter_sees_the_end(bench: Bench) {
    let id = bench.enqueue(job("any")).await;
    let early = bench.registry.wait(id, Duration::from_millis(20)).await.expect("wait");
    assert_eq!(early.map(|row: JobRecord| row.state), Some(State::Ready));
    let worker = bench.worker().await;
    let lease = bench.claim_one(worker).await.lease;
    let wait = bench.registry.wait(id, super::PATIENCE);
    let end = bench.report(lease, Outcome::Done { result: Some(b"42".to_vec()) });
    let (row, applied) = tokio::join!(wait, end);
    assert!(applied.is_applied());
    let row = row.expect("wait").expect("the job");
    assert_eq!((row.state, row.result_as::<u32>()), (State::Succeeded, Some(42)));
    let none = bench.registry.wait(crate::JobId(i64::MAX), super::PATIENCE).await.expect("wait");
    assert_eq!(none, None);
}

pub(super) async fn ended_jobs_are_pruned_by_age(bench: Bench) {
    let worker: WorkerId = bench.worker().await;
    for _ in 0..5 {
        bench.enqueue(job("any")).await;
    }
    let claimed = bench.claim(worker, 4).await;
    for claimed in &claimed[..3] {
        assert!(bench.report(claimed.lease, done()).await.is_applied());
    }
    let prune = |age, limit| bench.registry.prune(age, limit);
    assert_eq!(prune(Keep::all(Duration::from_secs(3600)), 10).await.expect("prune"), 0);
    let pruned = AtomicUsize::new(0);
    bench
        .eventually("the three get old enough", async || {
            let now = prune(Keep::all(Duration::ZERO), 2).await.expect("prune");
            assert!(now <= 2, "the limit holds");
            pruned.fetch_add(now, Ordering::Relaxed) + now == 3
        })
        .await;
    let left = bench.registry.list(crate::Query::all()).await.expect("list");
    let states: Vec<_> = left.iter().map(|row| row.state).collect();
    assert_eq!(states, [State::Running, State::Ready], "what lives is kept");
}
