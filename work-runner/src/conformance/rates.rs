//! Rates of queues and of limit keys.

use super::{Bench, done, ids, job};
use crate::error::StoreErrorKind;
use crate::job::NewJob;
use crate::lease::WorkerId;
use crate::registry::{Rate, RateOf, RateRecord, TurnRequest};
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn of_queue() -> RateOf {
    RateOf::Queue(NewJob::DEFAULT_QUEUE.into())
}

impl Bench {
    async fn rate(&self, of: RateOf, rate: Option<Rate>) {
        self.registry.limit_rate(of, rate).await.expect("limit the rate");
    }

    /// Whether a look finds something to claim, and when there is more to do.
    async fn look(&self, worker: WorkerId) -> (bool, Option<i64>) {
        let queues = vec![Arc::from(NewJob::DEFAULT_QUEUE)];
        let peek = self.registry.peek(worker, queues, None).await.expect("peek");
        (peek.ready, peek.next_due_ms)
    }
}

pub(super) async fn a_queue_rate_counts_over_workers(bench: Bench) {
    for _ in 0..9 {
        bench.enqueue(job("any")).await;
    }
    bench.enqueue(job("free").queue("free")).await;
    let (one, two) = (bench.worker().await, bench.worker().await);
    let hourly = Rate::new(4, HOUR).burst(3);
    bench.rate(of_queue(), Some(hourly)).await;
    assert!(bench.look(one).await.0);
    let (first, second) = tokio::join!(bench.claim(one, 2), bench.claim(two, 9));
    assert_eq!(first.len() + second.len(), 3, "as many as its burst, by whomever");
    let turn = TurnRequest::new(two).claim(NewJob::DEFAULT_QUEUE, 9);
    let turn = bench.turn(turn).await;
    assert!(turn.claimed.is_empty());
    // A quarter of an hour for each.
    let quarter = 1..=900_000;
    assert!(turn.next_due_ms.is_some_and(|ms| quarter.contains(&ms)), "{:?}", turn.next_due_ms);
    let (ready, due) = bench.look(one).await;
    assert!(!ready && due.is_some_and(|ms| quarter.contains(&ms)), "{due:?}");
    let elsewhere = bench.turn(TurnRequest::new(one).claim("free", 9)).await;
    assert_eq!(elsewhere.claimed.len(), 1, "other queues are free");
    // What has ended gives nothing back, and the same rate again neither.
    for claimed in first.iter().chain(&second) {
        assert!(bench.report(claimed.lease, done()).await.is_applied());
    }
    bench.rate(of_queue(), Some(hourly)).await;
    assert!(bench.claim(one, 9).await.is_empty());
    // Another one begins anew; limit, pause and rate stand beside each other.
    bench.rate(of_queue(), Some(Rate::new(4, HOUR))).await;
    bench.registry.limit_queue(NewJob::DEFAULT_QUEUE.into(), Some(1)).await.expect("limit");
    assert_eq!(bench.claim(one, 9).await.len(), 1);
    bench.registry.limit_queue(NewJob::DEFAULT_QUEUE.into(), None).await.expect("limit");
    assert_eq!(bench.claim(two, 9).await.len(), 3);
    bench.rate(of_queue(), None).await;
    assert!(bench.look(one).await.0);
    assert_eq!(bench.claim(one, 9).await.len(), 2);
}

pub(super) async fn a_key_rate_counts_over_queues(bench: Bench) {
    let keyed = |key: &str| job("keyed").limit(key, 100);
    let mut expected = Vec::new();
    // First in the queue are more of a key than may start; behind them, what may.
    for n in 0..8 {
        let id = bench.enqueue(keyed("seven")).await;
        expected.extend((n < 2).then_some(id));
    }
    expected.push(bench.enqueue(keyed("eight")).await);
    expected.push(bench.enqueue(job("plain")).await);
    bench.enqueue(keyed("seven").queue("other")).await;
    let (one, two) = (bench.worker().await, bench.worker().await);
    bench.rate(RateOf::Key("seven".into()), Some(Rate::new(2, HOUR))).await;
    bench.rate(RateOf::Key("unused".into()), Some(Rate::new(2, HOUR))).await;
    let mut claimed = bench.claim(one, 5).await;
    for _ in 0..3 {
        // A store may need a turn to pass over what it has just found kept back.
        claimed.extend(bench.claim(two, 5).await);
    }
    let mut got = ids(&claimed);
    got.sort_unstable();
    assert_eq!(got, expected, "two of the key, and all others");
    let elsewhere = bench.turn(TurnRequest::new(one).claim("other", 9)).await;
    assert!(elsewhere.claimed.is_empty(), "the rate of a key is for all queues");
    let (ready, due) = bench.look(one).await;
    assert!(!ready && due.is_some_and(|ms| (1..=1_800_000).contains(&ms)), "{due:?}");
    // The rate of the queue and that of the key: both must let a job start.
    bench.rate(of_queue(), Some(Rate::new(3, HOUR))).await;
    for _ in 0..5 {
        bench.enqueue(keyed("eight")).await;
    }
    assert_eq!(bench.claim(one, 9).await.len(), 3);
    bench.rate(of_queue(), None).await;
    bench.rate(RateOf::Key("seven".into()), None).await;
    assert_eq!(bench.claim(one, 99).await.len(), 6 + 2);
    let elsewhere = bench.turn(TurnRequest::new(one).claim("other", 9)).await;
    assert_eq!(elsewhere.claimed.len(), 1);
}

