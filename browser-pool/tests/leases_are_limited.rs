//! A lease that is out for too long is revoked, and each browser can be seen.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use lastout_browser_pool::{BrowserPhase, Isolation, LeaseOptions, Loss, PoolConfig};
use std::time::Duration;
use support::{LONG, assert_clean_end, pool, soon, until};

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_lease_ends_at_its_limit_and_its_place_serves_others() {
    for isolation in [Isolation::Context, Isolation::Page, Isolation::Browser] {
        let config = PoolConfig::builder().max_browsers(1).max_contexts(1).spares(0);
        let (pool, fake) = pool(config.max_lease(Some(LIMIT)).isolation(isolation));
        let held = soon("a page", pool.page()).await.unwrap();
        let started = tokio::time::Instant::now();
        let options = LeaseOptions::new().deadline(LONG);
        let next = soon("the place", pool.page_with(options)).await.unwrap();
        assert!(started.elapsed() >= LIMIT, "{isolation:?}: {:?}", started.elapsed());
        assert_eq!(soon("the loss", held.lost()).await, Loss::Expired);
        let stats = pool.stats();
        assert_eq!((stats.granted, stats.revoked, stats.out), (2, 1, 1), "{isolation:?}");
        held.release();
        next.release();
        until(&pool, "the return", |stats| stats.out == 0).await;
        assert_eq!(pool.stats().returned, 1, "what was revoked is not returned as well");
        assert_clean_end(&pool, &fake).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_browser_that_is_kept_warm_hides_no_other_limit() {
    let config = PoolConfig::builder().max_browsers(1).warm_browsers(1).spares(0);
    let config = config.idle_timeout(Some(Duration::from_secs(1))).max_age(Some(LONG / 2));
    let (pool, fake) = pool(config);
    until(&pool, "a browser", |stats| stats.ready == 1).await;
    let first = pool.browsers()[0].number;
    until(&pool, "another", |stats| stats.ended.contains_key("age") && stats.ready == 1).await;
    assert_ne!(pool.browsers()[0].number, first);
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn each_browser_is_listed_with_what_it_holds() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(2).max_contexts(2).spares(0));
    assert!(pool.browsers().is_empty());
    let one = soon("a page", pool.page()).await.unwrap();
    let two = soon("a context", pool.context()).await.unwrap();
    tokio::time::advance(Duration::from_secs(3)).await;
    let browsers = pool.browsers();
    assert_eq!(browsers.len(), 1);
    let browser = &browsers[0];
    assert_eq!((browser.number, browser.phase), (one.browser(), BrowserPhase::Ready));
    assert_eq!((browser.leases, browser.units, browser.pages, browser.served), (2, 2, 1, 2));
    assert!(browser.age >= Duration::from_secs(3), "{browser:?}");
    drop((one, two));
    assert_clean_end(&pool, &fake).await;
    assert!(pool.browsers().is_empty());
}
