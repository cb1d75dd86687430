//! What people ask of a PostgreSQL store does not grow with what lies in it.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::postgres::PostgresRegistry;
use lastout_work_runner::{NewJob, Query, Registry, State};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::database::{Database, count, run};
use support::eventually;

/// A million waiting jobs must not be sorted for a page of twenty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_waiting_jobs_come_in_the_order_of_an_index() {
    let database = Database::create().await;
    let registry = PostgresRegistry::connect(database.config()).await.unwrap();
    let job = |n: usize| {
        let job = NewJob::raw("any", vec![b'x'; 100]);
        match n % 3 {
            0 => job.delay(Duration::from_secs(600)),
            1 if n < 300 => job.limit("key", 1),
            _ => job,
        }
    };
    registry.enqueue((0..20_000).map(job).collect()).await.unwrap();
    for (state, index) in [
        (State::Ready, "jobs_ready_ids"),
        (State::Scheduled, "jobs_scheduled_ids"),
        (State::Held, "jobs_held_ids"),
    ] {
        let page = registry.page(Query::all().state(state).newest_first().limit(20)).await.unwrap();
        assert_eq!(page.jobs.len(), 20);
        assert!(page.jobs.is_sorted_by(|one, next| one.id > next.id));
        let scans =
            format!("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = '{index}'");
        eventually(index, async || count(database.config(), &scans).await > 0).await;
    }
    drop(registry);
    database.remove().await;
}

/// Counts are many statements: a job that moves between them must not be counted twice, or never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_moves_while_jobs_are_counted_is_counted_once() {
    let database = Database::create().await;
    let registry = PostgresRegistry::connect(database.config()).await.unwrap();
    registry.enqueue(vec![NewJob::raw("any", Vec::new())]).await.unwrap();
    let over = AtomicBool::new(false);
    let moves = async {
        let mut moves = 0_u32;
        let states = [State::Held, State::Ready, State::Unreadable, State::Scheduled];
        while !over.load(Ordering::Relaxed) || moves < 100 {
            let state = states[moves as usize % states.len()].code();
            let order = format!("UPDATE lastout.jobs SET state = {state}");
            run(database.config(), &order).await;
            moves += 1;
        }
    };
    let counts = async {
        for round in 0..300 {
            let counts = registry.counts().await.unwrap();
            let sum: u64 = counts.iter().map(|count| count.jobs).sum();
            assert_eq!(sum, 1, "in round {round}: {counts:?}");
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(moves, counts);
    drop(registry);
    database.remove().await;
}

/// Counted by the rows that the server fetched from the table: a page of twenty costs the same whatever lies
/// behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_page_reads_no_further_than_its_last_row() {
    let database = Database::create().await;
    let registry = PostgresRegistry::connect(database.config()).await.unwrap();
    registry.enqueue((0..20_000).map(|_| NewJob::raw("any", Vec::new())).collect()).await.unwrap();
    run(database.config(), "VACUUM ANALYZE lastout.jobs").await;
    let fetched =
        "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_user_tables WHERE relname = 'jobs'";
    let fetched = async || count(database.config(), fetched).await;
    // The server writes its counts down now and then: a page whose size is known shows that they are there.
    let mut before = fetched().await;
    for query in [
        Query::all(),
        Query::all().newest_first(),
        Query::all().state(State::Ready).kind("any").newest_first(),
    ] {
        let page = registry.page(query.clone().limit(20)).await.unwrap();
        assert_eq!(page.jobs.len(), 20);
        assert_eq!(page.next, page.jobs.last().map(|row| row.id));
        eventually("the page is counted", async || fetched().await >= before + 20).await;
        let read = fetched().await - before;
        assert!(read < 500, "{read} rows for a page of twenty: {query:?}");
        before += read;
    }
    let none = registry.page(Query::all().kind("none").limit(20)).await.unwrap();
    assert!(none.jobs.is_empty() && none.next.is_some(), "{:?}", none.next);
    drop(registry);
    database.remove().await;
}
