//! Starts what a builder describes: everything is opened and checked, and only then started.

use super::builder::{Hook, ProcessBuilder};
use super::command::{Lead, Taken};
use super::copy::Copy;
use super::outlet::Inlet;
#[cfg(feature = "pty")]
use super::outlet::Outlet;
use super::route::{Feed, Named, Route};
use super::source::Pipe;
#[cfg(feature = "pty")]
use super::terminal::Pty;
use super::watcher::{Cancel, Ending, Watcher};
use super::{Process, Shown, stdin};
use crate::consume::Consumer;
use crate::error::SubscribeError;
use crate::lines::LineOptions;
use crate::merge::{Channel, merge};
use crate::policy::{Policy, Position};
use crate::stream::Stream;
use lastout_proc_tree::{Containment, Limits, SpawnError, SpawnStep};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::ChildStdout;
use tokio::sync::watch;
use tokio::time::Instant;

impl ProcessBuilder {
    /// Starts the process; `attach` sees the streams before the first byte is read.
    pub(super) fn start<T>(
        self,
        attach: impl FnOnce(&Stream, &Stream) -> T,
    ) -> Result<(Process, T), SpawnError> {
        let shown = self.shown();
        if self.echoes {
            // Whether it can be written is no concern of the process.
            let _ = writeln!(io::stderr(), "$ {}", self.line());
        }
        let started = self.ready().and_then(|ready| ready.start(attach));
        started.map_err(|error| named(error, shown))
    }

    /// Opens and checks everything, and starts nothing.
    fn ready(self) -> Result<Ready, SpawnError> {
        // Panics without a timer here, and not in the task that will need it.
        drop(tokio::time::sleep(Duration::ZERO));
        let begin = self.begin.map_or_else(Instant::now, Instant::from_std);
        let program = self.program();
        if program.is_empty() {
            let program = "\"\"".into();
            return Err(SpawnError::Invalid { program, why: "the program has no name".into() });
        }
        let shown = self.shown();
        let named = Named(&program);
        let containment = contained(self.containment, self.tree_limits, self.is_measured);
        #[cfg(feature = "pty")]
        let (on_terminal, stderr) = match self.terminal {
            Some(_) if self.stderr.is_some() => {
                return Err(
                    named.refuse("standard error of a process on a terminal is that terminal")
                );
            }
            Some(_) => (Some(Inlet::Piped), Some(Outlet::Discard)),
            None => (None, self.stderr),
        };
        #[cfg(not(feature = "pty"))]
        let (on_terminal, stderr) = (None, self.stderr);
        let inlet = self.stdin.or(on_terminal).or_else(|| self.origin.inlet());
        refuse_background_reads(&named, inlet.as_ref(), &containment)?;
        let mut feed = named.feed(inlet)?;
        let (mut out, mut err, joined) = named.outputs(&self.origin, self.stdout, stderr)?;
        #[cfg(feature = "pty")]
        let (pty, containment) = match self.terminal {
            None => (None, containment),
            Some(terminal) => {
                let failed = |error: io::Error| named.fail("open a terminal", &error);
                let (pty, inner) = terminal.open().map_err(failed)?;
                let containment = super::terminal::control(containment, &inner).map_err(failed)?;
                named.onto(&inner, [&mut feed.lead, &mut out.lead, &mut err.lead])?;
                (Some(pty), containment)
            }
        };
        let hook = named.once(self.hook, "the callback for its lines")?;
        let cancel = named.once(self.cancel, "what cancels it")?;
        let directory = self.origin.directory().map(Path::to_owned);
        let taken = "the command was taken by an earlier start";
        let mut origin = self.origin.take().ok_or_else(|| named.refuse(taken))?;
        let leads = [&mut feed.lead, &mut out.lead, &mut err.lead].map(take);
        origin.lead(leads).map_err(|error| named.fail("copy a descriptor", &error))?;
        Ok(Ready {
            origin,
            directory,
            containment,
            begin,
            program,
            shown,
            feed,
            out,
            err,
            joined,
            #[cfg(feature = "pty")]
            pty,
            hook,
            cancel,
            line_options: self.line_options,
            is_measured: self.is_measured,
            time: self.time,
            ending: self.ending,
            linger: self.linger,
        })
    }
}

/// A start that was checked: its files, pipes and terminal are open, and nothing runs.
struct Ready {
    /// Where its streams lead is in it.
    origin: Taken,
    directory: Option<PathBuf>,
    containment: Containment,
    begin: Instant,
    program: String,
    shown: String,
    feed: Feed,
    out: Route,
    err: Route,
    /// The reading end of the pipe for both outputs.
    joined: Option<OwnedFd>,
    #[cfg(feature = "pty")]
    pty: Option<Pty>,
    hook: Option<Hook>,
    cancel: Option<Cancel>,
    line_options: LineOptions,
    is_measured: bool,
    time: Option<Duration>,
    ending: Ending,
    linger: Duration,
}

