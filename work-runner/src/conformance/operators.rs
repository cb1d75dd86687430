//! What people do: cancel, abandon, requeue, look, and schedule.

use super::{Bench, done, job};
use crate::error::StoreErrorKind;
use crate::job::{Edit, JobId, NewJob};
use crate::lease::Fence;
use crate::lifecycle::{EDGES, EventName, Outcome, State};
use crate::registry::{Applied, Order, Ordered, Query, TurnRequest};
use std::time::{Duration, UNIX_EPOCH};

fn orders() -> [(Order, EventName); 6] {
    let reason = "given up".to_owned();
    [
        (Order::Cancel, EventName::Cancel),
        (Order::Abandon { reason }, EventName::Abandon),
        (Order::Requeue, EventName::Requeue),
        (Order::RunNow, EventName::Promote),
        (Order::Edit(Edit::new().queue("other")), EventName::Edit),
        (Order::Edit(Edit::new().delay(super::LONG)), EventName::Edit),
    ]
}

impl Bench {
    async fn order_it(&self, order: Order, job: JobId) -> Ordered {
        self.registry.order(order, vec![job]).await.expect("order")[0]
    }
}

pub(super) async fn orders_follow_the_table_in_every_state(bench: Bench) {
    for state in super::states() {
        for (order, event) in orders() {
            let id = bench.job_in(state).await;
            let edge = EDGES.iter().find(|(from, by, _)| *from == state && *by == event);
            let ordered = bench.order_it(order.clone(), id).await;
            let now = bench.state(id).await;
            match edge {
                Some((_, _, to)) => {
                    assert_eq!(ordered, Ordered::Now(now));
                    // The table says ready for what waits for a place, too.
                    let named = if now == State::Held { State::Ready } else { now };
                    assert!(to.contains(&named), "{order:?} in {state} led to {now}");
                }
                None => {
                    assert_eq!(ordered, Ordered::Refused(state), "{order:?}");
                    assert_eq!(now, state);
                }
            }
            // Nothing is left that a later round could claim in place of its own job.
            bench.order_it(Order::Abandon { reason: "over".into() }, id).await;
        }
    }
    let nobody = bench.order_it(Order::Cancel, JobId(i64::MAX)).await;
    assert_eq!(nobody, Ordered::NotFound);
}

pub(super) async fn only_what_has_ended_is_deleted(bench: Bench) {
    for state in super::states() {
        let id = bench.job_in(state).await;
        let ordered = bench.order_it(Order::Delete, id).await;
        let rows = bench.registry.fetch(vec![id]).await.expect("fetch");
        match state.is_terminal() {
            true => assert_eq!((ordered, rows.len()), (Ordered::Deleted, 0)),
            false => assert_eq!((ordered, rows.len()), (Ordered::Refused(state), 1)),
        }
        bench.order_it(Order::Abandon { reason: "over".into() }, id).await;
    }
    assert_eq!(bench.order_it(Order::Delete, JobId(i64::MAX)).await, Ordered::NotFound);
    // Its key, its place and its payload go with it; its id does not come back.
    let big = vec![b'x'; 100_000];
    let kept = || {
        let job = NewJob::raw("any", big.clone()).unique_while("key", crate::UniqueWhile::Kept);
        job.limit("limit", 1)
    };
    let first = bench.enqueue(kept()).await;
    bench.order_it(Order::Cancel, first).await;
    assert_eq!(bench.order_it(Order::Delete, first).await, Ordered::Deleted);
    let second = bench.enqueue(kept()).await;
    assert!(second > first);
    assert_eq!(bench.state(second).await, State::Ready);
    assert_eq!(bench.get(second).await.payload, big);
}

pub(super) async fn what_is_scheduled_runs_now(bench: Bench) {
    let worker = bench.worker().await;
    let ahead = bench.enqueue(job("any").delay(super::LONG)).await;
    assert!(bench.claim(worker, 1).await.is_empty());
    assert_eq!(bench.order_it(Order::RunNow, ahead).await, Ordered::Now(State::Ready));
    let row = bench.get(ahead).await;
    let now = bench.registry.now_ms().await.expect("now");
    assert!(row.run_at <= now && row.rank == row.run_at, "{row:?} at {now}");
    assert_eq!(bench.claim_one(worker).await.lease.job, ahead);
    // A limit key holds it back like any other.
    let first = bench.enqueue(job("any").limit("key", 1)).await;
    let second = bench.enqueue(job("any").limit("key", 1).delay(super::LONG)).await;
    assert_eq!(bench.order_it(Order::RunNow, second).await, Ordered::Now(State::Held));
    let lease = bench.claim_one(worker).await.lease;
    assert_eq!(lease.job, first);
    assert!(bench.report(lease, done()).await.is_applied());
    assert_eq!(bench.claim_one(worker).await.lease.job, second);
}

