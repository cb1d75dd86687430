//! A process: a whole tree, both of its outputs, its input, and its end.
//!
//! A builder is checked and its files are opened (`start`); then a watcher waits for the exit, the time limit
//! and the last bytes. Tasks of tokio drive all of that (`on_tokio`), or the thread of the caller does
//! (`blocking`).

mod blocking;
mod builder;
mod command;
mod copy;
#[cfg(feature = "tokio")]
mod ending;
mod error;
mod fifo;
mod food;
mod input;
#[cfg(feature = "tokio")]
mod line_by_line;
#[cfg(feature = "tokio")]
mod on_tokio;
mod once;
mod outlet;
mod output;
mod pipeline;
mod pipeline_output;
#[cfg(feature = "tokio")]
mod pipeline_run;
mod retry;
mod route;
#[cfg(feature = "tokio")]
mod run;
#[cfg(feature = "tokio")]
mod running;
#[cfg(feature = "tokio")]
mod shown;
#[cfg(feature = "tokio")]
mod source;
mod start;
#[cfg(feature = "tokio")]
mod stdin;
#[cfg(feature = "pty")]
mod terminal;
mod watcher;
mod words;

pub use builder::ProcessBuilder;
pub use command::IntoCommand;
pub use copy::CopyFailed;
pub use error::{ExitError, OutputError};
pub use food::Food;
pub use input::{StdinEnd, StdinReport};
pub use once::Once;
pub use outlet::{Inlet, Outlet};
pub use output::{Exit, Failed, Limits, Output};
pub use pipeline::Pipeline;
pub use pipeline_output::{PipelineError, PipelineFailed, PipelineOutput};
pub use retry::Retry;

#[cfg(feature = "tokio")]
pub use {
    line_by_line::{LinesBlocking, ProcessLines},
    pipeline_run::RunningPipeline,
    running::Process,
    stdin::{Stdin, StdinClosed},
};

#[cfg(feature = "pty")]
pub use terminal::{Pty, Terminal};

use crate::collect::Collected;
use lastout_proc_tree::{KillError, Report, Tree};
use std::time::Duration;

/// What ending the rest of a tree may take after its root has exited, and what copies, callbacks and sources of input
/// may take after the end of a process whose time is over.
const REST: Duration = Duration::from_secs(5);

/// What looking again may take, where nobody is known to be left and there was no time to be sure of it: on a machine
/// that is overloaded the look itself takes long.
const SURE: Duration = Duration::from_secs(25);

/// Whether the end of a tree only lacks the time to be confirmed.
fn is_unsure(ended: &Result<Report, KillError>) -> bool {
    matches!(ended, Err(KillError::Unconfirmed(report)) if report.elapsed >= REST / 2)
}

/// What a process has left whose tree is still to be ended.
#[derive(Debug)]
struct Ended {
    exit: Exit,
    stdout: Collected,
    stderr: Collected,
    stdin: Option<StdinReport>,
}

/// What a process leaves whose tree was ended with this report.
#[expect(clippy::result_large_err, reason = "it is that of the public call, once for each process")]
fn concluded(
    program: String,
    tree: &Tree,
    is_measured: bool,
    ended: Ended,
    report: Result<Report, KillError>,
) -> Result<Output, OutputError> {
    let Ended { exit, stdout, stderr, stdin } = ended;
    let report = match report {
        Ok(report) => report,
        Err(source) => {
            let (stdout, stderr) = (Box::new(stdout), Box::new(stderr));
            return Err(OutputError::Survivors { source, stdout, stderr, exit: Box::new(exit) });
        }
    };
    let usage = if is_measured { tree.usage().ok() } else { None };
    Ok(Output { program, exit, stdout, stderr, stdin, tree: report, usage, attempts: 1 })
}

/// The entry point for processes: [`builder`](Self::builder) and [`shell`](Self::shell). Without the feature `tokio`
/// there are no values of this type.
#[cfg(not(feature = "tokio"))]
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "nothing is in it")]
pub enum Process {}

impl Process {
    /// Prepares a process: a program by its name, or a command of std or of tokio, which starts slower.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lastout_output_stream::Process;
    /// use std::time::Duration;
    ///
    /// let output = Process::builder("sort")
    ///     .arg("-r")
    ///     .stdin("a\nb\n")
    ///     .timeout(Duration::from_secs(10))
    ///     .output_blocking()? // `.output().await?` in a program with tokio
    ///     .check()?;
    /// assert_eq!(output.stdout.text(), "b\na\n");
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(command: impl IntoCommand) -> ProcessBuilder {
        ProcessBuilder::new(command.into_origin())
    }

    /// Prepares a line for `sh -c`.
    pub fn shell(line: impl AsRef<std::ffi::OsStr>) -> ProcessBuilder {
        Self::builder("sh").arg("-c").arg(line)
    }
}
