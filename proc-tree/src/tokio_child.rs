//! [`TokioChild`]: the root of a tree that was spawned from tokio's command.

use crate::child::{Child, Root};
use crate::command::TreeCommand;
use crate::id::ProcId;
use crate::wait::ready;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};
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
    /// When somebody else has waited for it, so that its status is lost.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.root.try_wait()
    }

    /// Waits for the end of the root, after closing its stdin. Helpers may still run.
    ///
    /// # Errors
    ///
    /// When somebody else has waited for it, so that its status is lost.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: the status is kept until somebody asks again.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.stdin = None;
        self.root.wait().await
    }
}

impl Root {
    async fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            ready(self.end(), Instant::now() + Duration::from_secs(3600)).await;
        }
    }
}

impl TreeCommand for Command {
    type Child = TokioChild;

    fn as_std(&mut self) -> &mut std::process::Command {
        self.as_std_mut()
    }

    fn wrap(mut child: Child) -> io::Result<TokioChild> {
        Ok(TokioChild {
            stdin: child.stdin.take().map(ChildStdin::from_std).transpose()?,
            stdout: child.stdout.take().map(ChildStdout::from_std).transpose()?,
            stderr: child.stderr.take().map(ChildStderr::from_std).transpose()?,
            root: Arc::clone(&child.root),
        })
    }
}