pub(super) async fn the_rate_of_a_queue_wakes_its_own_workers_alone(bench: Bench) {
    let worker = bench.worker().await;
    let other = RateOf::Queue("other".into());
    bench.rate(other, Some(Rate::new(1, HOUR))).await;
    // Claims look for tokens of keys when some key has a rate.
    bench.rate(RateOf::Key("full".into()), Some(Rate::new(1, HOUR))).await;
    for _ in 0..2 {
        bench.enqueue(job("any").queue("other")).await;
    }
    let turn = bench.turn(TurnRequest::new(worker).claim("other", 1)).await;
    assert_eq!(turn.claimed.len(), 1);
    assert_eq!(bench.look(worker).await, (false, None), "another queue waits for a token");
    let turn = bench.turn(TurnRequest::new(worker).claim(NewJob::DEFAULT_QUEUE, 9)).await;
    assert_eq!((turn.claimed.len(), turn.next_due_ms), (0, None));
    let queues = vec!["other".into(), NewJob::DEFAULT_QUEUE.into()];
    let peek = bench.registry.peek(worker, queues, None).await.expect("peek");
    assert!(peek.next_due_ms.is_some_and(|ms| ms > 0), "{peek:?}");
}

pub(super) async fn a_key_rate_counts_jobs_that_come_one_by_one(bench: Bench) {
    let worker = bench.worker().await;
    bench.rate(RateOf::Key("k".into()), Some(Rate::new(1, HOUR))).await;
    for expected in [1, 0] {
        bench.enqueue(job("any").limit("k", 9)).await;
        assert_eq!(bench.claim(worker, 5).await.len(), expected);
    }
}

pub(super) async fn no_span_of_time_starts_more_than_its_rate(bench: Bench) {
    const JOBS: usize = 16;
    let worker = bench.worker().await;
    let other = bench.worker().await;
    for n in 0..JOBS {
        let key = ["a", "b"][n % 2];
        bench.enqueue(job("any").limit(key, 100)).await;
    }
    let rate = Rate::new(40, Duration::from_secs(1)).burst(3);
    bench.rate(of_queue(), Some(rate)).await;
    bench.rate(RateOf::Key("a".into()), Some(rate.burst(1))).await;
    let now = async || bench.registry.now_ms().await.expect("now");
    let mut starts = Vec::new();
    let mut claimed = 0;
    let until = std::time::Instant::now() + super::PATIENCE;
    while claimed < JOBS {
        assert!(std::time::Instant::now() < until, "{claimed} of {JOBS} started");
        let before = now().await;
        let (one, two) = tokio::join!(bench.claim(worker, 9), bench.claim(other, 9));
        let got = one.len() + two.len();
        starts.push((before, now().await, got));
        claimed += got;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for (at, (first, _, _)) in starts.iter().enumerate() {
        let mut sum = 0;
        for (_, last, got) in &starts[at..] {
            sum += got;
            // The claims lie between the two times, so that the span is no shorter than theirs.
            let share = 3 * 1000 + 40 * (last - first);
            assert!(sum as i64 * 1000 <= share, "{sum} started in {} ms", last - first);
        }
    }
}

pub(super) async fn rates_are_listed_and_checked(bench: Bench) {
    let registry = &bench.registry;
    let rate = Rate::new(7, Duration::from_millis(1500)).burst(2);
    let key = RateOf::Key("customer".into());
    bench.rate(key.clone(), Some(rate)).await;
    bench.rate(RateOf::Queue("mail".into()), Some(Rate::new(1, HOUR))).await;
    bench.rate(RateOf::Queue("mail".into()), Some(rate)).await;
    registry.pause_queue("paused".into(), "ann".into()).await.expect("pause");
    let expected = [(RateOf::Queue("mail".into()), rate), (key, rate)];
    let expected = expected.map(|(of, rate)| RateRecord::new(of, rate));
    assert_eq!(registry.rates().await.expect("rates"), expected);
    let queues = registry.queues().await.expect("queues");
    let shown: Vec<_> = queues.iter().map(|queue| (&*queue.queue, queue.rate)).collect();
    assert_eq!(shown, [("mail", Some(rate)), ("paused", None)]);
    for (name, rate) in [
        ("nul\0", rate),
        (&"n".repeat(2000), rate),
        ("mail", Rate::new(0, HOUR)),
        ("mail", Rate::new(1, Duration::ZERO)),
        ("mail", Rate::new(1, Duration::MAX)),
        ("mail", rate.burst(0)),
        ("mail", rate.burst(u32::MAX)),
    ] {
        for of in [RateOf::Queue(name.into()), RateOf::Key(name.into())] {
            let refused = registry.limit_rate(of, Some(rate)).await.expect_err("refused");
            assert_eq!(refused.kind(), StoreErrorKind::Invalid, "{rate:?}");
        }
    }
    for of in expected.map(|record| record.of) {
        bench.rate(of, None).await;
    }
    assert!(registry.rates().await.expect("rates").is_empty());
    assert_eq!(registry.queues().await.expect("queues").len(), 1);
}
