//! Our crate, as a program uses it.

use crate::raw_sqlite::File;
use lastout_work_runner::sqlite::{Durability, SqliteOptions, SqliteRegistry};
use lastout_work_runner::{DurableWorker, Job, NewJob, Registry};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub fn noop_jobs(count: usize) -> Vec<NewJob> {
    // 64 bytes of JSON.
    let payload = format!("\"{}\"", "x".repeat(62)).into_bytes();
    (0..count).map(|_| NewJob::raw("noop", payload.clone())).collect()
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Jobs per second from the first claim until the last completion is durable.
pub async fn run_all(
    registry: Arc<dyn Registry>,
    jobs: usize,
    places: usize,
    prefetch: usize,
) -> f64 {
    fill(&registry, jobs).await;
    run_filled(registry, jobs, places, prefetch).await
}

async fn fill(registry: &Arc<dyn Registry>, jobs: usize) {
    for chunk in 0..jobs.div_ceil(5000) {
        let count = 5000.min(jobs - chunk * 5000);
        registry.enqueue(noop_jobs(count)).await.unwrap();
    }
}

async fn run_filled(
    registry: Arc<dyn Registry>,
    jobs: usize,
    places: usize,
    prefetch: usize,
) -> f64 {
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ran);
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .queue("default", places)
        .prefetch(prefetch)
        .handle("noop", move |_: Job<String>| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok(()))
        })
        .build()
        .unwrap();
    let start = Instant::now();
    worker.run_until_idle().await.unwrap();
    let rate = jobs as f64 / start.elapsed().as_secs_f64();
    assert_eq!(ran.load(Ordering::Relaxed), jobs);
    let stats = worker.stats();
    assert_eq!(stats.succeeded as usize, jobs, "{stats:?}");
    if std::env::var_os("LASTOUT_BENCH_STATS").is_some() {
        eprintln!("{stats:?}");
    }
    let report = lastout_work_runner::RunHandle::stop(
        &lastout_work_runner::InlineRunHandle::new(worker),
        std::time::Duration::from_secs(10),
    )
    .await;
    assert!(report.is_clean(), "{report}");
    rate
}

pub fn sqlite_cycle(dir: &Path, durability: Durability, jobs: usize) -> f64 {
    let file = File::new(dir);
    let options = SqliteOptions::new().durability(durability);
    let registry = Arc::new(SqliteRegistry::open_with(file.path(), &options).unwrap());
    runtime().block_on(run_all(registry, jobs, 256, 1024))
}

