//! Our side of each case.

use crate::proc;
use futures::future::join_all;
use lastout_browser_pool::chromiumoxide::cdp::browser_protocol::target::GetTargetsParams;
use lastout_browser_pool::testing::FakeDriver;
use lastout_browser_pool::{BrowserPool, Chrome, Pool, PoolConfig, PoolConfigBuilder, Sandbox};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn start(engine: &Path, config: PoolConfigBuilder) -> BrowserPool {
    let chrome = Chrome::builder().executable(engine).sandbox(Sandbox::Disabled).build();
    let config = config.build().expect("a valid configuration");
    BrowserPool::start(chrome.expect("a driver"), config).expect("a pool")
}

async fn until(pool: &BrowserPool, mut holds: impl FnMut(&lastout_browser_pool::Stats) -> bool) {
    while !holds(&pool.stats()) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn end(pool: BrowserPool) {
    let report = pool.drain(LONG).await;
    assert!(report.is_clean(), "{report}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Median of acquire and release in microseconds; the disposal and remaking go on meanwhile.
pub async fn bookkeeping() -> f64 {
    let config = PoolConfig::builder().max_browsers(4).max_contexts(16).spares(32).warm_browsers(4);
    let pool = Pool::start(FakeDriver::new(), config.build().expect("valid")).expect("a pool");
    while pool.stats().spares < 32 {
        tokio::task::yield_now().await;
    }
    let mut times = Vec::new();
    for _ in 0..2000 {
        while pool.stats().spares == 0 {
            tokio::task::yield_now().await;
        }
        let started = Instant::now();
        pool.page().await.expect("a page").release();
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    drop(pool.drain(LONG).await);
    median(times)
}

pub async fn warm_acquire(engine: &Path) -> f64 {
    let pool = start(engine, PoolConfig::builder().max_browsers(1).warm_browsers(1).spares(4));
    let mut times = Vec::new();
    for _ in 0..15 {
        until(&pool, |stats| stats.spares == 4).await;
        let started = Instant::now();
        let page = pool.page().await.expect("a page");
        times.push(started.elapsed().as_secs_f64() * 1e3);
        page.release();
    }
    end(pool).await;
    median(times)
}

/// Milliseconds from the kill to the failure of the call, the worst of five.
pub async fn killed(engine: &Path) -> f64 {
    let mut worst = 0.0_f64;
    for _ in 0..5 {
        let pool = start(engine, PoolConfig::builder().max_browsers(1).op_timeout(LONG * 5));
        let page = pool.page().await.expect("a page");
        let call = async {
            let call = page.evaluate("new Promise(() => {})").await;
            assert!(call.is_err());
            Instant::now()
        };
        let kill = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            for pid in main_processes() {
                drop(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status());
            }
            Instant::now()
        };
        let (failed, struck) = tokio::join!(call, kill);
        worst = worst.max(failed.saturating_duration_since(struck).as_secs_f64() * 1e3);
        drop(page);
        end(pool).await;
    }
    worst
}

/// The browsers of this process: its descendants that have a profile and are no helpers.
fn main_processes() -> Vec<u32> {
    let own = format!("/lastout-{}/", own_uid());
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_ours = |pid: &u32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        let shell = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        command.contains(&own)
            && !command.contains("--type=")
            && !command.contains("crashpad")
            && !shell.ends_with("dash")
            && proc::descends(*pid, std::process::id())
    };
    pids.filter(is_ours).collect()
}

fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").expect("/proc/self").uid()
}

/// Milliseconds from the order to crash to the failure of the navigation, the worst of five.
pub async fn crashed(engine: &Path) -> f64 {
    let pool =
        start(engine, PoolConfig::builder().max_browsers(1).max_errors(100).op_timeout(LONG));
    let mut worst = 0.0_f64;
    for _ in 0..5 {
        let page = pool.page().await.expect("a page");
        let started = Instant::now();
        let (gone, call) =
            tokio::join!(page.goto("chrome://crash"), page.evaluate("new Promise(() => {})"));
        assert!(gone.is_err() && call.is_err());
        worst = worst.max(started.elapsed().as_secs_f64() * 1e3);
        drop(page);
    }
    end(pool).await;
    worst
}

/// Pages that are left when 20 acquires were cancelled at different moments.
pub async fn cancelled(engine: &Path) -> f64 {
    let pool = start(engine, PoolConfig::builder().max_browsers(1).spares(0));
    pool.page().await.expect("a page").release();
    until(&pool, |stats| stats.units == 0).await;
    for round in 0..20 {
        drop(tokio::time::timeout(Duration::from_millis(round * 4), pool.page()).await);
    }
    until(&pool, |stats| stats.out == 0 && stats.units == 0).await;
    // Through the client of a page that is there again: what Chrome itself says.
    let page = pool.page().await.expect("a page");
    let targets = page.execute(GetTargetsParams::default()).await.expect("targets");
    let pages = targets.target_infos.iter().filter(|target| target.r#type == "page").count();
    page.release();
    end(pool).await;
    pages as f64 - 1.0
}

/// Milliseconds to end one browser with one page, from the order to the last process and file.
pub async fn teardown(engine: &Path) -> f64 {
    let pool = start(engine, PoolConfig::builder().max_browsers(1).spares(0));
    let page = pool.page().await.expect("a page");
    page.release();
    until(&pool, |stats| stats.units == 0).await;
    let started = Instant::now();
    end(pool).await;
    started.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds of the drop of a pool with two browsers.
pub async fn dropped(engine: &Path) -> f64 {
    let pool = start(engine, PoolConfig::builder().max_browsers(2).warm_browsers(2));
    until(&pool, |stats| stats.ready == 2 && stats.spares >= 1).await;
    let started = Instant::now();
    drop(pool);
    started.elapsed().as_secs_f64() * 1e3
}

/// The tasks of the throughput case.
pub async fn tasks(engine: &Path, url: &str, tasks: usize, concurrency: usize) {
    let config =
        PoolConfig::builder().max_browsers(1).max_contexts(concurrency * 3).spares(concurrency);
    let pool = start(engine, config);
    let one = || async {
        let page = pool.page().await.ok()?;
        page.goto(url).await.ok()?;
        page.get_title().await.ok()?;
        page.release();
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
    end(pool).await;
}

/// An owner with a busy page, until it is killed.
pub async fn own(engine: &Path) {
    let pool = start(engine, PoolConfig::builder().max_browsers(1));
    let page = pool.page().await.expect("a page");
    page.goto(crate::raw::BUSY).await.expect("a busy page");
    println!("ready");
    std::future::pending::<()>().await;
}

/// Drops pools with a page out, one after the other.
pub async fn drops(engine: &Path, drops: usize) {
    for _ in 0..drops {
        let pool = start(engine, PoolConfig::builder().max_browsers(1));
        let page = pool.page().await.expect("a page");
        page.goto(crate::raw::BUSY).await.expect("a busy page");
        drop(pool);
        drop(page);
    }
    // The empty directory that all pools of a user share stays; it is no litter of one of them.
    let root = std::env::temp_dir().join(format!("lastout-{}", own_uid()));
    let until = Instant::now() + LONG;
    while std::fs::remove_dir(&root).is_err() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// MiB (PSS) of a browser with five isolated pages.
pub async fn memory(engine: &Path) -> f64 {
    let pool = start(engine, PoolConfig::builder().max_browsers(1).max_contexts(8).spares(0));
    let mut pages = Vec::new();
    for _ in 0..5 {
        pages.push(pool.page().await.expect("a page"));
    }
    pool.measure().await;
    let memory = pool.stats().memory as f64 / (1024.0 * 1024.0);
    drop(pages);
    end(pool).await;
    memory
}
