//! Unique keys, limit keys and queue limits.

use super::{Bench, done, ids, job};
use crate::job::{JobId, NewJob, UniqueWhile};
use crate::lifecycle::{Outcome, State};
use crate::registry::Keep;
use crate::registry::{Enqueued, Order, Ordered, TurnRequest};
use std::sync::Arc;
use std::time::Duration;

impl Bench {
    async fn try_enqueue(&self, job: NewJob) -> Enqueued {
        self.registry.enqueue(vec![job]).await.expect("enqueue")[0]
    }

    async fn order_one(&self, order: Order, job: JobId) -> Ordered {
        self.registry.order(order, vec![job]).await.expect("order")[0]
    }
}

pub(super) async fn a_unique_key_is_taken_while_its_job_lives(bench: Bench) {
    let worker = bench.worker().await;
    let unique = || job("any").unique("key");
    let first = bench.enqueue(unique()).await;
    assert_eq!(bench.try_enqueue(unique()).await, Enqueued::Duplicate(first));
    let other = bench.try_enqueue(job("any").unique("other").queue("elsewhere")).await;
    assert!(other.is_new());
    let lease = bench.claim_one(worker).await.lease;
    assert_eq!(bench.try_enqueue(unique()).await, Enqueued::Duplicate(first), "running");
    let retry = Outcome::Retry { error: "again".into(), delay_ms: 0 };
    assert!(bench.report(lease, retry).await.is_applied(), "no conflict with itself");
    assert_eq!(bench.try_enqueue(unique()).await, Enqueued::Duplicate(first), "scheduled");
    let lease = bench.claim_one(worker).await.lease;
    assert!(bench.report(lease, done()).await.is_applied());
    let second = bench.try_enqueue(unique()).await;
    assert!(second.is_new() && second.id() != first, "free again: {second:?}");
}

pub(super) async fn a_kept_key_is_taken_until_it_is_pruned(bench: Bench) {
    let worker = bench.worker().await;
    let unique = || job("any").unique_while("key", UniqueWhile::Kept);
    let first = bench.enqueue(unique()).await;
    let lease = bench.claim_one(worker).await.lease;
    assert!(bench.report(lease, done()).await.is_applied());
    assert_eq!(bench.try_enqueue(unique()).await, Enqueued::Duplicate(first));
    let pruned =
        async || bench.registry.prune(Keep::all(Duration::ZERO), 9).await.expect("prune") == 1;
    bench.eventually("it is old enough", pruned).await;
    let second = bench.try_enqueue(unique()).await;
    assert!(second.is_new() && second.id() > first, "a number is never given twice");
}

pub(super) async fn a_key_may_be_made_of_what_a_job_is(bench: Bench) {
    let args =
        |kind, payload: &str| NewJob::raw(kind, payload.as_bytes().to_vec()).unique_by_args();
    let first = bench.try_enqueue(args("any", "1")).await;
    assert!(first.is_new());
    let same = bench.try_enqueue(args("any", "1").queue("elsewhere").priority(3)).await;
    assert_eq!(same, Enqueued::Duplicate(first.id()));
    for other in [args("any", "2"), args("other", "1"), job("any"), args("any1", "")] {
        assert!(bench.try_enqueue(other).await.is_new());
    }
    // A period that no test outlives: taken until its end, even by a job that has ended.
    let long = Duration::MAX;
    let per = |key: &str| job("any").unique(key).unique_per(long);
    let one = bench.try_enqueue(per("k")).await;
    assert!(one.is_new() && bench.try_enqueue(per("l")).await.is_new());
    assert_eq!(bench.order_one(Order::Cancel, one.id()).await, Ordered::Now(State::Cancelled));
    assert_eq!(bench.try_enqueue(per("k")).await, Enqueued::Duplicate(one.id()));
    assert!(bench.try_enqueue(job("any").unique("k")).await.is_new(), "another key");
    let by_args = args("any", "3").unique_per(long);
    assert!(bench.try_enqueue(by_args.clone()).await.is_new());
    assert!(!bench.try_enqueue(by_args).await.is_new());
    // The next period comes: a key of its own, though the job before still waits.
    let short = || job("any").unique("m").unique_per(Duration::from_millis(1));
    bench.enqueue(short()).await;
    let next = async || bench.try_enqueue(short()).await.is_new();
    bench.eventually("the next period begins", next).await;
}

