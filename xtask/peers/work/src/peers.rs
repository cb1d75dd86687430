//! The peers, each set up as its own documentation says for throughput. Executed means that the
//! handler was called: several of them complete later, which flatters them.

use crate::raw_sqlite::File;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

static RAN: AtomicUsize = AtomicUsize::new(0);

/// How long a peer may take for a round before the round counts as missing.
const PATIENCE: Duration = Duration::from_secs(60);

async fn rate_of(jobs: usize, start: Instant) -> f64 {
    while RAN.load(Ordering::Relaxed) < jobs {
        if start.elapsed() > PATIENCE {
            eprintln!(
                "only {} of {jobs} jobs ran within {PATIENCE:?}",
                RAN.load(Ordering::Relaxed)
            );
            return f64::NAN;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    jobs as f64 / start.elapsed().as_secs_f64()
}

/// effectum is a program of its own, built with this one by `cargo xtask bench` and found beside it.
pub fn effectum(dir: &Path, jobs: usize) -> f64 {
    let file = File::new(dir);
    let program = std::env::current_exe().unwrap().with_file_name("lastout-bench-work-effectum");
    let output = Command::new(&program)
        .arg(file.path().parent().unwrap())
        .arg(jobs.to_string())
        .output()
        .unwrap_or_else(|error| {
            panic!("{}, of the package ./effectum: {error}", program.display())
        });
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or_else(|_| {
        eprintln!("effectum: {}", String::from_utf8_lossy(&output.stderr));
        f64::NAN
    })
}

mod river {
    use riverqueue::{BoxError, Job, JobArgs, WorkContext, WorkOutcome};
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, Deserialize, JobArgs, Serialize)]
    #[river(kind = "noop")]
    pub struct Noop {
        pub x: String,
    }

    pub async fn noop(_: WorkContext, _: Job<Noop>) -> Result<WorkOutcome, BoxError> {
        super::RAN.fetch_add(1, super::Ordering::Relaxed);
        Ok(WorkOutcome::Complete)
    }

    pub fn jobs(count: usize) -> Vec<Noop> {
        (0..count).map(|_| Noop { x: "x".repeat(56) }).collect()
    }
}

pub fn riverqueue_sqlite(dir: &Path, full: bool, jobs: usize) -> f64 {
    use riverqueue::sqlx::sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    };
    use riverqueue::{Client, QueueConfig, Workers, migrate::SqliteMigrator};
    let file = File::new(dir);
    let level = if full { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
    crate::ours::runtime().block_on(async {
        let options = SqliteConnectOptions::new()
            .filename(file.path())
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(level)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
        SqliteMigrator::new(pool.clone()).migrate_up().await.unwrap();
        let mut workers = Workers::new();
        workers.add_fn(river::noop).unwrap();
        let client = Client::builder(pool)
            .workers(workers)
            .queue("default", QueueConfig::new(1000))
            .fetch_cooldown(Duration::from_millis(2))
            .build()
            .unwrap();
        for chunk in 0..jobs.div_ceil(1000) {
            client.insert_many(river::jobs(1000.min(jobs - chunk * 1000))).await.unwrap();
        }
        RAN.store(0, Ordering::Relaxed);
        let start = Instant::now();
        let mut run = client.start().unwrap();
        let rate = rate_of(jobs, start).await;
        run.stop().await.unwrap();
        rate
    })
}

pub fn riverqueue_postgres(url: &str, jobs: usize) -> f64 {
    use riverqueue::sqlx::PgPool;
    use riverqueue::{Client, QueueConfig, Workers, migrate::PostgresMigrator};
    crate::ours::runtime().block_on(async {
        let pool = PgPool::connect(url).await.unwrap();
        PostgresMigrator::new(pool.clone()).migrate_up().await.unwrap();
        let mut workers = Workers::new();
        workers.add_fn(river::noop).unwrap();
        let client = Client::builder(pool.clone())
            .workers(workers)
            .queue("default", QueueConfig::new(1000))
            .fetch_cooldown(Duration::from_millis(2))
            .build()
            .unwrap();
        for chunk in 0..jobs.div_ceil(1000) {
            client.insert_many(river::jobs(1000.min(jobs - chunk * 1000))).await.unwrap();
        }
        RAN.store(0, Ordering::Relaxed);
        let start = Instant::now();
        let mut run = client.start().unwrap();
        let rate = rate_of(jobs, start).await;
        run.stop().await.unwrap();
        pool.close().await;
        rate
    })
}

pub fn graphile(config: &str, url: &str, jobs: usize) -> f64 {
    use graphile_worker::{
        IntoTaskHandlerResult, LocalQueueConfig, TaskHandler, WorkerContext, WorkerOptions,
    };
    #[derive(serde::Deserialize, serde::Serialize)]
    struct Noop {
        #[allow(dead_code, reason = "64 bytes to carry")]
        x: String,
    }
    impl TaskHandler for Noop {
        const IDENTIFIER: &'static str = "noop";

        async fn run(self, _: WorkerContext) -> impl IntoTaskHandlerResult {
            RAN.fetch_add(1, Ordering::Relaxed);
            Ok::<(), String>(())
        }
    }
    crate::ours::runtime().block_on(async {
        let worker = WorkerOptions::default()
            .database_url(url)
            .schema("graphile_worker")
            .concurrency(500)
            .local_queue(LocalQueueConfig::default().with_size(5000))
            .complete_job_batch_delay(Duration::from_millis(5))
            .define_job::<Noop>()
            .init()
            .await
            .unwrap();
        let fill = format!(
            "SELECT count(graphile_worker.add_job('noop', '{{\"x\":\"{}\"}}'::json)) \
             FROM generate_series(1, {jobs})",
            "x".repeat(56)
        );
        crate::raw_postgres::run(config, &fill).await;
        RAN.store(0, Ordering::Relaxed);
        let worker = std::sync::Arc::new(worker);
        let runs = std::sync::Arc::clone(&worker);
        let start = Instant::now();
        let task = tokio::spawn(async move { runs.run().await });
        let rate = rate_of(jobs, start).await;
        worker.request_shutdown();
        // Its shutdown may wait for more than the jobs; the round is measured.
        let _ = tokio::time::timeout(PATIENCE, task).await;
        rate
    })
}
