//! [`StaysDead`]: removes a directory, and sees to it that it stays removed.
//!
//! A process that outlives its tree by a moment writes once more into a directory that it knows, and
//! the directory is back. So the removal looks again for a while, and ends who does that if it may.

use crate::deadline::Deadline;
use crate::error::KillError;
use crate::id::{Pid, ProcId};
use crate::sys::{Lookout, remove_all};
use crate::tree::Tree;
use crate::wait::pause;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a removed directory is watched, unless it is said.
const WINDOW: Duration = Duration::from_millis(500);

/// How long removals are tried, unless it is said.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two looks. A directory that comes back stays, so none is missed.
const LOOK: Duration = Duration::from_millis(5);

/// The removal of a directory that must not come back.
///
/// ```
/// use lastout_proc_tree::StaysDead;
/// use std::time::Duration;
///
/// let profile = std::env::temp_dir().join(format!("doc-{}", std::process::id()));
/// std::fs::create_dir_all(profile.join("Default"))?;
///
/// let removal = StaysDead::new(&profile).window(Duration::from_millis(50)).remove_blocking()?;
/// assert_eq!(removal.times, 1);
/// assert!(!profile.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is removed before `remove` is called"]
pub struct StaysDead<'a> {
    path: PathBuf,
    window: Duration,
    patience: Deadline,
    tree: Option<&'a Tree>,
}

/// What a removal took.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// How often the directory was there. 0 when it never was, 2 when it came back once.
    pub times: u32,
    /// How many members of the tree were killed because it came back.
    pub killed: usize,
    /// How long it took, with the window.
    pub elapsed: Duration,
}

/// A process that has the directory open, or works in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Culprit {
    /// Which process.
    pub id: ProcId,
    /// Its name, as in `ps -o comm`.
    pub name: String,
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} (pid {})", self.name, self.id.pid())
    }
}

/// Why the directory is not known to stay away.
#[derive(Debug)]
#[non_exhaustive]
pub enum StaysDeadError {
    /// It is no directory of its own: a root, or a path that ends in `.` or `..`.
    Refused {
        /// The path.
        path: PathBuf,
    },
    /// The system does not remove it, or does not say whether it is there.
    Remove {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It came back until the deadline, and these processes hold it, which are no members of the tree.
    Held {
        /// The path.
        path: PathBuf,
        /// Who holds it. Empty when nobody was caught at it.
        culprits: Vec<Culprit>,
    },
    /// It came back, and the tree that is suspected could not be killed.
    Kill {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: Box<KillError>,
    },
}

impl fmt::Display for StaysDeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { path } => {
                write!(f, "remove {}: not a directory to be removed", path.display())
            }
            Self::Remove { path, .. } => write!(f, "remove {}", path.display()),
            Self::Held { path, culprits } => {
                write!(f, "remove {} for good: it comes back", path.display())?;
                for culprit in culprits {
                    write!(f, "; {culprit} holds it")?;
                }
                Ok(())
            }
            Self::Kill { path, .. } => {
                write!(f, "kill the tree that brings {} back", path.display())
            }
        }
    }
}

impl Error for StaysDeadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Remove { source, .. } => Some(source),
            Self::Kill { source, .. } => Some(&**source),
            Self::Refused { .. } | Self::Held { .. } => None,
        }
    }
}

impl<'a> StaysDead<'a> {
    /// The removal of `path` and everything below it, however deep. A symbolic link is removed, not
    /// followed, even if the path ends in a slash. A mount point, at the path or below it, is not touched: that is an error.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), window: WINDOW, patience: Deadline::after(PATIENCE), tree: None }
    }

    /// Kills the members of this tree, and no other process, when the directory comes back.
    pub fn suspect(mut self, tree: &'a Tree) -> Self {
        self.tree = Some(tree);
        self
    }

    /// For how long the directory has to stay away. 500 ms otherwise.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Until when it is removed again. 10 s otherwise; the window may end later.
    pub fn within(mut self, deadline: impl Into<Deadline>) -> Self {
        self.patience = deadline.into();
        self
    }

    /// [`remove`](Self::remove), blocking the calling thread.
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove).
    pub fn remove_blocking(self) -> Result<Removal, StaysDeadError> {
        let mut removing = Removing::new(self)?;
        loop {
            match removing.step(Instant::now())? {
                Next::Look(at) => {
                    std::thread::park_timeout(at.saturating_duration_since(Instant::now()));
                }
                Next::Kill(tree) => {
                    let outcome = tree.kill_blocking(removing.order.patience);
                    removing.killed(outcome.map(|report| report.killed))?;
                }
                Next::Done => return Ok(removing.removal()),
            }
        }
    }

    /// Removes it, and completes when it has stayed away for the window. It runs on any executor; the
    /// removal itself is done by the thread that polls.
    ///
    /// # Errors
    ///
    /// When it cannot be removed, or comes back until the deadline.
    ///
    /// # Cancel safety
    ///
    /// What is removed is removed; it is not looked at any more.
    pub async fn remove(self) -> Result<Removal, StaysDeadError> {
        let mut removing = Removing::new(self)?;
        loop {
            match removing.step(Instant::now())? {
                Next::Look(at) => pause(at).await,
                Next::Kill(tree) => {
                    let outcome = tree.kill(removing.order.patience).await;
                    removing.killed(outcome.map(|report| report.killed))?;
                }
                Next::Done => return Ok(removing.removal()),
            }
        }
    }
}

