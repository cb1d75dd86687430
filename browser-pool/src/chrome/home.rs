//! Where every file of every browser lives, and who owns it.
//!
//! ```text
//!   ROOT            0700, ours, held open
//!   └─ OWNER        one for each driver, random name
//!      ├─ lock      locked as long as the owner lives: the one proof of that
//!      └─ BROWSER   one for each browser, random name
//!         ├─ process   its root process, by pid, start time and boot
//!         ├─ p         profile         ├─ t   TMPDIR     ├─ c   XDG_CACHE_HOME
//!         ├─ k         crash dumps     ├─ h   HOME       └─ g   XDG_CONFIG_HOME
//!         └─ d         downloads
//! ```
//!
//! An owner directory is made under a staging name and renamed when its lock is held, so whoever sees
//! the final name can trust the lock. Names are short because browsers make sockets below `t`.

mod owners;
mod sweep;

pub use self::owners::{OwnedBrowser, Owner};
pub use self::sweep::SweepReport;

use super::process::Remains;
use super::remove::remove;
use crate::driver::IN_A_DROP;
use crate::error::{LaunchError, with_causes};
use crate::report::LeftBehind;
use lastout_proc_tree::ProcId;
use rustix::fs::FlockOperation;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The longest root: a socket path may have 107 bytes, and browsers add 60 below the root.
const LONGEST_ROOT: usize = 40;

/// The name of an owner directory before its lock is held.
const STAGING: &str = "new-";

/// The directory of one driver. Dropping it removes it, unless something in it could not be removed.
#[derive(Debug)]
pub(super) struct Home {
    root: PathBuf,
    path: PathBuf,
    /// Locked for the life of this value.
    _lock: File,
    /// What could not be ended in its time.
    left: Mutex<Vec<Left>>,
}

/// What could not be ended in its time.
#[derive(Debug)]
enum Left {
    Browser(Arc<Remains>),
    /// A directory of this pool in which no process was started.
    Directory(u64, PathBuf),
}

