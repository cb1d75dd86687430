//! A file that cannot be used says why, and loses nothing.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::sqlite::{
    Durability, SqliteOptions, SqliteRegistry, complete_in, complete_statement, enqueue_in,
    enqueue_statement,
};
use lastout_work_runner::{
    Applied, Clock, DurableWorker, Identity, Job, NewJob, Outcome, Registry, Report, State,
    StoreErrorKind, TurnRequest, WorkDriver, WorkerId, WriteError,
};
use rusqlite::{Connection, TransactionBehavior};
use std::sync::Arc;
use std::time::Duration;
use support::Folder;

fn job() -> NewJob {
    NewJob::raw("any", b"1".to_vec())
}

fn kind(path: &std::path::Path) -> StoreErrorKind {
    SqliteRegistry::open(path).expect_err("it must not open").kind()
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_kept() {
    let folder = Folder::new();
    let path = folder.path().join("jobs.db");
    let text = "this is no database, whatever its name says. ".repeat(100);
    std::fs::write(&path, &text).unwrap();
    assert_eq!(kind(&path), StoreErrorKind::Corrupt);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "nothing was written over it");
}

#[tokio::test]
async fn another_version_is_refused_by_name() {
    let folder = Folder::new();
    let path = folder.path().join("jobs.db");
    drop(SqliteRegistry::open(&path).unwrap());
    let conn = Connection::open(&path).unwrap();
    conn.execute("UPDATE lastout_meta SET value = 99 WHERE key = 'schema'", []).unwrap();
    let StoreErrorKind::SchemaVersion { have: 99, want } = kind(&path) else {
        panic!("the version that was found: {:?}", kind(&path));
    };
    let error = SqliteRegistry::open(&path).unwrap_err().to_string();
    let text = format!("open the job store: the store has schema 99, this build wants {want}");
    assert_eq!(error, text);
}

#[tokio::test]
async fn a_folder_that_does_not_exist_is_an_error() {
    let folder = Folder::new();
    let path = folder.path().join("none").join("jobs.db");
    assert_eq!(kind(&path), StoreErrorKind::Other);
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_refused() {
    let folder = Folder::new();
    let path = folder.path().join("jobs.db");
    drop(SqliteRegistry::open(&path).unwrap());
    // The mode of a file does not stop root; that the name is a folder stops everybody.
    std::fs::create_dir(folder.path().join("folder.db")).unwrap();
    let error = SqliteRegistry::open(folder.path().join("folder.db")).unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
    // A store whose header says that only readers may use it, once nobody has it open.
    let closed = async || !path.with_extension("db-wal").exists();
    support::eventually("the last connection closes", closed).await;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[18] = 9;
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(kind(&path), StoreErrorKind::ReadOnly);
}

#[tokio::test]
async fn a_full_disk_is_said_and_everything_acknowledged_stays() {
    let folder = Folder::new();
    let path = folder.path().join("jobs.db");
    let registry = SqliteRegistry::open(&path).unwrap();
    // The file may not grow: as far as SQLite can tell, the disk is full.
    let before = registry.enqueue(vec![job()]).await.unwrap()[0].id();
    let conn = Connection::open(&path).unwrap();
    let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    drop(registry);
    drop(conn);
    let options = SqliteOptions::new().max_pages(pages + 2);
    let registry = SqliteRegistry::open_with(&path, &options).unwrap();
    let big = || NewJob::raw("big", vec![7; 100_000]);
    let error = registry.enqueue(vec![big()]).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Full, "{error:?}");
    let row = registry.fetch(vec![before]).await.unwrap().pop().unwrap();
    assert_eq!(row.state, State::Ready, "what was acknowledged is there");
    assert_eq!(
        registry.counts().await.unwrap().iter().map(|c| c.jobs).sum::<u64>(),
        1,
        "no half job"
    );
    drop(registry);
    let registry = SqliteRegistry::open(&path).unwrap();
    assert!(registry.enqueue(vec![big()]).await.unwrap()[0].is_new(), "with room again");
}