/// A removal in progress.
struct Removing<'a> {
    order: StaysDead<'a>,
    begin: Instant,
    times: u32,
    killed: usize,
    absent_since: Option<Instant>,
}

enum Next<'a> {
    Look(Instant),
    Kill(&'a Tree),
    Done,
}

impl<'a> Removing<'a> {
    fn new(order: StaysDead<'a>) -> Result<Self, StaysDeadError> {
        let Some(path) = without_slash(&order.path) else {
            return Err(StaysDeadError::Refused { path: order.path });
        };
        let order = StaysDead { path, ..order };
        Ok(Self { order, begin: Instant::now(), times: 0, killed: 0, absent_since: None })
    }

    fn step(&mut self, now: Instant) -> Result<Next<'a>, StaysDeadError> {
        if self.is_absent()? {
            let since = *self.absent_since.get_or_insert(now);
            let is_over = now.saturating_duration_since(since) >= self.order.window;
            return Ok(if is_over { Next::Done } else { Next::Look(now + LOOK) });
        }
        let came_back = self.absent_since.take().is_some() && self.times > 0;
        if came_back {
            if now >= self.order.patience.instant() {
                return Err(self.held());
            }
            let suspect = self.order.tree.filter(|tree| {
                // A tree that cannot be looked at is killed rather than trusted.
                tree.members().map_or(true, |members| !members.is_empty())
            });
            if let Some(tree) = suspect {
                self.times += 1;
                self.remove_once(now)?;
                return Ok(Next::Kill(tree));
            }
        }
        self.times += u32::from(came_back || self.times == 0);
        self.remove_once(now)
    }

    /// Whether the system says that nothing is there. What may not be looked at is not gone.
    fn is_absent(&self) -> Result<bool, StaysDeadError> {
        match self.order.path.symlink_metadata() {
            Ok(_) => Ok(false),
            // A component before the last one is no directory: then nothing is below it.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(true)
            }
            Err(source) => Err(StaysDeadError::Remove { path: self.order.path.clone(), source }),
        }
    }

    fn remove_once(&mut self, now: Instant) -> Result<Next<'a>, StaysDeadError> {
        let patience = self.order.patience.instant();
        match remove_all(&self.order.path, patience) {
            Ok(()) => {
                self.absent_since = Some(now);
                Ok(Next::Look(now))
            }
            // Somebody writes into it while it is emptied.
            Err(error) if is_race(&error) && now < patience => Ok(Next::Look(now + LOOK)),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Err(self.held()),
            Err(source) => Err(StaysDeadError::Remove { path: self.order.path.clone(), source }),
        }
    }

    fn killed(&mut self, outcome: Result<usize, KillError>) -> Result<(), StaysDeadError> {
        self.killed += outcome.map_err(|source| StaysDeadError::Kill {
            path: self.order.path.clone(),
            source: Box::new(source),
        })?;
        Ok(())
    }

    fn held(&self) -> StaysDeadError {
        StaysDeadError::Held { path: self.order.path.clone(), culprits: culprits(&self.order.path) }
    }

    fn removal(&self) -> Removal {
        Removal { times: self.times, killed: self.killed, elapsed: self.begin.elapsed() }
    }
}

/// The path without slashes at its end, through which the system would follow a link; `None` when its last
/// component is no name.
fn without_slash(path: &Path) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'/')?;
    let path = Path::new(std::ffi::OsStr::from_bytes(&bytes[..=end]));
    // `file_name` passes over a dot at the end, and the system goes through a link before it.
    let is_dot = path.as_os_str() == "." || path.as_os_str().as_bytes().ends_with(b"/.");
    (!is_dot && path.file_name().is_some()).then(|| path.to_owned())
}

/// Whether an error of a removal may be gone at the next try: somebody else works on the directory.
fn is_race(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound | io::ErrorKind::ResourceBusy
    )
}

/// The processes that hold `path` or something below it, without the caller.
fn culprits(path: &Path) -> Vec<Culprit> {
    let Ok(mut table) = Lookout::open() else {
        return Vec::new();
    };
    let own = std::process::id();
    // Links of the system are resolved, so the path has to be too. The directory itself is gone or new.
    let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
    let path = match (parent, path.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    };
    let holders = table.all().into_iter().filter(|pid| *pid != own && holds(*pid, &path));
    let holders: Vec<Pid> = holders.collect();
    let named = holders.into_iter().filter_map(|pid| {
        let (id, _, name) = table.look(pid)?;
        Some(Culprit { id, name: String::from_utf8_lossy(&name).into_owned() })
    });
    named.collect()
}

fn holds(pid: Pid, path: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let open = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let links = open.map(|entry| entry.path()).chain([process.join("cwd")]);
    let mut targets = links.filter_map(|link| std::fs::read_link(link).ok());
    // The link of a file that was removed has a word at its end; its directory stands before it.
    targets.any(|target| target.starts_with(path) || is_removed(&target, path))
}

/// Whether `target` is the link of `path` itself after its removal.
fn is_removed(target: &Path, path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let target = target.as_os_str().as_bytes();
    target.strip_suffix(b" (deleted)") == Some(path.as_os_str().as_bytes())
}
