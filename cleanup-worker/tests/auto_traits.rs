//! What is `Send`, `Sync`, `Unpin`, `'static` and `Debug`.

use lastout_cleanup_worker::*;
use std::fmt::Debug;

fn shared<T: Send + Sync + Debug + 'static>() {}
fn sent<T: Send + Debug + 'static>() {}
fn movable<T: Unpin>() {}

#[test]
fn types_cross_threads() {
    shared::<CleanupWorker>();
    shared::<CleanupHandle>();
    shared::<CleanupContext>();
    shared::<Armed<RemoveFile>>();
    shared::<Builder>();
    shared::<FlushGuard>();
    shared::<ManualClock>();
    shared::<Stats>();
    shared::<ShutdownReport>();
    shared::<LeftBehind>();
    shared::<Options>();
    shared::<Rejected<RemoveFile>>();
    shared::<BuildError>();
    shared::<FlushError>();
    shared::<BlockingError>();
    sent::<Flush>();
    sent::<Blocking<fn()>>();
    // A guard around something that is only `Send` is only `Send`.
    sent::<Armed<std::cell::Cell<u8>>>();
    movable::<Flush>();
    movable::<Armed<RemoveFile>>();
}

#[test]
fn futures_can_be_spawned() {
    fn spawnable<F: Future + Send + 'static>(_: F) {}
    let worker = CleanupWorker::builder().build();
    if let Ok(worker) = worker {
        spawnable(worker.handle().flush(std::time::Duration::ZERO));
        spawnable(worker.quiesce(std::time::Duration::ZERO));
        spawnable(worker.shutdown(std::time::Duration::ZERO));
    }
}
