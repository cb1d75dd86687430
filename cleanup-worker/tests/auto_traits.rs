//! What is `Send`, `Sync`, `Unpin`, `'static` and `Debug`.

use lastout_cleanup_worker::*;
use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};

fn shared<T: Send + Sync + Debug + 'static>() {}
fn sent<T: Send + Debug + 'static>() {}
fn movable<T: Unpin>() {}
fn unwinds<T: UnwindSafe + RefUnwindSafe>() {}

#[test]
fn handles_and_guards_may_be_used_behind_a_caught_panic() {
    unwinds::<CleanupWorker>();
    unwinds::<CleanupHandle>();
    unwinds::<CleanupContext>();
    unwinds::<Armed<RemoveFile>>();
    unwinds::<Armed<std::cell::RefCell<Box<dyn Fn() + Send>>>>();
    unwinds::<Builder>();
    unwinds::<Flush>();
    unwinds::<FlushGuard>();
    unwinds::<ManualClock>();
    unwinds::<Stats>();
    unwinds::<Rejected<RemoveFile>>();
}

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
    shared::<Report>();
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

#[test]
fn a_rejection_becomes_any_error_whatever_the_task_is() {
    use std::error::Error;
    type Boxed = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    fn refused() -> Result<(), Box<dyn Error + Send + Sync>> {
        let worker = CleanupWorker::builder().capacity(0).build()?;
        let task: Boxed = Box::pin(async {});
        let reason = worker.handle().submit(task).map_err(|refused| refused.reason());
        assert_eq!(reason, Err(RejectReason::Full));
        let task: Boxed = Box::pin(async {});
        worker.handle().submit(task)?;
        Ok(())
    }
    let said = refused().err().map(|error| error.to_string());
    assert_eq!(said.as_deref(), Some("submit the cleanup: the worker is full"));
    let reason: &dyn Error = &RejectReason::Closed;
    assert_eq!(reason.to_string(), "submit the cleanup: the worker is closed");
}
