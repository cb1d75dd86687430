//! Ready-made tasks: what guards most often have to do.
#![cfg_attr(unix, expect(unsafe_code, reason = "std closes without telling how it went"))]

use crate::config::Options;
use crate::context::CleanupContext;
use crate::task::{Cleanup, Outcome};
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Removes a file. One that is gone already counts as removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveFile {
    path: PathBuf,
    options: Options,
}

impl RemoveFile {
    /// The file at that path, as seen from the working directory at the time it runs.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), options: Options::new().label("remove file") }
    }

    /// Replaces label, timeout and weight.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Cleanup for RemoveFile {
    async fn run(self, cx: CleanupContext) -> Outcome {
        cx.blocking(move || remove(&self.path, "remove file", |path| std::fs::remove_file(path)))
            .await?
    }

    fn options(&self) -> Options {
        self.options
    }
}

/// Removes a directory with all that is in it, and sees that it stays gone.
///
/// A process that is still dying may write into the directory while it is removed, or make it
/// anew. So the removal is repeated, with growing pauses, until the directory was found absent twice
/// in a row. A try that ends more than 10 s after the first one, by the clock of the worker, is the last if it
/// fails or finds the directory there again; the timeout of the task may end it sooner.
///
/// A symbolic link in the directory is removed and not followed, and so is one that the path itself names, even
/// if a slash stands behind its name. Links in the parents of the path are followed as for any other path. If the
/// path does not end in a name (`/`, `.`, `..`, or empty), the task fails and nothing is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveDirAll {
    path: PathBuf,
    options: Options,
}

impl RemoveDirAll {
    /// Pauses between two looks.
    const FIRST_PAUSE: Duration = Duration::from_millis(5);
    const LAST_PAUSE: Duration = Duration::from_millis(250);
    /// How long it is tried after the first time, however long that took.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// The directory at that path, as seen from the working directory at the time it runs.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), options: Options::new().label("remove directory") }
    }

    /// Replaces label, timeout and weight.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Cleanup for RemoveDirAll {
    async fn run(self, cx: CleanupContext) -> Outcome {
        let mut pause = Self::FIRST_PAUSE;
        let mut was_absent = false;
        let mut first_try = None;
        loop {
            let path = self.path.clone();
            let removed = cx.blocking(move || remove_tree(&path)).await?;
            let now = cx.now();
            let is_last = now >= crate::clock::after(*first_try.get_or_insert(now), Self::PATIENCE);
            match removed {
                Ok(Found::Nothing) if was_absent => return Ok(()),
                Err(error) if is_last || is_final(&error) => {
                    return Err(undone("remove directory", &self.path, error));
                }
                Ok(Found::Something) if is_last => {
                    let source =
                        io::Error::new(ErrorKind::DirectoryNotEmpty, "it keeps coming back");
                    return Err(undone("remove directory", &self.path, source));
                }
                found => was_absent = matches!(found, Ok(Found::Nothing)),
            }
            cx.sleep(pause).await;
            pause = (pause * 2).min(Self::LAST_PAUSE);
        }
    }

    fn options(&self) -> Options {
        self.options
    }
}

/// What was there before one removal.
enum Found {
    Nothing,
    Something,
}

#[expect(clippy::disallowed_methods, reason = "here is where it is repeated until it stays gone")]
fn remove_tree(path: &Path) -> io::Result<Found> {
    if path.file_name().is_none() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the path does not end in a name"));
    }
    // Without a slash or a dot behind the name, for which the system would follow a link.
    let path = path.components().as_path();
    let looked = std::fs::symlink_metadata(path);
    if looked.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(Found::Nothing);
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(Found::Something),
    }
}

/// Whether trying again cannot help: it is no directory, or no path.
fn is_final(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::InvalidInput)
}

fn remove(path: &Path, what: &'static str, by: impl FnOnce(&Path) -> io::Result<()>) -> Outcome {
    match by(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(undone(what, path, error)),
        _ => Ok(()),
    }
}

fn undone(what: &str, path: &Path, source: io::Error) -> Box<dyn Error + Send + Sync> {
    Undone { what: format!("{what} {}", path.display()), source }.into()
}

/// Closes a file descriptor where that may block (a network file system, a lingering socket) and
/// where the error is worth a count: a close that fails may have lost what was written.
///
/// Dropped unrun, it closes as well, without the report.
#[cfg(unix)]
#[derive(Debug)]
pub struct CloseFd {
    fd: OwnedFd,
    options: Options,
}

#[cfg(unix)]
impl CloseFd {
    /// That descriptor, of whatever kind.
    pub fn new(fd: impl Into<OwnedFd>) -> Self {
        Self { fd: fd.into(), options: Options::new().label("close descriptor") }
    }

    /// Replaces label, timeout and weight.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }
}

#[cfg(unix)]
impl AsFd for CloseFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(unix)]
impl Cleanup for CloseFd {
    async fn run(self, cx: CleanupContext) -> Outcome {
        cx.blocking(move || close(self.fd)).await?
    }

    fn options(&self) -> Options {
        self.options
    }
}

#[cfg(unix)]
fn close(fd: OwnedFd) -> Outcome {
    unsafe extern "C" {
        fn close(fd: std::ffi::c_int) -> std::ffi::c_int;
    }
    let fd = fd.into_raw_fd();
    // SAFETY: the descriptor was owned and given up here. It is not closed again whatever comes
    // back: the kernel has released it even if it reports an error.
    let status = unsafe { close(fd) };
    if status == 0 {
        return Ok(());
    }
    Err(Undone { what: format!("close descriptor {fd}"), source: io::Error::last_os_error() }
        .into())
}

/// What could not be removed or closed, and why.
#[derive(Debug)]
struct Undone {
    what: String,
    source: io::Error,
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Undone {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
