//! [`Child`]: the root of a spawned tree, as the caller that spawned it sees it.

use super::held::{Event, Held, Waited};
use crate::deadline::Deadline;
use crate::id::ProcId;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, RawHandle};
use std::os::windows::process::ExitStatusExt;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The root of a spawned tree: its pipes, and how it ended.
///
/// It only looks. Dropping it does not end the root.
#[derive(Debug)]
#[non_exhaustive]
pub struct Child {
    /// The writing end of its stdin, when that was piped.
    pub stdin: Option<ChildStdin>,
    /// The reading end of its stdout, when that was piped.
    pub stdout: Option<ChildStdout>,
    /// The reading end of its stderr, when that was piped.
    pub stderr: Option<ChildStderr>,
    pub(super) root: Arc<Root>,
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
    /// When the system does not tell.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.root.try_wait()
    }

    /// Waits for the end of the root, after closing its stdin so that it does not wait for us.
    /// Helpers may still run: [`Tree::wait_empty`](crate::Tree::wait_empty) waits for them too.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
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
    /// When the system does not tell.
    pub fn wait_until(&mut self, deadline: impl Into<Deadline>) -> io::Result<Option<ExitStatus>> {
        self.root.wait_until(deadline.into().instant(), None)
    }
}

impl AsHandle for Child {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.root.held.as_handle()
    }
}

impl AsRawHandle for Child {
    fn as_raw_handle(&self) -> RawHandle {
        self.as_handle().as_raw_handle()
    }
}

/// The root, shared by the handle and the tree. While it is held, its number means no other process.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) id: ProcId,
    pub(super) held: Held,
}

impl Root {
    pub(super) fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        Ok(self.held.exit_code()?.map(ExitStatus::from_raw))
    }

    /// How it ended; `None` when it has not until then, or until the wait is cancelled.
    pub(super) fn wait_until(
        &self,
        until: Instant,
        cancel: Option<&Event>,
    ) -> io::Result<Option<ExitStatus>> {
        loop {
            let status = self.try_wait()?;
            if status.is_some() || Instant::now() >= until {
                return Ok(status);
            }
            if self.held.wait(until, cancel)? == Waited::Cancelled {
                return Ok(None);
            }
        }
    }
}
