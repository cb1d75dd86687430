//! [`TokioChild`]: the root of a tree whose pipes are those of tokio.

use crate::child::{Child, Root};
use crate::command::{Spawn, TreeCommand};
use crate::containment::Containment;
use crate::error::SpawnError;
use crate::id::ProcId;
use crate::program::{Io, Program};
use crate::tree::Tree;
use crate::wait::{TRACED, pause, ready};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::unix::pipe;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};

/// The root of a spawned tree: its pipes for tokio, and how it ended. Unlike [`Child`], it has no `wait_until` and
/// no `pidfd`: `wait` is a future.
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
    pub(crate) async fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            let Some(end) = self.end() else { continue };
            if ready(Some(end), Instant::now() + Duration::from_secs(3600)).await
                && self.try_wait()?.is_none()
            {
                // It is traced.
                pause(Instant::now() + TRACED).await;
            }
        }
    }
}

impl Child {
    fn on_tokio(mut self) -> io::Result<TokioChild> {
        Ok(TokioChild {
            stdin: self.stdin.take().map(ChildStdin::from_std).transpose()?,
            stdout: self.stdout.take().map(ChildStdout::from_std).transpose()?,
            stderr: self.stderr.take().map(ChildStderr::from_std).transpose()?,
            root: self.root,
        })
    }
}

/// A [`Program`] whose pipes are those of tokio; see [`Program::on_tokio`].
#[derive(Debug)]
pub struct OnTokio<'a>(&'a mut Program);

impl Program {
    /// The program, to be spawned with pipes for the tokio runtime that is current. Without a piped stream
    /// it needs no runtime.
    ///
    /// Where no runtime with its I/O enabled is current, a piped stream is refused before anything starts, with
    /// [`SpawnError::NoRuntime`]. Tokio answers by a panic where its I/O is not enabled: it is caught, the panic
    /// hook of the caller runs, and a caller that was built to abort on a panic ends. The same holds for
    /// every `Command` of tokio, which does not tell whether it has pipes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lastout_proc_tree::{Containment, Io, Program, Tree};
    /// use tokio::io::AsyncReadExt;
    ///
    /// let mut program = Program::new("echo");
    /// program.arg("hello").stdout(Io::Piped);
    /// let (tree, mut child) = Tree::spawn(&mut program.on_tokio(), Containment::strongest())?;
    /// let mut text = String::new();
    /// child.stdout.take().expect("it is piped").read_to_string(&mut text).await?;
    /// assert_eq!(text, "hello\n");
    /// assert!(child.wait().await?.success());
    /// # drop(tree);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_tokio(&mut self) -> OnTokio<'_> {
        OnTokio(self)
    }
}

impl Spawn for OnTokio<'_> {
    type Child = TokioChild;

    fn start(&mut self, containment: Containment) -> Result<(Tree, TokioChild), SpawnError> {
        let has_pipes = self.0.io.iter().any(|io| matches!(io, Io::Piped));
        start_on_tokio(has_pipes, || crate::spawn::start_program(self.0, containment))
    }
}

fn start_on_tokio(
    may_have_pipes: bool,
    start: impl FnOnce() -> Result<(Tree, Child), SpawnError>,
) -> Result<(Tree, TokioChild), SpawnError> {
    // Asked before, so that nothing starts in vain.
    if may_have_pipes && !has_runtime() {
        return Err(SpawnError::NoRuntime);
    }
    let (tree, child) = start()?;
    Ok((tree, child.on_tokio().map_err(|source| SpawnError::Lost { source })?))
}

/// Whether pipes can be given to the runtime that is current. Tokio offers no question for that: it panics where
/// its I/O is not enabled, and refuses where it is shutting down.
fn has_runtime() -> bool {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return false;
    };
    let asks = std::panic::AssertUnwindSafe(|| {
        let _entered = runtime.enter();
        let asked = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from);
        let asked = asked.and_then(|(reader, _)| pipe::Receiver::from_owned_fd(reader));
        // What the system refuses is no answer of the runtime, and the start will say it.
        asked.map_or_else(|error| error.raw_os_error().is_some(), |_| true)
    });
    std::panic::catch_unwind(asks).unwrap_or(false)
}

impl Spawn for Command {
    type Child = TokioChild;

    fn start(&mut self, containment: Containment) -> Result<(Tree, TokioChild), SpawnError> {
        // It does not tell whether it has pipes.
        start_on_tokio(true, || crate::spawn::start_command(self.as_std_mut(), containment))
    }
}

impl TreeCommand for Command {
    fn as_std(&mut self) -> &mut std::process::Command {
        self.as_std_mut()
    }
}
