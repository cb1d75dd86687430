//! A worker process that dies in any phase of its work leaves a store from which another one goes on:
//! every job ends once, by the store's own history.
#![cfg(feature = "sqlite")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "real processes, and a test fails by panicking"
)]

mod support;

use lastout_work_runner::sqlite::SqliteRegistry;
use lastout_work_runner::{
    DurableWorker, Job, JobId, NewJob, Registry, State, WorkDriver, WorkRunner,
};
use rusqlite::{Connection, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::faulty::{Faulty, Moment, Verdict};
use support::history;
use support::worker_process::{
    WorkerProcess, leased_runner, long_lease, notes, noting_job, noting_runner, role, short_lease,
};
use support::{Folder, PATIENCE, eventually};

const ENTRY: &str = "a_worker_when_asked_to_be_one";
const JOBS: usize = 6;

/// Where a worker dies: `CALL before`, with the store untouched, or `CALL after`, with the call
/// committed and its answer lost; or in a handler.
const PHASES: &[&str] = &[
    "register before",
    "register after",
    "claim before",
    "claim after",
    "mark_started before",
    "mark_started after",
    "handler start",
    "handler end",
    "complete before",
    "complete after",
    "beat after",
    "save after",
    "deregister before",
    "deregister after",
];

/// Not a test by itself: the child processes of the others, which die in the phase that is their role.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_when_asked_to_be_one() {
    let Some((phase, store)) = role() else {
        return;
    };
    let inner: Arc<dyn Registry> = Arc::new(SqliteRegistry::open(&store).unwrap());
    let dies_in = phase.clone();
    let registry = Faulty::before(inner, move |call, moment| {
        let here = match moment {
            Moment::Before => format!("{call} before"),
            Moment::After => format!("{call} after"),
        };
        if here == dies_in {
            std::process::abort();
        }
        Verdict::Pass
    });
    let dies_in = phase.clone();
    let worker = DurableWorker::builder(registry)
        .lease(short_lease())
        .queue("default", 2)
        .handle("note", move |job: Job<(String, u64)>| {
            let phase = dies_in.clone();
            async move {
                if phase == "handler start" {
                    std::process::abort();
                }
                job.save(&1).await?;
                tokio::time::sleep(Duration::from_millis(job.payload.1)).await;
                if phase == "handler end" {
                    std::process::abort();
                }
                Ok(())
            }
        })
        .build()
        .unwrap();
    let running = WorkRunner::inline(worker).poll(Duration::from_millis(50)).spawn();
    if phase.starts_with("deregister") {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let _ = running.stop(Duration::from_secs(5)).await;
    } else {
        running.await;
    }
}

fn open(store: &Path) -> (Arc<dyn Registry>, WorkDriver) {
    let registry: Arc<dyn Registry> = Arc::new(SqliteRegistry::open(store).unwrap());
    (Arc::clone(&registry), WorkDriver::producer(registry))
}