pub(super) async fn what_waits_is_edited(bench: Bench) {
    let worker = bench.worker().await;
    let ready = bench.enqueue(job("first")).await;
    let urgent = bench.enqueue(job("second")).await;
    let edit = async |id, edit| bench.order_it(Order::Edit(edit), id).await;
    let now = Ordered::Now;
    assert_eq!(edit(urgent, Edit::new().priority(9)).await, now(State::Ready));
    let row = bench.get(urgent).await;
    assert_eq!((row.priority, row.rank), (9, row.run_at - 9 * 60_000));
    let lease = bench.claim_one(worker).await.lease;
    assert_eq!(lease.job, urgent, "the more urgent one");
    assert_eq!(edit(urgent, Edit::new().priority(1)).await, Ordered::Refused(State::Running));
    assert!(bench.report(lease, done()).await.is_applied());
    assert_eq!(edit(urgent, Edit::new().priority(1)).await, Ordered::Refused(State::Succeeded));
    // Into another queue, away into the future, and back.
    assert_eq!(edit(ready, Edit::new().queue("other")).await, now(State::Ready));
    assert!(bench.claim(worker, 1).await.is_empty());
    assert_eq!(edit(ready, Edit::new().delay(super::LONG)).await, now(State::Scheduled));
    assert!(
        bench.turn(TurnRequest::new(worker).claim("other", 1).promote()).await.claimed.is_empty()
    );
    let soon = Edit::new().run_at(UNIX_EPOCH).queue(NewJob::DEFAULT_QUEUE);
    assert_eq!(edit(ready, soon).await, now(State::Scheduled));
    assert_eq!(bench.claim_one(worker).await.lease.job, ready);
    // A place under a limit key is given up for a later time, and waited for again.
    let first = bench.enqueue(job("any").limit("key", 1)).await;
    let second = bench.enqueue(job("any").limit("key", 1)).await;
    assert_eq!(edit(second, Edit::new().priority(1)).await, now(State::Held));
    assert_eq!(edit(first, Edit::new().delay(super::LONG)).await, now(State::Scheduled));
    assert_eq!(bench.state(second).await, State::Ready);
    assert_eq!(edit(first, Edit::new().delay(Duration::ZERO)).await, now(State::Scheduled));
    assert_eq!(bench.claim_one(worker).await.lease.job, second);
    assert_eq!(bench.state(first).await, State::Held);
    // What no store can keep is refused, and nothing is changed.
    let before = bench.get(first).await;
    for name in ["a\0b".to_owned(), "q".repeat(2000)] {
        let order = Order::Edit(Edit::new().queue(name));
        let refused = bench.registry.order(order, vec![first]).await.expect_err("refused");
        assert_eq!(refused.kind(), StoreErrorKind::Invalid);
    }
    let nothing = edit(first, Edit::new()).await;
    assert_eq!((nothing, bench.get(first).await), (now(State::Held), before));
    for priority in [i16::MIN, i16::MAX] {
        let most = Edit::new().priority(priority).delay(Duration::MAX);
        assert_eq!(edit(second, most.clone()).await, Ordered::Refused(State::Running));
        assert_eq!(edit(first, most).await, now(State::Scheduled));
    }
}

pub(super) async fn an_order_over_a_query_counts_what_it_did(bench: Bench) {
    let jobs = (0..1200).map(|n| job(if n % 2 == 0 { "even" } else { "odd" })).collect();
    bench.registry.enqueue(jobs).await.expect("enqueue");
    let driver = crate::WorkDriver::producer(std::sync::Arc::clone(&bench.registry));
    let even = || Query::all().kind("even");
    let some = driver.order_where(Order::Cancel, even(), 550).await.expect("order");
    assert_eq!((some.matched, some.done, some.refused), (550, 550, 0));
    let mut rest = even();
    rest.after = some.next;
    let rest = driver.order_where(Order::Cancel, rest, u64::MAX).await.expect("order");
    assert_eq!((rest.done, rest.next), (50, None));
    let again = driver.order_where(Order::Cancel, even(), u64::MAX).await.expect("order");
    assert_eq!((again.matched, again.done, again.refused), (600, 0, 600), "they have ended");
    let gone = driver.order_where(Order::Delete, even(), u64::MAX).await.expect("order");
    assert_eq!((gone.done, gone.refused), (600, 0));
    let left = bench.registry.list(Query::all().limit(10_000)).await.expect("list");
    assert_eq!(left.len(), 600);
    assert!(left.iter().all(|row| &*row.kind == "odd" && row.state == State::Ready));
    let none = driver.order_where(Order::Delete, Query::all(), 0).await.expect("order");
    assert_eq!(none.matched, 0);
}