#[tokio::test]
async fn a_damaged_page_is_said_and_the_rest_of_the_crate_lives_on() {
    let folder = Folder::new();
    let path = folder.path().join("jobs.db");
    let registry = SqliteRegistry::open(&path).unwrap();
    registry.enqueue((0..500).map(|_| job()).collect()).await.unwrap();
    drop(registry);
    let closed = async || !path.with_extension("db-wal").exists();
    support::eventually("the last connection closes", closed).await;
    // Everything behind the first page, which holds the header and the names of the tables.
    let mut bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() > 8 * 4096);
    bytes[4096..].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();
    let error = match SqliteRegistry::open(&path) {
        Err(error) => error,
        Ok(registry) => registry.list(lastout_work_runner::Query::all()).await.unwrap_err(),
    };
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
    assert!(!error.is_transient(), "no use in trying again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_of_two_that_share_a_file_starves() {
    const JOBS: usize = 20_000;
    let folder = Folder::new();
    let path = folder.path().join("jobs.db");
    let options = SqliteOptions::new().durability(Durability::Normal);
    let open = || Arc::new(SqliteRegistry::open_with(&path, &options).unwrap());
    let shared: [Arc<dyn Registry>; 2] = [open(), open()];
    shared[0].enqueue((0..JOBS).map(|_| job()).collect()).await.unwrap();
    let workers = shared.clone().map(|registry| {
        DurableWorker::builder(registry)
            .queue("default", 64)
            .handle("any", |_: Job<u32>| std::future::ready(Ok(())))
            .build()
            .unwrap()
    });
    let (one, other) = tokio::join!(workers[0].run_until_idle(), workers[1].run_until_idle());
    assert!(one.is_ok() && other.is_ok());
    let shares = workers.each_ref().map(|worker| worker.stats().succeeded);
    assert_eq!(shares.iter().sum::<u64>() as usize, JOBS);
    assert!(shares.iter().all(|share| *share as usize >= JOBS / 20), "{shares:?}");
    for worker in &workers {
        assert!(worker.stop(support::PATIENCE).await.is_clean());
    }
}

