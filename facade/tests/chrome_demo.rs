//! The demo on real Chrome: with faults it ends with zeros, its page is whole in a real browser, and a
//! SIGKILL of the demo itself leaves no browser and loses no job.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test of processes"
)]

mod support;

use lastout::browser_pool::{BrowserPool, Chrome, PoolConfig, Sandbox};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{GENEROUS, examples, wait_until};

const ZEROS: &str = "left behind: 0 processes, 0 directories, 0 jobs";

/// A directory of the test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        // Short: browsers make sockets below it.
        let name = format!("lo-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn demo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(examples::built("capture"));
        command.args(args).arg("--out").arg(self.0.join("out"));
        // The browsers of this test are told from those of others by their directory.
        command.env("TMPDIR", &self.0).stdin(Stdio::null());
        command
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Processes that were started with this path.
fn processes_with(path: &Path) -> Vec<String> {
    let path = path.to_str().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(path) {
            found.push(format!("{} {line}", entry.file_name().to_string_lossy()));
        }
    }
    found
}

#[test]
fn faults_leave_nothing_behind_and_the_page_is_whole() {
    let scratch = Scratch::new("d");
    let output = scratch.demo(&["--jobs", "16", "--faults", "on"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{complaints}");
    assert_eq!(text.lines().last(), Some(ZEROS), "{text}");
    let kills = text.lines().filter(|line| line.contains("x kill -9 of worker")).count();
    assert_eq!(kills, 2, "{text}");
    wait_until(|| processes_with(&scratch.0), Vec::is_empty);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(check_page(&scratch.0.join("out/report.html")));
}

/// Asks a browser what it sees.
async fn check_page(page: &Path) {
    let root = rustix::process::geteuid().is_root();
    let sandbox = if root { Sandbox::Disabled } else { Sandbox::Required };
    let names = ["LASTOUT_CHROME_HEADLESS_SHELL", "LASTOUT_CHROME"];
    let executable = names.iter().find_map(std::env::var_os).expect("run it by `cargo xtask e2e`");
    let chrome = Chrome::builder().sandbox(sandbox).executable(executable).window(1000, 800);
    let pool = BrowserPool::start(chrome.build().unwrap(), PoolConfig::default()).unwrap();
    let lease = pool.page().await.unwrap();
    lease.navigate(format!("file://{}", page.display()), GENEROUS).await.unwrap();
    let ask = async |script: &str| -> serde_json::Value {
        lease.evaluate(script).await.unwrap().into_value().unwrap()
    };
    assert_eq!(ask("document.title").await, "capture: clean");
    assert_eq!(ask("document.querySelector('#verdict').innerText").await, ZEROS);
    assert_eq!(ask("document.querySelectorAll('.off, #complaints').length").await, 0);
    let pictures = ask("document.images.length").await.as_u64().unwrap();
    assert!(pictures >= 10, "{pictures} thumbnails");
    let broken = "[...document.images].filter(i => !i.complete || i.naturalWidth < 100).length";
    assert_eq!(ask(broken).await, 0);
    let outside = "performance.getEntriesByType('resource')\
                   .filter(e => !e.name.startsWith('data:')).length";
    assert_eq!(ask(outside).await, 0, "it needs nothing but itself");
    let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(ask(overflow).await, 0, "nothing sticks out");
    assert!(ask("document.querySelectorAll('svg .fault').length").await.as_u64() >= Some(3));
    assert!(ask("document.querySelectorAll('#jobs tbody tr').length").await == 18);
    drop(lease);
    assert!(pool.drain(GENEROUS).await.is_clean());
}

/// Ends the demo also when the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_kill_of_the_demo_itself_leaves_no_browser_and_the_next_start_goes_on() {
    let scratch = Scratch::new("k");
    let args = ["--jobs", "24", "--faults", "off"];
    let mut demo = Running(scratch.demo(&args).stdout(Stdio::null()).spawn().unwrap());
    let pages = scratch.0.join("out/pages");
    let captured = || fs::read_dir(&pages).map_or(0, |entries| entries.count());
    wait_until(captured, |count| *count >= 6);
    assert!(!processes_with(&scratch.0).is_empty(), "browsers run");
    demo.0.kill().unwrap();
    let killed = Instant::now();
    demo.0.wait().unwrap();
    wait_until(|| processes_with(&scratch.0), Vec::is_empty);
    let took = killed.elapsed();
    eprintln!("no process was left {took:.0?} after the kill");
    assert!(took < Duration::from_secs(30));

    let output = scratch.demo(&args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.starts_with("resuming 27 jobs"), "{text}");
    assert_eq!(text.lines().last(), Some(ZEROS), "{text}");
}
