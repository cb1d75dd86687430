//! Enqueue, order and claim.

use super::{Bench, LONG, done, ids, job};
use crate::job::{NewJob, PRIORITY_STEP, Recovery};
use crate::lease::{Fence, WorkerId};
use crate::lifecycle::State;
use crate::poke::Poke;
use crate::registry::{Report, TurnRequest};
use std::collections::HashSet;
use std::time::Duration;

pub(super) async fn what_is_enqueued_is_kept_as_it_was(bench: Bench) {
    let new = NewJob::raw("copy", b"{\"a\":1}".to_vec())
        .queue("q")
        .priority(-3)
        .max_attempts(7)
        .max_crashes(2)
        .recovery(Recovery::NeverRerun)
        .timeout(Duration::from_secs(9))
        .own_lease(Duration::from_secs(8))
        .unique("u")
        .limit("l", 4);
    let first = bench.enqueue(new).await;
    let second = bench.enqueue(job("other")).await;
    assert!(second > first, "ids increase");
    let row = bench.get(first).await;
    assert_eq!((&*row.queue, &*row.kind), ("q", "copy"));
    assert_eq!(row.payload, b"{\"a\":1}");
    assert_eq!((row.priority, row.max_attempts, row.max_crashes), (-3, 7, 2));
    assert_eq!(
        (row.recovery, row.timeout_ms, row.own_lease_ms),
        (Recovery::NeverRerun, 9000, 8000)
    );
    assert_eq!((row.unique_key.as_deref(), row.unique_kept), (Some("u"), false));
    assert_eq!((row.limit_key.as_deref(), row.limit_max), (Some("l"), 4));
    assert_eq!((row.state, row.fence, row.owner), (State::Ready, Fence::ZERO, WorkerId::NONE));
    assert_eq!((row.attempt, row.crashes, row.cancel), (0, 0, false));
    assert_eq!(row.run_at, row.created_at);
    assert_eq!((row.result, row.error, row.progress), (None, None, None));
}

pub(super) async fn an_empty_call_does_nothing(bench: Bench) {
    assert!(bench.registry.enqueue(vec![]).await.expect("enqueue").is_empty());
    let worker = bench.worker().await;
    let turn = bench.turn(TurnRequest::new(worker)).await;
    assert!(turn.applied.is_empty() && turn.claimed.is_empty() && turn.live);
    assert!(bench.registry.fetch(vec![]).await.expect("fetch").is_empty());
    assert!(bench.claim(worker, 0).await.is_empty());
}

pub(super) async fn the_order_is_due_time_less_head_start(bench: Bench) {
    let now = bench.registry.now_ms().await.expect("now");
    let at = |ms: i64| std::time::UNIX_EPOCH + Duration::from_millis((now + ms).unsigned_abs());
    let step = PRIORITY_STEP.as_millis() as i64;
    // Overtaken by a head start, not overtaken beyond it, and by id among equals.
    let old = bench.enqueue(job("old").run_at(at(-10 * step))).await;
    let urgent = bench.enqueue(job("urgent").run_at(at(-step)).priority(2)).await;
    let plain = bench.enqueue(job("plain").run_at(at(-2 * step))).await;
    let low = bench.enqueue(job("low").run_at(at(-2 * step)).priority(-1)).await;
    let twin = bench.enqueue(job("twin").run_at(at(-2 * step))).await;
    let worker = bench.worker().await;
    let claimed = bench.claim(worker, 10).await;
    assert_eq!(ids(&claimed), [old, urgent, plain, twin, low]);
}

pub(super) async fn a_claim_raises_fence_and_attempt(bench: Bench) {
    let id = bench.enqueue(job("any")).await;
    let worker = bench.worker().await;
    for attempt in 1..=3 {
        let claimed = bench.claim_one(worker).await;
        assert_eq!(claimed.attempt, attempt);
        assert_eq!(claimed.lease.fence, Fence(i64::from(attempt)));
        assert_eq!(claimed.lease.owner, worker);
        let row = bench.get(id).await;
        assert_eq!((row.state, row.lease()), (State::Running, claimed.lease));
        assert!(row.claimed_at >= row.created_at);
        let error = "again".into();
        let retry = crate::Outcome::Retry { error, delay_ms: 0 };
        assert!(bench.report(claimed.lease, retry).await.is_applied());
    }
}

pub(super) async fn nothing_is_claimed_twice(bench: Bench) {
    let jobs = (0..100).map(|_| job("any")).collect();
    bench.registry.enqueue(jobs).await.expect("enqueue");
    let (one, two) = (bench.worker().await, bench.worker().await);
    let mut seen = HashSet::new();
    loop {
        let (a, b) = tokio::join!(bench.claim(one, 7), bench.claim(two, 9));
        if a.is_empty() && b.is_empty() {
            break;
        }
        for claimed in a.iter().chain(&b) {
            assert!(seen.insert(claimed.lease.job), "{} was claimed twice", claimed.lease.job);
        }
    }
    assert_eq!(seen.len(), 100);
}

