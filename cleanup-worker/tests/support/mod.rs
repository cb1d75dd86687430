//! What the tests share: long deadlines, conditions, and a second life of the test binary.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "each test file uses its part; it starts the test binary itself, and waits for it"
)]

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Longer than any machine needs; nobody waits that long unless something is wrong.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Waits on a condition, and says what it was when it does not come true.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        std::thread::yield_now();
    }
}

/// A gate that a task waits at: a blocking closure by `recv`, a future by polling.
pub(crate) fn gate() -> (SyncSender<()>, Receiver<()>) {
    sync_channel(64)
}

const SECOND_LIFE: &str = "LASTOUT_SECOND_LIFE";

/// Whether this process is the child that `again` started.
pub(crate) fn is_second_life() -> bool {
    std::env::var_os(SECOND_LIFE).is_some()
}

/// Runs one test of this very binary in a process of its own and waits for its end.
pub(crate) fn again(test: &str) -> (std::process::ExitStatus, String) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(SECOND_LIFE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (status, output) = finish(child);
    assert!(output.contains("running 1 test"), "there is no test {test}: {output}");
    (status, output)
}

/// Waits for a child with a deadline; one that hangs is killed and fails the test.
fn finish(mut child: Child) -> (std::process::ExitStatus, String) {
    let deadline = Instant::now() + LONG;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() >= deadline {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            panic!("the second life hangs: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::yield_now();
    }
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status, String::from_utf8_lossy(&text).into_owned())
}
