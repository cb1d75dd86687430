//! Browsers and pages that die, hang or crash fail what is pending at once, and are replaced.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{Oracle, assert_clean_end, engines, losses, patient, pool, soon};
use lastout_browser_pool::OpError;
use std::time::Duration;

/// The soak runs twenty.
const ROUNDS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_browser() {
    for engine in engines() {
        losses::killed_browser(&engine, ROUNDS).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_browser() {
    losses::stopped_browser(&engines().pop().unwrap(), ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_renderer_holds_up_its_page_alone() {
    for engine in engines() {
        losses::stopped_renderer(&engine, ROUNDS / 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_renderer_takes_its_page_alone() {
    for engine in engines() {
        losses::killed_renderer(&engine, ROUNDS).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_goes_to_its_crash() {
    for engine in engines() {
        losses::crashing_page(&engine, ROUNDS).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_hold_on() {
    for engine in engines() {
        losses::pages_that_hold_on(&engine, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_beyond_the_limit_of_the_pool() {
    let engine = engines().pop().unwrap();
    let oracle = Oracle::new();
    let config = patient().max_browsers(1).op_timeout(Duration::from_secs(2));
    let pool = pool(&engine, &oracle, config.build().unwrap());
    let page = soon("a page", pool.page()).await.unwrap();
    let started = std::time::Instant::now();
    let never = soon("the call to fail", page.evaluate(losses::NEVER)).await;
    assert!(never.is_err() && started.elapsed() >= Duration::from_secs(2), "{never:?}");
    let meant = page.explain(never.unwrap_err()).await;
    let limit = Duration::from_secs(2);
    assert!(matches!(meant, OpError::TimedOut { after, .. } if after == limit), "{meant:?}");
    assert_eq!(page.loss(), None, "the page is still good");
    page.release();
    assert_clean_end(pool, &oracle).await;
}
