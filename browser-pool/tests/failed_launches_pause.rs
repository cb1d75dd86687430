//! Launches that fail are tried again after growing pauses; a run of them answers callers at once.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, on tasks and threads of its own"
)]

mod support;

use lastout_browser_pool::{AcquireError, LaunchError, PoolConfig, Waiting};
use std::error::Error;
use std::time::Duration;
use support::{assert_clean_end, pool, soon};

#[tokio::test(start_paused = true)]
async fn a_launch_that_fails_once_is_tried_again() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1));
    fake.script(|script| script.failing_launches = 2);
    let started = tokio::time::Instant::now();
    soon("a page", pool.page()).await.unwrap().release();
    assert!(started.elapsed() >= Duration::from_millis(750), "250 ms, then 500 ms");
    assert_eq!((pool.stats().launches, pool.stats().launch_failures), (3, 2));
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_of_failures_opens_the_circuit_and_shows_the_reason() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1).circuit_after(3));
    fake.script(|script| script.failing_launches = 3);
    let waiting: Vec<_> = (0..5).map(|_| pool.page()).collect();
    for answer in futures_util::future::join_all(waiting).await {
        let error = answer.unwrap_err();
        let source = error.source().expect("the reason").to_string();
        assert!(source.contains("exit 1") && source.contains("scripted"), "{source}");
    }
    let at_once = tokio::time::Instant::now();
    assert!(matches!(pool.page().await, Err(AcquireError::Launch(_))));
    assert_eq!(at_once.elapsed(), Duration::ZERO, "an open circuit lets nobody wait");
    assert_eq!(pool.stats().launches, 3);
    // After the pause one launch is tried, and it works.
    tokio::time::sleep(Duration::from_secs(1)).await;
    soon("a page", pool.page()).await.unwrap().release();
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn a_hopeless_launch_is_not_tried_twice_for_one_caller() {
    let (pool, fake) = pool(PoolConfig::builder());
    fake.script(|script| {
        script.failing_launches = 1;
        script.permanent = true;
    });
    let Err(AcquireError::Launch(error)) = pool.page().await else { panic!("it cannot work") };
    assert!(matches!(*error, LaunchError::NotFound { .. }), "{error}");
    assert_eq!(pool.stats().launches, 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    pool.page().await.unwrap().release();
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_never_makes_anything_is_a_failed_launch() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1).circuit_after(2));
    fake.script(|script| script.failing_makes = 2);
    let error = soon("the answer", pool.page()).await.unwrap_err();
    let AcquireError::Launch(error) = error else { panic!("{error}") };
    assert!(matches!(*error, LaunchError::FirstUnit { .. }), "{error}");
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_hangs_is_bounded_and_the_deadline_says_what_it_waited_for() {
    let config = PoolConfig::builder().launch_timeout(Duration::from_secs(5)).circuit_after(2);
    let (pool, fake) = pool(config.acquire_timeout(Duration::from_secs(3)));
    fake.script(|script| script.launch_hangs = true);
    let error = pool.page().await.unwrap_err();
    let AcquireError::Deadline { waiting, after } = error else { panic!("{error}") };
    assert_eq!((waiting, after), (Waiting::Launch, Duration::from_secs(3)));
    fake.script(|script| script.launch_hangs = false);
    // The hung launch ends at its own limit and the next one serves.
    soon("a page", async { while pool.page().await.map(|page| page.release()).is_err() {} }).await;
    assert_eq!(pool.stats().launch_failures, 1);
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_the_next_caller() {
    let config = PoolConfig::builder().max_browsers(1).max_contexts(1).max_queue(1).spares(0);
    let (pool, fake) = pool(config.acquire_timeout(Duration::from_secs(1)));
    let held = pool.page().await.unwrap();
    let (waits, refused) = tokio::join!(pool.page(), pool.page());
    assert!(matches!(refused, Err(AcquireError::QueueFull { waiting: 1 })), "{refused:?}");
    let Err(AcquireError::Deadline { waiting, .. }) = waits else { panic!("{waits:?}") };
    assert_eq!(waiting, Waiting::Capacity);
    held.release();
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_beside_a_retiring_browser_waits_for_capacity() {
    let config = PoolConfig::builder().max_browsers(1).spares(0);
    let (pool, fake) = pool(config.acquire_timeout(Duration::from_secs(3)));
    let held = pool.page().await.unwrap();
    fake.script(|script| script.make = Duration::from_secs(2));
    let retire = async {
        // SLEEP: virtual; the page is being made.
        tokio::time::sleep(Duration::from_secs(1)).await;
        pool.retire(held.browser());
        fake.script(|script| script.make = Duration::from_secs(600));
    };
    // The page of the retiring browser is nobody's any more, and its place is held.
    let (error, ()) = tokio::join!(pool.page(), retire);
    let AcquireError::Deadline { waiting, .. } = error.unwrap_err() else { panic!("another end") };
    assert_eq!(waiting, Waiting::Capacity);
    fake.script(|script| script.make = Duration::ZERO);
    held.release();
    assert_clean_end(&pool, &fake).await;
}
