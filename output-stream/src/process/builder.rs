//! How a process is to be started.

use super::output::{Limits, Output};
use super::source::Pipe;
use super::watcher::Watcher;
use super::{OutputError, Process, stdin};
use crate::config::Config;
use crate::consume::Consumer;
use crate::lines::{LineOptions, LineRef};
use crate::merge::{Channel, merge};
use crate::policy::{Policy, Position};
use crate::sequence::Sequence;
use crate::stream::Stream;
use bytes::Bytes;
use lastout_proc_tree::{Containment, SpawnError, TokioChild, Tree};
use std::fmt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::watch;

/// Where an output of a process goes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Outlet {
    /// To a [`Stream`] with this configuration.
    Stream(Box<Config>),
    /// Nowhere: there is no pipe, and the stream has ended from the start.
    Discard,
    /// To the same place as ours; the stream has ended from the start.
    Inherit,
}

impl Default for Outlet {
    fn default() -> Self {
        Config::default().into()
    }
}

impl From<Config> for Outlet {
    fn from(config: Config) -> Self {
        Self::Stream(Box::new(config))
    }
}

/// Where the input of a process comes from.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Inlet {
    /// There is none: it reads end of file.
    #[default]
    Null,
    /// From the same place as ours.
    Inherit,
    /// These bytes, and then end of file.
    Bytes(Bytes),
    /// From [`Process::stdin`].
    Piped,
}

impl<T: Into<Bytes>> From<T> for Inlet {
    fn from(bytes: T) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// What is called with every line of a running process.
type Hook = Box<dyn FnMut(Channel, LineRef<'_>) + Send>;

/// Builds a [`Process`], see [`Process::builder`].
#[must_use = "a builder does nothing until it is spawned"]
pub struct ProcessBuilder {
    command: Command,
    stdin: Inlet,
    stdout: Outlet,
    stderr: Outlet,
    containment: Containment,
    policy: lastout_proc_tree::Policy,
    time: Option<Duration>,
    linger: Duration,
    hook: Option<Hook>,
}

impl fmt::Debug for ProcessBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the command: arguments and environment may hold secrets.
        f.debug_struct("ProcessBuilder")
            .field("program", &self.program())
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .field("timeout", &self.time)
            .finish_non_exhaustive()
    }
}

impl ProcessBuilder {
    pub(super) fn new(command: Command) -> Self {
        Self {
            command,
            stdin: Inlet::Null,
            stdout: Outlet::default(),
            stderr: Outlet::default(),
            containment: Containment::strongest(),
            policy: lastout_proc_tree::Policy::default(),
            time: None,
            linger: Duration::ZERO,
            hook: None,
        }
    }

