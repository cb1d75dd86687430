//! A caller that goes away at any point leaves no page, no context, no place and no count behind.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, on tasks and threads of its own"
)]

mod support;

use lastout_browser_pool::{Isolation, LeaseOptions, PoolConfig};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use support::{assert_clean_end, pool, soon, until};

/// Polls the future at most `polls` times; `None` when it was still pending then and was dropped.
async fn cancelled_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn at_every_await_point() {
    for isolation in [Isolation::Context, Isolation::Page, Isolation::Browser] {
        for polls in 0..6 {
            for pause in 0..40 {
                let config =
                    PoolConfig::builder().max_browsers(1).max_contexts(1).isolation(isolation);
                let (pool, fake) = pool(config.spares(0));
                fake.script(|script| {
                    script.launch = Duration::from_millis(10);
                    script.make = Duration::from_millis(10);
                });
                // The second caller goes away while the first holds, or waits for, the only place.
                let first = cancelled_after(polls, pool.page());
                let second = tokio::time::timeout(Duration::from_millis(pause), pool.page());
                let (first, second) = tokio::join!(first, second);
                drop((first, second));
                // The only place is free again.
                soon("a lease after the cancelled ones", pool.page()).await.unwrap().release();
                assert_clean_end(&pool, &fake).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_unit_made_for_a_cancelled_caller_serves_the_next() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1).max_contexts(1).spares(1));
    fake.script(|script| script.make = Duration::from_millis(50));
    let cancelled = tokio::time::timeout(Duration::from_millis(60), pool.page()).await;
    assert!(cancelled.is_err(), "the context alone takes 50 ms, and the page as long");
    until(&pool, "the unit to be stock", |stats| stats.spares == 1).await;
    let page = pool.page().await.unwrap();
    assert_eq!((pool.stats().made, pool.stats().from_stock), (1, 1));
    page.release();
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn a_page_opened_for_a_dropped_future_is_closed() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1).max_pages(2).spares(0));
    let context = pool.context().await.unwrap();
    fake.script(|script| script.make = Duration::from_millis(20));
    for pause in 0..30 {
        let opened = tokio::time::timeout(Duration::from_millis(pause), context.new_page()).await;
        drop(opened);
        until(&pool, "its page to be closed", |stats| stats.pages == 0).await;
        assert_eq!(fake.alive().pages, 0, "after {pause} ms");
    }
    context.release();
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_storm_on_two_threads() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(2).max_contexts(3).spares(2));
    let mut callers = Vec::new();
    for caller in 0..8_u64 {
        let pool = pool.clone();
        callers.push(tokio::spawn(async move {
            for round in 0..200_u64 {
                let options = LeaseOptions::new().tenant(caller.to_string());
                let limit = Duration::from_micros((caller * 131 + round * 37) % 400);
                match tokio::time::timeout(limit, pool.page_with(options)).await {
                    Ok(Ok(page)) if round % 2 == 0 => page.release(),
                    Ok(Ok(page)) => drop(page),
                    Ok(Err(error)) => panic!("{error}"),
                    Err(_) => {}
                }
            }
        }));
    }
    for caller in callers {
        soon("the callers to end", caller).await.unwrap();
    }
    assert_eq!(pool.stats().asked, 1600);
    // What was on its way to a caller that had gone comes back by itself.
    until(&pool, "every lease to be back", |stats| stats.out == 0).await;
    assert_clean_end(&pool, &fake).await;
}