pub(super) async fn a_batch_sees_its_own_keys(bench: Bench) {
    let batch = vec![job("a").unique("k"), job("b"), job("c").unique("k"), job("d").unique("l")];
    let enqueued = bench.registry.enqueue(batch).await.expect("enqueue");
    let first = enqueued[0].id();
    assert_eq!(enqueued[2], Enqueued::Duplicate(first));
    assert_eq!(enqueued.iter().filter(|e| e.is_new()).count(), 3);
    assert!(enqueued[3].id() > enqueued[1].id() && enqueued[1].id() > first);
}

pub(super) async fn a_long_batch_of_keys_is_answered_one_by_one(bench: Bench) {
    const MANY: usize = 6000;
    let before = bench.enqueue(job("any").unique("key 1000")).await;
    let batch = |n: usize| match n % 10 {
        9 => job("plain"),
        // Each of these twice, the second time with another shape.
        8 => job("other").unique(format!("key {}", n - 1)).priority(3).delay(super::LONG),
        _ => NewJob::raw("any", format!("{n}").into_bytes()).unique(format!("key {n}")),
    };
    let jobs = || (0..MANY).map(batch).collect::<Vec<_>>();
    let first = bench.registry.enqueue(jobs()).await.expect("enqueue");
    assert_eq!(first.len(), MANY);
    for (n, answer) in first.iter().enumerate() {
        match n {
            1000 => assert_eq!(*answer, Enqueued::Duplicate(before)),
            _ if n % 10 == 8 => assert_eq!(*answer, Enqueued::Duplicate(first[n - 1].id())),
            _ => assert!(answer.is_new(), "{n}: {answer:?}"),
        }
    }
    let new: Vec<JobId> = first.iter().filter(|job| job.is_new()).map(|job| job.id()).collect();
    assert!(new.is_sorted_by(|one, next| one < next), "in the order of the batch");
    let row = bench.get(first[5].id()).await;
    assert_eq!((&*row.payload, row.unique_key.as_deref()), (&b"5"[..], Some("key 5")));
    assert!(!row.unique_kept && row.state == State::Ready && row.run_at == row.created_at);
    // Once more: only what has no key is stored again.
    let again = bench.registry.enqueue(jobs()).await.expect("enqueue");
    for (n, (one, other)) in first.iter().zip(&again).enumerate() {
        assert_eq!(other.is_new(), n % 10 == 9, "{n}: {other:?}");
        assert!(other.is_new() || other.id() == one.id(), "{n}");
    }
    let kept = |n: usize| job("any").unique_while(format!("kept {n}"), UniqueWhile::Kept);
    let kept = bench.registry.enqueue((0..300).map(kept).collect()).await.expect("enqueue");
    assert!(bench.get(kept[299].id()).await.unique_kept);
}

pub(super) async fn a_batch_of_keys_passes_over_the_one_that_is_taken(bench: Bench) {
    const MANY: usize = 300;
    const TAKEN: usize = 217;
    // Long enough that a store that takes rows piece by piece has some of them left when it meets the key.
    let one = |n: usize| {
        let job = NewJob::raw("any", vec![b'x'; 1000]).unique(format!("key {n}"));
        job.priority(3).delay(super::LONG)
    };
    let before = bench.enqueue(one(TAKEN)).await;
    let all = bench.registry.enqueue((0..MANY).map(one).collect()).await.expect("enqueue");
    for (n, answer) in all.iter().enumerate() {
        match n {
            TAKEN => assert_eq!(*answer, Enqueued::Duplicate(before)),
            _ => assert!(answer.is_new(), "{n}: {answer:?}"),
        }
    }
    let rest = (MANY..2 * MANY).map(one).chain([job("plain")]).collect();
    let rest = bench.registry.enqueue(rest).await.expect("enqueue");
    let mut new: Vec<JobId> = all.iter().chain(&rest).map(|job| job.id()).collect();
    new.retain(|id| *id != before);
    assert!(new.is_sorted_by(|one, next| one < next), "in the order of the batches");
    // A row is the same, whatever way it was stored.
    let single = bench.get(before).await;
    for (n, id) in [(0, all[0].id()), (MANY, rest[0].id())] {
        let mut row = bench.get(id).await;
        assert_eq!(row.unique_key.as_deref(), Some(&*format!("key {n}")));
        assert_eq!(row.rank - row.run_at, single.rank - single.run_at);
        (row.id, row.rank, row.run_at) = (single.id, single.rank, single.run_at);
        (row.created_at, row.unique_key) = (single.created_at, single.unique_key.clone());
        assert_eq!(row, single);
    }
    let again = bench.registry.enqueue((0..2 * MANY).map(one).collect()).await.expect("enqueue");
    let stored = all.iter().chain(&rest);
    assert!(again.iter().zip(stored).all(|(one, other)| !one.is_new() && one.id() == other.id()));
}

