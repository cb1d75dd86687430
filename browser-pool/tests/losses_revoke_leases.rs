//! A browser that dies, hangs or loses its page takes its leases with it at once, and is replaced.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, on tasks and threads of its own"
)]

mod support;

use lastout_browser_pool::testing::FakePage;
use lastout_browser_pool::{Isolation, Loss, OpError, PoolConfig, WithPageError};
use std::time::Duration;
use support::{LONG, assert_clean_end, pool, soon, until};

#[tokio::test(start_paused = true)]
async fn a_killed_browser_fails_pending_calls_and_is_replaced() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1));
    let page = pool.page().await.unwrap();
    let call = page.call(LONG * 100);
    let kill = async {
        until(&pool, "the lease to be out", |stats| stats.out == 1).await;
        assert!(fake.crash(page.browser()));
    };
    let (call, ()) = tokio::join!(call, kill);
    assert_eq!(call, Err(Loss::Disconnected));
    let loss = soon("the loss", page.lost()).await;
    assert_eq!(loss, Loss::Exited { status: Some("signal 9".into()) });
    assert_eq!(page.loss(), Some(loss));
    assert_eq!(pool.stats().revoked, 1);
    drop(page);
    assert_eq!(pool.stats().returned, 0, "a lease is counted once");
    pool.page().await.unwrap().release();
    assert_eq!((fake.launched(), pool.stats().lost), (2, 1));
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn a_frozen_browser_is_noticed_by_the_probe() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1));
    let page = pool.page().await.unwrap();
    fake.freeze(page.browser());
    let call = page.call(Duration::from_millis(1));
    assert_eq!(soon("the call to fail", call).await, Err(Loss::Disconnected));
    assert_eq!(soon("the loss", page.lost()).await, Loss::Unresponsive);
    soon("a page of a fresh browser", pool.page()).await.unwrap().release();
    drop(page);
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn a_crashed_page_takes_only_its_own_lease() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1).max_errors(2).spares(0));
    let (one, two) = (pool.page().await.unwrap(), pool.page().await.unwrap());
    assert_eq!(one.browser(), two.browser());
    fake.crash_page(&one);
    assert_eq!(soon("the loss", one.lost()).await, Loss::PageCrashed);
    let run = one.run(None, std::future::pending::<()>()).await;
    assert!(matches!(run, Err(OpError::Lost(Loss::PageCrashed))), "{run:?}");
    assert_eq!(two.loss(), None);
    assert_eq!(two.call(Duration::ZERO).await, Ok(()));
    let browser = one.browser();
    drop(one);
    // One crash is no reason to replace the browser; max_errors of them are.
    let three = pool.page().await.unwrap();
    assert_eq!(three.browser(), browser);
    fake.crash_page(&three);
    soon("the loss", three.lost()).await;
    drop((three, two));
    until(&pool, "the browser to be replaced for its errors", |stats| {
        stats.ended.get("errors") == Some(&1)
    })
    .await;
    assert_eq!(pool.stats().page_crashes, 2);
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn a_page_in_a_leased_context_crashes_alone() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1).max_pages(2).spares(0));
    let context = pool.context().await.unwrap();
    let (one, two) = (context.new_page().await.unwrap(), context.new_page().await.unwrap());
    let third = context.new_page().await;
    assert!(matches!(third, Err(OpError::PageLimit { max: 2 })), "{third:?}");
    fake.crash_page(&one);
    assert_eq!(soon("the loss", one.lost()).await, Loss::PageCrashed);
    assert_eq!((two.loss(), context.loss()), (None, None));
    drop((one, two));
    until(&pool, "the pages to be closed", |stats| stats.pages == 0).await;
    drop(context.new_page().await.unwrap());
    context.release();
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn work_is_cut_short_when_its_page_is_lost() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1));
    let work = pool.with_page(async |page| {
        fake.crash(fake.browsers()[0]);
        let _ = page.id();
        std::future::pending::<Result<(), String>>().await
    });
    let lost = soon("the work to be cut short", work).await;
    assert!(matches!(lost, Err(WithPageError::Lost(Loss::Exited { .. }))), "{lost:?}");
    let failed = pool.with_page(async |_| Err::<(), _>("no".to_owned())).await;
    assert!(matches!(failed, Err(WithPageError::Work(text)) if text == "no"));
    let done = pool.with_page(async |page| Ok::<_, String>(page.id())).await;
    assert!(done.is_ok(), "{done:?}");
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn a_page_that_failed_is_never_used_again() {
    let config = PoolConfig::builder().max_browsers(1).isolation(Isolation::Page).spares(0);
    let (pool, fake) = pool(config);
    let page = pool.page().await.unwrap();
    let (used, first) = (FakePage::id(&page), page.context());
    page.release();
    let page = pool.page().await.unwrap();
    assert_eq!(page.context(), first, "a context that went well is reset and used again");
    assert_ne!(
        FakePage::id(&page),
        used,
        "a clone of the used page drives nothing of the next lease"
    );
    // Dropped without a word: nobody knows that it went well.
    drop(page);
    let page = pool.page().await.unwrap();
    let second = page.context();
    assert_ne!(second, first);
    page.release();
    until(&pool, "the page to be stock again", |stats| stats.spares == 1).await;
    fake.script(|script| script.failing_resets = 1);
    let page = pool.page().await.unwrap();
    assert_eq!(page.context(), second);
    page.release();
    let page = pool.page().await.unwrap();
    assert_ne!(page.context(), second, "a page that cannot be reset is closed");
    page.release();
    assert_clean_end(&pool, &fake).await;
}
