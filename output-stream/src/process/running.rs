//! A running process of a program with tokio.
//!
//! A watcher task waits for the exit, so that the streams end and the time limit holds whether or
//! not somebody waits. The tree belongs to [`Process`]: dropping that ends everybody in it.

use super::input::{StdinEnd, StdinReport};
use super::on_tokio::Known;
use super::output::{Exit, Limits, Output};
use super::shown::{Shown, before};
use super::stdin::Stdin;
#[cfg(feature = "pty")]
use super::terminal::Pty;
use super::{Ended, ExitError, OutputError, REST, SURE, concluded, is_unsure};
use crate::collect::Collector;
use crate::consume::Consumer;
use crate::error::SubscribeError;
use crate::lines::{Line, LineOptions, LineRef};
use crate::merge::{MergedLines, merge};
use crate::policy::{Policy, Position};
use crate::prompts::Prompts;
use crate::stream::Stream;
use crate::wait::WaitError;
use lastout_proc_tree::{KillError, ProcId, Report, Tree};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// A running process and all of its descendants.
///
/// Dropping it kills the tree, within 250 ms; [`kill`](Self::kill) and
/// [`terminate`](Self::terminate) wait, and tell what was left. Its streams live on until they are
/// dropped as well.
#[derive(Debug)]
#[must_use = "dropping a process kills its tree"]
pub struct Process {
    // The first field: the tree is ended before its pipes are closed.
    pub(super) tree: Arc<Tree>,
    pub(super) id: ProcId,
    pub(super) program: String,
    /// How it is named in errors.
    pub(super) shown: String,
    #[cfg(feature = "pty")]
    pub(super) pty: Option<Pty>,
    pub(super) is_measured: bool,
    pub(super) line_options: LineOptions,
    pub(super) stdin: Option<Stdin>,
    pub(super) writer: Option<Consumer<StdinReport>>,
    /// How many bytes of its input the writer has written.
    pub(super) fed: Arc<AtomicU64>,
    pub(super) stdout: Stream,
    pub(super) stderr: Stream,
    pub(super) after: Shown,
    pub(super) exit: watch::Receiver<Known>,
    #[expect(dead_code, reason = "owned: the watcher ends with the process")]
    pub(super) watcher: Consumer<()>,
}

impl Process {
    /// Which process the root is.
    #[must_use]
    pub fn id(&self) -> ProcId {
        self.id
    }

