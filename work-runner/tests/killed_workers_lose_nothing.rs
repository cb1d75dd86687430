//! A worker process that is killed, frozen or cut off loses no job and writes nothing late.
#![cfg(feature = "sqlite")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "real processes, and a test fails by panicking"
)]

mod support;

use lastout_work_runner::sqlite::SqliteRegistry;
use lastout_work_runner::{NewJob, Query, Registry, State, WorkDriver};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::history;
use support::worker_process::{WorkerProcess, note, notes, noting_job, noting_runner, role};
use support::{Folder, PATIENCE, eventually};

const ENTRY: &str = "a_worker_when_asked_to_be_one";

/// Not a test by itself: the child processes of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_when_asked_to_be_one() {
    let Some((role, store)) = role() else {
        return;
    };
    let registry: Arc<dyn Registry> = Arc::new(SqliteRegistry::open(&store).unwrap());
    let (runner, worker) = noting_runner(registry, &role);
    let _running = runner.spawn();
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let stats = worker.stats();
        if stats.fenced > 0 || stats.lost > 0 {
            let line =
                format!("fenced {} lost {} written {}", stats.fenced, stats.lost, stats.succeeded);
            note(&Path::new(&store).with_extension("fenced"), &line);
        }
    }
}

fn open(folder: &Folder) -> (Arc<dyn Registry>, WorkDriver, String) {
    let path = folder.path().join("jobs.db");
    let registry: Arc<dyn Registry> = Arc::new(SqliteRegistry::open(&path).unwrap());
    let driver = WorkDriver::producer(Arc::clone(&registry));
    (registry, driver, path.to_str().unwrap().to_owned())
}

