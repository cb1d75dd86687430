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

use super::remove::remove;
use crate::driver::IN_A_DROP;
use crate::error::LaunchError;
use crate::report::LeftBehind;
use lastout_proc_tree::{Deadline, Evidence, ProcId, Tree};
use rustix::fs::FlockOperation;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The longest root: a socket path may have 107 bytes, and browsers add 60 below the root.
const LONGEST_ROOT: usize = 40;

/// The name of an owner directory before its lock is held.
const STAGING: &str = "new-";

/// Owners that die while they stage are swept after this time.
const STAGING_TIME: Duration = Duration::from_secs(60);

/// Bound of killing and removing what one dead owner left.
const SWEEP_BOUND: Duration = Duration::from_secs(5);

/// The directory of one driver. Dropping it removes it, unless something in it could not be removed.
#[derive(Debug)]
pub(super) struct Home {
    root: PathBuf,
    path: PathBuf,
    /// Locked for the life of this value.
    _lock: File,
    /// What launches that came to nothing could not remove.
    left: Mutex<Vec<LeftBehind>>,
}

/// What a sweep found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepReport {
    /// Owners that live, in this process or another one; nothing of theirs was touched.
    pub living: usize,
    /// Owners that had died.
    pub dead: usize,
    /// Processes of theirs that were still running and were killed.
    pub killed: usize,
    /// Directories of theirs that could not be removed.
    pub left: Vec<PathBuf>,
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

    /// Keeps what could not be removed when nobody is there to be told.
    pub(super) fn note(&self, left: Vec<LeftBehind>) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).extend(left);
    }

    /// What was noted and is still there; removing is tried again.
    pub(super) fn left_behind(&self) -> Vec<LeftBehind> {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        let gone = |left: &LeftBehind| match left {
            LeftBehind::Directory { path, .. } => {
                remove(path, None, Instant::now() + IN_A_DROP).is_ok()
            }
            _ => false,
        };
        let left: Vec<_> = left.into_iter().filter(|left| !gone(left)).collect();
        self.note(left.clone());
        left
    }

    /// Makes the directory of a new browser.
    pub(super) fn browser(self: &Arc<Self>) -> Result<BrowserDir, LaunchError> {
        let failed = |path: &Path, source| LaunchError::Directory { path: path.into(), source };
        let name = random_name().map_err(|source| failed(&self.path, source))?;
        let path = self.path.join(name);
        let dir = BrowserDir { path: path.clone(), home: self.clone(), is_handed_over: false };
        let make = || {
            make_dir(&path)?;
            ["p", "t", "h", "c", "g", "k", "d"]
                .iter()
                .try_for_each(|name| make_dir(&path.join(name)))
        };
        make().map_err(|source| failed(&path, source))?;
        Ok(dir)
    }

    /// Kills and removes what dead owners have left. Owners that live are not touched, and neither is
    /// anything that is not a real directory of this user.
    pub(super) fn sweep(&self) -> SweepReport {
        let mut report = SweepReport::default();
        for path in own_dirs(&self.root).filter(|path| *path != self.path) {
            if is_staging(&path) {
                sweep_staging(&path);
                continue;
            }
            match lock_file(&path, false).map(|lock| (try_lock(&lock), lock)) {
                Ok((Ok(()), _held)) => sweep_owner(&path, &mut report),
                // Somebody removed it in between, or it never had a lock: then nothing is in it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    drop(std::fs::remove_dir(&path));
                }
                Ok((Err(_), _)) | Err(_) => report.living += 1,
            }
        }
        report
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
    path: PathBuf,
    home: Arc<Home>,
    is_handed_over: bool,
}

impl Drop for BrowserDir {
    fn drop(&mut self) {
        if self.is_handed_over {
            return;
        }
        if let Err(error) = remove(&self.path, None, Instant::now() + IN_A_DROP) {
            let (path, reason) = (self.path.clone(), error.to_string());
            self.home.note(vec![LeftBehind::Directory { path, reason }]);
        }
    }
}

impl BrowserDir {
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

fn is_staging(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(STAGING))
}

/// Removes an owner directory that was never finished, when it is old and its lock is free.
fn sweep_staging(path: &Path) {
    let age = path.symlink_metadata().and_then(|found| found.modified());
    let age = age.ok().and_then(|made| SystemTime::now().duration_since(made).ok());
    if age.is_none_or(|age| age < STAGING_TIME) {
        return;
    }
    let locked = lock_file(path, false).map(|lock| (try_lock(&lock).is_err(), lock));
    if !locked.is_ok_and(|(locked, _)| locked) {
        drop(std::fs::remove_file(path.join("lock")));
        drop(std::fs::remove_dir(path));
    }
}

/// The lock of the owner is held by the caller: nobody else touches it.
fn sweep_owner(path: &Path, report: &mut SweepReport) {
    report.dead += 1;
    let deadline = Deadline::after(SWEEP_BOUND);
    for browser in own_dirs(path) {
        report.killed += kill_recorded(&browser, deadline);
    }
    if remove(path, None, deadline.instant()).is_err() {
        report.left.push(path.into());
    }
}

/// Kills what still runs in a dead owner's browser directory: the recorded process, if it is that very
/// one, and whoever has the directory in its command line.
fn kill_recorded(browser: &Path, deadline: Deadline) -> usize {
    let record = std::fs::read_to_string(browser.join("process")).ok();
    let recorded = record.and_then(|text| text.trim().parse::<ProcId>().ok());
    // Its helpers for crash reports leave the group and name only their directory.
    let mut helper = std::ffi::OsString::from("--database=");
    helper.push(browser.join("k"));
    let mut evidence = Evidence::new()
        .argument(BrowserDir::mark(browser))
        .argument(helper)
        .variable("TMPDIR", browser.join("t"));
    if let Some(process) = recorded.filter(ProcId::is_running) {
        evidence = evidence.process(process).group(process.pid());
    }
    let Ok(tree) = Tree::adopt_with(evidence) else {
        return 0;
    };
    match tree.kill_blocking(deadline) {
        Ok(report) => report.killed,
        Err(error) => error.report().map_or(0, |report| report.killed),
    }
}

mod owners;
#[cfg(test)]
mod tests;

pub use owners::{OwnedBrowser, Owner};