pub(super) async fn queues_are_separate_and_counts_are_kept(bench: Bench) {
    for (queue, count) in [("a", 3), ("b", 2)] {
        for _ in 0..count {
            bench.enqueue(job("any").queue(queue)).await;
        }
    }
    let worker = bench.worker().await;
    let turn = bench.turn(TurnRequest::new(worker).claim("a", 2).claim("b", 9)).await;
    let from = |queue: &str| turn.claimed.iter().filter(|c| &*c.queue == queue).count();
    assert_eq!((from("a"), from("b")), (2, 2));
    let counts = bench.registry.counts().await.expect("counts");
    let count = |queue: &str, state| {
        counts.iter().find(|c| c.queue == queue && c.state == state).map_or(0, |c| c.jobs)
    };
    assert_eq!(count("a", State::Ready), 1);
    assert_eq!(count("a", State::Running), 2);
    assert_eq!(count("b", State::Running), 2);
    assert_eq!(counts.iter().map(|c| c.jobs).sum::<u64>(), 5);
}

pub(super) async fn what_is_not_due_is_not_claimed(bench: Bench) {
    let worker = bench.worker().await;
    let later = bench.enqueue(job("any").delay(LONG).priority(i16::MAX)).await;
    assert!(bench.claim(worker, 1).await.is_empty());
    assert_eq!(bench.state(later).await, State::Scheduled);
    let soon = bench.enqueue(job("any").delay(Duration::from_millis(50))).await;
    assert!(bench.get(soon).await.run_at > bench.get(soon).await.created_at);
    bench
        .eventually("the job comes due", async || {
            let claimed = bench.claim(worker, 9).await;
            assert!(!ids(&claimed).contains(&later));
            ids(&claimed).contains(&soon)
        })
        .await;
    let row = bench.get(soon).await;
    assert!(row.claimed_at >= row.run_at, "never before its time");
}

pub(super) async fn a_turn_completes_and_claims(bench: Bench) {
    for _ in 0..4 {
        bench.enqueue(job("any")).await;
    }
    let worker = bench.worker().await;
    let first = bench.claim(worker, 2).await;
    let reports = first.iter().map(|claimed| Report::new(claimed.lease, done()));
    let request = TurnRequest::new(worker).reports(reports).claim(NewJob::DEFAULT_QUEUE, 10);
    let turn = bench.turn(request).await;
    assert!(turn.applied.iter().all(|applied| applied.is_applied()));
    assert_eq!((turn.applied.len(), turn.claimed.len()), (2, 2));
    for id in ids(&first) {
        assert_eq!(bench.state(id).await, State::Succeeded);
    }
}

pub(super) async fn a_thousand_in_one_call(bench: Bench) {
    let jobs = (0..1000_u32).map(|n| NewJob::raw("any", n.to_be_bytes().to_vec())).collect();
    let enqueued = bench.registry.enqueue(jobs).await.expect("enqueue");
    let distinct: HashSet<_> = enqueued.iter().map(|e| e.id()).collect();
    assert_eq!(distinct.len(), 1000);
    let worker = bench.worker().await;
    let claimed = bench.claim(worker, 1000).await;
    assert_eq!(claimed.len(), 1000);
    let payloads: HashSet<_> = claimed.iter().map(|c| c.payload.clone()).collect();
    assert_eq!(payloads.len(), 1000);
    let reports = claimed.iter().map(|claimed| Report::new(claimed.lease, done()));
    let turn = bench.turn(TurnRequest::new(worker).reports(reports)).await;
    assert!(turn.applied.iter().all(|applied| applied.is_applied()));
}

pub(super) async fn peek_tells_without_writing(bench: Bench) {
    let worker = bench.worker().await;
    let other = bench.worker().await;
    let queues = || vec![NewJob::DEFAULT_QUEUE.into()];
    let peek = async || bench.registry.peek(worker, queues(), None).await.expect("peek");
    let empty = peek().await;
    assert!(empty.live && !empty.ready && !empty.promotable && !empty.expired);
    assert_eq!(empty.next_due_ms, None);
    assert!(empty.peers.iter().any(|peer| peer.id == other && peer.lease_ms > 0));
    assert!(empty.peers.iter().all(|peer| peer.id != worker));
    bench.enqueue(job("elsewhere").queue("not looked at")).await;
    bench.enqueue(job("later").delay(LONG)).await;
    let later = peek().await;
    assert!(!later.ready && !later.promotable);
    let ahead = later.next_due_ms.expect("something is scheduled");
    assert!(ahead > 0 && ahead <= LONG.as_millis() as i64, "{ahead}");
    bench.enqueue(job("now")).await;
    assert!(peek().await.ready);
    assert!(peek().await.ready, "looking takes nothing");
}

pub(super) async fn an_enqueue_pokes_subscribers(bench: Bench) {
    let poke = Poke::new();
    bench.registry.subscribe(&poke);
    bench.enqueue(job("any")).await;
    tokio::time::timeout(super::PATIENCE, poke.poked()).await.expect("a poke");
}