/// Single enqueues, each acknowledged before the next of its caller.
pub fn sqlite_enqueue(dir: &Path, callers: usize, jobs: usize) -> f64 {
    let file = File::new(dir);
    let options = SqliteOptions::new().durability(Durability::Normal);
    let registry = Arc::new(SqliteRegistry::open_with(file.path(), &options).unwrap());
    runtime().block_on(async {
        let job = noop_jobs(1).remove(0);
        let start = Instant::now();
        let mut tasks = Vec::new();
        for _ in 0..callers {
            let (registry, job) = (Arc::clone(&registry), job.clone());
            tasks.push(tokio::spawn(async move {
                for _ in 0..jobs / callers {
                    registry.enqueue(vec![job.clone()]).await.unwrap();
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        (jobs / callers * callers) as f64 / start.elapsed().as_secs_f64()
    })
}

/// Throughput with a million ended jobs in the file.
pub fn sqlite_cycle_aged(dir: &Path, ended: usize, jobs: usize) -> f64 {
    let file = File::new(dir);
    let options = SqliteOptions::new().durability(Durability::Normal);
    let registry = Arc::new(SqliteRegistry::open_with(file.path(), &options).unwrap());
    runtime().block_on(async {
        if ended > 0 {
            run_all(Arc::clone(&registry) as Arc<dyn Registry>, ended, 256, 1024).await;
        }
        run_all(registry, jobs, 256, 1024).await
    })
}

/// How long a beat through one registry waits while another one claims and completes without a pause:
/// the 99th of a hundred, because on a machine that runs other things the worst one is the machine's.
async fn beat_beside_claims(busy: Arc<dyn Registry>, other: Arc<dyn Registry>, jobs: usize) -> f64 {
    let worker = lastout_work_runner::WorkerId::random();
    let ttl = std::time::Duration::from_secs(60);
    other.register(worker, lastout_work_runner::Identity::current().into(), ttl).await.unwrap();
    // An enqueue of thousands is one transaction and holds the lock as long: it is not what is measured.
    fill(&busy, jobs).await;
    let load = tokio::spawn(run_filled(busy, jobs, 256, 1024));
    let mut waits = Vec::new();
    while !load.is_finished() {
        let start = Instant::now();
        assert!(other.beat(worker, ttl).await.unwrap());
        waits.push(start.elapsed().as_secs_f64() * 1000.0);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    load.await.unwrap();
    waits.sort_by(f64::total_cmp);
    if std::env::var_os("LASTOUT_BENCH_STATS").is_some() {
        eprintln!("{waits:.1?}");
    }
    waits[(waits.len() - 1) * 99 / 100]
}

pub fn sqlite_beat_beside_claims(dir: &Path, jobs: usize) -> f64 {
    let file = File::new(dir);
    let options = SqliteOptions::new().durability(Durability::Normal);
    let open = || Arc::new(SqliteRegistry::open_with(file.path(), &options).unwrap());
    let (busy, other) = (open(), open());
    runtime().block_on(beat_beside_claims(busy, other, jobs))
}

/// Milliseconds from an enqueue to the start of its handler: the median of many, one at a time.
pub async fn poke_to_start(
    registry: Arc<dyn Registry>,
    producer: Arc<dyn Registry>,
    rounds: usize,
) -> f64 {
    use lastout_work_runner::{WorkDriver, WorkRunner};
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .handle("noop", move |_: Job<String>| {
            started.send(Instant::now()).unwrap();
            std::future::ready(Ok(()))
        })
        .build()
        .unwrap();
    let running = WorkRunner::inline(worker).poll(std::time::Duration::from_secs(3600)).spawn();
    let driver = WorkDriver::producer(producer);
    let mut waits = Vec::new();
    for round in 0..rounds + 20 {
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
        let before = Instant::now();
        driver.enqueue(noop_jobs(1).remove(0)).await.unwrap();
        let start = starts.recv().await.unwrap();
        if round >= 20 {
            waits.push(start.saturating_duration_since(before).as_secs_f64() * 1000.0);
        }
    }
    drop(running);
    waits.sort_by(f64::total_cmp);
    waits[waits.len() / 2]
}

pub fn sqlite_poke(dir: &Path, rounds: usize) -> f64 {
    let file = File::new(dir);
    let options = SqliteOptions::new().durability(Durability::Normal);
    let registry = Arc::new(SqliteRegistry::open_with(file.path(), &options).unwrap());
    runtime().block_on(poke_to_start(Arc::clone(&registry) as Arc<dyn Registry>, registry, rounds))
}

pub mod postgres {
    use super::{beat_beside_claims, noop_jobs, poke_to_start, run_all, runtime};
    use crate::raw_postgres::{Database, run};
    use lastout_work_runner::Registry;
    use lastout_work_runner::postgres::PostgresRegistry;
    use std::sync::Arc;
    use std::time::Instant;

    async fn open(database: &Database) -> Arc<dyn Registry> {
        Arc::new(PostgresRegistry::connect(&database.config()).await.unwrap())
    }

    pub fn cycle(server: &str, jobs: usize, pinned: bool) -> f64 {
        let database = Database::create(server);
        runtime().block_on(async {
            let registry = open(&database).await;
            let config = database.config();
            let (client, connection) =
                tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
            let driver = tokio::spawn(async move { drop(connection.await) });
            if pinned {
                let pin =
                    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM lastout.jobs";
                client.batch_execute(pin).await.unwrap();
            }
            let rate = run_all(registry, jobs, 512, 2048).await;
            drop(client);
            driver.await.unwrap();
            rate
        })
    }

    /// Throughput with that many ended jobs in the table.
    pub fn cycle_aged(server: &str, ended: usize, jobs: usize) -> f64 {
        let database = Database::create(server);
        runtime().block_on(async {
            let registry = open(&database).await;
            if ended > 0 {
                // As a run of them would have left the rows.
                let fill = format!(
                    "INSERT INTO lastout.jobs (id, rank, run_at, created_at, ended_at, fence, owner, attempt, \
                     state, queue, kind, priority, max_attempts, max_crashes, payload) \
                     SELECT nextval('lastout.job_id'), n, n, n, n, 1, 1, 1, 4, 'default', 'noop', 0, 20, 3, \
                     decode(repeat('31', 64), 'hex') FROM generate_series(1, {ended}) n; \
                     VACUUM ANALYZE lastout.jobs"
                );
                for statement in fill.split("; ") {
                    run(&database.config(), statement).await;
                }
            }
            // Else the pages that the filling left dirty are written out by whoever comes next.
            run(&database.config(), "CHECKPOINT").await;
            run_all(registry, jobs, 512, 2048).await
        })
    }

    pub fn beat(server: &str, jobs: usize) -> f64 {
        let database = Database::create(server);
        runtime().block_on(async {
            let (busy, other) = (open(&database).await, open(&database).await);
            beat_beside_claims(busy, other, jobs).await
        })
    }

    /// Jobs per second of one call: one transaction, as the COPY beside it.
    pub fn enqueue(server: &str, jobs: usize) -> f64 {
        let database = Database::create(server);
        runtime().block_on(async {
            let registry = open(&database).await;
            let all = noop_jobs(jobs);
            let start = Instant::now();
            assert_eq!(registry.enqueue(all).await.unwrap().len(), jobs);
            jobs as f64 / start.elapsed().as_secs_f64()
        })
    }

    /// From an enqueue in one registry to a start in another one: over NOTIFY.
    pub fn poke(server: &str, rounds: usize) -> f64 {
        let database = Database::create(server);
        runtime().block_on(async {
            let (here, there) = (open(&database).await, open(&database).await);
            run(&database.config(), "ANALYZE").await;
            poke_to_start(here, there, rounds).await
        })
    }
}
