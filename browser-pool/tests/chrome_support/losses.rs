//! Browsers and pages that die, hang or crash, over any number of rounds.

use super::{LONG, Oracle, Server, assert_clean_end, patient, pool, soon, until};
use lastout_browser_pool::{Loss, OpError, PoolConfig, PoolConfigBuilder};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::Duration;

/// Never answered by the page, and within the time limit of the pool.
pub(crate) const NEVER: &str = "new Promise(() => {})";

pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // Who is gone already needs no signal.
    let _ = kill_process(pid, signal);
}

/// Far above what the rounds wait: only a failure signal ends the calls.
fn config() -> PoolConfig {
    let limits = patient().max_browsers(1).op_timeout(LONG * 10).spares(0);
    // They die young here, again and again.
    let limits = limits.backoff_most(Duration::from_millis(250));
    limits.max_errors(1000).build().unwrap()
}

/// `kill -9` of the browser: the pending call fails, the lease is revoked, the next browser serves.
pub(crate) async fn killed_browser(engine: &Path, rounds: u64) {
    let oracle = Oracle::new();
    let pool = pool(engine, &oracle, config());
    for round in 0..rounds {
        let page = soon("a page", pool.page()).await.unwrap();
        let call = page.evaluate(NEVER);
        let kill = async {
            // SLEEP: so that the call is on its way in most rounds; either order must work.
            tokio::time::sleep(Duration::from_millis(20)).await;
            send(oracle.main_process(), Signal::KILL);
        };
        let (call, ()) = soon("the call to fail", async { tokio::join!(call, kill) }).await;
        let loss = soon("the reason", page.explain(call.unwrap_err())).await;
        assert!(matches!(loss, OpError::Lost(Loss::Exited { .. })), "round {round}: {loss:?}");
        let loss = soon("the loss", page.lost()).await;
        assert!(matches!(loss, Loss::Exited { .. }), "round {round}: {loss:?}");
        assert!(page.evaluate("1").await.is_err(), "later calls fail too");
    }
    until(&pool, "the last end", |stats| stats.ended.get("lost") == Some(&rounds)).await;
    let stats = pool.stats();
    assert_eq!((stats.lost, stats.revoked), (rounds, rounds));
    assert_clean_end(pool, &oracle).await;
}

/// SIGSTOP of the browser: the probe notices, and it is replaced.
pub(crate) async fn stopped_browser(engine: &Path, rounds: u64) {
    let config = patient().max_browsers(1).spares(0);
    let config =
        config.probe_interval(Duration::from_millis(50)).probe_timeout(Duration::from_secs(1));
    // A call that ends before the probe does is no answer.
    for op_timeout in [LONG * 10, Duration::from_millis(500)] {
        stopped(engine, config.clone().op_timeout(op_timeout), rounds).await;
    }
}

async fn stopped(engine: &Path, config: PoolConfigBuilder, rounds: u64) {
    let oracle = Oracle::new();
    let config = config.launch_timeout(LONG).max_errors(1000);
    let config = config.backoff_most(Duration::from_millis(250));
    let pool = pool(engine, &oracle, config.build().unwrap());
    for round in 0..rounds {
        let page = soon("a page", pool.page()).await.unwrap();
        send(oracle.main_process(), Signal::STOP);
        let call = soon("the call to fail", page.evaluate("1")).await;
        let meant = soon("the reason", page.explain(call.unwrap_err())).await;
        let known = matches!(meant, OpError::Lost(Loss::Unresponsive) | OpError::TimedOut { .. });
        assert!(known, "round {round}: {meant:?}");
        assert_eq!(soon("the loss", page.lost()).await, Loss::Unresponsive);
    }
    assert_clean_end(pool, &oracle).await;
}

/// SIGSTOP of a renderer: calls on its page end at the pool's limit, and the browser goes on.
pub(crate) async fn stopped_renderer(engine: &Path, rounds: u64) {
    let oracle = Oracle::new();
    let config = patient().max_browsers(1).op_timeout(LONG).spares(0);
    let pool = pool(engine, &oracle, config.max_errors(1000).build().unwrap());
    let other = soon("a page", pool.page()).await.unwrap();
    let others = oracle.renderers();
    for round in 0..rounds {
        let page = soon("a page", pool.page()).await.unwrap();
        page.goto("data:text/html,mine").await.unwrap();
        for renderer in oracle.renderers() {
            if !others.contains(&renderer) {
                send(renderer, Signal::STOP);
            }
        }
        let held = page.run(Duration::from_millis(200), page.evaluate("1")).await;
        assert!(matches!(held, Err(OpError::TimedOut { .. })), "round {round}: {held:?}");
        page.discard();
        until(&pool, "the context to end", |stats| stats.units == 1).await;
        let sum: i64 = other.evaluate("1 + 1").await.unwrap().into_value().unwrap();
        assert_eq!(sum, 2, "round {round}: the other page lives");
    }
    other.release();
    assert_clean_end(pool, &oracle).await;
}

