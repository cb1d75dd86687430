//! What a process leaves: how it ended, and what it wrote.

use super::copy::CopyFailed;
use super::error::OutputError;
use super::input::StdinReport;
use crate::collect::{Collected, Keep, TextError};
use crate::consume::ConsumerError;
use crate::event::{End, EndReason};
use crate::text::printable;
use lastout_proc_tree::{Cause, Report, Usage};
use std::error::Error;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How much of each output to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Limits {
    /// Of standard output.
    pub stdout: Keep,
    /// Of standard error.
    pub stderr: Keep,
}

impl Limits {
    /// One for each.
    #[must_use]
    pub const fn new(stdout: Keep, stderr: Keep) -> Self {
        Self { stdout, stderr }
    }
}

impl From<Keep> for Limits {
    /// The same for both.
    fn from(keep: Keep) -> Self {
        Self { stdout: keep, stderr: keep }
    }
}

/// How a process ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Exit {
    /// Of the root of the tree.
    pub status: ExitStatus,
    /// Why the root ended, as far as the tree can tell: by itself, because the tree was told to, or by the
    /// kernel's memory killer.
    pub cause: Option<Cause>,
    /// Its tree was ended because its time was over.
    pub timed_out: bool,
    /// Its tree was ended because it was [cancelled](crate::ProcessBuilder::cancel_on).
    pub cancelled: bool,
    /// How reading standard output ended.
    pub stdout: End,
    /// How reading standard error ended.
    pub stderr: End,
    /// From the start, before the fork, to the exit of the root.
    pub elapsed: Duration,
    /// The time limit that it had.
    pub time_limit: Option<Duration>,
    /// Copies that [`Outlet::tee`](crate::Outlet::tee) asked for and that did not get every byte. Known from
    /// [`Process::wait`](crate::Process::wait) on.
    pub copies: Vec<CopyFailed>,
    /// Why the callback of [`on_line`](crate::ProcessBuilder::on_line) did not see every line.
    pub on_line: Option<ConsumerError>,
    /// Until when what depends on code of the caller may take: the copies, the callback for its lines, and the source
    /// of its input. Fixed at the end of the process, so that all waits together have one time.
    pub(super) until: Option<Instant>,
}

impl Exit {
    /// What it exited with; `None` when a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it; `None` when it exited.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Whether it exited with 0, in time and not cancelled, and every copy of its outputs has every byte.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status.success() && !self.timed_out && !self.cancelled && self.copies.is_empty()
    }

    /// Whether a descendant outlived the root and holds an output, so that it could still write. All
    /// that was written before the root exited was read.
    #[must_use]
    pub fn writers_left(&self) -> bool {
        let is_held = |end: &End| matches!(end.reason, EndReason::Drained);
        is_held(&self.stdout) || is_held(&self.stderr)
    }
}

/// A process that is over, with what it wrote and without anybody left of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Output {
    /// The program as it was named, with its control characters escaped and without its arguments; after
    /// [`show_command`](crate::ProcessBuilder::show_command) the line of the command.
    pub program: String,
    /// How it ended.
    pub exit: Exit,
    /// What it wrote to standard output.
    pub stdout: Collected,
    /// What it wrote to standard error.
    pub stderr: Collected,
    /// What became of its input, when that was a pipe.
    pub stdin: Option<StdinReport>,
    /// What ending the rest of its tree took.
    pub tree: Report,
    /// What the tree has used, each number with its source, if it was
    /// [measured](crate::ProcessBuilder::measured).
    pub usage: Option<Usage>,
    /// How often it was run, see [`output_with_retry`](crate::ProcessBuilder::output_with_retry).
    pub attempts: u32,
}

impl Output {
    /// Whether it exited with 0, in time and not cancelled, with every byte of its input to read and every copy of its outputs
    /// made. A process that does not read all of its input is no failure.
    #[must_use]
    pub fn success(&self) -> bool {
        self.exit.success() && self.cut_input().is_none()
    }

    /// The input that the process took for whole and was not.
    fn cut_input(&self) -> Option<&StdinReport> {
        self.stdin.as_ref().filter(|stdin| stdin.end.is_cut_short())
    }

    /// The output when it was a success.
    ///
    /// # Errors
    ///
    /// [`Failed`], whose message has the last lines of standard error, otherwise.
    pub fn check(self) -> Result<Self, Failed> {
        if self.success() { Ok(self) } else { Err(Failed { output: Box::new(self) }) }
    }
}

/// A process that failed, with all that is known of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failed {
    /// The output.
    pub output: Box<Output>,
}

/// How many of the last lines a message shows, and how long they may be together.
const LINES: usize = 8;
const CHARS: usize = 2_000;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(&self.output, f)
    }
}

/// Says how it ended, and what it wrote last.
pub(super) fn describe(output: &Output, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    {
        let Output { program, exit, stdout, stderr, .. } = output;
        write!(f, "run {program}: ")?;
        if exit.timed_out {
            let limit = exit.time_limit.unwrap_or_default();
            write!(f, "ended because its time limit of {limit:?} was over")?;
        } else if exit.cancelled {
            write!(f, "ended because it was cancelled")?;
        } else {
            write!(f, "{}", exit.status)?;
        }
        if exit.cause == Some(Cause::MemoryKiller) {
            write!(f, "; {}", Cause::MemoryKiller)?;
        }
        if output.attempts > 1 {
            write!(f, "; attempt {}", output.attempts)?;
        }
        for copy in &exit.copies {
            write!(f, "; {copy}")?;
        }
        if let Some(StdinReport { written, end }) = output.cut_input() {
            write!(f, "; its input was cut after {written} bytes: {end}")?;
        }
        let (name, text) = match stderr.text() {
            text if text.trim().is_empty() => ("stdout", stdout.text()),
            text => ("stderr", text),
        };
        let text = printable(last_lines(text.trim_end()));
        if text.is_empty() { Ok(()) } else { write!(f, "; {name}: {text}") }
    }
}

impl Error for Failed {}

fn last_lines(text: &str) -> &str {
    let starts = text.rmatch_indices('\n').map(|(at, _)| at + 1);
    let mut start = starts.take(LINES).last().unwrap_or(0);
    if text.matches('\n').count() < LINES {
        start = 0;
    }
    start = start.max(text.len().saturating_sub(CHARS));
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// What [`ProcessBuilder::read_blocking`](crate::ProcessBuilder::read_blocking) takes at most.
const READ: u64 = 16 * 1024 * 1024;

pub(super) fn limits_of_text() -> Limits {
    Limits::new(Keep::head(READ), Keep::default())
}

/// The standard output of a process that succeeded, as text.
#[expect(clippy::result_large_err, reason = "it is that of the public call, once for each process")]
pub(super) fn text_of(output: Output) -> Result<String, OutputError> {
    let output = output.check()?;
    let text = match output.stdout.end() {
        // A descendant that holds the pipe is no reason to doubt what the process itself wrote.
        Some(end) if !matches!(end.reason, EndReason::Eof | EndReason::Drained) => {
            Err(TextError::NotRead(end.clone()))
        }
        _ => output.stdout.utf8(),
    };
    let mut text = text.map_err(|error| OutputError::Text(output.program, error))?;
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_the_last_lines() {
        let lines: Vec<_> = (0..20).map(|n| n.to_string()).collect();
        assert_eq!(last_lines(&lines.join("\n")), "12\n13\n14\n15\n16\n17\n18\n19");
        assert_eq!(last_lines("a\nb"), "a\nb");
        assert_eq!(last_lines(&"ä".repeat(3_000)).len(), 2_000);
        assert_eq!(last_lines(""), "");
    }
}
