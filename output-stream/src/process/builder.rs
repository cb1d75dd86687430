//! How a process is to be started.

use super::command::Origin;
#[cfg(feature = "tokio")]
use super::food::Food;
use super::once::Once;
use super::outlet::{Inlet, Outlet};
use super::watcher::{Cancel, Ending};
use super::words::{Words, plain};
#[cfg(feature = "tokio")]
use crate::lines::Line;
use crate::lines::{LineOptions, LineRef};
use crate::merge::Channel;
use crate::tree::EndPolicy;
use lastout_proc_tree::{Containment, Signal};
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};
#[cfg(feature = "tokio")]
use std::{future::Future, pin::Pin};

/// What a callback that may wait gives for one line.
#[cfg(feature = "tokio")]
type Shown = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is called with every line of a running process.
pub(super) enum Hook {
    Plain(Box<dyn FnMut(Channel, LineRef<'_>) + Send>),
    #[cfg(feature = "tokio")]
    Async(Box<dyn FnMut(Channel, Line) -> Shown + Send>),
}

/// Builds a [`Process`](crate::Process), see [`Process::builder`](crate::Process::builder).
///
/// A clone starts another process in the same way. What only one process can have is shared by the clones, and
/// every start but the first is refused: a command of std or tokio, the reader or the iterator of an
/// [`Inlet`], a [`Prepared`](crate::Prepared) stream, and the callback of [`on_line`](Self::on_line),
/// and what [cancels](Self::cancel_on) it.
#[derive(Clone)]
#[must_use = "a builder does nothing until it is spawned"]
pub struct ProcessBuilder {
    pub(super) origin: Origin,
    /// `None`: as the command says, otherwise the default; so for both outputs.
    pub(super) stdin: Option<Inlet>,
    pub(super) stdout: Option<Outlet>,
    pub(super) stderr: Option<Outlet>,
    pub(super) containment: Containment,
    pub(super) ending: Ending,
    pub(super) time: Option<Duration>,
    pub(super) linger: Duration,
    pub(super) hook: Option<Once<Hook>>,
    pub(super) line_options: LineOptions,
    pub(super) cancel: Option<Once<Cancel>>,
    pub(super) tree_limits: Option<lastout_proc_tree::Limits>,
    pub(super) is_measured: bool,
    pub(super) echoes: bool,
    #[cfg(feature = "pty")]
    pub(super) terminal: Option<super::Terminal>,
    shows_command: bool,
    pub(super) words: Words,
    /// When the time began to run; `None`: with the start.
    pub(super) begin: Option<Instant>,
    /// The other ends of its named pipes are open.
    pub(super) is_awaited: bool,
}

impl fmt::Debug for ProcessBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the origin: arguments and environment may hold secrets.
        f.debug_struct("ProcessBuilder")
            .field("program", &self.program())
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .field("timeout", &self.time)
            .finish_non_exhaustive()
    }
}

impl ProcessBuilder {
    pub(super) fn new(origin: Origin) -> Self {
        Self {
            origin,
            stdin: None,
            stdout: None,
            stderr: None,
            containment: Containment::strongest(),
            ending: Ending::default(),
            time: None,
            linger: Duration::ZERO,
            hook: None,
            line_options: LineOptions::default(),
            cancel: None,
            tree_limits: None,
            is_measured: false,
            echoes: false,
            #[cfg(feature = "pty")]
            terminal: None,
            shows_command: false,
            words: Words::default(),
            begin: None,
            is_awaited: false,
        }
    }

