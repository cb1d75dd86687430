//! What is left of the browsers below one root, found in ways that the crate does not use.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Watches one root directory, and the places that browsers litter.
#[derive(Debug)]
pub(crate) struct Oracle {
    root: PathBuf,
    litter: BTreeSet<PathBuf>,
    /// The pid and the start of every process that belonged to the root when it was looked for.
    seen: Mutex<BTreeSet<(u32, String)>>,
}

/// A process that a browser below the root is made of.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) pid: u32,
    pub(crate) command: String,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let unique = format!("lo{:x}", now.as_nanos() % 0xfff_ffff_ffff);
        let root = PathBuf::from("/tmp").join(unique);
        Self { root, litter: litter(), seen: Mutex::default() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where scripts in place of browsers are; ends with the oracle.
    pub(crate) fn scripts(&self) -> PathBuf {
        let path = self.root.with_extension("bin");
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Everybody who belongs to a browser below the root, without this process and zombies: whoever was given a place
    /// below it, in a variable or as the value of a switch, and the children of those. The environment of
    /// sandboxed processes cannot be read: they belong to their parents, and still do when those are gone. A
    /// process of others that only names the root, such as a `du`, does not belong.
    pub(crate) fn processes(&self) -> Vec<Found> {
        let root = self.root.as_os_str().as_encoded_bytes();
        let below = |value: &[u8]| {
            value.strip_prefix(root).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
        };
        // `NAME=VALUE`, each ended by a NUL.
        let has = |bytes: &[u8]| {
            bytes.split(|byte| *byte == 0).any(|word| {
                let at = word.iter().position(|byte| *byte == b'=');
                at.is_some_and(|at| below(&word[at + 1..]))
            })
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut found, mut others) = (Vec::new(), Vec::new());
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        for entry in entries {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            let path = entry.path();
            let read = |name: &str| std::fs::read(path.join(name)).unwrap_or_default();
            let command = read("cmdline");
            let stat = String::from_utf8_lossy(&read("stat")).into_owned();
            let fields: Vec<_> = stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| {
                rest.split_whitespace().map(str::to_owned).collect()
            });
            // The state, the parent and the start, in the order of proc(5).
            let [Some(state), Some(parent), Some(start)] = [0, 1, 19].map(|at| fields.get(at))
            else {
                continue;
            };
            if pid == std::process::id() || matches!(state.as_str(), "Z" | "X") {
                continue;
            }
            let (parent, one) = (parent.parse().unwrap_or(0), (pid, start.clone()));
            let belongs = has(&command) || has(&read("environ"));
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let process = Found { pid, command: command.chars().take(8000).collect() };
            if belongs || seen.contains(&one) {
                seen.insert(one);
                found.push(process);
            } else {
                others.push((parent, one, process));
            }
        }
        loop {
            let is_child = |parent: u32| found.iter().any(|found| found.pid == parent);
            let (children, rest): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|(parent, ..)| is_child(*parent));
            if children.is_empty() {
                return found;
            }
            for (_, one, process) in children {
                seen.insert(one);
                found.push(process);
            }
            others = rest;
        }
    }

    /// The browser's main process, found by its command line.
    pub(crate) fn main_process(&self) -> u32 {
        let processes = self.processes();
        let is_main = |found: &&Found| {
            found.command.contains("--user-data-dir=")
                && !is_shell(found.pid)
                && !found.command.contains("--type=")
                && !found.command.contains("crashpad")
        };
        processes.iter().find(is_main).unwrap_or_else(|| panic!("no browser in {processes:#?}")).pid
    }

    /// The renderers, found by their command lines.
    pub(crate) fn renderers(&self) -> Vec<u32> {
        let renders = |found: &Found| found.command.contains("--type=renderer");
        self.processes().into_iter().filter(renders).map(|found| found.pid).collect()
    }

    /// Whatever the browsers hold open for writing is below the root, and so are their socket directories:
    /// nothing of theirs can be litter elsewhere.
    pub(crate) fn assert_private(&self) {
        let elsewhere = |path: &Path| {
            let places = ["/tmp", "/var/tmp", "/root", "/home"].map(Path::new);
            places.iter().any(|place| path.starts_with(place)) && !path.starts_with(&self.root)
        };
        let mut writes = 0;
        for Found { pid, command } in self.processes() {
            let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            for fd in fds {
                let info = format!("/proc/{pid}/fdinfo/{}", fd.file_name().to_string_lossy());
                let info = std::fs::read_to_string(info).unwrap_or_default();
                let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
                let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
                let Ok(path) = std::fs::read_link(fd.path()) else { continue };
                let is_written = flags.is_some_and(|flags| flags & 3 != 0);
                writes += usize::from(is_written && path.starts_with(&self.root));
                assert!(!(is_written && elsewhere(&path)), "{path:?} is open in {command}");
            }
        }
        assert!(writes > 0, "the browsers write below the root");
        for browser in self.browser_directories() {
            if let Ok(socket) = std::fs::read_link(browser.join("p/SingletonSocket")) {
                assert!(socket.starts_with(&self.root), "{socket:?}");
            }
        }
    }

    pub(crate) fn assert_no_process(&self) {
        let left = self.processes();
        assert!(left.is_empty(), "processes are left: {left:#?}");
    }

    /// The directories of browsers below the root.
    pub(crate) fn browser_directories(&self) -> Vec<PathBuf> {
        let dirs = |path: &Path| {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
        };
        dirs(&self.root).iter().flat_map(|owner| dirs(owner)).collect()
    }

    pub(crate) fn assert_no_browser_directory(&self) {
        let left = self.browser_directories();
        assert!(left.is_empty(), "directories are left: {left:#?}");
    }

    /// Nothing below the root, and nothing new where browsers litter.
    pub(crate) fn assert_nothing(&self) {
        self.assert_no_process();
        let below: Vec<_> = std::fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert!(below.is_empty(), "left below the root: {below:#?}");
        self.assert_no_litter();
    }

    pub(crate) fn assert_no_litter(&self) {
        let new: Vec<_> = litter().difference(&self.litter).cloned().collect();
        assert!(new.is_empty(), "litter: {new:#?}");
    }

    /// Waits until no process is left; how long it took.
    pub(crate) fn wait_no_process(&self, limit: Duration) -> Duration {
        let started = Instant::now();
        loop {
            let left = self.processes();
            if left.is_empty() {
                return started.elapsed();
            }
            assert!(started.elapsed() < limit, "still there after {limit:?}: {left:#?}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // Also when the test failed: end what it started, by pid, and remove its own root.
        for found in self.processes() {
            if let Some(pid) =
                i32::try_from(found.pid).ok().and_then(rustix::process::Pid::from_raw)
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        drop(std::fs::remove_dir_all(self.root.with_extension("bin")));
        let started = Instant::now();
        while std::fs::remove_dir_all(&self.root).is_err()
            && self.root.exists()
            && started.elapsed() < Duration::from_secs(5)
        {}
    }
}

/// What browsers are known to leave outside of their profiles. Others use this machine as well, so
/// only names that carry this process's or its children's mark would be certain; the folders are
/// compared before and after instead, and tests that look here run alone.
fn litter() -> BTreeSet<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    let mut found = BTreeSet::new();
    let list = |path: &Path| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    for place in [".config/chromium", ".config/google-chrome", ".cache/chromium", ".pki"] {
        found.extend(list(&home.join(place)));
    }
    found
}

/// Whether the process is a shell, such as the wrapper that some systems start browsers with.
fn is_shell(pid: u32) -> bool {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let shells = ["sh", "dash", "bash", "busybox"];
    exe.file_name().is_some_and(|name| shells.iter().any(|shell| name == *shell))
}
