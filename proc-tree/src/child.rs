//! [`Child`]: the root of a spawned tree, as the one who spawned it sees it.

use crate::contain::Link;
use crate::deadline::Deadline;
use crate::id::ProcId;
use crate::sys::{Account, Pidfd, account_of_ended, wait_readable};
use crate::wait::{TRACED, reap_later};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The root of a spawned tree: its pipes, and how it ended.
///
/// It only looks. Dropping it neither ends the root nor makes it a zombie: the
/// [`Tree`](crate::Tree) waits for what it has killed, and keeps the exit status for this handle.
#[derive(Debug)]
#[non_exhaustive]
pub struct Child {
    /// The writing end of its stdin, when that was piped.
    pub stdin: Option<ChildStdin>,
    /// The reading end of its stdout, when that was piped.
    pub stdout: Option<ChildStdout>,
    /// The reading end of its stderr, when that was piped.
    pub stderr: Option<ChildStderr>,
    pub(crate) root: Arc<Root>,
}

impl Child {
    /// Which process it is.
    pub fn id(&self) -> ProcId {
        self.root.id
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    ///
    /// When somebody else has waited for it, so that its status is lost.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.root.try_wait()
    }

    /// Waits for the end of the root, after closing its stdin so that it does not wait for us.
    /// Helpers may still run: [`Tree::wait_empty`](crate::Tree::wait_empty) waits for them too.
    ///
    /// # Errors
    ///
    /// When somebody else has waited for it, so that its status is lost.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.stdin = None;
        loop {
            if let Some(status) = self.wait_until(Duration::MAX)? {
                return Ok(status);
            }
        }
    }

    /// Waits for the end of the root until then; `None` when it still runs.
    ///
    /// # Errors
    ///
    /// When somebody else has waited for it, so that its status is lost.
    pub fn wait_until(&mut self, deadline: impl Into<Deadline>) -> io::Result<Option<ExitStatus>> {
        self.root.wait_until(deadline.into().instant())
    }

    /// A pidfd of the root: readable once the root has ended, for the reactor of an async runtime.
    ///
    /// Each call makes a descriptor of its own. After it is readable, [`wait`](Self::wait) returns at once,
    /// with two exceptions: below a supervisor it may wait until the supervisor reports the end, and for a root that
    /// a debugger traces until the debugger has waited for it.
    ///
    /// ```
    /// use lastout_proc_tree::{Containment, Tree};
    /// use std::process::Command;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (tree, mut root) = Tree::spawn(&mut Command::new("true"), Containment::strongest())?;
    /// if let Ok(pidfd) = root.pidfd() {
    ///     // … wait until `pidfd` is readable
    ///     drop(pidfd);
    /// }
    /// assert!(root.wait()?.success());
    /// # drop(tree);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `NotFound` when the root had ended before the spawn could take hold of it; the error of the system when no
    /// descriptor is free.
    pub fn pidfd(&self) -> io::Result<OwnedFd> {
        self.root.pidfd()
    }
}

/// The root, shared by the handle and the tree: whoever waits first keeps the status for the other.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) id: ProcId,
    way: Way,
    /// What it has used; set before it is waited for.
    account: OnceLock<Account>,
}

/// How the end of the root comes to be known.
#[derive(Debug)]
enum Way {
    /// It is our child.
    Own(Pidfd, Mutex<Option<ExitStatus>>),
    /// It is the child of the supervisor, which tells.
    Told(Arc<Link>),
    /// It was gone before it could be held, because the caller ignores SIGCHLD.
    Lost,
}

impl Root {
    /// The root is our child.
    pub(crate) fn own(id: ProcId, pidfd: Pidfd) -> Self {
        Self { id, way: Way::Own(pidfd, Mutex::new(None)), account: OnceLock::new() }
    }

    /// The root is the child of a supervisor.
    pub(crate) fn told(id: ProcId, link: Arc<Link>) -> Self {
        Self { id, way: Way::Told(link), account: OnceLock::new() }
    }

    /// The root is gone, and nobody can say how it has ended.
    pub(crate) fn lost(id: ProcId) -> Self {
        Self { id, way: Way::Lost, account: OnceLock::new() }
    }

    pub(crate) fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let (pidfd, known) = match &self.way {
            Way::Told(link) => return Ok(link.root_status()),
            Way::Lost => return Err(io::Error::from_raw_os_error(libc::ECHILD)),
            Way::Own(pidfd, known) => (pidfd, known),
        };
        let mut known = lock(known);
        if known.is_none() {
            self.note_account();
            *known = pidfd.reap()?;
        }
        Ok(*known)
    }

    fn wait_until(&self, until: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            let is_late = Instant::now() >= until;
            let status = self.try_wait()?;
            let Some(end) = self.end().filter(|_| status.is_none() && !is_late) else {
                return Ok(status);
            };
            if wait_readable(end, until)? && self.try_wait()?.is_none() {
                let left = until.saturating_duration_since(Instant::now());
                std::thread::park_timeout(left.min(TRACED));
            }
        }
    }

    /// What the root has used, with the children that it has waited for, once it has ended. A supervisor
    /// tells of its root itself.
    pub(crate) fn account(&self) -> Option<Account> {
        self.note_account();
        self.account.get().copied()
    }

    /// The kernel tells as long as nobody has waited for the root.
    fn note_account(&self) {
        let (Way::Own(pidfd, _), None) = (&self.way, self.account.get()) else { return };
        if let Some(account) = account_of_ended(pidfd.as_fd()) {
            let _ = self.account.set(account);
        }
    }

    /// A descriptor of the root itself, whoever its parent is.
    fn pidfd(&self) -> io::Result<OwnedFd> {
        let held = match &self.way {
            Way::Own(pidfd, _) => Some(pidfd),
            Way::Told(link) => link.root(),
            Way::Lost => None,
        };
        held.ok_or(io::ErrorKind::NotFound)?.as_fd().try_clone_to_owned()
    }

    /// Readable when the root has ended; `None` for one that is gone.
    pub(crate) fn end(&self) -> Option<BorrowedFd<'_>> {
        match &self.way {
            Way::Own(pidfd, _) => Some(pidfd.as_fd()),
            Way::Told(link) => Some(link.news()),
            Way::Lost => None,
        }
    }
}

impl Drop for Root {
    /// Leaves no zombie: what still runs was let live, and is waited for in the background.
    fn drop(&mut self) {
        let runs = matches!(self.try_wait(), Ok(None));
        match &self.way {
            Way::Own(pidfd, _) if runs => reap_later(pidfd.clone()),
            _ => {}
        }
    }
}

fn lock(known: &Mutex<Option<ExitStatus>>) -> MutexGuard<'_, Option<ExitStatus>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