pub(super) async fn a_limit_key_admits_as_many_as_it_may(bench: Bench) {
    let worker = bench.worker().await;
    let limited = |priority| job("any").limit("key", 2).priority(priority);
    let mut all = Vec::new();
    for priority in [0, 0, 0, 5, 0] {
        all.push(bench.enqueue(limited(priority)).await);
    }
    let other = bench.enqueue(job("any").limit("other", 1)).await;
    let first = bench.claim(worker, 10).await;
    assert_eq!(ids(&first), [all[0], all[1], other], "two of the key, one of the other");
    assert_eq!(bench.state(all[2]).await, State::Held);
    assert!(bench.claim(worker, 10).await.is_empty());
    assert!(bench.report(first[0].lease, done()).await.is_applied());
    let second = bench.claim(worker, 10).await;
    assert_eq!(ids(&second), [all[3]], "the urgent one first");
    assert!(bench.report(first[1].lease, done()).await.is_applied());
    assert!(bench.report(second[0].lease, done()).await.is_applied());
    assert_eq!(ids(&bench.claim(worker, 10).await), [all[2], all[4]]);
}

pub(super) async fn every_way_to_end_gives_the_place_back(bench: Bench) {
    let cancel = Order::Cancel;
    let error = || "because".to_owned();
    for (n, outcome) in [
        done(),
        Outcome::Fail { error: error() },
        Outcome::Reject { error: error() },
        Outcome::Stopped { error: None },
        Outcome::Retry { error: error(), delay_ms: 600_000 },
        Outcome::Snooze { delay_ms: 600_000 },
    ]
    .into_iter()
    .enumerate()
    {
        let worker = bench.worker().await;
        let (queue, key) = (format!("q{n}"), format!("k{n}"));
        let new = || job("any").queue(queue.clone()).limit(key.clone(), 1);
        let claim = async || {
            let turn = TurnRequest::new(worker).claim(queue.clone(), 9);
            bench.turn(turn).await.claimed
        };
        bench.enqueue(new()).await;
        let held = bench.enqueue(new()).await;
        let spare = bench.enqueue(new()).await;
        let lease = claim().await[0].lease;
        assert!(bench.report(lease, outcome.clone()).await.is_applied());
        let next = claim().await;
        assert_eq!(ids(&next), [held], "{outcome:?}");
        // A crash keeps the place for the same job; its end by order passes it on.
        assert_eq!(bench.registry.sweep(vec![worker], 9).await.expect("sweep").jobs, 1);
        assert_eq!(bench.state(spare).await, State::Held, "after the crash, {outcome:?}");
        assert_eq!(bench.order_one(cancel.clone(), held).await, Ordered::Now(State::Cancelled));
        assert_eq!(bench.state(spare).await, State::Ready, "after the cancel, {outcome:?}");
        let abandon = Order::Abandon { reason: error() };
        assert_eq!(bench.order_one(abandon, spare).await, Ordered::Now(State::Abandoned));
        let revived = bench.order_one(Order::Requeue, held).await;
        assert_eq!(revived, Ordered::Now(State::Ready), "the place is free");
        let waits = bench.order_one(Order::Requeue, spare).await;
        assert_eq!(waits, Ordered::Now(State::Held), "and taken again");
    }
}

