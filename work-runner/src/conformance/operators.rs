//! What people do: cancel, abandon, requeue, look, and schedule.

use super::{Bench, done, job};
use crate::job::{JobId, NewJob};
use crate::lease::Fence;
use crate::lifecycle::{EDGES, EventName, Outcome, State};
use crate::registry::{Applied, Order, Ordered, Periodic, Query};
use std::collections::HashSet;
use std::time::{Duration, UNIX_EPOCH};

fn orders() -> [(Order, EventName); 4] {
    let reason = "given up".to_owned();
    [
        (Order::Cancel, EventName::Cancel),
        (Order::Abandon { reason }, EventName::Abandon),
        (Order::Requeue, EventName::Requeue),
        (Order::RunNow, EventName::Promote),
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
                    assert!(to.contains(&now), "{order:?} in {state} led to {now}");
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

pub(super) async fn counts_say_where_they_stopped(bench: Bench) {
    const MANY: u64 = 10_020;
    let jobs = (0..MANY).map(|_| job("any").queue("many")).collect();
    bench.registry.enqueue(jobs).await.expect("enqueue");
    let mut expected = Vec::new();
    // Last the one that another would claim in place of its own job.
    let others = super::states().filter(|state| *state != State::Ready);
    for state in others.chain([State::Ready]) {
        let id = bench.job_in(state).await;
        expected.push((bench.get(id).await.queue.to_string(), state));
    }
    let counts = bench.registry.counts().await.expect("counts");
    // They lie behind more rows than one page looks at.
    let others = Query::all().queue("default");
    let listed = bench.registry.list(others).await.expect("list").len();
    assert!(listed >= expected.len(), "{listed} of {}", expected.len());
    let (many, rest): (Vec<_>, Vec<_>) = counts.iter().partition(|count| count.queue == "many");
    let [many] = many[..] else { panic!("only ready jobs are in the queue: {many:?}") };
    assert_eq!(many.state, State::Ready);
    assert!(many.jobs <= MANY && (many.jobs == MANY || many.capped && many.jobs >= 10_000));
    for (queue, state) in expected {
        let count = rest.iter().find(|count| count.queue == queue && count.state == state);
        let count = count.unwrap_or_else(|| panic!("{state} is counted: {counts:?}"));
        assert!(count.jobs >= 1 && (!count.capped || state == State::Succeeded), "{count:?}");
    }
}

pub(super) async fn an_overview_tells_who_waits(bench: Bench) {
    let overview = async || bench.registry.overview().await.expect("overview");
    let empty = overview().await;
    assert_eq!((empty.queues.len(), empty.next_due_ms, empty.workers), (0, None, 0));
    let (worker, dead) = (bench.worker().await, bench.worker_for(Duration::from_millis(1)).await);
    bench.lapse(dead).await;
    bench.enqueue(job("any")).await;
    bench.claim_one(worker).await;
    let before = bench.registry.now_ms().await.expect("now");
    let hour_ago = UNIX_EPOCH + Duration::from_millis(before.unsigned_abs() - 3_600_000);
    // The urgent one will be claimed first, the other one waits for longer.
    bench.enqueue(job("any").queue("waits").priority(120)).await;
    bench.enqueue(job("any").queue("waits").run_at(hour_ago)).await;
    bench.enqueue(job("any").queue("later").delay(super::LONG)).await;
    let seen = overview().await;
    let passed = seen.now_ms - before;
    assert!((0..600_000).contains(&passed), "{seen:?}");
    let [runs, waits] = &seen.queues[..] else { panic!("two queues: {seen:?}") };
    assert_eq!((&*runs.queue, runs.oldest_ready_ms), (NewJob::DEFAULT_QUEUE, None));
    assert!(runs.longest_running_ms.is_some_and(|ms| ms >= passed && ms < 600_000), "{seen:?}");
    assert_eq!((&*waits.queue, waits.longest_running_ms), ("waits", None));
    assert_eq!(waits.oldest_ready_ms, Some(3_600_000 + passed));
    let due = seen.next_due_ms.expect("one is scheduled");
    assert!(due > 0 && due <= 600_000, "{seen:?}");
    assert_eq!(seen.workers, 1, "the other lease has lapsed");
}

pub(super) async fn lists_are_paged_and_filtered(bench: Bench) {
    let mut all = Vec::new();
    for n in 0..25 {
        let queue = if n % 5 == 0 { "fifth" } else { "default" };
        all.push(bench.enqueue(job("any").queue(queue)).await);
    }
    let worker = bench.worker().await;
    bench.claim(worker, 10).await;
    let mut paged = Vec::new();
    let mut query = Query::all().limit(7);
    loop {
        let page = bench.registry.list(query.clone()).await.expect("list");
        assert!(page.len() <= 7);
        let Some(last) = page.last() else { break };
        query = query.after(last.id);
        paged.extend(page.iter().map(|row| row.id));
    }
    assert_eq!(paged, all);
    let count = async |query| bench.registry.list(query).await.expect("list").len();
    assert_eq!(count(Query::all().queue("fifth")).await, 5);
    assert_eq!(count(Query::all().state(State::Running)).await, 10);
    assert_eq!(count(Query::all().state(State::Ready).queue("default")).await, 10);
    assert_eq!(count(Query::all().queue("none")).await, 0);
}

pub(super) async fn lists_go_both_ways_and_find(bench: Bench) {
    let mut all = Vec::new();
    for n in 0..12 {
        let kind = if n % 3 == 0 { "third" } else { "any" };
        all.push(bench.enqueue(job(kind).delay(super::LONG)).await);
    }
    let (mine, other) = (bench.worker().await, bench.worker().await);
    let mut lost = Vec::new();
    for (worker, error) in [(mine, "no such host"), (other, "no such file"), (mine, "100% full")] {
        let id = bench.enqueue(job("fails")).await;
        let lease = bench.claim_one(worker).await.lease;
        assert!(bench.report(lease, Outcome::Fail { error: error.into() }).await.is_applied());
        all.push(id);
        lost.push(id);
    }
    let list = async |query: Query| -> Vec<JobId> {
        let rows = bench.registry.list(query).await.expect("list");
        rows.iter().map(|row| row.id).collect()
    };
    let newest: Vec<JobId> = all.iter().rev().copied().collect();
    assert_eq!(list(Query::all().newest_first()).await, newest);
    assert_eq!(list(Query::all().newest_first().limit(5)).await, newest[..5]);
    assert_eq!(list(Query::all().newest_first().limit(5).after(newest[4])).await, newest[5..10]);
    assert_eq!(list(Query::all().kind("third")).await, [all[0], all[3], all[6], all[9]]);
    assert_eq!(list(Query::all().kind("third").newest_first().limit(1)).await, [all[9]]);
    assert_eq!(list(Query::all().worker(mine)).await, [lost[0], lost[2]]);
    assert_eq!(list(Query::all().error("no such")).await, [lost[0], lost[1]]);
    assert_eq!(list(Query::all().error("%").state(State::Failed)).await, [lost[2]]);
    let ended = bench.get(lost[1]).await.ended_at;
    assert!(list(Query::all().since_ms(ended)).await.contains(&lost[1]));
    assert!(list(Query::all().since_ms(ended + 3_600_000)).await.is_empty());
    for state in super::states() {
        let rows = bench.registry.list(Query::all().state(state)).await.expect("list");
        assert!(rows.iter().all(|row| row.state == state), "{state}: {rows:?}");
        let back = list(Query::all().state(state).newest_first()).await;
        assert_eq!(back, rows.iter().rev().map(|row| row.id).collect::<Vec<_>>(), "{state}");
    }
    // A page says where to go on until nothing is left, however little matches.
    let mut query = Query::all().kind("third").limit(2);
    let mut found = Vec::new();
    loop {
        let page = bench.registry.page(query.clone()).await.expect("page");
        found.extend(page.jobs.iter().map(|row| row.id));
        match page.next {
            Some(next) => query = query.after(next),
            None => break,
        }
    }
    assert_eq!(found, [all[0], all[3], all[6], all[9]]);
}

pub(super) async fn a_periodic_job_fires_once_for_each_time(bench: Bench) {
    let worker = bench.worker().await;
    let now = bench.registry.now_ms().await.expect("now");
    let periodic = |cron: &str, first_ms| Periodic {
        name: "nightly".into(),
        cron: cron.into(),
        job: NewJob::raw("report", b"1".to_vec()).queue("cron"),
        first_ms,
    };
    let put = async |periodic| bench.registry.put_periodic(periodic).await.expect("put");
    let due = async || bench.registry.peek(worker, vec![], None).await.expect("peek").periodic;
    put(periodic("* * * * *", now + 600_000)).await;
    assert!(due().await.is_empty());
    put(periodic("* * * * *", now - 1000)).await;
    assert!(due().await.is_empty(), "the same expression keeps its time");
    put(periodic("0 * * * *", now - 1000)).await;
    let [run] = &due().await[..] else {
        panic!("one run is due");
    };
    assert_eq!((&*run.name, &*run.cron, run.at_ms), ("nightly", "0 * * * *", now - 1000));
    let fire = async |at, next| {
        bench.registry.fire_periodic("nightly".into(), at, next).await.expect("fire")
    };
    let (one, two) = tokio::join!(fire(run.at_ms, now + 600_000), fire(run.at_ms, now + 600_000));
    assert!(one != two, "of two machines one fires: {one} {two}");
    assert!(!fire(run.at_ms, now).await, "not again");
    assert!(due().await.is_empty());
    let jobs = bench.registry.list(Query::all().queue("cron")).await.expect("list");
    let kinds: HashSet<_> = jobs.iter().map(|row| &*row.kind).collect();
    assert_eq!((jobs.len(), kinds), (1, HashSet::from(["report"])));
    let drop_it = async || bench.registry.drop_periodic("nightly".into()).await.expect("drop");
    assert!(drop_it().await);
    assert!(!drop_it().await);
}
