//! Where the system starts no more threads: everything is ended all the same, and no signal is taken from the
//! process.

#![cfg(all(feature = "signals", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod support;

use lastout::supervisor::{BuildReason, Ending, Failure};
use lastout::{Restart, Supervisor};
use rustix::process::{Resource, Rlimit, Signal, geteuid, getrlimit, setrlimit};
use std::future::pending;
use support::{Book, Fake};

/// Lets this process start no thread. Root is above that limit, so this thread steps down first.
fn forbid_threads() {
    if geteuid().is_root() {
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65534)).unwrap();
    }
    let limit = getrlimit(Resource::Nproc);
    setrlimit(Resource::Nproc, Rlimit { current: Some(0), ..limit }).unwrap();
    let refused = std::thread::Builder::new().spawn(|| {});
    assert!(refused.is_err(), "the limit has no effect here");
}

/// Whether this process has a handler for a signal.
fn is_caught(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    let caught = u64::from_str_radix(line.trim(), 16).unwrap();
    caught & (1 << (signal.as_raw() - 1)) != 0
}

/// One test: the limit holds for the process.
#[test]
fn members_are_ended_on_the_thread_at_hand_and_signals_stay_with_the_process() {
    forbid_threads();
    let book = Book::default();
    let supervisor = Supervisor::builder()
        .member("first", Fake::new("first", &book))
        .member("second", Fake::new("second", &book))
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    assert!(report.is_clean(), "{report}");
    assert_eq!(book.lines(), ["drain second", "drop second", "drain first", "drop first"]);

    let supervisor = Supervisor::builder()
        .member("it", Fake::new("it", &book))
        .service("waits", Restart::never(), pending::<Result<Fake, Failure>>)
        .build()
        .unwrap();
    supervisor.handle().stop();
    let report = supervisor.run_blocking();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.members[1].ending, Ending::Drained);

    let refused = Supervisor::builder().until_signal().build().unwrap_err();
    assert!(matches!(refused.reason(), BuildReason::Signals(_)), "{refused}");
    assert!(!is_caught(Signal::TERM), "no thread would hear it");
}
