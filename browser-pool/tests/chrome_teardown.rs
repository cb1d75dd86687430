//! However a pool or a browser ends: no process, no profile, no litter.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{LONG, Oracle, builder, endings, engines, patient, soon};
use lastout_browser_pool::chromiumoxide::{Browser, BrowserConfig, Handler};
use lastout_browser_pool::{AcquireError, AdoptError, BrowserPool, LaunchProfile, LeaseOptions};
use std::path::Path;
use std::time::Duration;

/// Rounds of five drops; the soak runs ten.
const ROUNDS: u64 = 2;

#[test]
fn a_drop_in_every_place_leaves_nothing() {
    for engine in engines() {
        endings::dropped(&engine, ROUNDS);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_acquires_leave_no_page() {
    for engine in engines() {
        endings::cancelled(&engine, 12).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executables_that_are_none() {
    endings::no_browsers(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adopted_browser_ends_like_our_own() {
    let engine = engines().remove(0);
    let oracle = Oracle::new();
    let driver = builder(&engine, &oracle).build().unwrap();
    let config = patient().max_browsers(1).build().unwrap();
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
    // Its traffic would not go through the proxy that each lease of this pool has.
    let config = patient().profile(LaunchProfile::new().proxy("socks5://127.0.0.1:9"));
    let proxied =
        BrowserPool::start(builder(&engine, &oracle).build().unwrap(), config.build().unwrap());
    let (third, handler) = launch_by_client(&engine, &profile.with_extension("third")).await;
    let refused = proxied.unwrap().adopt(third, handler, None);
    assert!(matches!(refused, Err(AdoptError::Proxy)), "{refused:?}");
    let with = LeaseOptions::new().proxy("socks5://127.0.0.1:9").deadline(Duration::from_secs(1));
    let refused = pool.page_with(with).await;
    assert!(matches!(refused, Err(AcquireError::Deadline { .. })), "{refused:?}");
    page.release();
    let report = soon("the drain", pool.drain(LONG)).await;
    assert!(report.is_clean(), "{report}");
    assert!(!profile.exists());
    drop(pool);
}

/// On one thread, so that the launch of the other pool comes first. Both have the same number.
#[tokio::test]
async fn a_browser_is_adopted_by_the_pool_that_was_asked_to_though_another_shares_its_driver() {
    let engine = engines().remove(0);
    let oracle = Oracle::new();
    let driver = builder(&engine, &oracle).build().unwrap();
    let config = || patient().max_browsers(1).build().unwrap();
    let mine = BrowserPool::start(driver.clone(), config()).unwrap();
    let other = BrowserPool::start(driver, config()).unwrap();
    let profile = oracle.root().join("adopted");
    let (browser, handler) = launch_by_client(&engine, &profile).await;
    assert!(mine.try_page(LeaseOptions::new()).unwrap().is_none(), "it takes a number");
    let mut asked = Box::pin(other.page());
    assert!(futures_util::poll!(&mut asked).is_pending());
    let number = mine.adopt(browser, handler, Some(profile.clone())).unwrap();
    let theirs = soon("a page", asked).await.unwrap();
    assert_eq!(theirs.browser(), number, "the pools count alike");
    let page = soon("a page", mine.page()).await.unwrap();
    theirs.release();
    assert!(soon("the drain", other.drain(LONG)).await.is_clean());
    assert!(page.evaluate("1 + 1").await.is_ok(), "the other pool ended its own browser");
    page.release();
    assert!(soon("the drain", mine.drain(LONG)).await.is_clean());
    assert!(!profile.exists());
}

async fn launch_by_client(engine: &Path, profile: &Path) -> (Browser, Handler) {
    let config =
        BrowserConfig::builder().chrome_executable(engine).user_data_dir(profile).no_sandbox();
    // Its own litter goes where the test removes it.
    let config = config.env("TMPDIR", profile.parent().unwrap().display().to_string());
    let config = config.env("HOME", profile.parent().unwrap().display().to_string());
    let config = config.arg("--disable-gpu").new_headless_mode().build().unwrap();
    soon("the launch", Browser::launch(config)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrapper_that_stays_and_writes_no_text() {
    for engine in engines() {
        endings::wrapped(&engine, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk() {
    for engine in engines() {
        if !endings::full_disk(&engine, 1).await {
            println!("SKIPPED: a small file system cannot be mounted here");
        }
    }
}

#[test]
fn a_process_of_others_that_names_the_root_is_none_of_its_own() {
    let oracle = Oracle::new();
    let sleeps = |of_ours: bool| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "read line; : \"$0\""]).arg(oracle.root());
        command.stdin(std::process::Stdio::piped());
        if of_ours {
            command.env("TMPDIR", oracle.root().join("t"));
        }
        command.spawn().unwrap()
    };
    let mut both = [sleeps(false), sleeps(true)];
    let found: Vec<_> = oracle.processes().iter().map(|found| found.pid).collect();
    let own = both[1].id();
    for child in &mut both {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
    assert_eq!(found, [own]);
}
