//! A leaf on a kernel without `cgroup.kill`: frozen, signalled, thawed.
#![allow(clippy::disallowed_methods, reason = "a test with real processes")]

use super::cgroup::Leaf;
use super::leaf_wait::LeafWait;
use crate::engine::Step;
use crate::sys::wait_readable;
use std::io::Write;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

#[test]
fn a_leaf_without_its_kill_file_is_emptied_all_the_same() {
    let Ok(leaf) = Leaf::make(None) else {
        return; // Without write access to a cgroup there is nothing to test.
    };
    let leaf = leaf.without_kill_file();
    let start = |_| {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        leaf.door().write_all(child.id().to_string().as_bytes()).unwrap();
        child
    };
    let children: Vec<Child> = (0..3).map(start).collect();
    let until = Instant::now() + Duration::from_secs(60);
    let mut wait = LeafWait::new(&leaf, true, until);
    while let Step::Wait(next) = wait.step(Instant::now()) {
        assert!(Instant::now() < until, "members run");
        wait_readable(wait.news().unwrap(), next).unwrap();
    }
    assert!(wait.is_empty);
    assert_eq!(wait.seen().len(), 3);
    for mut child in children {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }
    leaf.remove(until).unwrap();
}