    /// Where its input comes from: bytes, or an [`Inlet`]. Default: there is none.
    pub fn stdin(mut self, stdin: impl Into<Inlet>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Where standard output goes: a [`Config`], or another [`Outlet`]. Default: a stream with the
    /// default configuration.
    pub fn stdout(mut self, stdout: impl Into<Outlet>) -> Self {
        self.stdout = stdout.into();
        self
    }

    /// Where standard error goes. Default: a stream with the default configuration.
    pub fn stderr(mut self, stderr: impl Into<Outlet>) -> Self {
        self.stderr = stderr.into();
        self
    }

    /// Ends the whole tree when the process has not exited by itself so long after its start, as
    /// [`terminate_with`](Self::terminate_with) says. What was read until then is kept.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// How the tree is ended when its time is over. Default: SIGTERM to the root, 5 s for the
    /// tree, then SIGKILL.
    pub fn terminate_with(mut self, policy: lastout_proc_tree::Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How the tree is held together. Default: as strongly as this machine allows.
    pub fn contain(mut self, containment: Containment) -> Self {
        self.containment = containment;
        self
    }

    /// How long descendants may go on writing after the root has exited. Default: not at all; what
    /// was written before the exit is read in any case.
    pub fn linger(mut self, time: Duration) -> Self {
        self.linger = time;
        self
    }

    /// Calls `f` with every line of both outputs, as they come, on a task of its own.
    ///
    /// It gets every line, so a slow one slows the process. One that panics is called no more, and
    /// [`Process::wait`] is not affected.
    pub fn on_line(mut self, f: impl FnMut(Channel, LineRef<'_>) + Send + 'static) -> Self {
        self.hook = Some(Box::new(f));
        self
    }

    /// Starts the process.
    ///
    /// # Errors
    ///
    /// When it could not be started. Then nothing runs.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with its I/O and its timer enabled.
    pub fn spawn(self) -> Result<Process, SpawnError> {
        self.start(|_, _| ()).map(|(process, ())| process)
    }

    /// Runs the process to its end, keeps the first and the last mebibyte of each output, and ends
    /// what is left of its tree.
    ///
    /// # Errors
    ///
    /// When it could not be started, or when somebody of its tree survived. A process that fails
    /// is no error of this call; see [`Output::check`].
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the tree; the output is lost.
    pub async fn output(self) -> Result<Output, OutputError> {
        self.output_within(Limits::default()).await
    }

    /// [`output`](Self::output) with other limits.
    ///
    /// # Errors
    ///
    /// As [`output`](Self::output).
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the tree; the output is lost.
    pub async fn output_within(self, limits: impl Into<Limits>) -> Result<Output, OutputError> {
        let limits = limits.into();
        // Attached before the first byte is read, so that nothing can be lost.
        let (process, collectors) = self.start(|stdout, stderr| {
            let stdout = stdout.collect(limits.stdout)?;
            let stderr = stderr.collect(limits.stderr)?;
            Ok((stdout, stderr))
        })?;
        let (stdout, stderr) = collectors.map_err(OutputError::Subscribe)?;
        process.collected(stdout, stderr).await
    }

    fn program(&self) -> String {
        let program = self.command.as_std().get_program();
        let name = std::path::Path::new(program).file_name().unwrap_or(program);
        name.to_string_lossy().into_owned()
    }

    /// Starts the process; `attach` sees the streams before the first byte is read.
    fn start<T>(
        mut self,
        attach: impl FnOnce(&Stream, &Stream) -> T,
    ) -> Result<(Process, T), SpawnError> {
        let program = self.program();
        self.command.stdin(match self.stdin {
            Inlet::Null => Stdio::null(),
            Inlet::Inherit => Stdio::inherit(),
            Inlet::Bytes(_) | Inlet::Piped => Stdio::piped(),
        });
        self.command.stdout(stdio(&self.stdout));
        self.command.stderr(stdio(&self.stderr));
        let sequence = Sequence::new();
        let stdout = stream(self.stdout, &sequence);
        let stderr = stream(self.stderr, &sequence);
        let (tree, mut child) = Tree::spawn(&mut self.command, self.containment)?;
        let attached = attach(&stdout, &stderr);
        let hook = self.hook.map(|hook| call(hook, &stdout, &stderr));
        let (stdin, writer) = feed(&mut child, self.stdin);
        start_pumps(&mut child, &stdout, &stderr);
        let tree = Arc::new(tree);
        let id = child.id();
        let (known, exit) = watch::channel(None);
        let watcher = Watcher {
            child,
            tree: Arc::downgrade(&tree),
            stdout: stdout.clone(),
            stderr: stderr.clone(),
            time: self.time,
            policy: self.policy,
            linger: self.linger,
            known,
        };
        let watcher = Consumer::spawn(watcher.run());
        let process =
            Process { tree, id, program, stdin, writer, stdout, stderr, hook, exit, watcher };
        Ok((process, attached))
    }
}

fn stdio(outlet: &Outlet) -> Stdio {
    match outlet {
        Outlet::Stream(_) => Stdio::piped(),
        Outlet::Discard => Stdio::null(),
        Outlet::Inherit => Stdio::inherit(),
    }
}

fn stream(outlet: Outlet, sequence: &Sequence) -> Stream {
    match outlet {
        Outlet::Stream(mut config) => {
            config.sequence.get_or_insert_with(|| sequence.clone());
            Stream::idle(&config)
        }
        Outlet::Discard | Outlet::Inherit => Stream::empty(),
    }
}

fn start_pumps(child: &mut TokioChild, stdout: &Stream, stderr: &Stream) {
    if let Some(pipe) = child.stdout.take() {
        stdout.start(Pipe::Stdout(pipe));
    }
    if let Some(pipe) = child.stderr.take() {
        stderr.start(Pipe::Stderr(pipe));
    }
}

type Feed = (Option<stdin::Stdin>, Option<Consumer<stdin::StdinReport>>);

fn feed(child: &mut TokioChild, inlet: Inlet) -> Feed {
    let Some(pipe) = child.stdin.take() else {
        return (None, None);
    };
    let (first, is_open) = match inlet {
        Inlet::Bytes(bytes) => (bytes, false),
        _ => (Bytes::new(), true),
    };
    let (stdin, writer) = stdin::pump(pipe, first, is_open);
    (stdin, Some(writer))
}

/// Calls the hook with every line. An output that somebody else reads alone is left out.
fn call(mut hook: Hook, stdout: &Stream, stderr: &Stream) -> Consumer<()> {
    let readers = (
        stdout.subscribe(Position::Start, Policy::Block),
        stderr.subscribe(Position::Start, Policy::Block),
    );
    Consumer::spawn(async move {
        let (Ok(out), Ok(err)) = readers else { return };
        let mut lines = merge(out, err).lines(LineOptions::default());
        while let Some((channel, line)) = lines.next().await {
            hook(channel, line.borrow());
        }
    })
}
