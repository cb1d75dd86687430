//! What crosses threads, and what can be shown.

use lastout_work_runner::{
    BuildError, Claimed, Clock, DriveError, DurableWorker, InlineRunHandle, Job, JobError,
    JobRecord, MemoryRegistry, NewJob, Poke, Registry, Running, Stats, StopReport, StoreError,
    WorkDriver, WorkRunner, WorkerBuilder, WriteError,
};
use std::fmt::Debug;

fn shared<T: Send + Sync + Debug>() {}
fn sent<T: Send>(_: &T) {}

#[test]
fn public_types_are_send_sync_and_debug() {
    shared::<DurableWorker>();
    shared::<InlineRunHandle>();
    shared::<WorkRunner>();
    shared::<Running>();
    shared::<WorkDriver>();
    shared::<Poke>();
    shared::<MemoryRegistry>();
    shared::<Box<dyn Registry>>();
    shared::<Job<String>>();
    shared::<JobError>();
    shared::<lastout_work_runner::Ended>();
    shared::<(JobRecord, NewJob, Claimed, Clock, Stats, StopReport)>();
    shared::<(StoreError, WriteError, DriveError, BuildError)>();
    fn debug<T: Send + Debug>() {}
    debug::<WorkerBuilder>();
    debug::<lastout_work_runner::Next>();
    #[cfg(feature = "sqlite")]
    shared::<lastout_work_runner::sqlite::SqliteRegistry>();
    #[cfg(feature = "postgres")]
    shared::<lastout_work_runner::postgres::PostgresRegistry>();
}

/// Never called: that it compiles is the test.
#[expect(dead_code, reason = "only its types matter")]
fn public_futures_are_send(
    worker: &DurableWorker,
    driver: &WorkDriver,
    running: Running,
    job: &Job<u8>,
) {
    let second = std::time::Duration::from_secs(1);
    sent(&worker.claim_and_run_pending());
    sent(&worker.run_until_idle());
    sent(&worker.stop(second));
    sent(&driver.enqueue(NewJob::raw("any", vec![])));
    sent(&driver.wait(lastout_work_runner::JobId(1), second));
    sent(&driver.put_periodic("a", "b", NewJob::raw("any", vec![])));
    sent(&running.stop(second));
    sent(&job.stopped());
    sent(&job.save(&1_u8));
    sent(&job.beat());
}

#[cfg(feature = "postgres")]
#[expect(dead_code, reason = "only its types matter")]
fn postgres_futures_are_send() {
    use lastout_work_runner::postgres::{PostgresRegistry, enqueue_in};
    sent(&PostgresRegistry::connect(""));
    fn in_transaction(tx: &tokio_postgres::Transaction<'_>) {
        sent(&enqueue_in(tx, &[]));
    }
}