pub(super) async fn a_scheduled_job_takes_its_place_when_due(bench: Bench) {
    let worker = bench.worker().await;
    let limited = || job("any").limit("key", 1);
    let soon = bench.enqueue(limited().delay(Duration::from_millis(40))).await;
    let now = bench.enqueue(limited()).await;
    assert_eq!(bench.state(now).await, State::Ready, "what is not due takes no place");
    let lease = bench.claim_one(worker).await.lease;
    bench
        .eventually("the scheduled one is held", async || {
            assert!(bench.claim(worker, 9).await.is_empty(), "the key is full");
            bench.state(soon).await == State::Held
        })
        .await;
    assert!(bench.report(lease, done()).await.is_applied());
    assert_eq!(ids(&bench.claim(worker, 9).await), [soon]);
}

pub(super) async fn a_queue_limit_counts_over_workers(bench: Bench) {
    let limit = async |max| {
        let queue = "default".into();
        bench.registry.limit_queue(queue, max).await.expect("limit");
    };
    for _ in 0..10 {
        bench.enqueue(job("any")).await;
    }
    bench.enqueue(job("free").queue("free")).await;
    let (one, two) = (bench.worker().await, bench.worker().await);
    limit(Some(3)).await;
    let first = bench.claim(one, 2).await;
    let second = bench.claim(two, 9).await;
    assert_eq!((first.len(), second.len()), (2, 1));
    assert!(bench.claim(one, 9).await.is_empty());
    let elsewhere = bench.turn(TurnRequest::new(one).claim("free", 9)).await;
    assert_eq!(elsewhere.claimed.len(), 1, "other queues are free");
    assert!(bench.report(second[0].lease, done()).await.is_applied());
    assert_eq!(bench.claim(one, 9).await.len(), 1);
    limit(Some(0)).await;
    assert!(bench.report(first[0].lease, done()).await.is_applied());
    assert!(bench.claim(one, 9).await.is_empty(), "paused");
    limit(None).await;
    assert_eq!(bench.claim(one, 9).await.len(), 6);
}

pub(super) async fn a_pause_stands_beside_the_limit(bench: Bench) {
    let registry = &bench.registry;
    let worker = bench.worker().await;
    let queue = || Arc::<str>::from(NewJob::DEFAULT_QUEUE);
    let ready = async || registry.peek(worker, vec![queue()], None).await.expect("peek").ready;
    for _ in 0..3 {
        bench.enqueue(job("any")).await;
    }
    registry.limit_queue(queue(), Some(2)).await.expect("limit");
    assert!(registry.pause_queue(queue(), "ann".into()).await.expect("pause"));
    assert!(!registry.pause_queue(queue(), "bob".into()).await.expect("pause"), "it is paused");
    let [record] = &registry.queues().await.expect("queues")[..] else { panic!("one queue") };
    assert_eq!((&*record.queue, record.max_running), (NewJob::DEFAULT_QUEUE, Some(2)));
    let pause = record.paused.as_ref().expect("it is paused");
    assert_eq!(pause.by, "ann", "the first pause stays");
    let now = registry.now_ms().await.expect("now");
    assert!((now - pause.at_ms).abs() < 600_000, "{pause:?} at {now}");
    assert!(bench.claim(worker, 9).await.is_empty(), "nothing is claimed");
    assert!(!ready().await, "so there is nothing to look for");

    assert!(registry.resume_queue(queue()).await.expect("resume"));
    assert!(!registry.resume_queue(queue()).await.expect("resume"), "not again");
    assert!(ready().await);
    assert_eq!(bench.claim(worker, 9).await.len(), 2, "the limit is what it was");
    registry.limit_queue(queue(), None).await.expect("lift");
    assert!(registry.queues().await.expect("queues").is_empty());
    // Without a limit a pause holds as well, and each queue for itself.
    registry.pause_queue(queue(), "ann".into()).await.expect("pause");
    bench.enqueue(job("any").queue("other")).await;
    assert!(bench.claim(worker, 9).await.is_empty());
    let turn = bench.turn(TurnRequest::new(worker).claim("other", 1)).await;
    assert_eq!(turn.claimed.len(), 1);
    let long = "n".repeat(2000);
    let refused = registry.pause_queue(long.clone().into(), "ann".into()).await;
    assert_eq!(refused.expect_err("too long").kind(), crate::StoreErrorKind::Invalid);
    assert!(registry.pause_queue(queue(), long).await.is_err());
}
