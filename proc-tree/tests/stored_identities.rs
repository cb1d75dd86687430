//! What is stored by one run of a program is read and checked by the next one.
#![cfg(all(target_os = "linux", feature = "serde"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

use lastout_proc_tree::{Containment, ProcId, Report, Tree};
use std::process::Command;
use std::time::Duration;

#[test]
fn identities_and_reports_come_back_as_they_were() {
    let mut command = Command::new("sleep");
    let (tree, _child) = Tree::spawn(command.arg("600"), Containment::strongest()).unwrap();
    let id = tree.root().unwrap();
    let stored = serde_json::to_string(&id).unwrap();
    let read: ProcId = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, id);
    assert!(read.exists() && read.is_running());
    let report = tree.kill_blocking(Duration::from_secs(60)).unwrap();
    assert!(!read.is_running());
    let stored = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&stored).unwrap(), report);
}
