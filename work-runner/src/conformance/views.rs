//! What people look at: counts, the overview and lists.

use super::{Bench, job};
use crate::identity::Identity;
use crate::job::{JobId, NewJob};
use crate::lease::WorkerId;
use crate::lifecycle::{Outcome, State};
use crate::registry::{Query, WorkerAbout, WorkerProfile, WorkerQueue};
use std::time::{Duration, UNIX_EPOCH};

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

pub(super) async fn workers_tell_what_they_do(bench: Bench) {
    let about = WorkerAbout {
        version: "1.2".into(),
        hostname: "a machine".into(),
        queues: vec![WorkerQueue::new("odd \" \0 \u{1f980}".into(), usize::MAX >> 1)],
        kinds: vec!["one".into(), "two".into()],
    };
    let before = bench.registry.now_ms().await.expect("now");
    let (silent, talks) = (bench.worker().await, WorkerId::random());
    let identity = Identity::current();
    let profile = WorkerProfile::new(identity.clone(), about.clone());
    bench.registry.register(talks, profile, super::LONG).await.expect("register");
    let workers = bench.registry.workers().await.expect("workers");
    let found = |id| workers.iter().find(|worker| worker.id == id).expect("it is listed");
    assert_eq!((&found(talks).about, &found(talks).identity), (&about, &identity));
    assert_eq!(found(silent).about, WorkerAbout::default());
    assert!(workers.iter().all(|worker| worker.since_ms >= before && worker.lease_ms > 0));
    let peek = bench.registry.peek(silent, vec![], None).await.expect("peek");
    assert_eq!(peek.peers.iter().map(|peer| peer.id).collect::<Vec<_>>(), [talks]);
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
