//! [`Child`]: the root of a spawned tree, as the one who spawned it sees it.

use crate::contain::Link;
use crate::deadline::Deadline;
use crate::id::ProcId;
use crate::sys::{Pidfd, wait_readable};
use crate::wait::reap_later;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
}

/// The root, shared by the handle and the tree: whoever waits first keeps the status for the other.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) id: ProcId,
    way: Way,
}

/// How the end of the root comes to be known.
#[derive(Debug)]
enum Way {
    /// It is our child.
    Own(Pidfd, Mutex<State>),
    /// It is the child of the supervisor, which tells.
    Told(Arc<Link>),
}

#[derive(Debug)]
enum State {
    Running(std::process::Child),
    Ended(ExitStatus),
    /// Only in the drop.
    LetGo,
}

impl Root {
    /// The root is our child.
    pub(crate) fn own(process: std::process::Child, id: ProcId, pidfd: Pidfd) -> Self {
        let state = Mutex::new(State::Running(process));
        Self { id, way: Way::Own(pidfd, state) }
    }

    /// The root is the child of a supervisor.
    pub(crate) fn told(id: ProcId, link: Arc<Link>) -> Self {
        Self { id, way: Way::Told(link) }
    }

    pub(crate) fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let state = match &self.way {
            Way::Told(link) => return Ok(link.root_status()),
            Way::Own(_, state) => state,
        };
        let mut state = lock(state);
        match &mut *state {
            State::LetGo => Ok(None),
            State::Ended(status) => Ok(Some(*status)),
            State::Running(process) => {
                let status = process.try_wait()?;
                if let Some(status) = status {
                    *state = State::Ended(status);
                }
                Ok(status)
            }
        }
    }

    fn wait_until(&self, until: Instant) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.try_wait()? {
            return Ok(Some(status));
        }
        wait_readable(self.end(), until)?;
        self.try_wait()
    }

    /// Readable when the root has ended.
    pub(crate) fn end(&self) -> BorrowedFd<'_> {
        match &self.way {
            Way::Own(pidfd, _) => pidfd.as_fd(),
            Way::Told(link) => link.news(),
        }
    }
}

impl Drop for Root {
    /// Leaves no zombie: what still runs was let live, and is waited for in the background.
    fn drop(&mut self) {
        if matches!(self.try_wait(), Ok(None))
            && let Way::Own(pidfd, state) = &self.way
        {
            let process = std::mem::replace(&mut *lock(state), State::LetGo);
            if let State::Running(process) = process {
                reap_later(pidfd.as_fd(), process);
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
