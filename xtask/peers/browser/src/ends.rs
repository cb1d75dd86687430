//! What is left when an owner is killed, and when a browser is dropped: counted, not timed.
//!
//! The owner is this very program in a process of its own, whose temporary directory, home and working
//! directory are one folder of the bench; so whatever is left there, or runs from there, is the owner's.

use crate::{ours, raw};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// When the survivors of a killed owner are counted.
const AFTER: Duration = Duration::from_secs(1);

/// Owners killed, and browsers dropped, in one round; the runner makes two rounds and their sums are
/// added: twenty, and fifty.
pub const KILLS: usize = 10;
pub const DROPS: usize = 25;

/// The folder of one owner. Dropping it kills what still runs from it, and removes it.
struct Ground(PathBuf);

impl Ground {
    fn new() -> Self {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/lo-bench-{}-{number}", std::process::id()));
        for part in ["t", "h"] {
            std::fs::create_dir_all(path.join(part)).expect("the folder of an owner");
        }
        Self(path)
    }

    fn start(&self, role: &str, contender: &str, engine: &Path) -> Child {
        let owner = Command::new(std::env::current_exe().expect("own path"))
            .args([role, contender])
            .arg(engine)
            .env("TMPDIR", self.0.join("t"))
            .env("HOME", self.0.join("h"))
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .current_dir(&self.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        owner.expect("an owner")
    }

    /// Processes that have the folder in their command line, environment or working directory.
    fn processes(&self) -> Vec<u32> {
        let needle = self.0.as_os_str().as_encoded_bytes();
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let runs_here = |pid: &u32| {
            let has = |name: &str| {
                let bytes = std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
                bytes.windows(needle.len()).any(|window| window == needle)
            };
            let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            cwd.starts_with(&self.0) || has("cmdline") || has("environ")
        };
        pids.filter(runs_here).collect()
    }

    /// Files and directories that are left, without the folders that were there before.
    fn left(&self) -> usize {
        fn count(path: &Path) -> usize {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries
                .map(|entry| match entry.file_type() {
                    Ok(kind) if kind.is_dir() => 1 + count(&entry.path()),
                    _ => 1,
                })
                .sum()
        }
        count(&self.0) - 2
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            let left = self.processes();
            if left.is_empty() && std::fs::remove_dir_all(&self.0).is_ok() {
                return;
            }
            for pid in left {
                let pid = pid.to_string();
                drop(Command::new("kill").args(["-9", &pid]).stderr(Stdio::null()).status());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Processes that are alive a second after their owner was killed, over all kills of this round.
pub fn survivors(contender: &str, engine: &Path) -> f64 {
    let mut survivors = 0;
    for _ in 0..KILLS {
        let ground = Ground::new();
        let mut owner = ground.start("--owner", contender, engine);
        let lines = BufReader::new(owner.stdout.take().expect("piped")).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "ready"), "the owner is ready");
        assert!(ground.processes().len() >= 4, "the owner and its browser run");
        owner.kill().expect("kill the owner");
        owner.wait().expect("reap the owner");
        let struck = Instant::now();
        let mut left = ground.processes().len();
        while left > 0 && struck.elapsed() < AFTER {
            std::thread::sleep(Duration::from_millis(10));
            left = ground.processes().len();
        }
        survivors += left;
    }
    survivors as f64
}

/// Files and directories that are left, anywhere, after browsers were dropped one after the other.
pub fn litter(contender: &str, engine: &Path) -> f64 {
    let ground = Ground::new();
    let mut owner = ground.start("--drops", contender, engine);
    assert!(owner.wait().is_ok_and(|status| status.success()), "the drops went through");
    ground.left() as f64
}

/// Adds the values of all rounds up, the warm-up included.
pub fn summed(mut round: impl FnMut() -> f64) -> impl FnMut() -> f64 {
    let mut sum = 0.0;
    move || {
        sum += round();
        sum
    }
}

/// What the owner does: `--owner` has a busy page until it is killed, `--drops` drops browsers.
pub async fn play(role: &str, contender: &str, engine: &Path) {
    match (role, contender) {
        ("--owner", "ours") => ours::own(engine).await,
        ("--owner", _) => raw::own(engine).await,
        (_, "ours") => ours::drops(engine, DROPS).await,
        (_, _) => raw::drops(engine, DROPS).await,
    }
}