impl Ready {
    /// Starts the tree, then its readers, then the pumps.
    fn start<T>(
        mut self,
        attach: impl FnOnce(&Stream, &Stream) -> T,
    ) -> Result<(Process, T), SpawnError> {
        let (tree, mut child) = self
            .origin
            .spawn(self.containment)
            .map_err(|error| blame(error, self.directory.as_deref()))?;
        // It holds the ends of the process of pipes and terminals that were made here.
        drop(self.origin);
        let (stdout, stderr) = (self.out.stream, self.err.stream);
        let attached = attach(&stdout, &stderr);
        let hook = self.hook.map(|hook| call(hook, self.line_options, &stdout, &stderr));
        let copies = (self.out.copies.into_iter())
            .map(|target| Copy::start(Channel::Out, &stdout, target))
            .chain(self.err.copies.into_iter().map(|to| Copy::start(Channel::Err, &stderr, to)))
            .collect();
        let (known, exit) = watch::channel(None);
        let lost = |source| SpawnError::Lost { source };
        let joined = self.joined.map(std::process::ChildStdout::from).map(ChildStdout::from_std);
        let joined = joined.transpose().map_err(lost)?;
        let output = joined.or(child.stdout.take()).map(Pipe::Stdout);
        let (input, end_of_file) = (child.stdin.take(), None);
        #[cfg(feature = "pty")]
        let (input, end_of_file, output) = match &self.pty {
            None => (input, end_of_file, output),
            Some(pty) => {
                let output = Pipe::Terminal(pty.output().map_err(lost)?);
                (Some(pty.input().map_err(lost)?), Some(pty.end_of_file()), Some(output))
            }
        };
        let fed = input.zip(self.feed.food).map(|(pipe, food)| {
            stdin::pump(pipe, food, self.feed.is_open, end_of_file, exit.clone())
        });
        let (stdin, writer) = fed.unzip();
        if let (Some(idle), Some(pipe)) = (self.out.idle, output) {
            idle.start(pipe);
        }
        if let (Some(idle), Some(pipe)) = (self.err.idle, child.stderr.take()) {
            idle.start(Pipe::Stderr(pipe));
        }
        let (tree, id) = (Arc::new(tree), child.id());
        let watcher = Watcher {
            child,
            tree: Arc::downgrade(&tree),
            stdout: stdout.clone(),
            stderr: stderr.clone(),
            begin: self.begin,
            time: self.time,
            ending: self.ending,
            linger: self.linger,
            known,
        };
        let process = Process {
            tree,
            id,
            program: self.program,
            shown: self.shown,
            #[cfg(feature = "pty")]
            pty: self.pty,
            is_measured: self.is_measured,
            line_options: self.line_options,
            stdin: stdin.flatten(),
            writer,
            stdout,
            stderr,
            after: Shown { hook, failure: None, copies, failed: Vec::new() },
            exit,
            watcher: Consumer::spawn(watcher.run(self.cancel)),
        };
        Ok((process, attached))
    }
}

/// A background process that reads from its terminal is stopped, for ever.
fn refuse_background_reads(
    named: &Named<'_>,
    inlet: Option<&Inlet>,
    containment: &Containment,
) -> Result<(), SpawnError> {
    if matches!(inlet, Some(Inlet::Inherit))
        && containment.leads_group()
        && rustix::termios::isatty(io::stdin())
    {
        let why = "it would read from the terminal in a group of its own, and \
                   a background process that reads from the terminal is stopped";
        return Err(named.refuse(why));
    }
    Ok(())
}

/// What the builder says of the tree, over the defaults.
fn contained(containment: Containment, limits: Option<Limits>, is_measured: bool) -> Containment {
    let mut containment = default_to_the_callers(containment);
    if let Some(limits) = limits {
        containment = containment.limits(limits);
    }
    if is_measured { containment.measured() } else { containment }
}

/// What a containment does not choose: the process dies with its caller, and is interrupted with it.
fn default_to_the_callers(containment: Containment) -> Containment {
    let outlives = containment.outlives_caller();
    let containment = match containment.chooses_group() || outlives {
        true => containment,
        false => containment.keep_group(),
    };
    if outlives { containment } else { containment.die_with_parent() }
}

/// Names the process as its owner wants it shown.
fn named(mut error: SpawnError, shown: String) -> SpawnError {
    match &mut error {
        SpawnError::Command { program, .. } | SpawnError::Invalid { program, .. }
            if program != "\"\"" =>
        {
            *program = shown;
        }
        _ => {}
    }
    error
}

/// A directory that is not there is no fault of the program. Std does not tell one from the other.
fn blame(error: SpawnError, directory: Option<&Path>) -> SpawnError {
    match (error, directory) {
        (SpawnError::Command { program, source, .. }, Some(directory)) if !directory.is_dir() => {
            let named = format!("{}: {source}", directory.display());
            let source = io::Error::new(source.kind(), named);
            SpawnError::Command { program, step: SpawnStep::Directory, source }
        }
        (error, _) => error,
    }
}

fn take(lead: &mut Lead) -> Lead {
    std::mem::replace(lead, Lead::Kept)
}

/// Calls the hook with every line, unless somebody else reads an output alone.
fn call(
    mut hook: Hook,
    options: LineOptions,
    stdout: &Stream,
    stderr: &Stream,
) -> Consumer<Result<(), SubscribeError>> {
    let readers = (
        stdout.subscribe(Position::Start, Policy::Block),
        stderr.subscribe(Position::Start, Policy::Block),
    );
    Consumer::spawn(async move {
        let mut lines = merge(readers.0?, readers.1?).lines(options);
        while let Some((channel, line)) = lines.next().await {
            match &mut hook {
                Hook::Plain(hook) => hook(channel, line.borrow()),
                Hook::Async(hook) => hook(channel, line).await,
            }
        }
        Ok(())
    })
}
