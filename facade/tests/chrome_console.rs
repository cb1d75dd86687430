//! The console in a real browser: live, by keyboard alone, on a narrow screen, and with hostile texts.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use lastout::browser_pool::{BrowserPool, Chrome, PoolConfig, Sandbox};
use lastout::console::{Console, Panel, Server};
use lastout::work_runner::{JobId, MemoryRegistry, NewJob, State, WorkDriver};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::GENEROUS;
use support::web::get;

/// As wide as a phone.
const WIDTH: u32 = 390;
const HOSTILE: &str =
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";

fn pool() -> BrowserPool {
    let root = rustix::process::geteuid().is_root();
    let sandbox = if root { Sandbox::Disabled } else { Sandbox::Required };
    let names = ["LASTOUT_CHROME_HEADLESS_SHELL", "LASTOUT_CHROME"];
    let executable = names.iter().find_map(std::env::var_os).expect("run it by `cargo xtask e2e`");
    let chrome = Chrome::builder().sandbox(sandbox).executable(executable).window(WIDTH, 844);
    BrowserPool::start(chrome.build().unwrap(), PoolConfig::default()).unwrap()
}

struct Site {
    driver: WorkDriver,
    job: JobId,
    number: Arc<AtomicU64>,
    server: Server,
}

impl Site {
    async fn new() -> Self {
        let store = Arc::new(MemoryRegistry::new());
        let driver = WorkDriver::producer(store.clone());
        let job = NewJob::new(HOSTILE, &1).unwrap().queue(HOSTILE);
        let job = driver.enqueue(job).await.unwrap().id();
        let number = Arc::new(AtomicU64::new(1));
        let shown = Arc::clone(&number);
        let console = Console::builder("shop")
            .store(store)
            .panel(HOSTILE, move || {
                Panel::new()
                    .fact("number", format!("n{}", shown.load(Ordering::SeqCst)))
                    .line(HOSTILE)
            })
            .allow_orders()
            .every(Duration::from_millis(100))
            .build()
            .unwrap();
        let server = console.listen("127.0.0.1:0").await.unwrap();
        Self { driver, job, number, server }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }
}