#[tokio::test]
async fn ten_thousand_that_wait_are_not_read() {
    let folder = Folder::new();
    let registry = SqliteRegistry::open(folder.path().join("jobs.db")).unwrap();
    let later = || job().delay(Duration::from_secs(3600));
    registry.enqueue((0..10_000).map(|_| later()).collect()).await.unwrap();
    let worker = WorkerId::random();
    registry.register(worker, Identity::current().into(), Duration::from_secs(60)).await.unwrap();
    let peek = registry.peek(worker, vec!["default".into()], None).await.unwrap();
    assert!(!peek.ready && !peek.promotable, "{peek:?}");
    assert!(peek.next_due_ms.is_some_and(|ms| ms > 3_000_000), "it knows when to look again");
    let turn = TurnRequest::new(worker).claim("default", 100).promote();
    assert!(registry.turn(turn).await.unwrap().claimed.is_empty());
    let counts = registry.counts().await.unwrap();
    assert_eq!((counts.len(), counts[0].state, counts[0].jobs), (1, State::Scheduled, 10_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_file_is_waited_for() {
    let folder = Folder::new();
    let path = folder.path().join("jobs.db");
    let registry = SqliteRegistry::open(&path).unwrap();
    let mut conn = Connection::open(&path).unwrap();
    let lock = conn.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let enqueue = registry.enqueue(vec![job()]);
    let mut enqueue = std::pin::pin!(enqueue);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut enqueue).await;
    assert!(early.is_err(), "it waits while another process writes");
    lock.rollback().unwrap();
    assert!(enqueue.await.unwrap()[0].is_new());
}

#[tokio::test]
async fn a_set_wall_clock_ends_no_lease() {
    const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 3600 * 1000;
    for step in [TEN_YEARS_MS, -TEN_YEARS_MS] {
        let folder = Folder::new();
        let clock = Clock::manual();
        clock.step_wall(TEN_YEARS_MS * 2);
        let options = SqliteOptions::new().clock(clock.clone());
        let registry = SqliteRegistry::open_with(folder.path().join("jobs.db"), &options).unwrap();
        registry.enqueue(vec![job()]).await.unwrap();
        let worker = WorkerId::random();
        let ttl = Duration::from_secs(30);
        registry.register(worker, Identity::current().into(), ttl).await.unwrap();
        let turn = TurnRequest::new(worker).claim("default", 1);
        let lease = registry.turn(turn).await.unwrap().claimed[0].lease;
        clock.step_wall(step);
        assert_eq!(registry.sweep(vec![], 10).await.unwrap().jobs, 0, "stepped by {step}");
        assert!(registry.beat(worker, ttl).await.unwrap());
        clock.advance(Duration::from_secs(29));
        assert_eq!(registry.sweep(vec![], 10).await.unwrap().jobs, 0);
        clock.advance(Duration::from_secs(2));
        assert_eq!(registry.sweep(vec![], 10).await.unwrap().jobs, 1, "time itself ends it");
        let done = Report::new(lease, Outcome::Done { result: None });
        let turn = registry.turn(TurnRequest::new(worker).reports([done])).await.unwrap();
        assert!(matches!(turn.applied[0], Applied::Lost(_)));
    }
}

#[tokio::test]
async fn jobs_and_completions_share_the_callers_transaction() {
    let folder = Folder::new();
    let path = folder.path().join("jobs.db");
    let registry: Arc<dyn Registry> = Arc::new(SqliteRegistry::open(&path).unwrap());
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let mut conn = Connection::open(&path).unwrap();
    conn.execute("CREATE TABLE orders (id INTEGER)", []).unwrap();
    let behavior = TransactionBehavior::Immediate;

    let tx = conn.transaction_with_behavior(behavior).unwrap();
    let id = enqueue_in(&tx, &[job()]).unwrap()[0].id();
    tx.rollback().unwrap();
    assert_eq!(driver.get(id).await.unwrap(), None, "rolled back with the transaction");
    let tx = conn.transaction_with_behavior(behavior).unwrap();
    tx.execute("INSERT INTO orders VALUES (1)", []).unwrap();
    let id = enqueue_in(&tx, &[job(), job().unique("k")]).unwrap()[0].id();
    tx.commit().unwrap();
    assert_eq!(driver.get(id).await.unwrap().unwrap().state, State::Ready);

    let worker = WorkerId::random();
    registry.register(worker, Identity::current().into(), Duration::from_secs(60)).await.unwrap();
    let turn = TurnRequest::new(worker).claim("default", 1);
    let lease = registry.turn(turn).await.unwrap().claimed[0].lease;
    let tx = conn.transaction_with_behavior(behavior).unwrap();
    complete_in(&tx, lease, Some(b"7".to_vec())).unwrap();
    tx.commit().unwrap();
    let row = driver.get(id).await.unwrap().unwrap();
    assert_eq!((row.state, row.result_as::<u8>()), (State::Succeeded, Some(7)));
    let confirm = Report::new(lease, Outcome::Confirm);
    let turn = registry.turn(TurnRequest::new(worker).reports([confirm])).await.unwrap();
    assert_eq!(turn.applied, [Applied::Before], "the runner finds it completed");
    let tx = conn.transaction_with_behavior(behavior).unwrap();
    let mut stale = lease;
    stale.fence = lastout_work_runner::Fence(0);
    let refused = complete_in(&tx, stale, None).unwrap_err();
    assert!(matches!(refused, WriteError::LeaseLost(_)), "{refused:?}");
    let refused = complete_in(&tx, lease, Some(vec![b'1'; (1 << 20) + 1])).unwrap_err();
    assert!(matches!(refused, WriteError::TooLarge { limit: 0x10_0000, .. }), "{refused:?}");
}

/// As any client runs it: a text with one parameter, which is a text.
fn run(conn: &Connection, statement: &lastout_work_runner::ClientStatement) -> Vec<i64> {
    let mut prepared = conn.prepare(&statement.sql).unwrap();
    let ids = prepared.query_map([&statement.parameter], |row| row.get(0)).unwrap();
    ids.map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_statement_for_any_client_is_part_of_its_transaction() {
    let folder = Folder::new();
    let path = folder.path().join("jobs.db");
    let registry: Arc<dyn Registry> = Arc::new(SqliteRegistry::open(&path).unwrap());
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let mut conn = Connection::open(&path).unwrap();
    let behavior = TransactionBehavior::Immediate;
    let bytes: Vec<u8> = (0..=255).collect();
    let odd = NewJob::raw("odd \u{1F600} \"'\\", bytes.clone()).delay(Duration::from_secs(3600));
    let big = NewJob::raw("big", vec![7; 100_000]).queue("elsewhere").priority(-3);
    let hourly = || job().unique("h").unique_per(Duration::from_secs(1_000_000_000));
    let jobs = [job(), job().unique("k"), job().unique("k"), odd, big, hourly()];
    let statement = enqueue_statement(&jobs).unwrap();

    let tx = conn.transaction_with_behavior(behavior).unwrap();
    assert_eq!(run(&tx, &statement).len(), 5);
    tx.rollback().unwrap();
    let last = driver.enqueue(job().queue("before")).await.unwrap().id();
    let tx = conn.transaction_with_behavior(behavior).unwrap();
    let ids = run(&tx, &statement);
    assert_eq!((ids.len(), ids[0]), (5, last.0 + 1), "no id is given twice");
    assert!(run(&tx, &enqueue_statement(&jobs[1..3]).unwrap()).is_empty(), "the key is taken");
    assert!(run(&tx, &enqueue_statement(&[]).unwrap()).is_empty());
    tx.commit().unwrap();
    let get = async |id: i64| driver.get(lastout_work_runner::JobId(id)).await.unwrap().unwrap();
    assert_eq!(get(ids[1]).await.unique_key.as_deref(), Some("k"));
    let odd = get(ids[2]).await;
    assert_eq!(
        (&*odd.kind, odd.payload, odd.state),
        ("odd \u{1F600} \"'\\", bytes, State::Scheduled)
    );
    let big = get(ids[3]).await;
    assert_eq!((&*big.queue, big.payload, big.priority), ("elsewhere", vec![7; 100_000], -3));
    let taken = driver.enqueue(hourly()).await.unwrap();
    assert_eq!((taken.is_new(), taken.id().0), (false, ids[4]), "a key of a period is the same");
    assert!(driver.enqueue(job()).await.unwrap().id().0 > ids[4]);

    let worker = WorkerId::random();
    registry.register(worker, Identity::current().into(), Duration::from_secs(60)).await.unwrap();
    let turn = TurnRequest::new(worker).claim("default", 1);
    let lease = registry.turn(turn).await.unwrap().claimed[0].lease;
    let mut stale = lease;
    stale.fence = lastout_work_runner::Fence(0);
    let stale = complete_statement(stale, None).unwrap();
    assert!(run(&conn, &stale).is_empty());
    let done = complete_statement(lease, Some(b"7".to_vec())).unwrap();
    assert_eq!(done.sql, stale.sql, "one text, which a client may keep prepared");
    let refused = complete_statement(lease, Some(vec![b'1'; (1 << 20) + 1])).unwrap_err();
    assert!(matches!(refused, WriteError::TooLarge { limit: 0x10_0000, .. }), "{refused:?}");
    assert_eq!(run(&conn, &done), [lease.job.0]);
    assert!(run(&conn, &done).is_empty(), "once");
    let row = driver.get(lease.job).await.unwrap().unwrap();
    assert_eq!((row.state, row.result_as::<u8>()), (State::Succeeded, Some(7)));
    let confirm = Report::new(lease, Outcome::Confirm);
    let turn = registry.turn(TurnRequest::new(worker).reports([confirm])).await.unwrap();
    assert_eq!(turn.applied, [Applied::Before], "the runner finds it completed");
    for refused in [job().limit("key", 1), NewJob::raw("any", vec![0; 2 << 20])] {
        enqueue_statement(&[job(), refused]).unwrap_err();
    }
}

#[tokio::test]
async fn a_file_that_another_process_locks_delays_no_call_beyond_its_deadline() {
    let folder = Folder::new();
    let path = folder.path().join("jobs.db");
    let options = SqliteOptions::new().call_timeout(Duration::from_millis(300));
    let registry = SqliteRegistry::open_with(&path, &options).unwrap();
    let lock = Connection::open(&path).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let enqueue = |n: u32| registry.enqueue(vec![NewJob::new("any", &n).unwrap()]);
    // The first one waits for the lock; the others for their turn, and then for the lock.
    let (one, two, three) = tokio::join!(enqueue(1), enqueue(2), enqueue(3));
    for refused in [one, two, three] {
        assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
    lock.execute_batch("ROLLBACK").unwrap();
    let stored = enqueue(4).await.unwrap()[0].id();
    let rows = registry.list(lastout_work_runner::Query::all()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [stored], "nothing came later");
}
