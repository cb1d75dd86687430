//! Starts what a builder describes: everything is opened and checked, and only then started.

use super::builder::{Hook, ProcessBuilder};
use super::command::{Lead, Taken};
use super::fifo::Fifos;
use super::outlet::Inlet;
#[cfg(feature = "pty")]
use super::outlet::Outlet;
use super::route::{Feed, Named, Route};
#[cfg(feature = "pty")]
use super::terminal::Pty;
use super::watcher::{Cancel, Ending};
use crate::consume::ConsumerError;
use crate::lines::LineOptions;
use crate::merge::merge;
use crate::policy::{Policy, Position};
use crate::stream::Stream;
use crate::turn::let_others_run;
use lastout_proc_tree::{Containment, Limits, SpawnError, SpawnStep};
use std::future::Future;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

impl ProcessBuilder {
    /// Starts the process by `start`, after its files, pipes and terminal were opened.
    pub(super) fn start_by<T>(
        self,
        start: impl FnOnce(Ready) -> Result<T, SpawnError>,
    ) -> Result<T, SpawnError> {
        let shown = self.shown();
        if self.echoes {
            // Whether it can be written is no concern of the process.
            let _ = writeln!(io::stderr(), "$ {}", self.line());
        }
        let started = self.ready().and_then(start);
        started.map_err(|error| named(error, shown))
    }

    /// Opens and checks everything, and starts nothing.
    fn ready(mut self) -> Result<Ready, SpawnError> {
        // What is open of them stays open until the process has them.
        let mut fifos = Fifos::of(&mut self, Instant::now());
        if let Some(fifos) = &mut fifos {
            fifos.wait_blocking()?;
            fifos.conclude(&mut self);
        }
        let program = self.program();
        if program.is_empty() {
            let program = "\"\"".into();
            return Err(SpawnError::Invalid { program, why: "the program has no name".into() });
        }
        let shown = self.shown();
        let named = Named(&program);
        if self.words.has_bad_secret {
            // The error of a later step would show the argument.
            return Err(named.refuse("a secret argument holds a NUL"));
        }
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
            begin: self.begin,
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
pub(super) struct Ready {
    /// Where its streams lead is in it.
    pub(super) origin: Taken,
    pub(super) directory: Option<PathBuf>,
    pub(super) containment: Containment,
    /// When its time began to run; `None`: with the start.
    pub(super) begin: Option<Instant>,
    pub(super) program: String,
    pub(super) shown: String,
    pub(super) feed: Feed,
    pub(super) out: Route,
    pub(super) err: Route,
    /// The reading end of the pipe for both outputs.
    pub(super) joined: Option<OwnedFd>,
    #[cfg(feature = "pty")]
    pub(super) pty: Option<Pty>,
    pub(super) hook: Option<Hook>,
    pub(super) cancel: Option<Cancel>,
    pub(super) line_options: LineOptions,
    pub(super) is_measured: bool,
    pub(super) time: Option<Duration>,
    pub(super) ending: Ending,
    pub(super) linger: Duration,
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
pub(super) fn blame(error: SpawnError, directory: Option<&Path>) -> SpawnError {
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

/// How many lines are shown in a row before others have a turn.
const IN_A_ROW: usize = 64;

/// Calls the hook with every line, unless somebody else reads an output alone.
pub(super) fn show(
    mut hook: Hook,
    options: LineOptions,
    stdout: &Stream,
    stderr: &Stream,
) -> impl Future<Output = Result<(), ConsumerError>> + Send + use<> {
    let readers = (
        stdout.subscribe(Position::Start, Policy::Block),
        stderr.subscribe(Position::Start, Policy::Block),
    );
    async move {
        let (out, err) = match readers {
            (Ok(out), Ok(err)) => (out, err),
            (Err(error), _) | (_, Err(error)) => return Err(ConsumerError::Subscribe(error)),
        };
        let mut lines = merge(out, err).lines(options);
        let mut shown = 0;
        while let Some((channel, line)) = lines.next().await {
            match &mut hook {
                Hook::Plain(hook) => hook(channel, line.borrow()),
                #[cfg(feature = "tokio")]
                Hook::Async(hook) => hook(channel, line).await,
            }
            shown += 1;
            if shown % IN_A_ROW == 0 {
                let_others_run().await;
            }
        }
        lines.too_long().map_or(Ok(()), |error| Err(ConsumerError::TooLong(error)))
    }
}
