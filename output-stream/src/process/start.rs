//! Starts what a builder describes: the tree first, then its readers, then the pumps.

use super::builder::{Hook, ProcessBuilder};
use super::command::Lead;
use super::copy::Copy;
use super::outlet::Inlet;
#[cfg(feature = "pty")]
use super::outlet::Outlet;
use super::route::Named;
use super::source::Pipe;
use super::watcher::Watcher;
use super::{Process, Shown, stdin};
use crate::consume::Consumer;
use crate::error::SubscribeError;
use crate::lines::LineOptions;
use crate::merge::{Channel, merge};
use crate::policy::{Policy, Position};
use crate::stream::Stream;
use lastout_proc_tree::{Containment, SpawnError, SpawnStep};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
#[cfg(feature = "pty")]
use tokio::process::ChildStdin;
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
        self.launch(attach).map_err(|error| named(error, shown))
    }

    fn launch<T>(
        self,
        attach: impl FnOnce(&Stream, &Stream) -> T,
    ) -> Result<(Process, T), SpawnError> {
        // Panics without a timer here, and not in the task that will need it.
        drop(tokio::time::sleep(Duration::ZERO));
        let begin = self.begin.map_or_else(Instant::now, Instant::from_std);
        let program = self.program();
        if program.is_empty() {
            let program = "\"\"".into();
            return Err(SpawnError::Invalid { program, why: "the program has no name".into() });
        }
        let shown = self.shown();
        let mut containment = default_to_the_callers(self.containment);
        if let Some(limits) = self.tree_limits {
            containment = containment.limits(limits);
        }
        if self.is_measured {
            containment = containment.measured();
        }
        let named = Named(&program);
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
        if matches!(inlet, Some(Inlet::Inherit))
            && containment.leads_group()
            && rustix::termios::isatty(io::stdin())
        {
            let why = "it would read from the terminal in a group of its own, and \
                       a background process that reads from the terminal is stopped";
            return Err(named.refuse(why));
        }
        let feed = named.feed(inlet)?;
        let (mut out, mut err, joined) = named.outputs(&self.origin, self.stdout, stderr)?;
        #[cfg(feature = "pty")]
        let mut feed = feed;
        #[cfg(feature = "pty")]
        let (pty, inner, containment) = match self.terminal {
            None => (None, None, containment),
            Some(terminal) => {
                let failed = |error: io::Error| named.fail("open a terminal", &error);
                let (pty, inner) = terminal.open().map_err(failed)?;
                let containment = super::terminal::control(containment, &inner).map_err(failed)?;
                named.onto(&inner, [&mut feed.lead, &mut out.lead, &mut err.lead])?;
                (Some(pty), Some(inner), containment)
            }
        };
        let hook = named.once(self.hook, "the callback for its lines")?;
        let cancel = named.once(self.cancel, "what cancels it")?;
        let directory = self.origin.directory().map(Path::to_owned);
        let taken = "the command was taken by an earlier start";
        let mut origin = self.origin.take().ok_or_else(|| named.refuse(taken))?;
        origin
            .lead([feed.lead, take(&mut out.lead), take(&mut err.lead)])
            .map_err(|error| named.fail("copy a descriptor", &error))?;
        let (tree, mut child) =
            origin.spawn(containment).map_err(|error| blame(error, directory.as_deref()))?;
        // It holds the writing ends of pipes that were made here.
        drop(origin);
        #[cfg(feature = "pty")]
        drop(inner);
        let (stdout, stderr) = (out.stream, err.stream);
        let attached = attach(&stdout, &stderr);
        let hook = hook.map(|hook| call(hook, self.line_options, &stdout, &stderr));
        let copies = (out.copies.into_iter())
            .map(|target| Copy::start(Channel::Out, &stdout, target))
            .chain(err.copies.into_iter().map(|to| Copy::start(Channel::Err, &stderr, to)))
            .collect();
        let (known, exit) = watch::channel(None);
        let lost = |source| SpawnError::Lost { source };
        #[cfg(feature = "pty")]
        let (input, end_of_file) = match &pty {
            None => (child.stdin.take(), None),
            Some(pty) => {
                let pipe = std::process::ChildStdin::from(pty.descriptor().map_err(lost)?);
                (Some(ChildStdin::from_std(pipe).map_err(lost)?), Some(pty.end_of_file()))
            }
        };
        #[cfg(not(feature = "pty"))]
        let (input, end_of_file) = (child.stdin.take(), None);
        let (stdin, writer) = match (input, feed.food) {
            (Some(pipe), Some(food)) => {
                let (stdin, writer) =
                    stdin::pump(pipe, food, feed.is_open, end_of_file, exit.clone());
                (stdin, Some(writer))
            }
            _ => (None, None),
        };
        let joined = joined.map(std::process::ChildStdout::from).map(ChildStdout::from_std);
        let joined = joined.transpose().map_err(lost)?;
        #[cfg(feature = "pty")]
        if let Some(pty) = &pty {
            let outer = std::process::ChildStdout::from(pty.descriptor().map_err(lost)?);
            let outer = ChildStdout::from_std(outer).map_err(lost)?;
            if let Some(idle) = out.idle.take() {
                idle.start(Pipe::Terminal(outer));
            }
        }
        if let (Some(idle), Some(pipe)) = (out.idle, joined.or(child.stdout.take())) {
            idle.start(Pipe::Stdout(pipe));
        }
        if let (Some(idle), Some(pipe)) = (err.idle, child.stderr.take()) {
            idle.start(Pipe::Stderr(pipe));
        }
        let tree = Arc::new(tree);
        let id = child.id();
        let watcher = Watcher {
            child,
            tree: Arc::downgrade(&tree),
            stdout: stdout.clone(),
            stderr: stderr.clone(),
            begin,
            time: self.time,
            ending: self.ending,
            linger: self.linger,
            known,
        };
        let watcher = Consumer::spawn(watcher.run(cancel));
        let after = Shown { hook, failure: None, copies, failed: Vec::new() };
        let process = Process {
            tree,
            id,
            program,
            shown,
            #[cfg(feature = "pty")]
            pty,
            is_measured: self.is_measured,
            line_options: self.line_options,
            stdin,
            writer,
            stdout,
            stderr,
            after,
            exit,
            watcher,
        };
        Ok((process, attached))
    }
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
