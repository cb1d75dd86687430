//! A storm for minutes: worker processes on one store, killed, frozen and thawed at random, while jobs
//! of every temper are enqueued; at the end the sums and the invariants, from the store's own rows.
//!
//! `--minutes N --seed S`; on SQLite, and on PostgreSQL too when `LASTOUT_POSTGRES` names a server.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "real processes; a soak fails by panicking and prints its sums"
)]

#[path = "../tests/support/history.rs"]
mod history;

use lastout_work_runner::{
    Backoff, DurableWorker, Job, JobError, LeaseTimings, NewJob, Recovery, Registry, State,
    WorkDriver, WorkRunner,
};
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROLE: &str = "LASTOUT_SOAK_WORKER";
const WORKERS: usize = 4;
/// How long everything may take to end once the storm is over.
const PATIENCE: Duration = Duration::from_secs(180);

/// A small generator that can be replayed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // A linear congruential step, of which the high bits are good enough for dice.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

async fn open(store: &str) -> Arc<dyn Registry> {
    match store.strip_prefix("postgres:") {
        Some(config) => Arc::new(
            lastout_work_runner::postgres::PostgresRegistry::connect(config).await.unwrap(),
        ),
        None => Arc::new(lastout_work_runner::sqlite::SqliteRegistry::open(store).unwrap()),
    }
}

async fn be_a_worker(store: &str) {
    let fast = Backoff::new(Duration::from_millis(5), Duration::from_millis(50));
    let worker = DurableWorker::builder(open(store).await)
        .lease(LeaseTimings::new(Duration::from_secs(6), Duration::from_secs(1)).unwrap())
        .wedged_after(Duration::from_secs(10))
        .queue("default", 16)
        .prefetch(16)
        .keep_ended(None)
        .handle_with_backoff("temper", fast, |job: Job<u64>| async move {
            tokio::time::sleep(Duration::from_millis(job.payload % 20)).await;
            match job.payload % 10 {
                0 => Err(JobError::retry("in a mood")),
                // A snooze is no attempt: only the fence tells how often it was put off.
                1 if job.lease().fence.0 < 3 => Err(JobError::snooze(Duration::from_millis(10))),
                2 => Err(JobError::discard("useless")),
                3 => panic!("as always"),
                4 => {
                    job.save(&job.attempt()).await?;
                    Ok(job.payload)
                }
                _ => Ok(job.payload),
            }
        })
        .build()
        .unwrap();
    std::panic::set_hook(Box::new(|_| ()));
    WorkRunner::inline(worker).poll(Duration::from_millis(100)).spawn().await;
}

struct Worker(Child);

impl Worker {
    fn start(store: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(ROLE, store).stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.0.id().to_string()]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn job(dice: &mut Dice) -> NewJob {
    let mut job = NewJob::new("temper", &dice.roll(1_000_000)).unwrap().max_attempts(4);
    if dice.roll(4) == 0 {
        job = job.limit(format!("key {}", dice.roll(3)), 3);
    }
    if dice.roll(6) == 0 {
        job = job.recovery(Recovery::NeverRerun);
    }
    if dice.roll(5) == 0 {
        job = job.delay(Duration::from_millis(dice.roll(500)));
    }
    job.priority(dice.roll(5) as i16)
}

async fn storm(store: &str, length: Duration, seed: u64) {
    println!("storm on {store}, seed {seed}");
    let mut dice = Dice(seed);
    let driver = WorkDriver::producer(open(store).await);
    match store.strip_prefix("postgres:") {
        Some(config) => run(config, history::postgres::TRIGGERS).await,
        None => history::sqlite::note_in(store.as_ref()),
    }
    let mut workers: Vec<_> = (0..WORKERS).map(|_| Worker::start(store)).collect();
    let (mut enqueued, mut kills, mut freezes) = (0_u64, 0, 0);
    let start = Instant::now();
    while start.elapsed() < length {
        let mut batch: Vec<_> = (0..dice.roll(60)).map(|_| job(&mut dice)).collect();
        if dice.roll(20) == 0 {
            // Enough for the bulk way of a store.
            let plain = |_| NewJob::new("temper", &dice.roll(1_000_000)).unwrap().max_attempts(4);
            batch.extend((0..250).map(plain));
        }
        let ids = driver.enqueue_all(batch).await.unwrap();
        enqueued += ids.len() as u64;
        let victim = dice.roll(WORKERS as u64) as usize;
        match dice.roll(6) {
            0 => {
                workers[victim] = Worker::start(store);
                kills += 1;
            }
            1 => {
                workers[victim].signal("-STOP");
                tokio::time::sleep(Duration::from_millis(dice.roll(8000))).await;
                workers[victim].signal("-CONT");
                freezes += 1;
            }
            2 => {
                if let Some(id) = ids.first() {
                    driver.cancel(id.id()).await.unwrap();
                }
            }
            _ => tokio::time::sleep(Duration::from_millis(dice.roll(300))).await,
        }
    }
    let until = Instant::now() + PATIENCE;
    let live = async || {
        let counts = driver.counts().await.unwrap();
        counts.iter().filter(|c| !c.state.is_terminal()).map(|c| c.jobs).sum::<u64>()
    };
    while live().await > 0 {
        assert!(Instant::now() < until, "everything ends: {:?}", driver.counts().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(workers);
    let mut sums = BTreeMap::<State, u64>::new();
    for count in driver.counts().await.unwrap() {
        *sums.entry(count.state).or_default() += count.jobs;
    }
    println!("  {sums:?}");
    assert_eq!(sums.values().sum::<u64>(), enqueued, "I1: enqueued = ended");
    // From the store's own notes, not from what any worker said.
    let changes = match store.strip_prefix("postgres:") {
        Some(config) => history::postgres::read(config).await,
        None => history::sqlite::read(store.as_ref()),
    };
    let sums = history::check(&changes);
    assert_eq!((sums.born, sums.ended), (enqueued, enqueued));
    println!(
        "  enqueued {enqueued}, kills {kills}, freezes {freezes}: {sums:?}, the invariants hold"
    );
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Ok(store) = std::env::var(ROLE) {
        return runtime.block_on(be_a_worker(&store));
    }
    let (mut minutes, mut seed) = (1.0, u64::from(std::process::id()));
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--minutes" => minutes = words.next().unwrap().parse().unwrap(),
            "--seed" => seed = words.next().unwrap().parse().unwrap(),
            // What `cargo test` adds.
            _ => {}
        }
    }
    let folder = std::env::temp_dir().join(format!("lastout-soak-work-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut stores = vec![folder.join("jobs.db").to_str().unwrap().to_owned()];
    if let Ok(server) = std::env::var("LASTOUT_POSTGRES") {
        let name = format!("lastout_soak_{}", std::process::id());
        runtime.block_on(run(&server, &format!("CREATE DATABASE {name}")));
        stores.push(format!("postgres:{server} dbname={name}"));
    }
    let each = Duration::from_secs_f64(minutes * 60.0 / stores.len() as f64);
    for store in &stores {
        runtime.block_on(storm(store, each, seed));
    }
    if let Ok(server) = std::env::var("LASTOUT_POSTGRES") {
        let name = format!("lastout_soak_{}", std::process::id());
        runtime.block_on(run(&server, &format!("DROP DATABASE {name} WITH (FORCE)")));
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

async fn run(config: &str, sql: &str) {
    let (client, connection) =
        tokio_postgres::connect(config, tokio_postgres::NoTls).await.unwrap();
    let (_, done) = tokio::join!(connection, async {
        let done = client.batch_execute(sql).await;
        drop(client);
        done
    });
    done.unwrap();
}
