//! When the owner is killed, in whatever way, its browsers end, and the next start removes the rest.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{LONG, Oracle, builder, engines, losses, owner};

/// The soak runs twenty.
const ROUNDS: u64 = 4;

/// Not a test of its own: the owner that the other tests start and kill.
#[test]
fn owner() {
    owner::play();
}

#[test]
fn by_sigkill_leaves_no_process() {
    for engine in engines() {
        let slowest = owner::killed(&engine, ROUNDS);
        println!("{ROUNDS} of {ROUNDS} rounds without survivors, the slowest after {slowest:?}");
    }
}

#[test]
fn a_second_owner_never_touches_a_living_one() {
    let engine = engines().pop().unwrap();
    let oracle = Oracle::new();
    let mut owner = owner::start(&engine, &oracle.root().display().to_string());
    let before = oracle.main_process();
    for _ in 0..5 {
        let chrome = builder(&engine, &oracle).build().unwrap();
        assert_eq!((chrome.swept().living, chrome.swept().dead), (1, 0));
    }
    assert_eq!(oracle.main_process(), before);
    assert_eq!(oracle.browser_directories().len(), 1);
    owner.kill().unwrap();
    owner.wait().unwrap();
    oracle.wait_no_process(LONG);
}

#[test]
fn a_browser_that_outlived_its_owner_is_swept() {
    let engine = engines().pop().unwrap();
    let oracle = Oracle::new();
    let mut owner = owner::start(&engine, &oracle.root().display().to_string());
    // Stopped, the browser cannot see that its pipe has closed.
    let stopped = oracle.processes();
    for found in &stopped {
        losses::send(found.pid, rustix::process::Signal::STOP);
    }
    owner.kill().unwrap();
    owner.wait().unwrap();
    let chrome = builder(&engine, &oracle).build().unwrap();
    assert_eq!(chrome.swept().dead, 1, "{:?}", chrome.swept());
    oracle.wait_no_process(LONG);
    assert!(oracle.browser_directories().is_empty());
}
