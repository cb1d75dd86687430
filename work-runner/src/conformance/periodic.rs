//! Periodic jobs: each time once, catching up, and pauses.

use super::Bench;
use crate::driver::WorkDriver;
use crate::error::StoreErrorKind;
use crate::job::NewJob;
use crate::registry::{Periodic, Query};
use std::collections::HashSet;
use std::sync::Arc;

pub(super) async fn a_periodic_job_fires_once_for_each_time(bench: Bench) {
    let worker = bench.worker().await;
    let now = bench.registry.now_ms().await.expect("now");
    let report = || NewJob::raw("report", b"1".to_vec()).queue("cron");
    let periodic = |cron: &str, first_ms| Periodic {
        first_ms,
        ..Periodic::new("nightly", cron, report()).catch_up(7)
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
    assert_eq!(run.catch_up, 7);
    let listed = bench.registry.periodic().await.expect("periodic");
    let [shown] = &listed[..] else { panic!("one periodic job: {listed:?}") };
    assert_eq!((&*shown.queue, &*shown.kind, shown.payload_bytes), ("cron", "report", 1));
    assert_eq!((shown.catch_up, shown.at_ms, &shown.error), (7, now - 1000, &None));
    let fire = async |at, next| {
        bench.registry.fire_periodic("nightly".into(), at, next, 1).await.expect("fire")
    };
    let (one, two) = tokio::join!(fire(run.at_ms, now + 600_000), fire(run.at_ms, now + 600_000));
    assert!(one != two, "of two machines one fires: {one} {two}");
    assert!(!fire(run.at_ms, now).await, "not again");
    assert!(due().await.is_empty());
    let jobs = bench.registry.list(Query::all().queue("cron")).await.expect("list");
    let kinds: HashSet<_> = jobs.iter().map(|row| &*row.kind).collect();
    assert_eq!((jobs.len(), kinds), (1, HashSet::from(["report"])));
    // By hand, beside its times and although it is disabled.
    let (name, at_ms) = ("nightly".to_owned(), now + 600_000);
    bench.registry.disable_periodic(name.clone(), at_ms, "no".into()).await.expect("disable");
    let by_hand = bench.registry.run_periodic(name.clone()).await.expect("run");
    assert!(by_hand.is_some_and(|run| run.is_new()), "{by_hand:?}");
    assert_eq!(bench.registry.run_periodic("none".into()).await.expect("run"), None);
    assert_eq!(bench.registry.periodic().await.expect("periodic")[0].at_ms, at_ms);
    // Enabled again: three runs at once, and none.
    put(periodic("0 * * * *", 0)).await;
    for (runs, all) in [(3, 5), (0, 5)] {
        let fired = bench.registry.fire_periodic(name.clone(), at_ms, at_ms, runs).await;
        assert!(fired.expect("fire"));
        let jobs = bench.registry.list(Query::all().queue("cron")).await.expect("list");
        assert_eq!(jobs.len(), all);
    }
    let too_many = Periodic::new("many", "* * * * *", report()).catch_up(1001);
    let refused = bench.registry.put_periodic(too_many).await.expect_err("refused");
    assert_eq!(refused.kind(), StoreErrorKind::Invalid);
    let drop_it = async || bench.registry.drop_periodic("nightly".into()).await.expect("drop");
    assert!(drop_it().await);
    assert!(!drop_it().await);
}

pub(super) async fn a_paused_periodic_job_misses_its_times(bench: Bench) {
    let registry = &bench.registry;
    let driver = WorkDriver::producer(Arc::clone(registry));
    let worker = bench.worker().await;
    let job = || NewJob::raw("report", b"1".to_vec()).queue("cron");
    let put = async |cron: &str, first_ms| {
        let periodic = Periodic { first_ms, ..Periodic::new("nightly", cron, job()) };
        registry.put_periodic(periodic).await.expect("put");
    };
    let due =
        async || !registry.peek(worker, vec![], None).await.expect("peek").periodic.is_empty();
    let shown = async || registry.periodic().await.expect("periodic").remove(0);
    let now = registry.now_ms().await.expect("now");
    assert!(!registry.pause_periodic("nightly".into(), "ann".into()).await.expect("none yet"));
    put("0 * * * *", now - 7_200_000).await;
    assert!(due().await);
    assert!(registry.pause_periodic("nightly".into(), "ann".into()).await.expect("pause"));
    assert!(!registry.pause_periodic("nightly".into(), "bob".into()).await.expect("again"));
    let pause = shown().await.paused.expect("it is paused");
    assert_eq!(pause.by, "ann", "the first pause stays");
    assert!((now - pause.at_ms).abs() < 600_000, "{pause:?} at {now}");
    assert!(!due().await);
    // A worker that looked before the pause comes too late.
    let fired = registry.fire_periodic("nightly".into(), now - 7_200_000, now, 1).await;
    assert!(!fired.expect("fire"));
    // A program that puts its periodic jobs at its start does not end the pause.
    put("0 * * * *", now - 1).await;
    assert_eq!(shown().await.at_ms, now - 7_200_000);
    put("30 * * * *", now - 3_600_000).await;
    assert!(shown().await.paused.is_some() && !due().await);
    let by_hand = registry.run_periodic("nightly".into()).await.expect("run");
    assert!(by_hand.is_some_and(|run| run.is_new()), "{by_hand:?}");
    // With a time that it no longer stands at, another caller has moved it.
    assert!(!registry.resume_periodic("nightly".into(), now, now).await.expect("resume"));
    assert!(driver.resume_periodic("nightly").await.expect("resume"));
    let next = shown().await;
    assert!(next.paused.is_none() && next.at_ms > now && next.at_ms % 3_600_000 == 1_800_000);
    assert!(!due().await, "what it missed is not made up for");
    assert!(!driver.resume_periodic("nightly").await.expect("it is not paused"));
    assert!(!driver.resume_periodic("none").await.expect("there is none"));
    // A run that is still ahead stays where it is.
    assert!(registry.pause_periodic("nightly".into(), "ann".into()).await.expect("pause"));
    assert!(driver.resume_periodic("nightly").await.expect("resume"));
    assert_eq!(shown().await.at_ms, next.at_ms);
    assert_eq!(registry.list(Query::all().queue("cron")).await.expect("list").len(), 1);
    // Who is removed takes the pause along; and bad names are refused.
    assert!(registry.pause_periodic("nightly".into(), "ann".into()).await.expect("pause"));
    assert!(registry.drop_periodic("nightly".into()).await.expect("drop"));
    put("0 * * * *", now - 1000).await;
    assert!(shown().await.paused.is_none() && due().await);
    for (name, by) in [("nightly", "n".repeat(2000)), ("night\0ly", "ann".into())] {
        let refused = registry.pause_periodic(name.into(), by).await.expect_err("refused");
        assert_eq!(refused.kind(), StoreErrorKind::Invalid);
    }
}
