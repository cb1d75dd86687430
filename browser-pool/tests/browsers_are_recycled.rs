//! Limits end browsers, busy ones too; idleness means no lease, and never a lease that is quiet.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, on tasks and threads of its own"
)]

mod support;

use lastout_browser_pool::{LaunchProfile, LeaseOptions, Loss, PoolConfig};
use std::time::Duration;
use support::{assert_clean_end, pool, soon, until};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn after_so_many_leases() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1).max_leases(Some(3)).spares(2));
    for _ in 0..10 {
        soon("a page", pool.page()).await.unwrap().release();
    }
    let stats = pool.stats();
    assert_eq!(fake.launched(), 4, "10 leases, 3 on each browser");
    assert!(stats.ended["leases"] >= 3, "{stats:?}");
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn by_age_although_it_is_never_free() {
    let config =
        PoolConfig::builder().max_browsers(1).max_age(Some(60 * SECOND)).idle_timeout(None);
    let (pool, fake) = pool(config);
    let mut held = pool.page().await.unwrap();
    let mut browsers = vec![held.browser()];
    for _ in 0..30 {
        tokio::time::sleep(5 * SECOND).await;
        // The next lease begins before the last one ends, so the browser is always in use.
        let next = tokio::time::timeout(SECOND, pool.page()).await;
        let Ok(next) = next else {
            held.release();
            held = soon("a page of the next browser", pool.page()).await.unwrap();
            browsers.push(held.browser());
            continue;
        };
        held.release();
        held = next.unwrap();
        browsers.push(held.browser());
    }
    browsers.dedup();
    assert!(browsers.len() >= 3, "150 s with a limit of 60 s: {browsers:?}");
    drop(held);
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn by_memory() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1).max_memory(Some(1000)));
    fake.script(|script| script.memory = 999);
    let page = pool.page().await.unwrap();
    tokio::time::sleep(5 * SECOND).await;
    until(&pool, "the measure", |stats| stats.memory == 999).await;
    assert_eq!(pool.stats().retiring, 0);
    fake.script(|script| script.memory = 1001);
    until(&pool, "the browser to be retired while busy", |stats| stats.retiring == 1).await;
    assert_eq!(page.call(Duration::ZERO).await, Ok(()), "its lease is still good");
    page.release();
    until(&pool, "its end", |stats| stats.ended.get("memory") == Some(&1)).await;
    fake.script(|script| script.memory = 0);
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn a_retired_browser_is_closed_at_its_limit() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1).retire_limit(Some(10 * SECOND)));
    let page = pool.page().await.unwrap();
    pool.retire(page.browser());
    let started = tokio::time::Instant::now();
    assert_eq!(soon("the revocation", page.lost()).await, Loss::Closed);
    assert!(started.elapsed() >= 10 * SECOND);
    assert_eq!(pool.stats().revoked, 1);
    drop(page);
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn idle_means_without_a_lease() {
    let config = PoolConfig::builder().max_browsers(2).idle_timeout(Some(3 * SECOND));
    let (pool, fake) = pool(config);
    let page = pool.page().await.unwrap();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(page.loss(), None, "an outstanding lease is use, however quiet");
    page.release();
    let released = tokio::time::Instant::now();
    until(&pool, "the reaper", |stats| stats.ended.get("idle") == Some(&1)).await;
    let elapsed = released.elapsed();
    assert!(elapsed >= 3 * SECOND && elapsed < 5 * SECOND, "{elapsed:?}");
    assert_eq!(fake.alive().browsers, 0);
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn warm_browsers_are_kept_and_replaced() {
    let config =
        PoolConfig::builder().max_browsers(3).warm_browsers(2).idle_timeout(Some(3 * SECOND));
    let (pool, fake) = pool(config.spares(2));
    until(&pool, "warm browsers with stock", |s| s.ready == 2 && s.spares == 2).await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!((fake.alive().browsers, fake.launched()), (2, 2));
    fake.crash(fake.browsers()[0]);
    until(&pool, "the replacement", |stats| stats.ready == 2 && fake.launched() == 3).await;
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn the_least_recently_used_profile_makes_place() {
    let config = PoolConfig::builder().max_browsers(2).spares(0).idle_timeout(None);
    let (pool, fake) = pool(config);
    let with = |proxy: &str| LeaseOptions::new().profile(LaunchProfile::new().proxy(proxy));
    let mut browsers = Vec::new();
    for proxy in ["a", "b"] {
        let page = pool.page_with(with(proxy)).await.unwrap();
        browsers.push(page.browser());
        page.release();
        tokio::time::sleep(SECOND).await;
    }
    // "a" is used again, so "b" is the one that goes.
    pool.page_with(with("a")).await.unwrap().release();
    tokio::time::sleep(SECOND).await;
    let third = soon("a place", pool.page_with(with("c"))).await.unwrap();
    assert_eq!(fake.browsers(), [browsers[0], third.browser()]);
    assert_eq!(pool.stats().ended["evicted"], 1);
    third.release();
    assert_clean_end(&pool, &fake).await;
}
