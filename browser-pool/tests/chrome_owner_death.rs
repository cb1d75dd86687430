//! When the owner is killed, in whatever way, its browsers end, and the next start removes the rest.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{LONG, Oracle, builder, engines, soon};
use lastout_browser_pool::{BrowserPool, PoolConfig, Transport};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const ROUNDS: usize = 20;
const ROLE: &str = "LASTOUT_TEST_OWNER";

/// Not a test of its own: the owner that the other tests start and kill.
#[test]
fn owner() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let (engine, root) = role.split_once('|').unwrap();
    let transport = match root.strip_prefix("port:") {
        Some(_) => Transport::Port,
        None => Transport::Pipe,
    };
    let root = root.trim_start_matches("port:").to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async move {
        let sandbox = lastout_browser_pool::Sandbox::Disabled;
        let chrome = lastout_browser_pool::Chrome::builder().executable(engine).sandbox(sandbox);
        let chrome = chrome.root(root).transport(transport).build().unwrap();
        let pool = BrowserPool::start(chrome, PoolConfig::default()).unwrap();
        let one = soon("a page", pool.page()).await.unwrap();
        let two = soon("a page", pool.page()).await.unwrap();
        for page in [&one, &two] {
            page.goto("data:text/html,<script>setInterval(()=>0,1)</script>").await.unwrap();
        }
        println!("\nready");
        std::future::pending::<()>().await;
    });
}

fn start_owner(engine: &Path, root: &str) -> Child {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner", "--nocapture"])
        .env(ROLE, format!("{}|{root}", engine.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).any(|line| line == "ready");
    assert!(ready, "the owner ended early: {:?}", owner.wait());
    owner
}

#[test]
fn by_sigkill_leaves_no_process() {
    for engine in engines() {
        let oracle = Oracle::new();
        let mut slowest = std::time::Duration::ZERO;
        for round in 0..ROUNDS {
            let root = oracle.root().display().to_string();
            let root = if round % 5 == 4 { format!("port:{root}") } else { root };
            let mut owner = start_owner(&engine, &root);
            let before = oracle.processes().len();
            assert!(before >= 3, "round {round}: the oracle sees only {before}");
            owner.kill().unwrap();
            owner.wait().unwrap();
            slowest = slowest.max(oracle.wait_no_process(LONG));
        }
        println!("{ROUNDS} of {ROUNDS} rounds without survivors, the slowest after {slowest:?}");
        let left = oracle.browser_directories().len();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _entered = runtime.enter();
        let chrome = builder(&engine, &oracle).build().unwrap();
        println!("swept {:?}, of {left} browser directories", chrome.swept());
        assert!(chrome.swept().left.is_empty() && oracle.browser_directories().is_empty());
        drop(chrome);
        oracle.assert_nothing();
    }
}

#[test]
fn a_second_owner_never_touches_a_living_one() {
    let engine = engines().pop().unwrap();
    let oracle = Oracle::new();
    let mut owner = start_owner(&engine, &oracle.root().display().to_string());
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
    let mut owner = start_owner(&engine, &oracle.root().display().to_string());
    // Stopped, the browser cannot see that its pipe has closed.
    let stopped = oracle.processes();
    for found in &stopped {
        signal(found.pid, rustix::process::Signal::STOP);
    }
    owner.kill().unwrap();
    owner.wait().unwrap();
    let chrome = builder(&engine, &oracle).build().unwrap();
    assert_eq!(chrome.swept().dead, 1, "{:?}", chrome.swept());
    oracle.wait_no_process(LONG);
    assert!(oracle.browser_directories().is_empty());
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}
