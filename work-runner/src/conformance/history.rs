//! What the store tells of the attempts of a job.

use super::{Bench, done, job};
use crate::job::{AttemptOutcome as A, MAX_ATTEMPTS_KEPT};
use crate::lifecycle::{MAX_ERROR_BYTES, Outcome, State};
use crate::registry::Order;

fn again(error: &str) -> Outcome {
    Outcome::Retry { error: error.to_owned(), delay_ms: 0 }
}

pub(super) async fn every_attempt_is_told(bench: Bench) {
    let worker = bench.worker().await;
    let id = bench.enqueue(job("any")).await;
    assert_eq!(bench.get(id).await.attempts(), []);
    let mut expected = Vec::new();
    let long = "\u{e9}".repeat(MAX_ERROR_BYTES);
    let ends = [
        (again("no such host"), A::Failed, Some("no such host")),
        (Outcome::Snooze { delay_ms: 0 }, A::Snoozed, None),
        (Outcome::Release, A::Released, None),
        (Outcome::Fail { error: "no \0 \"use\"".into() }, A::Failed, Some("no \u{fffd} \"use\"")),
        (again(&long), A::Failed, Some(&long[..1024])),
    ];
    for (outcome, told, error) in ends {
        let lease = bench.claim_one(worker).await.lease;
        let running = bench.get(id).await.attempts().pop().expect("it runs");
        assert_eq!((running.outcome, running.ended_at), (A::Running, None));
        assert_eq!((running.fence, running.worker), (lease.fence, worker));
        assert!(bench.report(lease, outcome).await.is_applied());
        if bench.state(id).await.is_terminal() {
            bench.registry.order(Order::Requeue, vec![id]).await.expect("requeue");
        }
        expected.push((lease.fence, worker, told, error));
    }
    // A death takes the owner from the row, not from the history.
    let dead = bench.worker().await;
    let lease = bench.claim_one(dead).await.lease;
    assert_eq!(bench.registry.sweep(vec![dead], 10).await.expect("sweep").jobs, 1);
    expected.push((lease.fence, dead, A::Crashed, None));
    // A success is told before and after the job is run once more.
    let lease = bench.claim_one(worker).await.lease;
    assert!(bench.report(lease, done()).await.is_applied());
    expected.push((lease.fence, worker, A::Succeeded, None));
    for state in [State::Succeeded, State::Ready] {
        let row = bench.get(id).await;
        assert_eq!(row.state, state);
        let attempts = row.attempts();
        let told = attempts.iter().map(|a| (a.fence, a.worker, a.outcome, a.error.as_deref()));
        assert_eq!(told.collect::<Vec<_>>(), expected);
        for attempt in attempts {
            assert!(attempt.started_at >= row.created_at && attempt.ended_at.is_some());
        }
        bench.registry.order(Order::Requeue, vec![id]).await.expect("requeue");
    }
    // An operator's word about a job that runs, and about one that is asked to end.
    bench.claim_one(worker).await;
    let given_up = Order::Abandon { reason: "given up".into() };
    bench.registry.order(given_up, vec![id]).await.expect("abandon");
    bench.registry.order(Order::Requeue, vec![id]).await.expect("requeue");
    let lease = bench.claim_one(worker).await.lease;
    bench.registry.order(Order::Cancel, vec![id]).await.expect("cancel");
    assert!(bench.report(lease, again("stopped")).await.is_applied());
    let attempts = bench.get(id).await.attempts();
    let last: Vec<_> =
        attempts.iter().rev().take(2).map(|a| (a.outcome, a.error.as_deref())).collect();
    assert_eq!(last, [(A::Cancelled, Some("stopped")), (A::Abandoned, Some("given up"))]);
}

pub(super) async fn the_last_ten_attempts_are_kept(bench: Bench) {
    let worker = bench.worker().await;
    let id = bench.enqueue(job("any").max_attempts(100)).await;
    for n in 1..=14 {
        let lease = bench.claim_one(worker).await.lease;
        assert!(bench.report(lease, again(&n.to_string())).await.is_applied());
    }
    let errors = async || -> Vec<Option<String>> {
        bench.get(id).await.attempts().into_iter().map(|attempt| attempt.error).collect()
    };
    let last = |from: usize| (from..=14).map(|n| Some(n.to_string())).collect::<Vec<_>>();
    assert_eq!(errors().await, last(5));
    let lease = bench.claim_one(worker).await.lease;
    assert_eq!(errors().await, [last(5), vec![None]].concat(), "beside the one that runs");
    assert!(bench.report(lease, done()).await.is_applied());
    assert_eq!(errors().await, [last(6), vec![None]].concat());
    assert_eq!(bench.get(id).await.attempts().len(), MAX_ATTEMPTS_KEPT);
}
