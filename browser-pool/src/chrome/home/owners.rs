//! What stands under a root, looked at and swept without a driver.

use super::sweep::{SweepReport, is_staging};
use super::{Home, default_root, lock_file, own_dirs, private_dir};
use crate::chrome::config::Chrome;
use crate::error::LaunchError;
use lastout_proc_tree::ProcId;
use rustix::fs::{FlockOperation, flock};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The directory of one driver under a root, with the browsers in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owner {
    /// Where it is.
    pub path: PathBuf,
    /// Whether the driver lives, in this process or another one.
    pub is_living: bool,
    /// When the driver was built, where the file system tells.
    pub since: Option<SystemTime>,
    /// Its browsers.
    pub browsers: Vec<OwnedBrowser>,
}

/// The directory of one browser.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedBrowser {
    /// Where it is.
    pub path: PathBuf,
    /// Its root process, while that runs.
    pub pid: Option<u32>,
}

impl Chrome {
    /// Lists the drivers that have a directory under `root`, or under the default one, the living and the
    /// dead. Changes nothing.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// for owner in lastout_browser_pool::Chrome::owners(None)? {
    ///     println!("{} with {} browsers", owner.path.display(), owner.browsers.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LaunchError::Directory`] when the root exists and does not belong to this user alone.
    pub fn owners(root: Option<&Path>) -> Result<Vec<Owner>, LaunchError> {
        let root = root.map_or_else(default_root, Path::to_owned);
        match root.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            _ => private_dir(&root)
                .map_err(|source| LaunchError::Directory { path: root.clone(), source })?,
        }
        let mut owners: Vec<Owner> =
            own_dirs(&root).filter(|path| !is_staging(path)).filter_map(owner).collect();
        owners.sort_by(|a, b| (a.since, &a.path).cmp(&(b.since, &b.path)));
        Ok(owners)
    }

    /// Sweeps what dead owners have left under `root`, or under the default one: their browsers are killed,
    /// their directories removed. [`ChromeBuilder::build`](super::super::ChromeBuilder::build) does the same; this
    /// needs no browser.
    ///
    /// # Errors
    ///
    /// When the root cannot be made, or does not belong to this user alone.
    pub fn sweep(root: Option<&Path>) -> Result<SweepReport, LaunchError> {
        Ok(Home::open(root.map(Path::to_owned))?.sweep())
    }
}

/// `None` for a directory that has no lock, or has gone meanwhile: it is no owner.
fn owner(path: PathBuf) -> Option<Owner> {
    let lock = lock_file(&path, false).ok()?;
    // Shared, so that several who look at once do not take each other for the owner. It is given back at once.
    let is_living = flock(&lock, FlockOperation::NonBlockingLockShared).is_err();
    let since = lock.metadata().and_then(|found| found.modified()).ok();
    let browser = |path: PathBuf| {
        let record = std::fs::read_to_string(path.join("process")).ok();
        let process = record.and_then(|text| text.trim().parse::<ProcId>().ok());
        let pid = process.filter(ProcId::is_running).map(|process| process.pid());
        OwnedBrowser { path, pid }
    };
    let browsers = own_dirs(&path).map(browser).collect();
    Some(Owner { path, is_living, since, browsers })
}
