//! One bad job, row, member or moment stops nothing but itself.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::{MemoryRegistry, Registry};
use std::sync::Arc;
use support::poison;

fn memory() -> Arc<dyn Registry> {
    Arc::new(MemoryRegistry::new())
}

/// Each case in memory and, when it is there, in SQLite.
macro_rules! on_each_store {
    ($($case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            poison::$case(memory()).await;
            #[cfg(feature = "sqlite")]
            {
                let folder = support::Folder::new();
                poison::$case(sqlite::open(&folder)).await;
            }
        }
    )*};
}

on_each_store! {
    a_late_commit_is_found,
    unknown_kinds_are_passed_over,
    a_suspect_takes_no_place_of_others,
    a_hostile_handler_keeps_no_place,
    a_stop_asks_at_once,
    dead_letters_are_kept_longer,
}

#[tokio::test]
async fn whoever_sets_the_wall_clock_delays_nothing_in_memory() {
    use lastout_work_runner::{Clock, NewJob, WorkerId};
    let clock = Clock::manual();
    let registry = MemoryRegistry::with_clock(clock.clone());
    let delay = std::time::Duration::from_millis(100);
    registry.enqueue(vec![NewJob::raw("any", Vec::new()).delay(delay)]).await.unwrap();
    let promotable =
        async || registry.peek(WorkerId(1), Vec::new(), None).await.unwrap().promotable;
    clock.step_wall(-3_600_000);
    assert!(!promotable().await);
    clock.advance(delay);
    assert!(promotable().await, "after its delay, whatever the wall clock says");
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::support::{Folder, PATIENCE, eventually};
    use lastout_work_runner::sqlite::SqliteRegistry;
    use lastout_work_runner::{
        DurableWorker, Job, Keep, NewJob, Query, Registry, State, StoreErrorKind, TurnRequest,
        WorkDriver, WorkRunner, WorkerId,
    };
    use std::sync::Arc;
    use std::time::Duration;

    pub(super) fn open(folder: &Folder) -> Arc<dyn Registry> {
        Arc::new(SqliteRegistry::open(folder.path().join("jobs.db")).unwrap())
    }

    fn change(folder: &Folder, sql: &str) {
        let conn = rusqlite::Connection::open(folder.path().join("jobs.db")).unwrap();
        conn.busy_timeout(PATIENCE).unwrap();
        conn.execute_batch(sql).unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_damaged_row_is_set_aside_by_itself() {
        let folder = Folder::new();
        let registry = open(&folder);
        let driver = WorkDriver::producer(Arc::clone(&registry));
        let job = |bytes| NewJob::raw("any", vec![b'1'; bytes]);
        let jobs = vec![job(1), job(2000), job(1), job(1), job(1), job(1)];
        let ids: Vec<_> =
            driver.enqueue_all(jobs).await.unwrap().iter().map(|e| e.id().0).collect();
        let [text, lost, huge, fence, state, fine] = ids[..] else { unreachable!() };
        change(
            &folder,
            &format!(
                "UPDATE lastout_jobs SET kind = CAST(x'ff' AS TEXT) WHERE id = {text};
                 DELETE FROM lastout_payloads WHERE id = {lost};
                 UPDATE lastout_jobs SET max_attempts = 9223372036854775807 WHERE id = {huge};
                 UPDATE lastout_jobs SET fence = 9223372036854775807 WHERE id = {fence};
                 UPDATE lastout_jobs SET state = 42, ended_at = 1 WHERE id = {state};"
            ),
        );
        let me = WorkerId::random();
        registry.register(me, Default::default(), PATIENCE).await.unwrap();
        let turn = registry.turn(TurnRequest::new(me).claim("default", 1)).await.unwrap();
        assert_eq!(turn.claimed[0].lease.job.0, fine, "the one behind the damaged ones");
        assert_eq!((turn.claimed.len(), turn.set_aside), (1, 4));
        // Each is shown with the reason, counted, and never deleted.
        let rows = driver.list(Query::all()).await.unwrap();
        for row in &rows {
            let bad = row.id.0 != fine;
            assert_eq!(row.state == State::Unreadable, bad, "{row:?}");
            assert_eq!(row.error.is_some(), bad, "{row:?}");
        }
        assert_eq!(rows.len(), 6);
        let counts = driver.counts().await.unwrap();
        let bad = counts.iter().find(|count| count.state == State::Unreadable).unwrap();
        assert_eq!(bad.jobs, 5, "{counts:?}");
        assert_eq!(registry.prune(Keep::all(Duration::ZERO), 100).await.unwrap(), 0);
        assert_eq!(driver.list(Query::all()).await.unwrap().len(), 6);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_damaged_history_is_told_and_keeps_no_job_from_running() {
        let folder = Folder::new();
        let registry = open(&folder);
        for text in ["'no JSON'", "CAST(x'ff' AS TEXT)", "'[[1]]'"] {
            let sql = format!("UPDATE lastout_jobs SET history = {text}");
            let damage = async { change(&folder, &sql) };
            crate::poison::a_damaged_history_is_told(&registry, damage).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_bad_periodic_job_is_disabled_and_shown() {
        let folder = Folder::new();
        let registry = open(&folder);
        let driver = WorkDriver::producer(Arc::clone(&registry));
        for name in ["bad", "broken", "cron"] {
            driver.put_periodic(name, "* * * * *", NewJob::raw("any", Vec::new())).await.unwrap();
        }
        change(
            &folder,
            "UPDATE lastout_periodic SET next_at = 1;
             UPDATE lastout_periodic SET job = CAST(replace(CAST(job AS TEXT), '\"any\"', '\"a\\u0000y\"') AS BLOB)
             WHERE name = 'bad';
             UPDATE lastout_periodic SET job = CAST('no JSON' AS BLOB) WHERE name = 'broken';
             UPDATE lastout_periodic SET cron = 'never' WHERE name = 'cron';",
        );
        let worker = DurableWorker::builder(registry)
            .handle("fine", |_: Job<()>| async { Ok(()) })
            .build()
            .unwrap();
        let running = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(20)).spawn();
        let disabled = async || {
            driver.periodic().await.unwrap().iter().all(|periodic| periodic.error.is_some())
        };
        eventually("all are disabled with an error", disabled).await;
        let fine = NewJob::raw("fine", b"null".to_vec());
        let id = driver.enqueue(fine.clone()).await.unwrap().id();
        let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
        assert_eq!((row.state, worker.stats().fired), (State::Succeeded, 0));
        // Put again, it is enabled again.
        driver.put_periodic("bad", "* * * * *", fine).await.unwrap();
        let mended = driver.periodic().await.unwrap();
        assert!(mended.iter().any(|p| p.name == "bad" && p.error.is_none()), "{mended:?}");
        assert!(running.stop(PATIENCE).await.is_clean());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_damaged_limit_key_stops_no_queue_while_keys_have_rates() {
        use lastout_work_runner::{Rate, RateOf};
        let folder = Folder::new();
        let registry = open(&folder);
        let driver = WorkDriver::producer(Arc::clone(&registry));
        let rate = Rate::new(5, Duration::from_secs(3600));
        driver.limit_rate(RateOf::Key("key".into()), Some(rate)).await.unwrap();
        let job = || NewJob::raw("fine", b"null".to_vec()).limit("key", 100);
        let bad = driver.enqueue(job()).await.unwrap().id();
        change(&folder, "UPDATE lastout_jobs SET limit_key = CAST(x'ff' AS TEXT)");
        let fine = driver.enqueue(job()).await.unwrap().id();
        let worker = DurableWorker::builder(registry)
            .handle("fine", |_: Job<()>| async { Ok(()) })
            .build()
            .unwrap();
        let running = WorkRunner::inline(worker).spawn();
        let row = driver.wait(fine, PATIENCE).await.unwrap().unwrap();
        assert_eq!(row.state, State::Succeeded);
        assert_eq!(driver.get(bad).await.unwrap().unwrap().state, State::Unreadable);
        assert!(running.stop(PATIENCE).await.is_clean());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_periodic_job_of_an_unknown_time_zone_is_left_to_others() {
        let folder = Folder::new();
        let registry = open(&folder);
        let driver = WorkDriver::producer(Arc::clone(&registry));
        for name in ["atlantis", "fine"] {
            driver.put_periodic(name, "* * * * *", NewJob::raw("any", Vec::new())).await.unwrap();
        }
        change(
            &folder,
            "UPDATE lastout_periodic SET next_at = 1;
             UPDATE lastout_periodic SET cron = 'CRON_TZ=Nowhere/Atlantis 0 3 * * *'
             WHERE name = 'atlantis';",
        );
        let worker = DurableWorker::builder(registry)
            .handle("any", |_: Job<()>| async { Ok(()) })
            .build()
            .unwrap();
        let running = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(20)).spawn();
        // It comes first by its name, again and again, and keeps no other from its time.
        let fired = async || worker.stats().fired > 0;
        eventually("the other one is fired", fired).await;
        assert!(running.stop(PATIENCE).await.is_clean());
        let listed = driver.periodic().await.unwrap();
        assert_eq!((&*listed[0].name, listed[0].at_ms, &listed[0].error), ("atlantis", 1, &None));
    }

    #[tokio::test]
    async fn a_deleted_file_acknowledges_nothing() {
        let folder = Folder::new();
        let registry = open(&folder);
        let driver = WorkDriver::producer(registry);
        let job = NewJob::raw("any", Vec::new());
        driver.enqueue(job.clone()).await.unwrap();
        let path = folder.path().join("jobs.db");
        let moved = std::fs::rename(&path, folder.path().join("other.db"));
        if cfg!(windows) {
            moved.unwrap_err();
            driver.enqueue(job).await.expect("an open file stays where it is");
            return;
        }
        moved.unwrap();
        let error = driver.enqueue(job.clone()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Missing, "{error}");
        std::fs::write(&path, b"").unwrap();
        let error = driver.counts().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Missing, "another file of that name: {error}");
    }
}
