//! The forms for programs without a runtime: each drives one of its own, on the thread of the caller.

use super::OutputError;
use super::builder::ProcessBuilder;
use super::output::{Limits, Output};
use super::pipeline::Pipeline;
use super::pipeline_output::{PipelineError, PipelineOutput};
use lastout_proc_tree::{SpawnError, SpawnStep};
use std::future::Future;
use tokio::runtime::{Builder, Handle, Runtime};

impl ProcessBuilder {
    /// [`output`](Self::output) for programs without a runtime: it blocks the thread until the process is over. In
    /// a program that has one, it blocks a thread of that.
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
    /// As [`output`](Self::output), and when the system gives no descriptors for the wait.
    #[expect(clippy::result_large_err, reason = "it is that of the other calls")]
    pub fn output_blocking(self) -> Result<Output, OutputError> {
        self.output_within_blocking(Limits::default())
    }

    /// [`output_within`](Self::output_within), blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`output_blocking`](Self::output_blocking).
    #[expect(clippy::result_large_err, reason = "it is that of the other calls")]
    pub fn output_within_blocking(self, limits: impl Into<Limits>) -> Result<Output, OutputError> {
        let (program, limits) = (self.program(), limits.into());
        run(&program, self.output_within(limits))?
    }

    /// [`read`](Self::read), blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and when the system gives no descriptors for the wait.
    #[expect(clippy::result_large_err, reason = "it is that of the other calls")]
    pub fn read_blocking(self) -> Result<String, OutputError> {
        let program = self.program();
        run(&program, self.read())?
    }
}

impl Pipeline {
    /// [`output`](Self::output), blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`output`](Self::output), and when the system gives no descriptors for the wait.
    pub fn output_blocking(self) -> Result<PipelineOutput, PipelineError> {
        run("a pipeline", self.output())?
    }
}

/// A runtime for one thread.
pub(super) fn runtime(program: &str) -> Result<Runtime, SpawnError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|source| SpawnError::Command {
        program: program.into(),
        step: SpawnStep::Process,
        source,
    })
}

/// Runs it on this thread; where that has a runtime, which cannot have another one inside, on one beside it.
fn run<T: Send>(program: &str, work: impl Future<Output = T> + Send) -> Result<T, SpawnError> {
    if Handle::try_current().is_err() {
        return Ok(runtime(program)?.block_on(work));
    }
    std::thread::scope(|scope| {
        let ran = scope.spawn(|| Ok(runtime(program)?.block_on(work))).join();
        ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
