//! chromiumoxide as its documentation uses it, on the same executable.

use crate::proc;
use futures::StreamExt;
use futures::future::join_all;
use lastout_browser_pool::chromiumoxide::cdp::browser_protocol::target::{
    CreateBrowserContextParams, CreateTargetParams, GetTargetsParams,
};
use lastout_browser_pool::chromiumoxide::{Browser, BrowserConfig, Page};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

struct Raw {
    browser: Browser,
    handler: JoinHandle<()>,
    profile: PathBuf,
}

async fn launch(engine: &Path) -> Raw {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let profile = std::env::temp_dir().join(format!("lastout-raw-{}-{number}", std::process::id()));
    let config = BrowserConfig::builder().chrome_executable(engine).user_data_dir(&profile);
    // Its sockets go into the profile's own folder; without this each run leaves one in /tmp.
    let config = if std::env::var_os("HOME")
        .is_some_and(|home| Path::new(&home).starts_with("/tmp/lo-bench-"))
    {
        config
    } else {
        let private = profile.with_extension("d");
        std::fs::create_dir_all(&private).expect("a private folder");
        config
            .env("TMPDIR", private.display().to_string())
            .env("HOME", private.display().to_string())
    };
    let config = config.no_sandbox().arg("--disable-gpu").viewport(None).new_headless_mode();
    let config = config.build().expect("a configuration");
    let (browser, mut handler) = Browser::launch(config).await.expect("a browser");
    let handler =
        tokio::spawn(async move { while handler.next().await.is_some_and(|r| r.is_ok()) {} });
    Raw { browser, handler, profile }
}

async fn isolated(browser: &Browser) -> Option<(Page, impl Future<Output = ()>)> {
    let params = CreateBrowserContextParams { dispose_on_detach: Some(true), ..Default::default() };
    let context = browser.create_browser_context(params).await.ok()?;
    let mut params = CreateTargetParams::new("about:blank");
    params.browser_context_id = Some(context.clone());
    let page = browser.new_page(params).await.ok()?;
    Some((page, async move { drop(browser.dispose_browser_context(context).await) }))
}

async fn end(raw: Raw) {
    let private = raw.profile.with_extension("d");
    close(raw).await;
    drop(std::fs::remove_dir_all(private));
}

async fn close(mut raw: Raw) {
    drop(raw.browser.close().await);
    drop(raw.browser.wait().await);
    raw.handler.abort();
    drop(std::fs::remove_dir_all(&raw.profile));
}

/// Milliseconds for a fresh context with a page.
pub async fn acquire(engine: &Path) -> f64 {
    let raw = launch(engine).await;
    let mut times = Vec::new();
    for _ in 0..15 {
        let started = Instant::now();
        let (_page, dispose) = isolated(&raw.browser).await.expect("a page");
        times.push(started.elapsed().as_secs_f64() * 1e3);
        dispose.await;
    }
    end(raw).await;
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Page targets that are left when 20 new pages were cancelled at different moments.
pub async fn cancelled(engine: &Path) -> f64 {
    let raw = launch(engine).await;
    let count = || async {
        let targets = raw.browser.execute(GetTargetsParams::default()).await.expect("targets");
        targets.target_infos.iter().filter(|target| target.r#type == "page").count()
    };
    let before = count().await;
    for round in 0..20 {
        let page = raw.browser.new_page("about:blank");
        drop(tokio::time::timeout(Duration::from_millis(round * 4), page).await);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let left = count().await.saturating_sub(before);
    end(raw).await;
    left as f64
}

/// Milliseconds of Chrome's own close: the command, the exit, and the removal of the profile.
pub async fn teardown(engine: &Path) -> f64 {
    let raw = launch(engine).await;
    let (_page, dispose) = isolated(&raw.browser).await.expect("a page");
    dispose.await;
    let private = raw.profile.with_extension("d");
    let started = Instant::now();
    close(raw).await;
    let elapsed = started.elapsed().as_secs_f64() * 1e3;
    drop(std::fs::remove_dir_all(private));
    elapsed
}

pub async fn tasks(engine: &Path, url: &str, tasks: usize, concurrency: usize) {
    let raw = launch(engine).await;
    let one = || async {
        let (page, dispose) = isolated(&raw.browser).await?;
        page.goto(url).await.ok()?;
        page.get_title().await.ok()?;
        dispose.await;
        Some(())
    };
    one().await.expect("the first task");
    println!("begin");
    let (started, cpu) = (Instant::now(), proc::own_cpu());
    let (left, failed) = (AtomicUsize::new(tasks), AtomicUsize::new(0));
    let worker = || async {
        while left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
        {
            if one().await.is_none() {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    join_all((0..concurrency).map(|_| worker())).await;
    let wall = started.elapsed().as_secs_f64();
    proc::report(wall, proc::own_cpu() - cpu, failed.into_inner()).await;
    end(raw).await;
}

/// A page that never rests.
pub const BUSY: &str = "data:text/html,<script>setInterval(() => 0, 1)</script>";

/// An owner with a busy page, until it is killed.
pub async fn own(engine: &Path) {
    let raw = launch(engine).await;
    let page = raw.browser.new_page("about:blank").await.expect("a page");
    page.goto(BUSY).await.expect("a busy page");
    println!("ready");
    std::future::pending::<()>().await;
}

/// Drops browsers with a page, one after the other, and removes their profiles as one would.
pub async fn drops(engine: &Path, drops: usize) {
    for _ in 0..drops {
        let raw = launch(engine).await;
        let page = raw.browser.new_page("about:blank").await.expect("a page");
        page.goto(BUSY).await.expect("a busy page");
        let Raw { browser, handler, profile } = raw;
        handler.abort();
        drop((page, browser));
        drop(std::fs::remove_dir_all(&profile));
    }
    // What comes back, comes back soon.
    tokio::time::sleep(Duration::from_secs(1)).await;
}
