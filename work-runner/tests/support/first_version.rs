//! Jobs in every state as the first version of the tables kept them, and what must become of them.

use super::PATIENCE;
use lastout_work_runner::{
    DurableWorker, Job, JobId, Query, Registry, State, WorkDriver, WorkRunner,
};
use std::sync::Arc;

pub(crate) const FIRST_VERSION: i64 = 1;
pub(crate) const JOBS: usize = 11;

const STATES: [State; JOBS] = [
    State::Scheduled,
    State::Held,
    State::Ready,
    State::Running,
    State::Succeeded,
    State::Failed,
    State::Cancelled,
    State::Dead,
    State::Abandoned,
    // Scheduled far ahead, and the holder of the one place of the key.
    State::Scheduled,
    State::Running,
];

/// Statements that store them, of a worker 7 that is gone; tables begin with `prefix`.
pub(crate) fn statements(prefix: &str) -> String {
    let mut sql = String::new();
    let blob = |text: &str| {
        if prefix.ends_with('.') {
            format!("'{text}'::bytea")
        } else {
            format!("CAST('{text}' AS BLOB)")
        }
    };
    let bool = |is: bool| match (prefix.ends_with('.'), is) {
        (true, is) => is.to_string(),
        (false, is) => i32::from(is).to_string(),
    };
    for (n, state) in STATES.into_iter().enumerate() {
        let id = n + 1;
        let running = state == State::Running;
        let run_at = if id == 10 { 4_000_000_000_000_i64 } else { 1000 };
        let key = if id == 2 || id == 11 { "'pages'" } else { "NULL" };
        let (fence, owner) = if running || state.is_terminal() { (1, 7) } else { (0, 0) };
        let ended = if state.is_terminal() { 2000 } else { 0 };
        let code = state.code();
        let (no, payload) = (bool(false), blob(&format!("{id}")));
        let result = if state == State::Succeeded { blob("\"kept\"") } else { "NULL".into() };
        sql += &format!(
            "INSERT INTO {prefix}jobs (id, state, fence, owner, attempt, rank, run_at, claimed_at, ended_at, \
             lease_until, crashes, started, cancel, priority, max_attempts, max_crashes, recovery, own_lease_ms, \
             timeout_ms, unique_kept, limit_max, created_at, unique_key, limit_key, queue, kind, error, progress, \
             result, payload) VALUES ({id}, {code}, {fence}, {owner}, {fence}, {run_at}, {run_at}, 0, {ended}, \
             0, 0, 0, {no}, 0, 20, 3, 0, 0, 0, {no}, 1, 1000, 'unique {id}', {key}, 'default', 'note', NULL, NULL, \
             {result}, {payload});\n"
        );
    }
    sql += &format!("INSERT INTO {prefix}slots (key, used) VALUES ('pages', 1);\n");
    sql += &format!("INSERT INTO {prefix}queues (name, max_running) VALUES ('default', 2);\n");
    sql += &format!("UPDATE {prefix}meta SET value = {FIRST_VERSION} WHERE key = 'schema';\n");
    sql
}

/// Every job is as it was; those that had not ended go on to their end.
pub(crate) async fn check(registry: Arc<dyn Registry>) {
    let rows = registry.list(Query::all()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.state).collect::<Vec<_>>(), STATES);
    for row in &rows {
        assert_eq!(row.payload, row.id.to_string().as_bytes(), "{row:?}");
        assert_eq!(row.unique_key, Some(format!("unique {}", row.id)));
    }
    assert_eq!(rows[4].result_as::<String>().as_deref(), Some("kept"));
    let counts = registry.counts().await.unwrap();
    assert_eq!(counts.iter().map(|count| count.jobs).sum::<u64>(), JOBS as u64, "{counts:?}");
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .keep_ended(None)
        .keep_unhappy(None)
        .handle("note", |_: Job<u32>| async { Ok(()) })
        .build()
        .unwrap();
    let running = WorkRunner::inline(worker).spawn();
    let driver = WorkDriver::producer(registry);
    for id in [1, 2, 3, 4, 11] {
        let row = driver.wait(JobId(id), PATIENCE).await.unwrap().unwrap();
        assert_eq!(row.state, State::Succeeded, "{row:?}");
    }
    assert!(running.stop(PATIENCE).await.is_clean());
    let later = driver.get(JobId(10)).await.unwrap().unwrap();
    assert_eq!((later.state, later.run_at), (State::Scheduled, 4_000_000_000_000));
    let revived = driver.requeue(JobId(8)).await.unwrap();
    assert_eq!(revived, lastout_work_runner::Ordered::Now(State::Ready));
}