    /// Adds an argument. After [`Process::shell`](crate::Process::shell) these are `$0`, `$1` and so on of the line.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.origin.arg(arg.as_ref());
        self.words.add(arg.as_ref());
        self
    }

    /// Adds arguments.
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.origin.env(name.as_ref(), value.as_ref());
        self
    }

    /// Sets variables of its environment.
    pub fn envs(
        mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> Self {
        let mut set = |name: &OsStr, value: &OsStr| self.origin.env(name, value);
        variables.into_iter().for_each(|(name, value)| set(name.as_ref(), value.as_ref()));
        self
    }

    /// Removes this variable from the environment that the process inherits.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.origin.env_remove(name.as_ref());
        self
    }

    /// Starts with an empty environment. The process gets only what is set afterwards, and the mark by which its tree
    /// may be found.
    pub fn env_clear(mut self) -> Self {
        self.origin.env_clear();
        self
    }

    /// Starts it in this directory.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.origin.current_dir(directory.as_ref());
        self
    }

    /// Where its input comes from: bytes, an open file, or an [`Inlet`]. Default: there is none.
    pub fn stdin(mut self, stdin: impl Into<Inlet>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// Where standard output goes: a [`Config`](crate::Config), a [`Prepared`](crate::Prepared) stream
    /// whose readers shall have every byte from the first one on, an open file, or another [`Outlet`]. Default:
    /// a stream with the default configuration.
    pub fn stdout(mut self, stdout: impl Into<Outlet>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// Where standard error goes. Default: a stream with the default configuration.
    pub fn stderr(mut self, stderr: impl Into<Outlet>) -> Self {
        self.stderr = Some(stderr.into());
        self
    }

    /// Leads standard error to the same pipe, file or place as standard output, as `2>&1` does: what comes out
    /// is in the order of the writes. [`Process::stderr`](crate::Process::stderr) is then a stream that has ended from the start.
    pub fn stderr_to_stdout(self) -> Self {
        self.stderr(Outlet::Stdout)
    }

    /// Ends the whole tree when it is not over so long after its start: when the root has not exited
    /// by itself, or while descendants [linger](Self::linger). What was read until then is kept.
    ///
    /// The root gets SIGTERM first, so that it can end its own descendants; the other members get it when the root
    /// has exited. Members that have not ended 5 s later are killed; [`grace`](Self::grace) and [`terminate_with`](Self::terminate_with) change that.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// How long the tree has to end after it was asked to, before it is killed. Default: 5 s.
    pub fn grace(self, grace: Duration) -> Self {
        let signal = match self.ending {
            Ending::Ask(signal, _) => signal,
            Ending::Exactly(_) => Signal::TERM,
        };
        self.graceful(signal, grace)
    }

    /// Asks the tree to end with this signal instead of SIGTERM, and kills it so long afterwards: when its time is
    /// over, and when it is [cancelled](Self::cancel_on).
    pub fn graceful(mut self, signal: Signal, grace: Duration) -> Self {
        self.ending = Ending::Ask(signal, grace);
        self
    }

    /// How the tree is ended when its time is over, exactly. A policy that asks only the root leaves the
    /// descendants untold until they are killed.
    pub fn terminate_with(mut self, policy: EndPolicy) -> Self {
        self.ending = Ending::Exactly(policy);
        self
    }

    /// How the tree is held together, and what it may take. Default: as strongly as this machine allows.
    ///
    /// The process dies with its caller, unless the containment or this builder says that it
    /// [outlives it](Self::outlive_caller), and stays in the caller's process group, unless the containment
    /// chooses another one.
    pub fn contain(mut self, containment: Containment) -> Self {
        self.containment = containment;
        self
    }

    /// Makes the root the leader of a process group of its own: Ctrl-C on a terminal does not reach it.
    ///
    /// By default the process is in the group of its caller, as a command of a shell script is. A process
    /// in another group cannot read from the terminal: with [`Inlet::Inherit`] from a terminal it is
    /// refused.
    pub fn own_group(mut self) -> Self {
        self.containment = self.containment.own_group();
        self
    }

    /// Lets the process live if its caller ends without dropping it, and gives it a group of its own, unless
    /// another one is chosen: for daemons.
    ///
    /// By default the process and all of its descendants die with the caller, whatever ends it. A drop of the
    /// [`Process`](crate::Process) kills the tree in any case, unless [`Tree::disarm`](crate::tree::Tree::disarm) was
    /// called. The pipes of a process end with the caller: let a daemon write to a file.
    pub fn outlive_caller(mut self) -> Self {
        self.containment = self.containment.outlive_caller();
        self
    }

    /// How long descendants may go on writing after the root has exited, within the
    /// [time limit](Self::timeout). Default: not at all; what was written before the exit is read in
    /// any case.
    pub fn linger(mut self, time: Duration) -> Self {
        self.linger = time;
        self
    }

    /// Calls `f` with every line of both outputs, as they come: on a task of its own, or in a blocking form on the
    /// thread of the caller.
    ///
    /// It gets every line, so a slow callback slows the process. A callback that panics is not called again. Neither
    /// is one that has not seen every line 5 s after the process was ended by its time limit or a cancellation. After a
    /// line that is too long to go on with, it sees no more of that output.
    /// [`Exit::on_line`](crate::Exit::on_line) says which. A callback that blocks its thread cannot be left in a
    /// blocking form or on a runtime with one thread.
    pub fn on_line(mut self, f: impl FnMut(Channel, LineRef<'_>) + Send + 'static) -> Self {
        self.hook = Some(Once::new(Hook::Plain(Box::new(f))));
        self
    }

    /// [`on_line`](Self::on_line) with a callback that may wait: each line is taken after the future of the line
    /// before it has ended. One of the two, the one given last, is called.
    #[cfg(feature = "tokio")]
    pub fn on_line_async<F>(
        mut self,
        mut f: impl FnMut(Channel, Line) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let hook = move |channel, line| -> Shown { Box::pin(f(channel, line)) };
        self.hook = Some(Once::new(Hook::Async(Box::new(hook))));
        self
    }

    /// What a line is, for [`on_line`](Self::on_line), [`lines`](Self::lines) and
    /// [`Process::wait_for`](crate::Process::wait_for). Default: LF ends it, and the rest of one of more than 64 KiB
    /// is dropped and counted.
    pub fn line_options(mut self, options: LineOptions) -> Self {
        self.line_options = options;
        self
    }

    /// Gives the process a terminal of its own for input and both outputs, in a session of its own.
    ///
    /// What it writes comes in [`Process::stdout`](crate::Process::stdout), with the line endings of a terminal
    /// (CR LF) and with the echo of its input. Input is [`Inlet::Piped`] unless it is said otherwise; a byte such
    /// as `\x03` (Ctrl-C) in it becomes a signal, and closing it writes the character for end of file.
    /// [`Process::pty`](crate::Process::pty) sets the size. Input from elsewhere than the caller, an outlet
    /// for standard error, and one without a stream for standard output are refused.
    #[cfg(feature = "pty")]
    pub fn terminal(mut self, terminal: super::Terminal) -> Self {
        self.terminal = Some(terminal);
        self
    }

    /// Ends the tree when this future is ready, such as `token.cancelled_owned()` or a `oneshot::Receiver`, as if
    /// its time was over: what was read until then is kept, and [`Exit::cancelled`](crate::Exit::cancelled) is set.
    ///
    /// It is polled by a task of the process. One that panics counts as ready; one that is ready at the start
    /// ends the process right after it.
    #[cfg(feature = "tokio")]
    pub fn cancel_on<T>(mut self, cancel: impl Future<Output = T> + Send + 'static) -> Self {
        self.cancel = Some(Once::new(Box::pin(async move { drop(cancel.await) })));
        self
    }

    /// Limits what the whole tree may take: memory, processes, processor time. A limit that this machine cannot
    /// hold fails the start.
    pub fn tree_limits(mut self, limits: lastout_proc_tree::Limits) -> Self {
        self.tree_limits = Some(limits);
        self
    }

    /// Tells in [`Output::usage`](crate::Output::usage) what the tree has used.
    pub fn measured(mut self) -> Self {
        self.is_measured = true;
        self
    }

    /// Writes the command line to standard error of the caller at the start, behind `$ `. Arguments are quoted and
    /// shortened, and those of [`secret`](Self::secret) are not shown.
    pub fn echo(mut self) -> Self {
        self.echoes = true;
        self
    }

    /// Names the command in errors by its line, as [`echo`](Self::echo) shows it, instead of by its program. What
    /// a given `Command` or `Program` had for arguments is not shown.
    pub fn show_command(mut self) -> Self {
        self.shows_command = true;
        self
    }

    /// Adds an argument that is shown as `***`. Whoever may look at the process in `/proc` sees it all the same.
    pub fn secret(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.origin.arg(arg.as_ref());
        self.words.add_secret(arg.as_ref());
        self
    }

    /// Whether it has a part that needs the runtime of tokio.
    #[cfg(feature = "tokio")]
    pub(super) fn needs_runtime(&self) -> bool {
        let is_reader = |food: &Food| matches!(food, Food::Reader(_));
        let is_async = |hook: &Hook| matches!(hook, Hook::Async(_));
        #[cfg(feature = "pty")]
        if self.terminal.is_some() {
            return true;
        }
        self.cancel.is_some()
            || matches!(&self.stdin, Some(Inlet::Source(food)) if food.is(is_reader))
            || self.hook.as_ref().is_some_and(|hook| hook.is(is_async))
    }

    /// What only one start can have.
    pub(super) fn only_once(&self) -> Option<&'static str> {
        fn has_prepared(outlet: &Outlet) -> bool {
            match outlet {
                Outlet::Prepared(_) => true,
                Outlet::Several(outlets) => outlets.iter().any(has_prepared),
                _ => false,
            }
        }
        let outlets = [&self.stdout, &self.stderr];
        match self {
            Self { origin: Origin::Command(_), .. } => Some("a command"),
            Self { stdin: Some(Inlet::Source(_)), .. } => Some("the reader of its input"),
            Self { hook: Some(_), .. } => Some("the callback for its lines"),
            Self { cancel: Some(_), .. } => Some("what cancels it"),
            _ if outlets.into_iter().flatten().any(has_prepared) => Some("the stream of an output"),
            _ => None,
        }
    }

    /// How the process is named in errors.
    pub(super) fn shown(&self) -> String {
        match self.shows_command {
            true => self.line(),
            false => plain(&self.program()),
        }
    }

    pub(super) fn line(&self) -> String {
        self.words.line(&self.program())
    }

    pub(super) fn program(&self) -> String {
        self.origin.name().to_string_lossy().into_owned()
    }
}
