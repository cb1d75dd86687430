//! The forms for programs without a runtime: the thread of the caller does everything, and waits for all of it
//! at once.

mod stage;

use super::builder::ProcessBuilder;
use super::output::{Limits, Output, limits_of_text, text_of};
use super::pipeline::{Pipeline, concluded};
use super::pipeline_output::{PipelineError, PipelineOutput};
use super::{OutputError, Retry};
use crate::reactor::Driver;
use lastout_proc_tree::{SpawnError, SpawnStep};
use std::io;
use std::time::Instant;

impl ProcessBuilder {
    /// Runs the process to its end on the thread of the caller, keeps the first and the last mebibyte of each output,
    /// and ends what is left of its tree.
    ///
    /// It needs no runtime, and starts no thread before the time limit; to end the tree then, the shared waiter thread of
    /// `lastout-proc-tree` runs. A process with a terminal, an `Inlet::reader`, `cancel_on` or `on_line_async` runs on a
    /// tokio runtime made for the call. In async code it blocks a thread of the runtime. The callback of
    /// [`on_line`](Self::on_line) runs on the thread of the caller as well: while it blocks, no time limit fires.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lastout_output_stream::Process;
    ///
    /// let output = Process::builder("sort").stdin("b\na\n").output_blocking()?.check()?;
    /// assert_eq!(output.stdout.text(), "a\nb\n");
    /// assert_eq!(Process::shell("echo hello").read_blocking()?, "hello");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When it could not be started, when the system gives no descriptors for the wait, and when a member of its tree survived. A process that fails is no error of this call; see [`Output::check`].
    #[expect(clippy::result_large_err, reason = "it is that of the other calls")]
    pub fn output_blocking(self) -> Result<Output, OutputError> {
        self.output_within_blocking(Limits::default())
    }

    /// [`output_blocking`](Self::output_blocking) with other limits.
    ///
    /// # Errors
    ///
    /// As [`output_blocking`](Self::output_blocking).
    #[expect(clippy::result_large_err, reason = "it is that of the other calls")]
    pub fn output_within_blocking(self, limits: impl Into<Limits>) -> Result<Output, OutputError> {
        let (program, limits) = (self.shown(), limits.into());
        #[cfg(feature = "tokio")]
        if self.needs_runtime() {
            return on_runtime(&program, self.output_within(limits))?;
        }
        let driver = driver(&program)?;
        let mut stage = self.start_by(|ready| ready.start_here(driver.reactor(), limits))?;
        let ended = driver.run(stage.finished())?;
        stage.buried(ended)
    }

    /// [`output_blocking`](Self::output_blocking), again and again until it is a success: for commands that may be
    /// run twice. The result is that of the last attempt; [`Output::attempts`] counts them. A time limit is one of each
    /// attempt. The pauses are slept on the thread of the caller.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lastout_output_stream::{Process, Retry};
    ///
    /// let output = Process::shell("exit 3").output_with_retry_blocking(Retry::attempts(2))?;
    /// assert_eq!((output.attempts, output.exit.code()), (2, Some(3)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`output_blocking`](Self::output_blocking), at once. A builder with something that only one start can have,
    /// such as an iterator of lines for its input, is refused before anything starts, and so are no attempts at all.
    #[expect(clippy::result_large_err, reason = "it is that of the other calls")]
    pub fn output_with_retry_blocking(self, retry: Retry) -> Result<Output, OutputError> {
        retry.check(&self)?;
        let mut attempts = 1;
        loop {
            let mut output = self.clone().output_blocking()?;
            output.attempts = attempts;
            let Some(pause) = retry.pause_after(&output) else { return Ok(output) };
            let driver = driver(&self.shown())?;
            match Instant::now().checked_add(pause) {
                Some(time) => driver.run(driver.reactor().sleep_until(time)),
                None => driver.run(std::future::pending()),
            }
            attempts += 1;
        }
    }

    /// Runs the process to its end, wants success, and gives what it wrote to standard output as text, without
    /// the newlines at its end: what `$(…)` is in a shell.
    ///
    /// # Errors
    ///
    /// As [`output_blocking`](Self::output_blocking), and when the process fails, writes more than 16 MiB or what
    /// is not UTF-8, or when its standard output goes elsewhere.
    #[expect(clippy::result_large_err, reason = "it is that of the other calls")]
    pub fn read_blocking(self) -> Result<String, OutputError> {
        text_of(self.output_within_blocking(limits_of_text())?)
    }
}

impl Pipeline {
    /// Runs all stages to their end on the thread of the caller, as [`ProcessBuilder::output_blocking`] does with
    /// one process.
    ///
    /// # Errors
    ///
    /// When a stage could not be started, when the system gives no descriptors for the wait, and when a stage could
    /// not be ended. A stage that fails is no error of this call; see [`PipelineOutput::check`].
    pub fn output_blocking(self) -> Result<PipelineOutput, PipelineError> {
        self.output_within_blocking(Limits::default())
    }

    /// [`output_blocking`](Self::output_blocking) with other limits, which hold for each stage.
    ///
    /// # Errors
    ///
    /// As [`output_blocking`](Self::output_blocking).
    pub fn output_within_blocking(
        self,
        limits: impl Into<Limits>,
    ) -> Result<PipelineOutput, PipelineError> {
        let (rule, limits) = (self.rule(), limits.into());
        #[cfg(feature = "tokio")]
        if self.needs_runtime() {
            return on_runtime("a pipeline", self.output_within(limits))?;
        }
        let driver = driver("a pipeline")?;
        let mut stages = self.start_each(|stage| {
            stage.start_by(|ready| ready.start_here(driver.reactor(), limits))
        })?;
        let ended = driver.run(async {
            let mut ended = Vec::new();
            for stage in &mut stages {
                ended.push(stage.finished().await);
            }
            ended
        });
        // One end for all, and not before the last one: whatever a stage left may be what the next one reads.
        let mut outputs = Vec::new();
        for (stage, ended) in stages.into_iter().zip(ended) {
            outputs.push(match ended {
                Ok(ended) => stage.buried(ended),
                Err(error) => Err(error),
            });
        }
        concluded(outputs, rule)
    }
}

fn driver(program: &str) -> Result<Driver, SpawnError> {
    Driver::new().map_err(|source| no_descriptors(program, source))
}

fn no_descriptors(program: &str, source: io::Error) -> SpawnError {
    SpawnError::Command { program: program.into(), step: SpawnStep::Process, source }
}

/// A runtime for one thread.
#[cfg(feature = "tokio")]
pub(super) fn runtime(program: &str) -> Result<tokio::runtime::Runtime, SpawnError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|source| no_descriptors(program, source))
}

/// Runs what only tokio can: on this thread, or, where that has a runtime, which cannot have another one inside, on
/// one beside it.
#[cfg(feature = "tokio")]
fn on_runtime<T: Send>(
    program: &str,
    work: impl Future<Output = T> + Send,
) -> Result<T, SpawnError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Ok(runtime(program)?.block_on(work));
    }
    std::thread::scope(|scope| {
        let ran = scope.spawn(|| Ok(runtime(program)?.block_on(work))).join();
        ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
