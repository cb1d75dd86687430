//! The fleet on a real PostgreSQL: kills and a rolling restart lose no job.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes")]

mod support;

use std::process::{Command, Stdio};
use support::examples;

#[test]
fn kills_and_a_rolling_restart_lose_no_job() {
    let output = Command::new(examples::built("fleet"))
        .args(["--jobs", "600", "--workers", "3", "--kills", "2"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{complaints}");
    assert!(text.contains("jobs: enqueued 600 = succeeded 600"), "{text}");
    assert!(text.contains("left behind: nothing"), "{text}");
    let signals = |name: &str| text.lines().filter(|line| line.contains(name)).count();
    assert_eq!((signals("SIGKILL to"), signals("SIGTERM to")), (2, 3), "{text}");
}
