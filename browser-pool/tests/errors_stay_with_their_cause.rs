//! What one request, one page or one disposal does wrong costs nobody else anything.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, on tasks and threads of its own"
)]

mod support;

use lastout_browser_pool::{AcquireError, LeaseOptions, OpError, PoolConfig};
use std::error::Error;
use std::time::Duration;
use support::{LONG, assert_clean_end, pool, soon, until};

#[tokio::test(start_paused = true)]
async fn options_that_the_browser_refuses_fail_their_request_at_once() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1).spares(1));
    fake.script(|script| script.refuse_options = true);
    let asked = || LeaseOptions::new().deadline(LONG).downloads();
    let started = tokio::time::Instant::now();
    for _ in 0..50 {
        let error = pool.page_with(asked()).await.unwrap_err();
        assert!(matches!(error, AcquireError::Unit(_)), "{error}");
        let reason = error.source().and_then(Error::source).expect("the reason").to_string();
        assert_eq!(reason, "scripted refusal");
        pool.page().await.unwrap().release();
    }
    assert_eq!(started.elapsed(), Duration::ZERO, "nobody waits");
    assert_eq!(pool.stats().launches, 1, "the browser is not blamed");
    fake.script(|script| script.refuse_options = false);
    pool.page_with(asked()).await.unwrap().release();
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn a_spare_whose_page_crashed_is_not_leased() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1).spares(2));
    pool.page().await.unwrap().release();
    until(&pool, "stock", |stats| stats.spares == 2).await;
    let made = pool.stats().made;
    fake.crash_pages(fake.browsers()[0]);
    until(&pool, "the crashes to be seen", |stats| stats.page_crashes >= 2).await;
    let page = soon("a page", pool.page()).await.unwrap();
    assert_eq!((page.loss(), page.call(Duration::ZERO).await), (None, Ok(())));
    assert!(pool.stats().made > made, "it is a new one");
    page.release();
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn contexts_that_do_not_end_count_until_their_browser_does() {
    let config = PoolConfig::builder().max_browsers(1).max_contexts(3).spares(0);
    let (pool, fake) = pool(config.op_timeout(Duration::from_secs(1)).max_errors(3));
    fake.script(|script| script.stuck_disposals = u32::MAX);
    for _ in 0..50 {
        soon("a page", pool.page()).await.unwrap().release();
        assert!(fake.alive().contexts <= 3, "{:?}", fake.alive());
    }
    let ended = pool.stats().ended.get("errors").copied().unwrap_or(0);
    assert!(ended >= 15, "a browser that ends no contexts is replaced: {:?}", pool.stats());
    fake.script(|script| script.stuck_disposals = 0);
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_dies_after_its_first_page_is_launched_ever_more_slowly() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1));
    let started = tokio::time::Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        let page =
            soon("a page", pool.page_with(LeaseOptions::new().deadline(LONG))).await.unwrap();
        fake.crash(page.browser());
        page.lost().await;
    }
    assert!(fake.launched() <= 10, "{} launches in a minute", fake.launched());
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn pages_that_pages_open_count_and_end_with_the_lease() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1).max_pages(4).spares(0));
    let page = pool.page().await.unwrap();
    let popups: Vec<_> = (0..12).map(|_| page.open_popup().unwrap()).collect();
    until(&pool, "the limit", |stats| stats.pages == 4 && fake.alive().pages == 4).await;
    page.close_popup(popups[0]);
    until(&pool, "a free place", |stats| stats.pages == 3).await;
    page.open_popup().unwrap();
    until(&pool, "the limit", |stats| stats.pages == 4 && fake.alive().pages == 4).await;
    page.release();
    until(&pool, "the end of all", |stats| stats.pages == 0 && fake.alive().pages == 0).await;
    let context = pool.context().await.unwrap();
    let first = context.new_page().await.unwrap();
    (0..3).for_each(|_| assert!(first.open_popup().is_some()));
    until(&pool, "the limit", |stats| stats.pages == 4).await;
    let full = context.new_page().await.map(drop);
    assert!(matches!(full, Err(OpError::PageLimit { max: 4 })), "{full:?}");
    drop(first);
    context.release();
    assert_clean_end(&pool, &fake).await;
}
