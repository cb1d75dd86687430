//! The time limit that was asked for is the one that holds, above those of the pool and of the client.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{
    LONG, Oracle, Server, assert_clean_end, builder, engines, patient, pool, soon,
};
use lastout_browser_pool::{BrowserPool, LeaseOptions, OpError, Pdf, Screenshot};
use std::time::{Duration, Instant};

/// What each command may take unless more is asked for: enough for a browser on a busy machine.
const SHORT: Duration = Duration::from_secs(4);

/// Resolves in the page after more than that.
const LATE: &str = "new Promise(done => setTimeout(() => done(7), 6000))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_and_a_navigation_have_the_time_that_they_ask_for() {
    let engine = engines().pop().unwrap();
    let (oracle, server) = (Oracle::new(), Server::start().await);
    let config = patient().max_browsers(1).op_timeout(SHORT).spares(0);
    let pool = pool(&engine, &oracle, config.build().unwrap());
    let lease = || async { soon("a page", pool.page()).await.unwrap() };
    let (runs, goes, far, other) = tokio::join!(lease(), lease(), lease(), lease());
    let context = soon("a context", pool.context()).await.unwrap();
    let opened = context.new_page().await.unwrap();
    let started = Instant::now();
    let (ran, opened_ran, went, went_far, cut) = tokio::join!(
        runs.run(LONG, runs.evaluate(LATE)),
        opened.run(LONG, opened.evaluate(LATE)),
        goes.navigate(server.url("/slow/6000"), LONG),
        // Longer than the client waits for any navigation.
        far.navigate(server.url("/slow/31500"), LONG),
        // Nobody else has more time for it.
        other.evaluate(LATE),
    );
    assert_eq!(ran.unwrap().unwrap().into_value::<i64>().unwrap(), 7);
    assert_eq!(opened_ran.unwrap().unwrap().into_value::<i64>().unwrap(), 7);
    assert_eq!((went.unwrap().status(), went_far.unwrap().status()), (Some(200), Some(200)));
    assert!(started.elapsed() > Duration::from_secs(31));
    assert!(cut.is_err(), "a call without a limit of its own ends by op_timeout: {cut:?}");
    let late = goes.navigate(server.url("/hang"), Duration::from_millis(300)).await;
    assert!(matches!(late, Err(OpError::TimedOut { .. })), "{late:?}");
    drop(opened);
    drop((runs, goes, far, other, context));
    assert_clean_end(pool, &oracle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_may_be_nothing_or_have_no_end() {
    for engine in engines() {
        let (oracle, server) = (Oracle::new(), Server::start().await);
        let pool = pool(&engine, &oracle, patient().max_browsers(1).build().unwrap());
        let page = soon("a page", pool.page_with(LeaseOptions::new().downloads())).await.unwrap();
        let none = page.navigate(server.url("/hang"), Duration::ZERO).await;
        assert!(matches!(none, Err(OpError::TimedOut { .. })), "{none:?}");
        let none = page.capture(&Screenshot::png(), &mut Vec::new(), Duration::ZERO).await;
        assert!(matches!(none, Err(OpError::TimedOut { .. })), "{none:?}");
        let all = async {
            page.navigate(server.url("/links"), Duration::MAX).await?;
            page.capture(&Screenshot::png().full_page(), &mut Vec::new(), Duration::MAX).await?;
            page.print(&Pdf::new(), &mut Vec::new(), Duration::MAX).await?;
            let mut downloads = page.watch_downloads().await?;
            let clicked = page.evaluate("document.getElementById('load').click()");
            page.run(Duration::MAX, clicked).await?.unwrap();
            downloads.next(Duration::MAX).await?;
            let state = page.save_storage(Duration::MAX).await?;
            page.restore_storage(&state, Duration::MAX).await
        };
        soon("all of it", Box::pin(all)).await.unwrap();
        assert_eq!(pool.stats().lost, 0);
        page.release();
        assert_clean_end(pool, &oracle).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_may_take_longer_than_a_command() {
    let engine = engines().pop().unwrap();
    let oracle = Oracle::new();
    let slow = oracle.scripts().join("slow");
    let script = format!("#!/bin/sh\nsleep 6\nexec '{}' \"$@\"\n", engine.display());
    std::fs::write(&slow, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&slow, mode).unwrap();
    let chrome = builder(&slow, &oracle).build().unwrap();
    let config = patient().max_browsers(1).op_timeout(SHORT);
    let pool = BrowserPool::start(chrome, config.build().unwrap()).unwrap();
    soon("a page", pool.page()).await.unwrap().release();
    assert_eq!(pool.stats().launch_failures, 0);
    assert_clean_end(pool, &oracle).await;
}
