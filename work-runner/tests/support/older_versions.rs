//! Jobs in every state as the earlier versions of the tables kept them, and what must become of them.

use super::PATIENCE;
use lastout_work_runner::{
    DurableWorker, Job, JobId, Query, Registry, State, WorkDriver, WorkRunner,
};
use std::sync::Arc;

/// The versions before the present one.
pub(crate) const VERSIONS: [i64; 6] = [1, 2, 3, 4, 5, 6];
pub(crate) const JOBS: usize = 11;

/// What each version added to the one before it; the first one is in a file of its own.
pub(crate) const SQLITE_STEPS: [&str; 5] = [
    "ALTER TABLE lastout_periodic ADD COLUMN error TEXT;",
    "CREATE INDEX lastout_scheduled_in ON lastout_jobs (queue) WHERE due_at IS NOT NULL;
     CREATE INDEX lastout_held_in ON lastout_jobs (queue) WHERE held_key IS NOT NULL;
     CREATE INDEX lastout_unhappy_in ON lastout_jobs (unhappy, queue) WHERE unhappy IS NOT NULL;",
    "CREATE TABLE lastout_pauses (queue TEXT PRIMARY KEY, paused_by TEXT NOT NULL,
     paused_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
    "ALTER TABLE lastout_jobs ADD COLUMN history TEXT;",
    "CREATE INDEX lastout_ready_ids ON lastout_jobs (id) WHERE state = 2;
     CREATE INDEX lastout_scheduled_ids ON lastout_jobs (id) WHERE due_at IS NOT NULL;
     CREATE INDEX lastout_held_ids ON lastout_jobs (id) WHERE held_key IS NOT NULL;
     ALTER TABLE lastout_workers ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE lastout_workers ADD COLUMN about TEXT;
     ALTER TABLE lastout_periodic ADD COLUMN catch_up INTEGER NOT NULL DEFAULT 1;",
];
pub(crate) const POSTGRES_STEPS: [&str; 5] = [
    "ALTER TABLE lastout.periodic ADD COLUMN error text;",
    "CREATE INDEX jobs_scheduled_in ON lastout.jobs (queue) WHERE state = 0;
     CREATE INDEX jobs_held_in ON lastout.jobs (queue) WHERE state = 1;
     CREATE INDEX jobs_unhappy_in ON lastout.jobs (state, queue) WHERE state > 4;",
    "CREATE TABLE lastout.pauses (queue text PRIMARY KEY, paused_by text NOT NULL,
     paused_at int8 NOT NULL);",
    "ALTER TABLE lastout.jobs ADD COLUMN history text;",
    "CREATE INDEX jobs_ready_ids ON lastout.jobs (id) WHERE state = 2;
     CREATE INDEX jobs_scheduled_ids ON lastout.jobs (id) WHERE state = 0;
     CREATE INDEX jobs_held_ids ON lastout.jobs (id) WHERE state = 1;
     ALTER TABLE lastout.workers ADD COLUMN since int8 NOT NULL DEFAULT 0;
     ALTER TABLE lastout.workers ADD COLUMN about text;
     ALTER TABLE lastout.periodic ADD COLUMN catch_up int4 NOT NULL DEFAULT 1;",
];

/// The steps that lead from the first version to `version`.
pub(crate) fn steps_to(version: i64, steps: [&str; 5]) -> String {
    steps[..version as usize - 1].concat()
}

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

/// Statements that store them in tables of `version`, of a worker 7 that is gone; tables begin with `prefix`.
pub(crate) fn statements(prefix: &str, version: i64) -> String {
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
    let template = r#"{"queue":"default","kind":"note","payload":[49],"priority":0,"delay_ms":0,
        "max_attempts":20,"max_crashes":3,"recovery":0,"unique":["nightly",false],"limit":null,
        "timeout_ms":0,"own_lease_ms":0}"#;
    let template = if prefix.ends_with('.') { format!("'{template}'") } else { blob(template) };
    sql += &format!(
        "INSERT INTO {prefix}periodic (name, cron, next_at, job) VALUES ('nightly', '0 3 * * *', \
         4000000000000, {template});\n"
    );
    if version >= 4 {
        sql += &format!("INSERT INTO {prefix}pauses VALUES ('elsewhere', 'ann', 1000);\n");
    }
    sql += &format!("UPDATE {prefix}meta SET value = {version} WHERE key = 'schema';\n");
    sql
}

const PAUSED: [&str; 1] = ["elsewhere"];

/// Every job is as it was in `version`; those that had not ended go on to their end.
pub(crate) async fn check(registry: Arc<dyn Registry>, version: i64) {
    let rows = registry.list(Query::all()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.state).collect::<Vec<_>>(), STATES);
    for row in &rows {
        assert_eq!(row.payload, row.id.to_string().as_bytes(), "{row:?}");
        assert_eq!(row.unique_key, Some(format!("unique {}", row.id)));
    }
    assert_eq!(rows[4].result_as::<String>().as_deref(), Some("kept"));
    let counts = registry.counts().await.unwrap();
    assert_eq!(counts.iter().map(|count| count.jobs).sum::<u64>(), JOBS as u64, "{counts:?}");
    for state in [State::Scheduled, State::Held, State::Ready] {
        let listed = registry.list(Query::all().state(state)).await.unwrap().len();
        assert_eq!(listed, STATES.iter().filter(|of| **of == state).count(), "{state}");
    }
    let queues = registry.queues().await.unwrap();
    let paused = queues.iter().filter(|queue| queue.paused.is_some());
    assert_eq!(
        paused.map(|queue| &*queue.queue).collect::<Vec<_>>(),
        PAUSED[..usize::from(version >= 4)]
    );
    let periodic = registry.periodic().await.unwrap();
    let [nightly] = &periodic[..] else { panic!("one periodic job: {periodic:?}") };
    assert_eq!(
        (&*nightly.name, nightly.at_ms, &nightly.error),
        ("nightly", 4_000_000_000_000, &None)
    );
    assert_eq!((&*nightly.kind, nightly.payload_bytes, nightly.catch_up), ("note", 1, 1));
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
