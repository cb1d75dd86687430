//! A runtime of async-rt on a thread of its own is a member: told to end, waited for, and its report is
//! the member's.

#![cfg(feature = "async-rt")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that starts a thread")]

use lastout::Supervisor;
use lastout::async_rt::{Runtime, ShutdownSignal, spawn_boxed};
use std::future::pending;
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn its_tasks_end_and_its_report_is_the_members() {
    let (give, handle) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            spawn_boxed(ShutdownSignal::current()).detach();
            spawn_boxed(pending::<()>()).detach();
            give.send(runtime.shutdown_handle()).unwrap();
            ShutdownSignal::current().await;
        });
        runtime.shutdown_blocking(Duration::from_millis(20))
    });
    let supervisor =
        Supervisor::builder().member("runtime", handle.recv().unwrap()).build().unwrap();
    let report = supervisor.shutdown_blocking();
    assert!(report.is_clean(), "{report}");
    let forced: Vec<_> = report.members[0].drained.forced.iter().map(ToString::to_string).collect();
    assert_eq!(forced, ["1 tasks"]);
    assert_eq!(thread.join().unwrap().forced(), 1);
}