/// Another worker ends what the dead one left, and the history agrees.
async fn survive(store: &Path, registry: Arc<dyn Registry>, jobs: &[JobId], crashes: i32) {
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let (runner, worker) = noting_runner(registry, "survivor");
    let running = runner.spawn();
    for id in jobs {
        let row = driver.wait(*id, PATIENCE).await.unwrap().unwrap();
        assert_eq!(row.state, State::Succeeded, "{row:?}");
        assert!(row.crashes <= crashes, "one death is one crash at the most: {row:?}");
    }
    assert!(running.stop(PATIENCE).await.is_clean());
    assert_eq!(worker.stats().lost, 0);
    let sums = history::check(&history::sqlite::read(store));
    assert_eq!(sums.ended, jobs.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_any_two_calls() {
    let folder = Folder::new();
    for phase in PHASES {
        let store = folder.path().join(format!("{}.db", phase.replace(' ', "-")));
        let (registry, driver) = open(&store);
        history::sqlite::note_in(&store);
        let log = folder.path().join("log");
        // A beat comes only once the jobs have run for a while.
        let length = if *phase == "beat after" { 600_000 } else { 20 };
        let mut ids = Vec::new();
        for _ in 0..JOBS {
            ids.push(driver.enqueue(noting_job(&log, length)).await.unwrap().id());
        }
        if phase.starts_with("mark_started") {
            charge_one_crash(&store);
        }
        let mut victim = WorkerProcess::start(ENTRY, phase, store.to_str().unwrap());
        victim.aborts(phase).await;
        if *phase == "beat after" {
            shorten(&store);
        }
        // Two: the one that it was charged with beforehand, and this one.
        let crashes = if *phase == "mark_started after" { 2 } else { 1 };
        survive(&store, registry, &ids, crashes).await;
    }
}

/// Jobs that crashed once before: their next start is recorded.
fn charge_one_crash(store: &Path) {
    let conn = Connection::open(store).unwrap();
    conn.busy_timeout(PATIENCE).unwrap();
    conn.execute("UPDATE lastout_jobs SET crashes = 1, max_crashes = 5", []).unwrap();
}

/// Jobs that were long enough to outlive a beat need not be as long for the survivor.
fn shorten(store: &Path) {
    let conn = Connection::open(store).unwrap();
    conn.busy_timeout(PATIENCE).unwrap();
    let sql = "UPDATE lastout_jobs SET payload = CAST(replace(payload, '600000', '1') AS BLOB)";
    conn.execute(sql, []).unwrap();
}

/// Makes every claim (3) or every completion (4) hang inside its transaction.
fn hang_in(store: &Path, state: i16) {
    let conn = Connection::open(store).unwrap();
    conn.execute_batch(&format!(
        "CREATE VIEW for_ever AS WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) \
         SELECT count(*) AS n FROM c; \
         CREATE TRIGGER hang AFTER UPDATE OF state ON lastout_jobs WHEN NEW.state = {state} BEGIN \
         INSERT INTO history SELECT NULL, n, 0, 0, 0, 0, 0, 0 FROM for_ever; END;"
    ))
    .unwrap();
}

/// Whether somebody holds the write lock, and goes on holding it.
async fn is_hung(store: PathBuf) -> bool {
    let mut conn = Connection::open(store).unwrap();
    conn.busy_timeout(Duration::ZERO).unwrap();
    for _ in 0..100 {
        if conn.transaction_with_behavior(TransactionBehavior::Immediate).is_ok() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inside_the_transaction_of_a_claim_and_of_a_completion() {
    let folder = Folder::new();
    for (name, state) in [("claim", State::Running), ("complete", State::Succeeded)] {
        let store = folder.path().join(format!("{name}.db"));
        let (registry, driver) = open(&store);
        history::sqlite::note_in(&store);
        let log = folder.path().join("log");
        let jobs: Vec<NewJob> = (0..JOBS).map(|_| noting_job(&log, 5)).collect();
        let ids: Vec<_> =
            driver.enqueue_all(jobs).await.unwrap().iter().map(|new| new.id()).collect();
        hang_in(&store, state.code());
        let mut victim = WorkerProcess::start(ENTRY, "no phase", store.to_str().unwrap());
        eventually("it hangs in mid-transaction", async || is_hung(store.clone()).await).await;
        victim.kill();
        let conn = Connection::open(&store).unwrap();
        conn.busy_timeout(PATIENCE).unwrap();
        conn.execute_batch("DROP TRIGGER hang").unwrap();
        drop(conn);
        survive(&store, registry, &ids, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_counts_nothing_twice() {
    // The process lives; every fifth answer does not reach it.
    let folder = Folder::new();
    let store = folder.path().join("jobs.db");
    let (inner, driver) = open(&store);
    history::sqlite::note_in(&store);
    let calls = AtomicUsize::new(0);
    let registry = Faulty::before(inner, move |call, moment| {
        let turn = call == "claim" || call == "complete";
        if turn && moment == Moment::After && calls.fetch_add(1, Ordering::SeqCst) % 5 == 4 {
            return Verdict::Fail;
        }
        Verdict::Pass
    });
    let log = folder.path().join("log");
    let jobs = (0..200).map(|_| noting_job(&log, 1)).collect();
    let ids = driver.enqueue_all(jobs).await.unwrap();
    let (runner, worker) = leased_runner(registry, "deaf", long_lease());
    let running = runner.spawn();
    for job in &ids {
        let row = driver.wait(job.id(), PATIENCE).await.unwrap().unwrap();
        assert_eq!((row.state, row.crashes, row.attempt), (State::Succeeded, 0, 1), "{row:?}");
    }
    assert!(running.stop(PATIENCE).await.is_clean());
    let starts = notes(&log).iter().filter(|line| line.starts_with("start")).count();
    assert_eq!(starts, 200, "what was claimed without an answer was given back unrun");
    assert_eq!(history::check(&history::sqlite::read(&store)).ended, 200);
    let stats = worker.stats();
    assert!(stats.store_errors > 0, "{stats:?}");
    assert_eq!((stats.claimed, stats.in_flight, stats.lost), (stats.ended(), 0, 0), "{stats:?}");
}

#[test]
fn the_history_tells_what_it_is_read_for() {
    use history::{Change, check};
    let change = |from: i16, to: i16, fence_from, fence_to| Change {
        job: 1,
        from,
        to,
        fence_from,
        fence_to,
        attempts_over: 0,
        crashes_over: 0,
    };
    let (born, claimed, done) = (change(-1, 2, 0, 0), change(2, 3, 0, 1), change(3, 4, 1, 1));
    assert_eq!(check(&[born, claimed, done]).ended, 1);
    let bad: [&[Change]; 7] = [
        // I1: it never ended.
        &[born, claimed],
        // I2: it ended twice.
        &[born, claimed, done, change(4, 2, 1, 1), change(2, 3, 1, 2), change(3, 4, 2, 2)],
        // I3: a fence fell, rose by two, or rose without a claim.
        &[born, claimed, change(3, 4, 1, 0)],
        &[born, change(2, 3, 0, 2), change(3, 4, 2, 2)],
        &[born, claimed, change(3, 4, 1, 2)],
        // I4: an attempt too many.
        &[born, claimed, Change { attempts_over: 1, ..done }],
        // No edge leads from an end to another one.
        &[born, claimed, done, change(4, 7, 1, 1)],
    ];
    for changes in bad {
        let changes = changes.to_vec();
        let caught = std::panic::catch_unwind(move || check(&changes));
        assert!(caught.is_err(), "{caught:?}");
    }
}