async fn started(log: &Path, count: usize) {
    let starts =
        async || notes(log).iter().filter(|line| line.starts_with("start")).count() >= count;
    eventually("the jobs start", starts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_mid_job_is_recovered_within_a_second() {
    let folder = Folder::new();
    let (registry, driver, store) = open(&folder);
    let log = folder.path().join("log");
    let mut victim = WorkerProcess::start(ENTRY, "victim", &store);
    let long = driver.enqueue(noting_job(&log, 600_000)).await.unwrap().id();
    started(&log, 1).await;
    // The survivor knows the victim only by the store.
    let (runner, worker) = noting_runner(registry, "survivor");
    let running = runner.spawn();
    eventually("the survivor looks", async || worker.stats().peeks > 0).await;
    victim.kill();
    let killed = Instant::now();
    started(&log, 2).await;
    let took = killed.elapsed();
    let row = driver.get(long).await.unwrap().unwrap();
    assert_eq!((row.state, row.crashes, row.attempt), (State::Running, 1, 2));
    assert!(notes(&log)[1].ends_with("survivor"));
    // The lease of the victim had up to 1.5 s left; its death was proven instead. The promise of one
    // second is for a machine with time to spare, this one may have none.
    assert!(took < Duration::from_secs(20), "{took:?}");
    driver.cancel(long).await.unwrap();
    let report = running.stop(Duration::from_secs(10)).await;
    assert!(report.is_clean(), "{report}");
}

/// It takes a signal to freeze a process.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_worker_is_refused_when_it_wakes() {
    let folder = Folder::new();
    let (registry, driver, store) = open(&folder);
    let log = folder.path().join("log");
    let zombie = WorkerProcess::start(ENTRY, "zombie", &store);
    let id = driver.enqueue(noting_job(&log, 1000)).await.unwrap().id();
    started(&log, 1).await;
    zombie.freeze();
    // It lives, so nothing is proven: its lease must run out.
    let (runner, worker) = noting_runner(registry, "survivor");
    let running = runner.spawn();
    let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
    assert_eq!((row.state, row.fence.0, row.crashes), (State::Succeeded, 2, 1), "{row:?}");
    assert_eq!(worker.stats().recovered, 1);
    zombie.thaw();
    let fenced = Path::new(&store).with_extension("fenced");
    eventually("the zombie notices", async || !notes(&fenced).is_empty()).await;
    let told = notes(&fenced).pop().unwrap();
    assert!(told.ends_with("written 0"), "nothing of its own was written: {told}");
    assert_eq!(driver.get(id).await.unwrap().unwrap(), row, "the zombie changed nothing");
    assert!(running.stop(PATIENCE).await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_under_constant_kills_end_every_job_once() {
    const JOBS: usize = 400;
    let folder = Folder::new();
    let (_registry, driver, store) = open(&folder);
    history::sqlite::note_in(Path::new(&store));
    let log = folder.path().join("log");
    let jobs = (0..JOBS).map(|_| noting_job(&log, 5)).collect();
    let ids = driver.enqueue_all(jobs).await.unwrap();
    let mut workers =
        [WorkerProcess::start(ENTRY, "a", &store), WorkerProcess::start(ENTRY, "b", &store)];
    // Eight kills, each after more work was done, so in whatever phase the victim is.
    for round in 0..8 {
        let before = notes(&log).len();
        started(&log, (before / 2 + 10).min(JOBS)).await;
        let victim = &mut workers[round % 2];
        victim.kill();
        *victim = WorkerProcess::start(ENTRY, &format!("{round}"), &store);
    }
    for job in &ids {
        let row = driver.wait(job.id(), PATIENCE).await.unwrap().unwrap();
        assert!(row.state.is_terminal(), "{row:?}");
    }
    let rows = driver.list(Query::all().limit(JOBS + 1)).await.unwrap();
    assert_eq!(rows.len(), JOBS, "I1: no job is lost");
    let mut seen = HashSet::new();
    for line in notes(&log).iter().filter(|line| line.starts_with("start")) {
        let words: Vec<_> = line.split(' ').collect();
        assert!(seen.insert((words[1].to_owned(), words[2].to_owned())), "run twice: {line}");
    }
    assert!(rows.iter().all(|row| row.state == State::Succeeded), "{rows:?}");
    let sums = history::check(&history::sqlite::read(Path::new(&store)));
    assert_eq!((sums.born, sums.ended), (JOBS as u64, JOBS as u64));
    assert!(sums.claims >= seen.len() as u64, "what ran was claimed: {sums:?}");
    assert!(workers.iter_mut().all(|worker| !worker.is_over()), "nobody gave up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_kills_its_worker_is_set_aside_and_its_neighbours_end() {
    let folder = Folder::new();
    let (_registry, driver, store) = open(&folder);
    let log = folder.path().join("log");
    let poison = NewJob::new("poison", &()).unwrap().max_crashes(2);
    let poison = driver.enqueue(poison).await.unwrap().id();
    let neighbours = (0..20).map(|_| noting_job(&log, 30)).collect();
    let neighbours = driver.enqueue_all(neighbours).await.unwrap();
    let mut worker = WorkerProcess::start("a_worker_that_may_be_poisoned", "0", &store);
    let ended = async || driver.get(poison).await.unwrap().unwrap().state.is_terminal();
    let mut round = 0;
    while !ended().await {
        if worker.is_over() {
            round += 1;
            assert!(round < 10, "it is set aside sooner");
            worker =
                WorkerProcess::start("a_worker_that_may_be_poisoned", &round.to_string(), &store);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let row = driver.get(poison).await.unwrap().unwrap();
    assert_eq!((row.state, row.crashes), (State::Dead, 2), "{row:?}");
    // What killed its last worker is set aside by the next one, which goes on.
    for job in neighbours {
        let row = driver.wait(job.id(), PATIENCE).await.unwrap().unwrap();
        assert_eq!(row.state, State::Succeeded, "{row:?}");
        assert!(row.crashes <= 2, "never set aside for a neighbour: {row:?}");
    }
}

/// Not a test by itself: a worker one of whose jobs ends the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_may_be_poisoned() {
    let Some((_, store)) = role() else {
        return;
    };
    use lastout_work_runner::{DurableWorker, Job, WorkRunner};
    let registry: Arc<dyn Registry> = Arc::new(SqliteRegistry::open(&store).unwrap());
    let worker = DurableWorker::builder(registry)
        .lease(support::worker_process::short_lease())
        .handle("poison", |_: Job<()>| async {
            if true {
                std::process::abort();
            }
            Ok(())
        })
        .handle("note", |job: Job<(String, u64)>| async move {
            tokio::time::sleep(Duration::from_millis(job.payload.1)).await;
            Ok(())
        })
        .build()
        .unwrap();
    WorkRunner::inline(worker).poll(Duration::from_millis(100)).spawn().await;
}