/// `kill -9` of a renderer: its page is lost alone, and the pending call on it fails.
pub(crate) async fn killed_renderer(engine: &Path, rounds: u64) {
    let oracle = Oracle::new();
    let pool = pool(engine, &oracle, config());
    let other = soon("a page", pool.page()).await.unwrap();
    let others = oracle.renderers();
    for round in 0..rounds {
        let page = soon("a page", pool.page()).await.unwrap();
        // Which renderer is the page's own: the one that is new and busy with its URL.
        page.goto("data:text/html,mine").await.unwrap();
        let call = page.evaluate(NEVER);
        let kill = async {
            // SLEEP: so that the call is on its way in most rounds; either order must work.
            tokio::time::sleep(Duration::from_millis(20)).await;
            for renderer in oracle.renderers() {
                if !others.contains(&renderer) {
                    send(renderer, Signal::KILL);
                }
            }
        };
        let (call, ()) = soon("the call to fail", async { tokio::join!(call, kill) }).await;
        let loss = soon("the reason", page.explain(call.unwrap_err())).await;
        assert!(matches!(loss, OpError::Lost(Loss::PageCrashed)), "round {round}: {loss:?}");
        assert_eq!(soon("the loss", page.lost()).await, Loss::PageCrashed);
        let late = soon("a later call to fail", page.evaluate("1")).await;
        assert!(late.is_err(), "round {round}");
        drop(page);
        let sum: i64 = other.evaluate("1 + 1").await.unwrap().into_value().unwrap();
        assert_eq!(sum, 2, "the other page lives");
    }
    assert_eq!((pool.stats().lost, pool.stats().page_crashes), (0, rounds));
    other.release();
    assert_clean_end(pool, &oracle).await;
}

/// `chrome://crash`: the navigation ends at once, with its page.
pub(crate) async fn crashing_page(engine: &Path, rounds: u64) {
    let oracle = Oracle::new();
    let pool = pool(engine, &oracle, config());
    for _ in 0..rounds {
        let page = soon("a page", pool.page()).await.unwrap();
        let went = soon("the navigation to end", page.goto("chrome://crash")).await;
        assert!(went.is_err(), "{went:?}");
        assert_eq!(soon("the loss", page.lost()).await, Loss::PageCrashed);
    }
    assert_eq!((pool.stats().lost, pool.stats().page_crashes), (0, rounds));
    assert_clean_end(pool, &oracle).await;
}

/// A page that never loads, a dialog that nobody answers, a script without an end: the caller gets its
/// limit, the sibling works on, and the contexts end.
pub(crate) async fn pages_that_hold_on(engine: &Path, rounds: u64) {
    let (oracle, server) = (Oracle::new(), Server::start().await);
    let config = patient().max_browsers(1).op_timeout(LONG).spares(0);
    let pool = pool(engine, &oracle, config.build().unwrap());
    let sibling = soon("a page", pool.page()).await.unwrap();
    let limit = Duration::from_millis(300);
    for round in 0..rounds {
        for path in ["/hang", "/dialog"] {
            let page = soon("a page", pool.page()).await.unwrap();
            let held = page.run(limit, page.goto(server.url(path))).await;
            assert!(matches!(held, Err(OpError::TimedOut { .. })), "{round}, {path}: {held:?}");
        }
        let page = soon("a page", pool.page()).await.unwrap();
        let endless = page.run(limit, page.evaluate("while (true) {}")).await;
        assert!(matches!(endless, Err(OpError::TimedOut { .. })), "{round}: {endless:?}");
        let sum: i64 =
            soon("the sibling", sibling.evaluate("2 + 2")).await.unwrap().into_value().unwrap();
        assert_eq!(sum, 4);
        drop(page);
        until(&pool, "the contexts to end", |stats| stats.units == 1).await;
    }
    assert_eq!(pool.stats().lost, 0);
    sibling.release();
    assert_clean_end(pool, &oracle).await;
}