/// Looks again and again until the page says what is wanted.
macro_rules! until {
    ($lease:expr, $script:expr, $wanted:expr) => {
        let began = Instant::now();
        loop {
            // A page that is being replaced has no answer.
            let seen: Option<Value> =
                $lease.evaluate($script).await.ok().and_then(|seen| seen.into_value().ok());
            if seen == Some(Value::from($wanted)) {
                break;
            }
            assert!(began.elapsed() < GENEROUS, "{}: {seen:?}", $script);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
}

/// The same once, for what is settled.
macro_rules! is {
    ($lease:expr, $script:expr, $wanted:expr) => {
        let seen: Value = $lease.evaluate($script).await.unwrap().into_value().unwrap();
        assert_eq!(seen, Value::from($wanted), "{}", $script);
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_live_while_it_is_looked_at_and_keeps_the_focus() {
    let (site, pool) = (Site::new().await, pool());
    let lease = pool.page().await.unwrap();
    lease.navigate(site.url("/"), GENEROUS).await.unwrap();
    let number = "document.querySelector('[data-live=panels] dd').innerText";
    until!(lease, "document.getElementById('beat').innerText", "live");
    is!(lease, number, "n1");
    let focus = "document.querySelector('[data-live=queues] td:last-child a').focus()";
    lease.evaluate(focus).await.unwrap();
    site.number.store(2, Ordering::SeqCst);
    site.driver.pause("mail", "olga").await.unwrap();
    until!(lease, number, "n2");
    until!(lease, "document.body.innerText.includes('paused by olga')", true);
    until!(lease, "document.activeElement.innerText", "pause");

    let hide = "Object.defineProperty(document, 'hidden', { value: true, configurable: true });\
                document.dispatchEvent(new Event('visibilitychange'))";
    lease.evaluate(hide).await.unwrap();
    site.number.store(3, Ordering::SeqCst);
    let began = Instant::now();
    while !get(site.address(), "/", &[]).await.body.contains("n3") {
        assert!(began.elapsed() < GENEROUS);
    }
    is!(lease, number, "n2");
    let show = "delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))";
    lease.evaluate(show).await.unwrap();
    until!(lease, number, "n3");
    drop(lease);
    assert!(pool.drain(GENEROUS).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_are_texts_and_nothing_comes_from_elsewhere() {
    let (site, pool) = (Site::new().await, pool());
    let lease = pool.page().await.unwrap();
    let job = format!("/jobs/{}", site.job);
    for (path, title) in
        [("/", "Overview · shop"), ("/jobs", "Jobs · shop"), (&job, "Job 1 · shop")]
    {
        lease.navigate(site.url(path), GENEROUS).await.unwrap();
        until!(lease, "document.readyState", "complete");
        if path == "/" {
            until!(lease, "document.getElementById('beat').innerText", "live");
        }
        is!(lease, "document.title", title);
        is!(lease, "document.body.innerText.includes('<script>document.title')", true);
        is!(lease, "document.scripts.length + document.images.length", 1);
        let elsewhere = "performance.getEntriesByType('resource')\
                         .filter(e => !e.name.startsWith(location.origin)).length";
        is!(lease, elsewhere, 0);
    }
    drop(lease);
    assert!(pool.drain(GENEROUS).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_shows_all_of_it() {
    let (site, pool) = (Site::new().await, pool());
    let lease = pool.page().await.unwrap();
    let job = format!("/jobs/{}", site.job);
    let confirm = format!("/confirm?order=cancel&job={}", site.job);
    for path in ["/", "/jobs", "/jobs?state=ready", &job, &confirm] {
        lease.navigate(site.url(path), GENEROUS).await.unwrap();
        until!(lease, "document.readyState", "complete");
        is!(lease, "window.innerWidth", WIDTH);
        let overflow =
            "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        is!(lease, overflow, 0);
        let outside = "[...document.querySelectorAll('main a, main button, main input, main td > div')]\
                       .filter(e => { const r = e.getBoundingClientRect();\
                       return r.left < 0 || r.right > innerWidth + 1; }).length";
        is!(lease, outside, 0);
    }
    drop(lease);
    assert!(pool.drain(GENEROUS).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_by_keyboard_alone() {
    let (site, pool) = (Site::new().await, pool());
    let lease = pool.page().await.unwrap();
    lease.navigate(site.url("/"), GENEROUS).await.unwrap();
    until!(lease, "document.readyState", "complete");
    // From the top of each page to the first link or button with this text.
    for (wanted, arrived) in [
        ("Jobs", "Jobs · shop"),
        ("1", "Job 1 · shop"),
        ("cancel", "cancel? · shop"),
        ("Yes, cancel", "Job 1 · shop"),
    ] {
        let began = Instant::now();
        loop {
            let focused = "document.activeElement.innerText";
            let focused: Value = lease.evaluate(focused).await.unwrap().into_value().unwrap();
            if focused.as_str() == Some(wanted) {
                break;
            }
            assert!(began.elapsed() < GENEROUS, "{wanted}: at {focused}");
            lease.find_element("body").await.unwrap().press_key("Tab").await.unwrap();
        }
        let outline = "getComputedStyle(document.activeElement).outlineStyle";
        is!(lease, outline, "solid");
        lease.find_element("body").await.unwrap().press_key("Enter").await.unwrap();
        until!(lease, "document.title", arrived);
        until!(lease, "document.readyState", "complete");
    }
    until!(lease, "document.querySelector('main [role=status]').innerText !== ''", true);
    let job = site.driver.get(site.job).await.unwrap().unwrap();
    assert_eq!(job.state, State::Cancelled);
    drop(lease);
    assert!(pool.drain(GENEROUS).await.is_clean());
}
