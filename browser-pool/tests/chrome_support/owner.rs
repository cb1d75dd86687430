//! An owner in a process of its own, to be killed.

use super::{LONG, Oracle, builder, patient, sandbox, soon};
use lastout_browser_pool::{BrowserPool, Chrome, Transport};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const ROLE: &str = "LASTOUT_TEST_OWNER";

/// Plays the owner when this process was started as one; does not return then.
pub(crate) fn play() {
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
        let chrome = Chrome::builder().executable(engine).sandbox(sandbox());
        let chrome = chrome.root(root).transport(transport).build().unwrap();
        let pool = BrowserPool::start(chrome, patient().build().unwrap()).unwrap();
        let one = soon("a page", pool.page()).await.unwrap();
        let two = soon("a page", pool.page()).await.unwrap();
        for page in [&one, &two] {
            page.goto("data:text/html,<script>setInterval(()=>0,1)</script>").await.unwrap();
        }
        println!("\nready");
        std::future::pending::<()>().await;
    });
}

/// Starts this very program as an owner with two busy pages; the arguments lead to [`play`].
pub(crate) fn start(engine: &Path, root: &str) -> Child {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner", "--nocapture"])
        .env(ROLE, format!("{}|{root}", engine.display()))
        // For the oracle, if the test fails before it ends the owner.
        .env("LASTOUT_TEST_ROOT", root.trim_start_matches("port:"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).any(|line| line == "ready");
    assert!(ready, "the owner ended early: {:?}", owner.wait());
    owner
}

/// SIGKILL of the owner: no process is left, and the next start removes the directories. Returns how
/// long the slowest round took.
pub(crate) fn killed(engine: &Path, rounds: u64) -> Duration {
    let oracle = Oracle::new();
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let root = oracle.root().display().to_string();
        let root = if round % 4 == 3 { format!("port:{root}") } else { root };
        let mut owner = start(engine, &root);
        let before = oracle.processes().len();
        assert!(before >= 3, "round {round}: the oracle sees only {before}");
        owner.kill().unwrap();
        owner.wait().unwrap();
        slowest = slowest.max(oracle.wait_no_process(LONG));
    }
    let chrome = builder(engine, &oracle).build().unwrap();
    // Each owner swept the one before it.
    assert_eq!((chrome.swept().dead, chrome.swept().living), (1, 0));
    assert!(chrome.swept().left.is_empty() && oracle.browser_directories().is_empty());
    drop(chrome);
    oracle.assert_nothing();
    slowest
}