impl Home {
    /// Makes the directory of a new owner.
    pub(super) fn open(root: Option<PathBuf>) -> Result<Self, LaunchError> {
        let root = match root {
            Some(root) => root,
            None => default_root(),
        };
        let failed = |path: &Path, source| LaunchError::Directory { path: path.into(), source };
        if root.as_os_str().len() > LONGEST_ROOT || !root.is_absolute() {
            let what = format!(
                "the root {} must be absolute and of at most {LONGEST_ROOT} bytes, \
                 because browsers make sockets below it",
                root.display()
            );
            return Err(LaunchError::Refused { what });
        }
        private_dir(&root).map_err(|source| failed(&root, source))?;
        let name = random_name().map_err(|source| failed(&root, source))?;
        let staging = root.join(format!("{STAGING}{name}"));
        let make = || {
            make_dir(&staging)?;
            let lock = lock_file(&staging, true)?;
            try_lock(&lock)?;
            let path = root.join(&name);
            std::fs::rename(&staging, &path)?;
            Ok((path, lock))
        };
        let (path, lock) = make().map_err(|source| failed(&staging, source))?;
        Ok(Self { root, path, _lock: lock, left: Mutex::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps what an end could not end.
    pub(super) fn keep(&self, remains: Arc<Remains>) {
        self.left().push(Left::Browser(remains));
    }

    fn left(&self) -> MutexGuard<'_, Vec<Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this pool left and is still there after another try to end it.
    pub(super) fn left_behind(&self, pool: u64) -> Vec<LeftBehind> {
        let kept = std::mem::take(&mut *self.left());
        let (own, others): (Vec<_>, _) = kept.into_iter().partition(|left| left.pool() == pool);
        self.left().extend(others);
        let mut reported = Vec::new();
        for left in own {
            let there = left.end_again();
            if !there.is_empty() {
                reported.extend(there);
                self.left().push(left);
            }
        }
        reported
    }

    /// Makes the directory of a new browser of this pool.
    pub(super) fn browser(self: &Arc<Self>, pool: u64) -> Result<BrowserDir, LaunchError> {
        let failed = |path: &Path, source| LaunchError::Directory { path: path.into(), source };
        let name = random_name().map_err(|source| failed(&self.path, source))?;
        let path = self.path.join(name);
        let (home, is_handed_over) = (self.clone(), false);
        let dir = BrowserDir { pool, path: path.clone(), home, is_handed_over };
        let make = || {
            make_dir(&path)?;
            ["p", "t", "h", "c", "g", "k", "d"]
                .iter()
                .try_for_each(|name| make_dir(&path.join(name)))
        };
        make().map_err(|source| failed(&path, source))?;
        Ok(dir)
    }
}

impl Left {
    fn pool(&self) -> u64 {
        match self {
            Self::Browser(remains) => remains.pool,
            Self::Directory(pool, _) => *pool,
        }
    }

    /// Tries once more; what is there after it.
    fn end_again(&self) -> Vec<LeftBehind> {
        match self {
            Self::Browser(remains) => remains.end_again(),
            Self::Directory(_, path) => {
                let failed = remove(path, None, Instant::now() + IN_A_DROP).err();
                let left = failed.map(|error| LeftBehind::Directory {
                    path: path.clone(),
                    reason: with_causes(&error),
                });
                left.into_iter().collect()
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Only what is empty but for the lock: a browser's directory that could not be removed stays,
        // with its record, for the next sweep.
        if own_dirs(&self.path).next().is_none() {
            drop(std::fs::remove_file(self.path.join("lock")));
            drop(std::fs::remove_dir(&self.path));
        }
    }
}

/// The directory of one browser. Dropping it removes it, unless it was handed over.
#[derive(Debug)]
pub(super) struct BrowserDir {
    pool: u64,
    path: PathBuf,
    home: Arc<Home>,
    is_handed_over: bool,
}

impl Drop for BrowserDir {
    fn drop(&mut self) {
        if self.is_handed_over {
            return;
        }
        let left = Left::Directory(self.pool, self.path.clone());
        if !left.end_again().is_empty() {
            self.home.left().push(left);
        }
    }
}

impl BrowserDir {
    pub(super) fn pool(&self) -> u64 {
        self.pool
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// From now on whoever owns the processes in it removes it.
    pub(super) fn hand_over(&mut self) -> Arc<Home> {
        self.is_handed_over = true;
        self.home.clone()
    }

    /// One of the directories in it, by its letter.
    pub(super) fn part(&self, letter: &str) -> PathBuf {
        self.path.join(letter)
    }

    /// The argument by which the browser process is recognised.
    pub(super) fn mark(path: &Path) -> std::ffi::OsString {
        let mut mark = std::ffi::OsString::from("--user-data-dir=");
        mark.push(path.join("p"));
        mark
    }

    /// Writes down which process runs in it.
    pub(super) fn record(&self, process: ProcId) -> io::Result<()> {
        std::fs::write(self.path.join("process"), process.to_string())
    }
}

fn default_root() -> PathBuf {
    let name = format!("lastout-{}", rustix::process::geteuid().as_raw());
    let root = std::env::temp_dir().join(&name);
    // A temporary directory with a long name holds no sockets.
    if root.as_os_str().len() <= LONGEST_ROOT && root.is_absolute() {
        root
    } else {
        Path::new("/tmp").join(name)
    }
}

/// Makes sure that the directory is real, ours and private.
fn private_dir(path: &Path) -> io::Result<()> {
    match make_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Not through a symbolic link: another user may have put one there.
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
    let open = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    let metadata = open.metadata()?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !ours || metadata.mode() & 0o077 != 0 {
        let what = "it is not a directory that belongs to this user alone";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(())
}

fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn lock_file(dir: &Path, create: bool) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(create)
        .mode(0o600)
        .custom_flags(flags)
        .open(dir.join("lock"))
}

/// Locks the file for this value and its copies, which is held until the last of them is closed.
fn try_lock(file: &File) -> io::Result<()> {
    Ok(rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

/// Eight characters that cannot be guessed: 40 bits, in a directory that only we may read.
fn random_name() -> io::Result<String> {
    let mut bytes = [0_u8; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let letters = b"abcdefghijklmnopqrstuvwxyz234567";
    Ok(bytes.iter().map(|byte| char::from(letters[usize::from(byte % 32)])).collect())
}

/// The real directories in `path` that belong to this user.
fn own_dirs(path: &Path) -> impl Iterator<Item = PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(move |path| {
        path.symlink_metadata().is_ok_and(|found| found.is_dir() && found.uid() == uid)
    })
}

#[cfg(test)]
mod tests;