    /// The pid of the root. After the root was waited for, another process may have this pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.id.pid()
    }

    /// The program as it was named, without its arguments.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The tree: what holds it, who is in it, signals, and letting it live on.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Standard output. A stream that has ended from the start when it was discarded or inherited, or goes to a
    /// file alone.
    pub fn stdout(&self) -> &Stream {
        &self.stdout
    }

    /// Standard error. A stream that has ended from the start as [`stdout`](Self::stdout) may have, and when it
    /// [follows](crate::ProcessBuilder::stderr_to_stdout) that.
    pub fn stderr(&self) -> &Stream {
        &self.stderr
    }

    /// Its input, when that is [`Inlet::Piped`](crate::Inlet::Piped) and was not taken or closed.
    pub fn stdin(&mut self) -> Option<&mut Stdin> {
        self.stdin.as_mut()
    }

    /// Takes its input, to write from another task.
    pub fn take_stdin(&mut self) -> Option<Stdin> {
        self.stdin.take()
    }

    /// Closes its input: it reads what is in the queue, and then end of file.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The lines of both outputs from their start, in the order in which they were read.
    ///
    /// # Errors
    ///
    /// When an output is for a single subscriber and has one.
    pub fn lines(&self, options: LineOptions) -> Result<MergedLines, SubscribeError> {
        let out = self.stdout.subscribe(Position::Start, Policy::Block)?;
        let err = self.stderr.subscribe(Position::Start, Policy::Block)?;
        Ok(merge(out, err).lines(options))
    }

    /// Waits for prompts in both outputs, from their start on: text that no newline ends.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lastout_output_stream::{Inlet, Process};
    /// use std::time::Duration;
    ///
    /// let script = "printf 'name? ' >&2; read name; echo hello $name";
    /// let mut process = Process::shell(script).stdin(Inlet::Piped).spawn()?;
    /// let mut prompts = process.prompts()?;
    /// let within = Duration::from_secs(5);
    /// prompts.wait_for(within, "name? ").await?;
    /// process.stdin().unwrap().write("ann\n").await?;
    /// assert_eq!(prompts.wait_for(within, "\n").await?.text(), "hello ann\n");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When an output is for a single subscriber and has one.
    pub fn prompts(&self) -> Result<Prompts, SubscribeError> {
        let out = self.stdout.subscribe(Position::Start, Policy::Block)?;
        let err = self.stderr.subscribe(Position::Start, Policy::Block)?;
        Ok(Prompts::new(merge(out, err)))
    }

    /// Its terminal, when it was started on [one of its own](crate::ProcessBuilder::terminal).
    #[cfg(feature = "pty")]
    pub fn pty(&self) -> Option<&Pty> {
        self.pty.as_ref()
    }

    /// Waits until a line of standard output matches: a server that says that it listens.
    /// [`Stream::wait_for`] gives the lines behind it as well. It starts at the oldest byte that the
    /// output retains, and takes [`ProcessBuilder::line_options`](crate::ProcessBuilder::line_options).
    ///
    /// # Errors
    ///
    /// With what was seen, when the time runs out or the output ends first.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the next call starts again at the start of the output.
    pub async fn wait_for(
        &self,
        within: Duration,
        is_match: impl FnMut(&LineRef<'_>) -> bool,
    ) -> Result<Line, WaitError> {
        let lines = self.stdout.wait_for_line(within, self.line_options, is_match);
        Ok(lines.await?.0)
    }

    /// How it ended, if it has. Whether every line was shown is not known before
    /// [`wait`](Self::wait).
    pub fn try_wait(&self) -> Option<Result<Exit, ExitError>> {
        self.exit.borrow().clone()
    }

    /// Closes its input, and waits until the root has exited and its outputs are read.
    ///
    /// What descendants do that outlive the root is not waited for: what is in the pipes is read,
    /// and then the streams end; [`Exit::writers_left`] says whether a descendant still holds them. They are
    /// ended with the drop of this. A reader that blocks and is not read meanwhile holds up the
    /// process; after its exit such a reader has 10 s more.
    ///
    /// # Errors
    ///
    /// When its status is lost, or when its time was over and it could not be ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing but the input, which stays closed: wait again.
    pub async fn wait(&mut self) -> Result<Exit, ExitError> {
        self.close_stdin();
        self.wait_for_exit().await
    }

    /// [`wait`](Self::wait), and leaves its input as it is: for a process that ends by itself, or is written to by
    /// another task.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: wait again.
    pub async fn wait_for_exit(&mut self) -> Result<Exit, ExitError> {
        let exit = match self.exit.wait_for(Option::is_some).await {
            Ok(known) => known.clone(),
            Err(_) => None,
        };
        let mut exit = exit.unwrap_or(Err(ExitError::Aborted))?;
        // Every line that was read is shown and copied before this returns.
        exit.copies = self.after.copied(exit.until).await;
        exit.on_line = self.after.wait(exit.until).await;
        Ok(exit)
    }

    /// Waits for the end, collects what both outputs still have from their start, and ends what is
    /// left of the tree.
    ///
    /// Of what was written before this call, what the streams retain is collected, and the rest is
    /// counted as lost; [`ProcessBuilder::output`](crate::ProcessBuilder::output) collects from the first byte on.
    ///
    /// # Errors
    ///
    /// When an output is for a single subscriber and has one, when it is not known how the process
    /// ended, and when a member of its tree survived. What was collected is in the error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the tree; the output is lost.
    pub async fn wait_with_output(self, limits: impl Into<Limits>) -> Result<Output, OutputError> {
        let limits = limits.into();
        let stdout = self.stdout.collect(limits.stdout).map_err(OutputError::Subscribe)?;
        let stderr = self.stderr.collect(limits.stderr).map_err(OutputError::Subscribe)?;
        self.collected(stdout, stderr).await
    }

    pub(super) async fn collected(
        mut self,
        stdout: Collector,
        stderr: Collector,
    ) -> Result<Output, OutputError> {
        let ended = self.finished(stdout, stderr).await?;
        self.buried(ended).await
    }

    /// Waits for the exit and for everything that was written.
    pub(super) async fn finished(
        &mut self,
        mut stdout: Collector,
        mut stderr: Collector,
    ) -> Result<Ended, OutputError> {
        let exit = match self.wait().await {
            Ok(exit) => exit,
            Err(source) => {
                let stdout = Box::new(stdout.snapshot());
                let stderr = Box::new(stderr.snapshot());
                return Err(OutputError::Exit { source, stdout, stderr });
            }
        };
        let (stdout, stderr) = (stdout.wait().await, stderr.wait().await);
        // Before the kill, which would break a pipe that a descendant holds.
        let stdin = self.last_report(&exit).await;
        Ok(Ended { exit, stdout, stderr, stdin })
    }

    /// What became of its input, as far as that is known when its time is over.
    pub(super) async fn last_report(&mut self, exit: &Exit) -> Option<StdinReport> {
        if let Some(report) = before(exit.until, self.stdin_report()).await {
            return report;
        }
        self.writer = None;
        Some(StdinReport { written: self.fed.load(Ordering::Relaxed), end: StdinEnd::Exited })
    }

    /// Kills what is left of the tree, until it is known that nobody is.
    pub(super) async fn end_rest(&self) -> Result<Report, KillError> {
        match self.kill(REST).await {
            ended if is_unsure(&ended) => self.kill(SURE).await,
            ended => ended,
        }
    }

    /// Ends what is left of the tree.
    pub(super) async fn buried(mut self, ended: Ended) -> Result<Output, OutputError> {
        let report = self.end_rest().await;
        let shown = std::mem::take(&mut self.shown);
        concluded(shown, &self.tree, self.is_measured, ended, report)
    }

    /// Waits until its input has ended, and tells what became of it; `None` when it was no pipe, and when it was
    /// told before. The input that its owner writes has to be [closed](Self::close_stdin) first.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn stdin_report(&mut self) -> Option<StdinReport> {
        let report = self.writer.as_mut()?.wait().await.ok();
        self.writer = None;
        report
    }
}
