//! The console over a large store: fills jobs into a SQLite file, asks for each of its pages, and prints how
//! long each took.
//!
//! `--jobs N` (a million unless it is told) and `--times N`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a soak fails by panicking and prints its times"
)]

use axum::body::to_bytes;
use axum::http::{Request, StatusCode};
use lastout::console::Console;
use lastout::work_runner::sqlite::SqliteRegistry;
use lastout::work_runner::{NewJob, Order, Ordered, Query, WorkDriver};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Jobs that are added at once.
const BATCH: u64 = 5_000;
const QUEUES: u64 = 20;
const KINDS: u64 = 7;

/// A file that is removed with what SQLite keeps beside it.
struct Store(PathBuf);

impl Drop for Store {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", self.0.display()));
        }
    }
}

/// What the words say for `name`.
fn number(words: &[String], name: &str, unless: u64) -> u64 {
    let at = words.iter().position(|word| word == name);
    at.map_or(unless, |at| words[at + 1].parse().unwrap())
}

/// One job in ten is due later, one queue is paused, one is cancelled, and every hundredth job was given up.
async fn fill(driver: &WorkDriver, jobs: u64) {
    let later = Duration::from_secs(86_400);
    for begin in (0..jobs).step_by(BATCH as usize) {
        let batch = (begin..jobs.min(begin + BATCH)).map(|n| {
            let job = NewJob::new(&format!("kind-{}", n % KINDS), &n).unwrap();
            let job = job.queue(format!("queue-{}", n % QUEUES));
            if n % 10 == 3 { job.delay(later) } else { job }
        });
        let added = driver.enqueue_all(batch.collect()).await.unwrap();
        let given_up = added.iter().map(|it| it.id()).filter(|id| id.0 % 100 == 1).collect();
        let order = Order::Abandon { reason: "no address resolved".to_owned() };
        let ordered = driver.registry().order(order, given_up).await.unwrap();
        assert!(ordered.iter().all(|it| matches!(it, Ordered::Now(_))), "{ordered:?}");
    }
    driver.pause("queue-4", "a soak").await.unwrap();
    let mut cancelled = Query::all();
    cancelled.queue = Some("queue-5".to_owned());
    let cancelled = driver.order_where(Order::Cancel, cancelled, u64::MAX).await.unwrap();
    assert!(cancelled.done > 0 || jobs < QUEUES, "{cancelled:?}");
}

/// How long each of several consoles takes for its first answer, so that none shows what it has seen before;
/// and the rows of the page.
async fn ask(store: &Arc<SqliteRegistry>, path: &str, times: u64) -> (Vec<Duration>, usize) {
    let (mut took, mut rows) = (Vec::new(), 0);
    for _ in 0..times {
        let console = Console::builder("soak").store(store.clone()).build().unwrap();
        let request =
            Request::get(path).header("Host", "localhost").body(axum::body::Body::empty());
        let begin = Instant::now();
        let (head, body) = console.handle(request.unwrap()).await.into_parts();
        let body = to_bytes(axum::body::Body::new(body), usize::MAX).await.unwrap();
        took.push(begin.elapsed());
        let text = String::from_utf8_lossy(&body);
        let is_whole = head.status == StatusCode::OK && !text.contains("no answer within");
        assert!(is_whole, "{path} has no answer in the time that a page waits: {text}");
        rows = text.matches("<tr><td").count();
    }
    took.sort();
    (took, rows)
}

async fn run(path: &Path, words: &[String]) {
    let (jobs, times) = (number(words, "--jobs", 1_000_000), number(words, "--times", 20).max(1));
    let store = Arc::new(SqliteRegistry::open(path).unwrap());
    let driver = WorkDriver::producer(store.clone());
    let begin = Instant::now();
    fill(&driver, jobs).await;
    println!("{jobs} jobs in {:.1} s", begin.elapsed().as_secs_f64());
    println!("{:>9} {:>9} {:>5}  page", "median", "longest", "rows");
    let pages = [
        "/".to_owned(),
        "/jobs".to_owned(),
        "/jobs?state=ready".to_owned(),
        "/jobs?state=abandoned".to_owned(),
        "/jobs?queue=queue-4".to_owned(),
        "/jobs?kind=kind-3".to_owned(),
        "/jobs?state=cancelled&kind=kind-3".to_owned(),
        "/jobs?error=resolved".to_owned(),
        "/jobs?error=nowhere".to_owned(),
        "/jobs?kind=none".to_owned(),
        format!("/jobs/{}", jobs.div_ceil(2)),
    ];
    for page in pages {
        let (took, rows) = ask(&store, &page, times).await;
        let ms = |took: Duration| format!("{:.1} ms", took.as_secs_f64() * 1e3);
        let (median, longest) = (ms(took[took.len() / 2]), ms(took[took.len() - 1]));
        println!("{median:>9} {longest:>9} {rows:>5}  {page}");
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let store = format!("lastout-console-soak-{}.db", std::process::id());
    let store = Store(std::env::temp_dir().join(store));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run(&store.0, &words));
}