pub(super) async fn a_cancel_reaches_the_holder(bench: Bench) {
    let (worker, other) = (bench.worker().await, bench.worker().await);
    let id = bench.enqueue(job("any")).await;
    let lease = bench.claim_one(worker).await.lease;
    assert_eq!(bench.order_it(Order::Cancel, id).await, Ordered::Now(State::Running));
    assert!(bench.get(id).await.cancel);
    let cancels =
        async |worker| bench.registry.peek(worker, vec![], None).await.expect("peek").cancels;
    assert_eq!(cancels(worker).await, [id]);
    assert!(cancels(other).await.is_empty());
    let stopped = Outcome::Stopped { error: Some("as asked".into()) };
    assert_eq!(bench.report(lease, stopped).await, Applied::Now(State::Cancelled));
    assert!(cancels(worker).await.is_empty(), "told and done");
    assert_eq!(bench.get(id).await.error.as_deref(), Some("as asked"));

    // A job that finishes all the same has succeeded.
    let id = bench.enqueue(job("any")).await;
    let lease = bench.claim_one(worker).await.lease;
    bench.order_it(Order::Cancel, id).await;
    assert_eq!(bench.report(lease, done()).await, Applied::Now(State::Succeeded));
    assert!(cancels(worker).await.is_empty());
}

pub(super) async fn a_cancelled_job_is_not_tried_again(bench: Bench) {
    let error = || "again".to_owned();
    for outcome in [
        Outcome::Retry { error: error(), delay_ms: 0 },
        Outcome::Snooze { delay_ms: 0 },
        Outcome::Release,
    ] {
        let worker = bench.worker().await;
        let id = bench.enqueue(job("any")).await;
        let lease = bench.claim_one(worker).await.lease;
        bench.order_it(Order::Cancel, id).await;
        let applied = bench.report(lease, outcome.clone()).await;
        assert_eq!(applied, Applied::Now(State::Cancelled), "{outcome:?}");
    }
    let worker = bench.worker().await;
    let id = bench.enqueue(job("any")).await;
    bench.claim_one(worker).await;
    bench.order_it(Order::Cancel, id).await;
    bench.registry.sweep(vec![worker], 9).await.expect("sweep");
    assert_eq!(bench.state(id).await, State::Cancelled, "nor after a crash");
}

pub(super) async fn an_abandoned_job_refuses_its_holder(bench: Bench) {
    let worker = bench.worker().await;
    let id = bench.enqueue(job("any")).await;
    let lease = bench.claim_one(worker).await.lease;
    let abandon = Order::Abandon { reason: "the machine is gone".into() };
    assert_eq!(bench.order_it(abandon, id).await, Ordered::Now(State::Abandoned));
    let peek = bench.registry.peek(worker, vec![], None).await.expect("peek");
    assert_eq!(peek.cancels, [id], "the holder is told");
    assert!(matches!(bench.report(lease, done()).await, Applied::Lost(_)));
    let row = bench.get(id).await;
    assert_eq!((row.state, row.error.as_deref()), (State::Abandoned, Some("the machine is gone")));
}

pub(super) async fn a_requeued_job_starts_afresh_under_a_higher_fence(bench: Bench) {
    let worker = bench.worker().await;
    let id = bench.enqueue(job("any").max_attempts(1)).await;
    let old = bench.claim_one(worker).await.lease;
    let retry = || Outcome::Retry { error: "no".into(), delay_ms: 0 };
    assert_eq!(bench.report(old, retry()).await, Applied::Now(State::Dead));
    assert_eq!(bench.order_it(Order::Requeue, id).await, Ordered::Now(State::Ready));
    let row = bench.get(id).await;
    assert_eq!((row.attempt, row.crashes, row.ended_at), (0, 0, 0));
    assert!(matches!(bench.report(old, done()).await, Applied::Lost(_)), "the old life is over");
    let new = bench.claim_one(worker).await;
    assert_eq!((new.attempt, new.lease.fence), (1, Fence(2)));
    assert!(bench.report(new.lease, done()).await.is_applied());
}

pub(super) async fn a_requeue_respects_the_unique_key(bench: Bench) {
    let worker = bench.worker().await;
    let unique = || job("any").unique("key");
    let first = bench.enqueue(unique()).await;
    let lease = bench.claim_one(worker).await.lease;
    assert!(bench.report(lease, Outcome::Fail { error: "no".into() }).await.is_applied());
    let second = bench.enqueue(unique()).await;
    assert_eq!(bench.order_it(Order::Requeue, first).await, Ordered::KeyTaken);
    assert_eq!(bench.state(first).await, State::Failed);
    assert_eq!(bench.order_it(Order::Cancel, second).await, Ordered::Now(State::Cancelled));
    assert_eq!(bench.order_it(Order::Requeue, first).await, Ordered::Now(State::Ready));
    let again = bench.registry.enqueue(vec![unique()]).await.expect("enqueue");
    assert!(!again[0].is_new(), "the key is taken by the revived job");
}
