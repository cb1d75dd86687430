//! The leak auditor: what this process had before, and what it has more of afterwards.
//!
//! ```
//! use lastout_proc_tree::audit::Audit;
//! use std::time::Duration;
//!
//! let audit = Audit::begin();
//! // … what is tested: it starts processes, opens files and sockets, makes temporary directories …
//! audit.assert_clean(Duration::from_secs(10));
//! ```
//!
//! It looks at the whole process, so it belongs into a test that runs alone in its process, as under
//! nextest, or into a test file that holds a lock.

use crate::deadline::Deadline;
use crate::id::ProcId;
use crate::snapshot::{Process, snapshot};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What the calling process had at one moment.
#[derive(Debug, Clone)]
#[must_use = "an audit that is not ended finds nothing"]
pub struct Audit {
    before: Inventory,
    directories: Vec<PathBuf>,
}

/// What is there now and was not there before.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Leaks {
    /// Descendants, zombies included, each before its children.
    pub processes: Vec<Process>,
    /// Open descriptors that are no sockets, as number and target.
    pub descriptors: Vec<String>,
    /// Open sockets, as number and target.
    pub sockets: Vec<String>,
    /// Entries of the watched directories.
    pub paths: Vec<PathBuf>,
}

#[derive(Debug, Clone, Default)]
struct Inventory {
    processes: Vec<Process>,
    descriptors: BTreeSet<(u32, String)>,
    paths: BTreeSet<PathBuf>,
}

/// Pause between two looks: long enough to let others do what is awaited.
const LOOK: Duration = Duration::from_millis(5);

impl Audit {
    /// Notes what this process has now: descendants, descriptors, sockets, and the entries of the
    /// directory for temporary files.
    pub fn begin() -> Self {
        Self::begin_in([std::env::temp_dir()])
    }

    /// The same with other directories to watch. A shared one shows what others leave there, too.
    pub fn begin_in(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        let directories: Vec<_> = directories.into_iter().collect();
        Self { before: Inventory::take(&directories), directories }
    }

    /// What is there now and was not there at the beginning.
    pub fn leaks(&self) -> Leaks {
        let now = Inventory::take(&self.directories);
        let known: BTreeSet<ProcId> = self.before.processes.iter().map(|p| p.id).collect();
        let fresh = now.descriptors.difference(&self.before.descriptors);
        let (sockets, descriptors) = fresh
            .map(|(number, target)| format!("{number} -> {target}"))
            .partition(|line: &String| line.contains("socket:"));
        Leaks {
            processes: now.processes.into_iter().filter(|p| !known.contains(&p.id)).collect(),
            descriptors,
            sockets,
            paths: now.paths.difference(&self.before.paths).cloned().collect(),
        }
    }

    /// Waits for nothing to be left, and panics at the deadline with a list of what is.
    ///
    /// # Panics
    ///
    /// When something is left at the deadline.
    #[track_caller]
    pub fn assert_clean(&self, deadline: impl Into<Deadline>) {
        let deadline = deadline.into().instant();
        let mut leaks = self.leaks();
        while !leaks.is_empty() && Instant::now() < deadline {
            std::thread::park_timeout(LOOK);
            leaks = self.leaks();
        }
        assert!(leaks.is_empty(), "left behind:\n{leaks}");
    }
}

impl Leaks {
    /// Whether nothing was left.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
            && self.descriptors.is_empty()
            && self.sockets.is_empty()
            && self.paths.is_empty()
    }
}

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for process in &self.processes {
            writeln!(f, "  {:indent$}process {process}", "", indent = process.depth * 2)?;
        }
        for descriptor in &self.descriptors {
            writeln!(f, "  descriptor {descriptor}")?;
        }
        for socket in &self.sockets {
            writeln!(f, "  socket {socket}")?;
        }
        for path in &self.paths {
            writeln!(f, "  path {}", path.display())?;
        }
        Ok(())
    }
}

impl Inventory {
    fn take(directories: &[PathBuf]) -> Self {
        let processes = snapshot(std::process::id());
        let processes = processes.map(|tree| tree.descendants().to_vec()).unwrap_or_default();
        let entries = directories.iter().filter_map(|path| std::fs::read_dir(path).ok());
        let entries = entries.flatten().flatten();
        Self {
            processes,
            descriptors: descriptors(),
            paths: entries.map(|entry| entry.path()).collect(),
        }
    }
}

/// The open descriptors, without the one that lists them.
fn descriptors() -> BTreeSet<(u32, String)> {
    let folder = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    let Ok(entries) = std::fs::read_dir(folder) else {
        return BTreeSet::new();
    };
    let numbers: Vec<u32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The directory itself is closed by now, so its number has no target any more.
    let targets = numbers.into_iter().filter_map(|number| {
        let target = std::fs::read_link(format!("{folder}/{number}")).ok()?;
        Some((number, target.display().to_string()))
    });
    targets.collect()
}
