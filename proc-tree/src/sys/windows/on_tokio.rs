//! [`TokioChild`]: the root of a tree whose pipes are those of tokio.

use super::child::{Child, Root};
use super::containment::Containment;
use super::later::Later;
use super::spawn::{Spawn, start_command};
use super::tree::Tree;
use crate::deadline::Deadline;
use crate::error::SpawnError;
use crate::id::ProcId;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};

/// The root of a spawned tree: its pipes for tokio, and how it ended. Otherwise like [`Child`].
#[derive(Debug)]
#[non_exhaustive]
pub struct TokioChild {
    /// The writing end of its stdin, when that was piped.
    pub stdin: Option<ChildStdin>,
    /// The reading end of its stdout, when that was piped.
    pub stdout: Option<ChildStdout>,
    /// The reading end of its stderr, when that was piped.
    pub stderr: Option<ChildStderr>,
    root: Arc<Root>,
}

impl TokioChild {
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

    /// Waits for the end of the root, after closing its stdin. Helpers may still run. A thread waits meanwhile.
    ///
    /// # Errors
    ///
    /// When the system does not tell, or there is no thread.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: the status is kept for the next call.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.stdin = None;
        loop {
            let (root, far) = (Arc::clone(&self.root), Deadline::after(Duration::MAX).instant());
            let waited = Later::start(move |cancel| root.wait_until(far, Some(cancel)))?.await?;
            if let Some(status) = waited {
                return Ok(status);
            }
        }
    }
}

impl Spawn for Command {
    type Child = TokioChild;

    fn start(&mut self, containment: Containment) -> Result<(Tree, TokioChild), SpawnError> {
        let (tree, child) = start_command(self.as_std_mut(), containment)?;
        Ok((tree, on_tokio(child).map_err(|source| SpawnError::Lost { source })?))
    }
}

fn on_tokio(child: Child) -> io::Result<TokioChild> {
    Ok(TokioChild {
        stdin: child.stdin.map(ChildStdin::from_std).transpose()?,
        stdout: child.stdout.map(ChildStdout::from_std).transpose()?,
        stderr: child.stderr.map(ChildStderr::from_std).transpose()?,
        root: child.root,
    })
}
