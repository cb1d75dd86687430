//! Browsers and pages that die, hang or crash fail what is pending at once, and are replaced.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{LONG, Oracle, Server, assert_clean_end, engines, pool, soon, until};
use lastout_browser_pool::{Loss, OpError, PoolConfig};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

const ROUNDS: usize = 20;

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Never answered by the page, and within the time limit of the pool.
const NEVER: &str = "new Promise(() => {})";

fn config() -> PoolConfig {
    // Far above what the tests wait: only a failure signal ends the calls.
    let limits = PoolConfig::builder().max_browsers(1).op_timeout(LONG * 10).spares(0);
    limits.probe_timeout(Duration::from_secs(3)).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_browser() {
    for engine in engines() {
        let oracle = Oracle::new();
        let pool = pool(&engine, &oracle, config());
        for round in 0..ROUNDS {
            let page = soon("a page", pool.page()).await.unwrap();
            let call = page.evaluate(NEVER);
            let kill = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                send(oracle.main_process(), Signal::KILL);
            };
            let (call, ()) = soon("the call to fail", async { tokio::join!(call, kill) }).await;
            assert!(call.is_err(), "round {round}");
            let loss = soon("the loss", page.lost()).await;
            assert!(matches!(loss, Loss::Exited { .. }), "round {round}: {loss:?}");
            assert!(page.evaluate("1").await.is_err(), "later calls fail too");
        }
        until(&pool, "the last end", |stats| stats.ended.get("lost") == Some(&(ROUNDS as u64)))
            .await;
        let stats = pool.stats();
        assert_eq!((stats.lost, stats.revoked), (ROUNDS as u64, ROUNDS as u64));
        assert_clean_end(pool, &oracle).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_browser() {
    let engine = engines().pop().unwrap();
    let oracle = Oracle::new();
    let config = PoolConfig::builder().max_browsers(1).op_timeout(LONG * 10).spares(0);
    let config =
        config.probe_interval(Duration::from_millis(50)).probe_timeout(Duration::from_secs(1));
    let pool = pool(&engine, &oracle, config.build().unwrap());
    for round in 0..ROUNDS / 4 {
        let page = soon("a page", pool.page()).await.unwrap();
        send(oracle.main_process(), Signal::STOP);
        let call = soon("the call to fail", page.evaluate("1")).await;
        assert!(call.is_err(), "round {round}");
        assert_eq!(soon("the loss", page.lost()).await, Loss::Unresponsive);
    }
    assert_clean_end(pool, &oracle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_renderer_takes_its_page_alone() {
    for engine in engines() {
        let oracle = Oracle::new();
        let config = PoolConfig::builder().max_browsers(1).op_timeout(LONG * 10).spares(0);
        let pool = pool(&engine, &oracle, config.max_errors(100).build().unwrap());
        let other = soon("a page", pool.page()).await.unwrap();
        let others = oracle.renderers();
        for round in 0..ROUNDS {
            let page = soon("a page", pool.page()).await.unwrap();
            // Which renderer is the page's own: the one that is new and busy with its URL.
            page.goto("data:text/html,mine").await.unwrap();
            let call = page.evaluate(NEVER);
            let kill = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                for renderer in oracle.renderers() {
                    if !others.contains(&renderer) {
                        let _ = kill_process(Pid::from_raw(renderer as i32).unwrap(), Signal::KILL);
                    }
                }
            };
            let (call, ()) = soon("the call to fail", async { tokio::join!(call, kill) }).await;
            assert!(call.is_err(), "round {round}");
            assert_eq!(soon("the loss", page.lost()).await, Loss::PageCrashed);
            let late = soon("a later call to fail", page.evaluate("1")).await;
            assert!(late.is_err(), "round {round}");
            drop(page);
            let sum: i64 = other.evaluate("1 + 1").await.unwrap().into_value().unwrap();
            assert_eq!(sum, 2, "the other page lives");
        }
        assert_eq!((pool.stats().lost, pool.stats().page_crashes), (0, ROUNDS as u64));
        other.release();
        assert_clean_end(pool, &oracle).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_goes_to_its_crash() {
    for engine in engines() {
        let oracle = Oracle::new();
        let pool = pool(&engine, &oracle, config());
        for _ in 0..3 {
            let page = soon("a page", pool.page()).await.unwrap();
            let went = soon("the navigation to end", page.goto("chrome://crash")).await;
            assert!(went.is_err(), "{went:?}");
            assert_eq!(soon("the loss", page.lost()).await, Loss::PageCrashed);
        }
        assert_clean_end(pool, &oracle).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_hold_on() {
    for engine in engines() {
        let (oracle, server) = (Oracle::new(), Server::start().await);
        let config = PoolConfig::builder().max_browsers(1).op_timeout(LONG).spares(0);
        let pool = pool(&engine, &oracle, config.build().unwrap());
        let sibling = soon("a page", pool.page()).await.unwrap();
        let limit = Duration::from_millis(300);
        for path in ["/hang", "/dialog"] {
            let page = soon("a page", pool.page()).await.unwrap();
            let held = page.run(limit, page.goto(server.url(path))).await;
            assert!(matches!(held, Err(OpError::TimedOut { .. })), "{path}: {held:?}");
        }
        let page = soon("a page", pool.page()).await.unwrap();
        let endless = page.run(limit, page.evaluate("while (true) {}")).await;
        assert!(matches!(endless, Err(OpError::TimedOut { .. })), "{endless:?}");
        let sum: i64 =
            soon("the sibling", sibling.evaluate("2 + 2")).await.unwrap().into_value().unwrap();
        assert_eq!(sum, 4);
        drop(page);
        until(&pool, "the contexts to end", |stats| stats.units == 1).await;
        sibling.release();
        assert_clean_end(pool, &oracle).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_beyond_the_limit_of_the_pool() {
    let engine = engines().pop().unwrap();
    let oracle = Oracle::new();
    let config = PoolConfig::builder().max_browsers(1).op_timeout(Duration::from_secs(2));
    let pool = pool(&engine, &oracle, config.build().unwrap());
    let page = soon("a page", pool.page()).await.unwrap();
    let started = std::time::Instant::now();
    let never = soon("the call to fail", page.evaluate(NEVER)).await;
    assert!(never.is_err() && started.elapsed() >= Duration::from_secs(2), "{never:?}");
    assert_eq!(page.loss(), None, "the page is still good");
    page.release();
    assert_clean_end(pool, &oracle).await;
}
