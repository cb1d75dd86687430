//! Many processes on one PostgreSQL, under kills, restarts and broken connections.
#![cfg(feature = "postgres")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "real processes, and a test fails by panicking"
)]

mod support;

use lastout_work_runner::postgres::{PostgresRegistry, complete_in, enqueue_in};
use lastout_work_runner::{
    Applied, DurableWorker, Identity, Job, NewJob, Outcome, Poke, Query, Registry, Report, State,
    StoreErrorKind, TurnRequest, WorkDriver, WorkRunner, WorkerId, WriteError,
};
use std::sync::Arc;
use std::time::Duration;
use support::database::{Database, count, run};
use support::history;
use support::worker_process::{WorkerProcess, notes, noting_job, noting_runner, role};
use support::{Folder, PATIENCE, eventually};

const ENTRY: &str = "a_worker_when_asked_to_be_one";

/// Not a test by itself: the child processes of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_when_asked_to_be_one() {
    let Some((role, store)) = role() else {
        return;
    };
    let registry: Arc<dyn Registry> = Arc::new(PostgresRegistry::connect(&store).await.unwrap());
    let (runner, _worker) = noting_runner(registry, &role);
    runner.spawn().await;
}

async fn open(database: &Database) -> (Arc<dyn Registry>, WorkDriver) {
    let registry = PostgresRegistry::connect(database.config()).await.unwrap();
    let registry: Arc<dyn Registry> = Arc::new(registry);
    (Arc::clone(&registry), WorkDriver::producer(registry))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_under_kills_end_every_job_once() {
    const JOBS: usize = 400;
    let database = Database::create().await;
    let (_registry, driver) = open(&database).await;
    run(database.config(), history::postgres::TRIGGERS).await;
    let folder = Folder::new();
    let log = folder.path().join("log");
    let jobs = (0..JOBS).map(|_| noting_job(&log, 10)).collect();
    let ids = driver.enqueue_all(jobs).await.unwrap();
    let start = |name: &str| WorkerProcess::start(ENTRY, name, database.config());
    let mut workers: Vec<_> = ["a", "b", "c", "d"].into_iter().map(start).collect();
    for round in 0..8 {
        let before = notes(&log).len();
        let more = async || notes(&log).len() >= (before + 20).min(JOBS);
        eventually("work goes on", more).await;
        workers[round % 4].kill();
        workers[round % 4] = start(&round.to_string());
    }
    for job in &ids {
        let row = driver.wait(job.id(), PATIENCE).await.unwrap().unwrap();
        assert_eq!(row.state, State::Succeeded, "{row:?}");
    }
    let rows = driver.list(Query::all().limit(JOBS + 1)).await.unwrap();
    assert_eq!(rows.len(), JOBS, "I1: no job is lost");
    let mut seen = std::collections::HashSet::new();
    for line in notes(&log).iter().filter(|line| line.starts_with("start")) {
        let words: Vec<_> = line.split(' ').collect();
        assert!(seen.insert((words[1].to_owned(), words[2].to_owned())), "run twice: {line}");
    }
    let sums = history::check(&history::postgres::read(database.config()).await);
    assert_eq!((sums.born, sums.ended), (JOBS as u64, JOBS as u64));
    drop(workers);
    database.remove().await;
}

/// Makes every claim (3) or every completion (4) sleep inside its statement.
fn sleep_in(state: State) -> String {
    format!(
        "CREATE FUNCTION lastout.nap() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$; \
         CREATE TRIGGER nap AFTER UPDATE ON lastout.jobs FOR EACH ROW \
         WHEN (NEW.state = {}) EXECUTE FUNCTION lastout.nap()",
        state.code()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_inside_a_claim_and_inside_a_completion() {
    for state in [State::Running, State::Succeeded] {
        let database = Database::create().await;
        let (registry, driver) = open(&database).await;
        run(database.config(), history::postgres::TRIGGERS).await;
        run(database.config(), &sleep_in(state)).await;
        let folder = Folder::new();
        let log = folder.path().join("log");
        let jobs = (0..3).map(|_| noting_job(&log, 1)).collect();
        let ids = driver.enqueue_all(jobs).await.unwrap();
        let mut victim = WorkerProcess::start(ENTRY, "victim", database.config());
        let asleep = "SELECT count(*) FROM pg_stat_activity \
                      WHERE datname = current_database() AND wait_event = 'PgSleep'";
        let sleeps = async || count(database.config(), asleep).await > 0;
        eventually("it is in mid-statement", sleeps).await;
        // The server does not notice: it goes on with the statement, and may commit it.
        victim.kill();
        run(database.config(), "DROP TRIGGER nap ON lastout.jobs").await;
        let (runner, _worker) = noting_runner(Arc::clone(&registry), "survivor");
        let running = runner.spawn();
        for job in &ids {
            let row = driver.wait(job.id(), PATIENCE).await.unwrap().unwrap();
            assert_eq!(row.state, State::Succeeded, "{row:?}");
        }
        assert!(running.stop(PATIENCE).await.is_clean());
        assert_eq!(history::check(&history::postgres::read(database.config()).await).ended, 3);
        drop((driver, registry));
        database.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_worker_is_refused_when_it_wakes() {
    let database = Database::create().await;
    let (registry, driver) = open(&database).await;
    run(database.config(), history::postgres::TRIGGERS).await;
    let folder = Folder::new();
    let log = folder.path().join("log");
    let mut zombie = WorkerProcess::start(ENTRY, "zombie", database.config());
    let id = driver.enqueue(noting_job(&log, 1000)).await.unwrap().id();
    eventually("it starts", async || !notes(&log).is_empty()).await;
    zombie.freeze();
    // It lives, so nothing is proven: its lease must run out.
    let (runner, worker) = noting_runner(Arc::clone(&registry), "survivor");
    let running = runner.spawn();
    let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
    assert_eq!((row.state, row.fence.0, row.crashes), (State::Succeeded, 2, 1), "{row:?}");
    assert_eq!(worker.stats().recovered, 1);
    assert!(running.stop(PATIENCE).await.is_clean());
    zombie.thaw();
    // It starts anew as another worker: only then has it seen that its lease is gone.
    let again = async || registry.workers().await.unwrap().len() == 1;
    eventually("it enlists again", again).await;
    let next = driver.enqueue(noting_job(&log, 1)).await.unwrap().id();
    let ended = driver.wait(next, PATIENCE).await.unwrap().unwrap();
    assert_eq!(ended.state, State::Succeeded, "and works on");
    assert_eq!(driver.get(id).await.unwrap().unwrap(), row, "the zombie changed nothing");
    assert_eq!(history::check(&history::postgres::read(database.config()).await).ended, 2);
    zombie.kill();
    drop((driver, registry));
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_drops_every_connection_loses_nothing() {
    const JOBS: usize = 2000;
    let database = Database::create().await;
    let (registry, driver) = open(&database).await;
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .queue("default", 16)
        .prefetch(32)
        .handle("noop", |_: Job<u32>| async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(())
        })
        .build()
        .unwrap();
    let jobs = (0..JOBS as u32).map(|n| NewJob::new("noop", &n).unwrap()).collect();
    let ids = driver.enqueue_all(jobs).await.unwrap();
    let running = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(50)).spawn();
    for round in 1..=6 {
        let some = async || worker.stats().succeeded >= round * 200;
        eventually("work goes on", some).await;
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        assert!(count(database.config(), cut).await > 0);
    }
    for job in &ids {
        let row = driver.wait(job.id(), PATIENCE).await.unwrap().unwrap();
        assert_eq!((row.state, row.crashes), (State::Succeeded, 0), "{row:?}");
    }
    eventually("all is counted", async || worker.stats().in_flight == 0).await;
    let stats = worker.stats();
    assert_eq!(stats.claimed, stats.ended());
    assert_eq!((stats.fenced, stats.lost), (0, 0), "cuts shorter than the lease: {stats:?}");
    assert!(running.stop(PATIENCE).await.is_clean());
    drop(driver);
    drop(registry);
    database.remove().await;
}

/// More than are worth a COPY, of every shape that one may carry.
fn many_jobs() -> Vec<NewJob> {
    let shaped = |n: usize| {
        let job = NewJob::raw(format!("kind {}", n % 7), vec![b'1'; n]).priority((n % 3) as i16);
        let job = job.max_attempts((n % 5 + 1) as u16).timeout(Duration::from_millis(n as u64));
        if n % 4 == 0 { job.delay(Duration::from_secs(3600)).queue("later") } else { job }
    };
    (0..500).map(shaped).collect()
}

#[tokio::test]
async fn a_bulk_enqueue_writes_the_rows_of_single_ones() {
    let database = Database::create().await;
    let (registry, driver) = open(&database).await;
    let copied = registry.enqueue(many_jobs()).await.unwrap();
    let mut single = Vec::new();
    for job in many_jobs() {
        single.append(&mut registry.enqueue(vec![job]).await.unwrap());
    }
    assert!(copied.iter().all(|job| job.is_new()));
    assert!(copied.is_sorted_by_key(|job| job.id()), "numbers ascend with the rows");
    for (one, other) in copied.iter().zip(&single) {
        let (mut one, other) = (
            driver.get(one.id()).await.unwrap().unwrap(),
            driver.get(other.id()).await.unwrap().unwrap(),
        );
        assert_eq!(one.rank - one.run_at, other.rank - other.run_at, "the head start");
        assert_eq!(one.run_at - one.created_at, other.run_at - other.created_at, "the delay");
        (one.id, one.rank, one.run_at) = (other.id, other.rank, other.run_at);
        one.created_at = other.created_at;
        assert_eq!(one, other);
    }
    // What needs the slow way stands between what does not, and keeps its place in the answer.
    let mut mixed = many_jobs();
    mixed.insert(250, NewJob::raw("any", vec![]).unique("k"));
    mixed.push(NewJob::raw("any", vec![]).unique("k"));
    let answers = registry.enqueue(mixed).await.unwrap();
    assert_eq!(answers.len(), 502);
    assert!(answers[250].is_new() && !answers[501].is_new());
    assert_eq!(answers[250].id(), answers[501].id());
    drop((driver, registry));
    database.remove().await;
}

#[tokio::test]
async fn a_bulk_enqueue_that_fails_enqueues_nothing() {
    let database = Database::create().await;
    let (registry, _) = open(&database).await;
    let stored = async || count(database.config(), "SELECT count(*) FROM lastout.jobs").await;
    let with_last = |kind: &str| {
        let mut jobs = many_jobs();
        jobs.push(NewJob::raw(kind, vec![]));
        jobs
    };
    let stumble = "CREATE FUNCTION lastout.stumble() RETURNS trigger LANGUAGE plpgsql AS \
                   $$ BEGIN IF NEW.kind = 'refused' THEN RAISE 'refused'; END IF; \
                   IF NEW.kind = 'slow' THEN PERFORM pg_sleep(3600); END IF; RETURN NEW; END $$; \
                   CREATE TRIGGER stumble BEFORE INSERT ON lastout.jobs FOR EACH ROW \
                   EXECUTE FUNCTION lastout.stumble()";
    run(database.config(), stumble).await;
    let error = registry.enqueue(with_last("refused")).await.unwrap_err();
    assert_eq!((error.kind(), stored().await), (StoreErrorKind::Other, 0), "{error}");
    // The connection breaks in the middle of the rows.
    let enqueue = registry.enqueue(with_last("slow"));
    let cut = async {
        let sleeper = "datname = current_database() AND wait_event = 'PgSleep'";
        let asleep = format!("SELECT count(*) FROM pg_stat_activity WHERE {sleeper}");
        let sleeps = async || count(database.config(), &asleep).await > 0;
        eventually("it is in the middle", sleeps).await;
        let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {sleeper}");
        run(database.config(), &cut).await;
    };
    let (broken, ()) = tokio::join!(enqueue, cut);
    assert_eq!(broken.unwrap_err().kind(), StoreErrorKind::Unknown);
    assert_eq!(stored().await, 0);
    let whole = registry.enqueue(with_last("fine")).await.unwrap();
    assert_eq!((whole.len(), stored().await), (501, 501), "and the next one is whole");
    drop(registry);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_several_limit_keys_do_not_wait_for_each_other() {
    const KEYS: [&str; 4] = ["a", "b", "c", "d"];
    let database = Database::create().await;
    let (registry, _) = open(&database).await;
    let batch = |first: usize| -> Vec<NewJob> {
        let key = |n: usize| KEYS[(first + n * (first % 2 * 2 + 1)) % 4];
        (0..8).map(|n| NewJob::raw("any", vec![]).limit(key(n), 2)).collect()
    };
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let registry = Arc::clone(&registry);
        tasks.spawn(async move {
            for round in 0..25 {
                registry.enqueue(batch(task + round)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    drop(registry);
    // Connections write their sums when they end.
    let others = "SELECT count(*) FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    eventually("they end", async || count(database.config(), others).await == 0).await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(count(database.config(), deadlocks).await, 0);
    let stored = count(database.config(), "SELECT count(*) FROM lastout.jobs").await;
    assert_eq!(stored, 4 * 25 * 8);
    database.remove().await;
}

#[tokio::test]
async fn a_more_urgent_job_does_not_wait_for_a_long_queue() {
    let database = Database::create().await;
    let (registry, driver) = open(&database).await;
    let job = || NewJob::raw("any", vec![]);
    driver.enqueue_all((0..100).map(|_| job()).collect()).await.unwrap();
    let worker = WorkerId::random();
    registry.register(worker, Identity::current().into(), PATIENCE).await.unwrap();
    let claim = async || {
        let turn = TurnRequest::new(worker).claim("default", 1);
        registry.turn(turn).await.unwrap().claimed[0].lease.job
    };
    claim().await;
    let urgent = driver.enqueue(job().priority(5)).await.unwrap().id();
    for round in 0.. {
        assert!(round < 50, "slow jobs must not hold it up");
        if claim().await == urgent {
            break;
        }
        // SLEEP: a slow job; claims that follow each other at once may go on where they were.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop((driver, registry));
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enqueue_elsewhere_pokes_here() {
    let database = Database::create().await;
    let (registry, _) = open(&database).await;
    let poke = Poke::new();
    registry.subscribe(&poke);
    let (_elsewhere, driver) = open(&database).await;
    // The listener starts in the background; what it pokes once it listens is taken first.
    tokio::time::timeout(PATIENCE, poke.poked()).await.unwrap();
    driver.enqueue(NewJob::raw("any", vec![])).await.unwrap();
    tokio::time::timeout(PATIENCE, poke.poked()).await.unwrap();
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enqueue_pokes_its_own_process_once() {
    let database = Database::create().await;
    let (poke, heard) = (Poke::new(), Poke::new());
    let (registry, driver) = open(&database).await;
    registry.subscribe(&poke);
    let (elsewhere, other) = open(&database).await;
    elsewhere.subscribe(&heard);
    // Both listeners start in the background, and poke once they listen.
    for poke in [&poke, &heard] {
        tokio::time::timeout(PATIENCE, poke.poked()).await.unwrap();
    }
    let before = poke.count();
    for _ in 0..5 {
        let heard_before = heard.count();
        driver.enqueue(NewJob::raw("any", vec![])).await.unwrap();
        eventually("it is heard elsewhere", async || heard.count() > heard_before).await;
    }
    other.enqueue(NewJob::raw("any", vec![])).await.unwrap();
    eventually("it hears of the other", async || poke.count() >= before + 6).await;
    assert_eq!(poke.count(), before + 6, "one for each enqueue");
    drop((driver, other, registry, elsewhere));
    database.remove().await;
}

#[tokio::test]
async fn another_version_and_a_bad_schema_are_refused() {
    let database = Database::create().await;
    drop(PostgresRegistry::connect(database.config()).await.unwrap());
    run(database.config(), "UPDATE lastout.meta SET value = 99").await;
    let error = PostgresRegistry::connect(database.config()).await.unwrap_err();
    let want = lastout_work_runner::postgres::SCHEMA_VERSION;
    assert_eq!(error.kind(), StoreErrorKind::SchemaVersion { have: 99, want });
    let options = lastout_work_runner::postgres::PostgresOptions::new().schema("a; drop");
    assert!(PostgresRegistry::connect_with(database.config(), &options).await.is_err());
    database.remove().await;
}

#[tokio::test]
async fn jobs_and_completions_share_the_callers_transaction() {
    let database = Database::create().await;
    let (registry, driver) = open(&database).await;
    let (mut client, connection) =
        tokio_postgres::connect(database.config(), tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let job = || NewJob::raw("any", b"1".to_vec());
    let tx = client.transaction().await.unwrap();
    let id = enqueue_in(&tx, &[job()]).await.unwrap()[0].id();
    tx.rollback().await.unwrap();
    assert_eq!(driver.get(id).await.unwrap(), None);
    let tx = client.transaction().await.unwrap();
    let both = enqueue_in(&tx, &[job().unique("k"), job().unique("k")]).await.unwrap();
    assert!(both[0].is_new() && !both[1].is_new() && both[0].id() == both[1].id());
    tx.commit().await.unwrap();

    let worker = WorkerId::random();
    registry.register(worker, Identity::current().into(), Duration::from_secs(60)).await.unwrap();
    let turn = TurnRequest::new(worker).claim("default", 1);
    let lease = registry.turn(turn).await.unwrap().claimed[0].lease;
    let tx = client.transaction().await.unwrap();
    complete_in(&tx, lease, Some(b"7".to_vec())).await.unwrap();
    tx.commit().await.unwrap();
    let row = driver.get(lease.job).await.unwrap().unwrap();
    assert_eq!((row.state, row.result_as::<u8>()), (State::Succeeded, Some(7)));
    let confirm = Report::new(lease, Outcome::Confirm);
    let turn = registry.turn(TurnRequest::new(worker).reports([confirm])).await.unwrap();
    assert_eq!(turn.applied, [Applied::Before]);
    let tx = client.transaction().await.unwrap();
    let refused = complete_in(&tx, lease, None).await.unwrap_err();
    assert!(matches!(refused, WriteError::LeaseLost(_)), "{refused:?}");
    drop(tx);
    drop(client);
    connection.await.unwrap().unwrap();
    drop(registry);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trickle_starts_at_once() {
    for pause in [Duration::from_millis(15), Duration::from_millis(3)] {
        let database = Database::create().await;
        let registry = PostgresRegistry::connect(database.config()).await.unwrap();
        support::trickle::every_job_starts(Arc::new(registry), 200, pause).await;
    }
}

/// Each case of `support::poison` on PostgreSQL.
macro_rules! poison {
    ($($case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let database = Database::create().await;
            let (registry, _) = open(&database).await;
            support::poison::$case(registry).await;
        }
    )*};
}

poison! {
    a_late_commit_is_found,
    unknown_kinds_are_passed_over,
    a_suspect_takes_no_place_of_others,
    a_hostile_handler_keeps_no_place,
    a_stop_asks_at_once,
    dead_letters_are_kept_longer,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_in_an_unknown_state_is_shown_and_never_deleted() {
    let database = Database::create().await;
    let (registry, driver) = open(&database).await;
    let job = NewJob::raw("any", Vec::new());
    let id = driver.enqueue(job.clone()).await.unwrap().id();
    let broken = driver.enqueue(job).await.unwrap().id();
    let sql = format!(
        "UPDATE lastout.jobs SET state = 42, ended_at = 1 WHERE id = {id};
         UPDATE lastout.jobs SET fence = 9223372036854775807, attempt = 2147483647 WHERE id = {broken}"
    );
    run(database.config(), &sql).await;
    let fine = driver.enqueue(NewJob::raw("any", Vec::new())).await.unwrap().id();
    let me = WorkerId::random();
    registry.register(me, Identity::current().into(), PATIENCE).await.unwrap();
    let turn = registry.turn(TurnRequest::new(me).claim("default", 10)).await.unwrap();
    let claimed: Vec<_> = turn.claimed.iter().map(|claimed| claimed.lease.job).collect();
    assert_eq!(claimed, [fine], "the one behind the damaged ones");
    let row = driver.get(id).await.unwrap().unwrap();
    assert_eq!(row.state, State::Unreadable);
    assert!(row.error.unwrap().contains("42"));
    let gone = registry.prune(lastout_work_runner::Keep::all(Duration::ZERO), 100).await.unwrap();
    assert_eq!((gone, driver.list(Query::all()).await.unwrap().len()), (0, 3));
    let counts = driver.counts().await.unwrap();
    assert!(counts.iter().any(|count| count.state == State::Unreadable), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_history_is_told_and_keeps_no_job_from_running() {
    let database = Database::create().await;
    let (registry, _) = open(&database).await;
    for text in ["no JSON", "[[1]]"] {
        let sql = format!("UPDATE lastout.jobs SET history = '{text}'");
        let damage = run(database.config(), &sql);
        support::poison::a_damaged_history_is_told(&registry, damage).await;
    }
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_may_be_named_like_a_word_of_the_language() {
    let database = Database::create().await;
    for schema in ["order", "user", "select"] {
        let options = lastout_work_runner::postgres::PostgresOptions::new().schema(schema);
        let registry = PostgresRegistry::connect_with(database.config(), &options).await.unwrap();
        support::trickle::every_job_starts(Arc::new(registry), 5, Duration::from_millis(1)).await;
    }
}

/// Passes bytes between clients and the server until it is told to be silent: then those connections
/// stay open, and nothing comes through them any more.
async fn proxy(
    from: std::path::PathBuf,
    to: std::path::PathBuf,
    silent: tokio::sync::watch::Receiver<bool>,
) {
    let listener = tokio::net::UnixListener::bind(from).unwrap();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = tokio::net::UnixStream::connect(&to).await.unwrap();
        let mut silent = silent.clone();
        // Those that come after the silence are served.
        silent.mark_unchanged();
        tokio::spawn(async move {
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                _ = silent.changed() => std::future::pending().await,
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_replaced() {
    let database = Database::create().await;
    let config: tokio_postgres::Config = database.config().parse().unwrap();
    let Some(tokio_postgres::config::Host::Unix(server)) = config.get_hosts().first() else {
        panic!("the throw-away server listens on a socket: {config:?}");
    };
    let folder = Folder::new();
    let socket = ".s.PGSQL.5432";
    let (silence, silent) = tokio::sync::watch::channel(false);
    let between = tokio::spawn(proxy(folder.path().join(socket), server.join(socket), silent));
    let host = server.display().to_string();
    let through = database.config().replace(&host, &folder.path().display().to_string());
    let options =
        lastout_work_runner::postgres::PostgresOptions::new().call_timeout(Duration::from_secs(1));
    let registry = PostgresRegistry::connect_with(&through, &options).await.unwrap();
    let worker = DurableWorker::builder(Arc::new(registry))
        .handle("any", |_: Job<()>| async { Ok(()) })
        .build()
        .unwrap();
    let running = WorkRunner::inline(worker.clone()).spawn();
    let (_, driver) = open(&database).await;
    for round in 1..=3 {
        for _ in 0..20 {
            driver.enqueue(NewJob::raw("any", b"null".to_vec())).await.unwrap();
        }
        eventually("work goes on", async || worker.stats().succeeded == round * 20).await;
        silence.send_replace(true);
    }
    assert!(worker.stats().store_errors > 0, "it was silent: {:?}", worker.stats());
    assert!(running.stop(PATIENCE).await.is_clean());
    between.abort();
}
