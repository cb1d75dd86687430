//! However a pool or a browser ends: no process, no profile, no litter.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{
    LONG, Oracle, assert_clean_end, builder, engines, pool as start, soon, until,
};
use lastout_browser_pool::chromiumoxide::{Browser, BrowserConfig, Handler};
use lastout_browser_pool::{
    AcquireError, AdoptError, BrowserPool, LaunchError, LeaseOptions, PoolConfig,
};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Rounds of the drops: in all 50 for each engine.
const ROUNDS: usize = 10;

fn two_browsers() -> PoolConfig {
    PoolConfig::builder().max_browsers(2).warm_browsers(2).build().unwrap()
}

#[test]
fn a_drop_in_every_place_leaves_nothing() {
    for engine in engines() {
        let oracle = Oracle::new();
        for round in 0..ROUNDS {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            // Within the runtime, with a lease out.
            runtime.block_on(async {
                let pool = start(&engine, &oracle, PoolConfig::default());
                let page = soon("a page", pool.page()).await.unwrap();
                page.goto("data:text/html,x").await.unwrap();
                drop(pool);
                oracle.assert_no_process();
                oracle.assert_no_browser_directory();
                assert!(page.loss().is_some(), "round {round}");
            });
            // On a plain thread, while the runtime runs, the lease before and after.
            for lease_first in [true, false] {
                let (pool, page) = runtime.block_on(async {
                    let pool = start(&engine, &oracle, PoolConfig::default());
                    let page = soon("a page", pool.page()).await.unwrap();
                    (pool, page)
                });
                let drops: [Box<dyn FnOnce()>; 2] = if lease_first {
                    [Box::new(move || drop(page)), Box::new(move || drop(pool))]
                } else {
                    [Box::new(move || drop(pool)), Box::new(move || drop(page))]
                };
                drops.into_iter().for_each(|drop| drop());
                oracle.assert_no_process();
                oracle.assert_no_browser_directory();
            }
            // In the middle of a launch.
            let pool = runtime.block_on(async {
                let pool = start(&engine, &oracle, two_browsers());
                tokio::time::sleep(Duration::from_millis(10 * round as u64)).await;
                pool
            });
            drop(pool);
            drop(runtime);
            oracle.wait_no_process(LONG);
            // By the end of the runtime.
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let pool = runtime.block_on(async {
                let pool = start(&engine, &oracle, PoolConfig::default());
                soon("a page", pool.page()).await.unwrap().release();
                pool
            });
            drop(runtime);
            oracle.assert_no_process();
            drop(pool);
            oracle.assert_nothing();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_acquires_leave_no_page() {
    for engine in engines() {
        let oracle = Oracle::new();
        let config = PoolConfig::builder().max_browsers(1).max_contexts(4).spares(1);
        let pool = start(&engine, &oracle, config.build().unwrap());
        soon("a first page", pool.page()).await.unwrap().release();
        for round in 0..ROUNDS as u64 * 2 {
            let limit = Duration::from_millis(round * 13 % 150);
            let pages = (0..4).map(|_| tokio::time::timeout(limit, pool.page()));
            drop(futures_util::future::join_all(pages).await);
        }
        until(&pool, "all to be back", |stats| stats.out == 0 && stats.units <= 1).await;
        let lease = soon("a page", pool.page()).await.unwrap();
        let (_, live) = (lease.id(), lease.browser());
        assert!(live > 0);
        let renderers = oracle.renderers().len();
        assert!(renderers <= 6, "{renderers} renderers are there for one page and one spare");
        lease.release();
        assert_clean_end(pool, &oracle).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adopted_browser_ends_like_our_own() {
    let engine = engines().remove(0);
    let oracle = Oracle::new();
    let driver = builder(&engine, &oracle).build().unwrap();
    let config = PoolConfig::builder().max_browsers(1).build().unwrap();
    let pool = BrowserPool::start(driver, config).unwrap();
    let profile = oracle.root().join("adopted");
    let (browser, handler) = launch_by_client(&engine, &profile).await;
    let number = pool.adopt(browser, handler, Some(profile.clone())).unwrap();
    let page = soon("a page", pool.page()).await.unwrap();
    assert_eq!(page.browser(), number);
    page.goto("data:text/html,<title>adopted</title>").await.unwrap();
    assert_eq!(page.get_title().await.unwrap().as_deref(), Some("adopted"));
    let (second, handler) = launch_by_client(&engine, &oracle.root().join("second")).await;
    assert!(matches!(pool.adopt(second, handler, None), Err(AdoptError::Full)));
    page.release();
    let report = soon("the drain", pool.drain(LONG)).await;
    assert!(report.is_clean(), "{report}");
    assert!(!profile.exists());
    drop(pool);
}

async fn launch_by_client(engine: &Path, profile: &Path) -> (Browser, Handler) {
    let config =
        BrowserConfig::builder().chrome_executable(engine).user_data_dir(profile).no_sandbox();
    let config = config.arg("--disable-gpu").new_headless_mode().build().unwrap();
    soon("the launch", Browser::launch(config)).await.unwrap()
}

/// A script in place of a browser.
fn script(oracle: &Oracle, name: &str, text: &str) -> PathBuf {
    let path = oracle.root().with_extension(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

async fn failure_of(path: &Path, oracle: &Oracle) -> LaunchError {
    let config = PoolConfig::builder().max_browsers(1).circuit_after(1).spares(0);
    let config = config.launch_timeout(Duration::from_secs(2)).build().unwrap();
    let chrome = builder(path, oracle).build().unwrap();
    let pool = BrowserPool::start(chrome, config).unwrap();
    let options = LeaseOptions::new().deadline(LONG);
    let error = soon("the refusal", pool.page_with(options)).await.unwrap_err();
    let AcquireError::Launch(error) = error else { panic!("{error}") };
    let report = pool.drain(LONG).await;
    assert!(report.is_clean(), "{report}");
    drop(pool);
    oracle.assert_nothing();
    std::sync::Arc::into_inner(error).expect("nobody else has the error")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executables_that_are_none() {
    let oracle = Oracle::new();
    let missing = failure_of(&oracle.root().with_extension("missing"), &oracle).await;
    assert!(matches!(missing, LaunchError::Spawn { .. }), "{missing:?}");

    let exits =
        script(&oracle, "exits", "echo first >&2; printf 'bad \\377\\376 bytes\\n' >&2; exit 7");
    let LaunchError::Exited { status, stderr } = failure_of(&exits, &oracle).await else {
        panic!("it exits")
    };
    assert!(
        status.unwrap().contains('7') && stderr.contains("bad") && stderr.contains("first"),
        "{stderr}"
    );

    let hangs = script(&oracle, "hangs", "echo waiting >&2; sleep 600 & sleep 600");
    let LaunchError::TimedOut { stderr, .. } = failure_of(&hangs, &oracle).await else {
        panic!("it hangs")
    };
    assert!(stderr.contains("waiting"), "{stderr}");
    for path in [exits, hangs] {
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrapper_that_stays_and_writes_no_text() {
    for engine in engines() {
        let oracle = Oracle::new();
        let text = format!("printf '\\377\\376\\000\\n' >&2\n{} \"$@\"\nexit $?", engine.display());
        let wrapper = script(&oracle, "wrapper-headless-shell", &text);
        let wrapper_full = script(&oracle, "wrapper", &text);
        let is_shell = engine.to_string_lossy().contains("headless-shell");
        let pool =
            start(if is_shell { &wrapper } else { &wrapper_full }, &oracle, PoolConfig::default());
        let page = soon("a page", pool.page()).await.unwrap();
        page.goto("data:text/html,<title>wrapped</title>").await.unwrap();
        page.release();
        assert_clean_end(pool, &oracle).await;
        for path in [wrapper, wrapper_full] {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk() {
    let oracle = Oracle::new();
    std::fs::create_dir(oracle.root()).unwrap();
    std::fs::set_permissions(oracle.root(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=96k,mode=0700", "lastout-test"])
        .arg(oracle.root())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        println!("SKIPPED: a small file system cannot be mounted here");
        return;
    }
    for engine in engines() {
        let config = PoolConfig::builder().max_browsers(1).circuit_after(1).spares(0);
        let config = config.launch_timeout(Duration::from_secs(10)).build().unwrap();
        let pool = start(&engine, &oracle, config);
        let options = LeaseOptions::new().deadline(Duration::from_secs(20));
        let answer = soon("an answer", pool.page_with(options)).await;
        println!("{}: {:?}", engine.display(), answer.as_ref().map(drop));
        drop(answer);
        let report = soon("the drain", pool.drain(LONG)).await;
        assert!(report.is_clean(), "{report}");
        drop(pool);
        oracle.assert_nothing();
    }
    let unmounted = std::process::Command::new("umount").arg(oracle.root()).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
}
