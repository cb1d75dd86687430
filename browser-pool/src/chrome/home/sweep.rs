//! Ending what owners that had died have left.

use super::{BrowserDir, Home, STAGING, lock_file, own_dirs, try_lock};
use crate::chrome::remove::remove;
use lastout_proc_tree::{Deadline, Evidence, ProcId, Tree};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Owners that die while they stage are swept after this time.
const STAGING_TIME: Duration = Duration::from_secs(60);

/// Bound of killing and removing what one dead owner left.
pub(super) const SWEEP_BOUND: Duration = Duration::from_secs(5);

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
    /// Directories of theirs that are still there, because they could not be removed or a process in them may
    /// still run. The next sweep tries again.
    pub left: Vec<PathBuf>,
}

impl Home {
    /// Kills and removes what dead owners have left. Owners that live are not touched, and neither is
    /// anything that is not a real directory of this user.
    pub(in crate::chrome) fn sweep(&self) -> SweepReport {
        let mut report = SweepReport::default();
        for path in own_dirs(&self.root).filter(|path| *path != self.path) {
            if is_staging(&path) {
                sweep_staging(&path);
                continue;
            }
            match lock_file(&path, false).map(|lock| (try_lock(&lock), lock)) {
                Ok((Ok(()), _held)) => {
                    let deadline = Deadline::after(SWEEP_BOUND);
                    sweep_owner(&path, deadline, kill_recorded, &mut report);
                }
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

pub(super) fn is_staging(path: &Path) -> bool {
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

/// The lock of the owner is held by the caller: nobody else touches it. As long as a process may run, the
/// directory stays, because it is what the next sweep finds the process by.
pub(super) fn sweep_owner(
    path: &Path,
    deadline: Deadline,
    kill: impl Fn(&Path, Deadline) -> Killed,
    report: &mut SweepReport,
) {
    report.dead += 1;
    let mut is_over = true;
    for browser in own_dirs(path) {
        let killed = kill(&browser, deadline);
        report.killed += killed.count;
        is_over &= killed.all;
    }
    if !is_over || remove(path, None, deadline.instant()).is_err() {
        report.left.push(path.into());
    }
}

/// Processes of one browser directory that were killed.
pub(super) struct Killed {
    pub(super) count: usize,
    /// Whether none was seen after it.
    pub(super) all: bool,
}

/// Kills what still runs in a dead owner's browser directory: the recorded process, if it is that very
/// one, and whoever has the directory in its command line.
fn kill_recorded(browser: &Path, deadline: Deadline) -> Killed {
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
        return Killed { count: 0, all: false };
    };
    let count = match tree.kill_blocking(deadline) {
        Ok(report) => report.killed,
        Err(error) => error.report().map_or(0, |report| report.killed),
    };
    Killed { count, all: tree.members().is_ok_and(|members| members.is_empty()) }
}
