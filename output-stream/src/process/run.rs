//! Runs what a builder describes to its end.

use super::builder::ProcessBuilder;
use super::output::{Limits, Output, limits_of_text, text_of};
use super::{OutputError, Process, Retry};
use lastout_proc_tree::SpawnError;

impl ProcessBuilder {
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
    /// When it could not be started, or when a member of its tree survived. A process that fails
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
    pub async fn output_within(mut self, limits: impl Into<Limits>) -> Result<Output, OutputError> {
        let limits = limits.into();
        let fifos = self.awaited().await?;
        // Attached before the first byte is read, so that nothing can be lost.
        let (process, collectors) = self.start(|stdout, stderr| {
            let stdout = stdout.collect(limits.stdout)?;
            let stderr = stderr.collect(limits.stderr)?;
            Ok((stdout, stderr))
        })?;
        drop(fifos);
        let (stdout, stderr) = collectors.map_err(OutputError::Subscribe)?;
        process.collected(stdout, stderr).await
    }

    /// Runs the process to its end, wants success, and gives what it wrote to standard output as text, without
    /// the newlines at its end: what `$(…)` is in a shell.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lastout_output_stream::Process;
    ///
    /// assert_eq!(Process::shell("echo '  hello'").read().await?, "  hello");
    /// let error = Process::shell("echo no >&2; exit 3").read().await.unwrap_err();
    /// assert_eq!(error.to_string(), "run sh: exit status: 3; stderr: no");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`output`](Self::output), and when the process fails, writes more than 16 MiB or what is not UTF-8, or
    /// when its standard output goes elsewhere.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the tree; the output is lost.
    pub async fn read(self) -> Result<String, OutputError> {
        let limits = limits_of_text();
        text_of(self.output_within(limits).await?)
    }

    /// [`output`](Self::output), again and again until it is a success: for commands that may be run twice. The
    /// result is that of the last attempt; [`Output::attempts`] counts them. A time limit is one of each attempt.
    ///
    /// # Errors
    ///
    /// As [`output`](Self::output), at once. A builder with something that only one start can have, such as a
    /// reader for its input, is refused before anything starts, and so are no attempts at all.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the tree; the output is lost.
    pub async fn output_with_retry(self, retry: Retry) -> Result<Output, OutputError> {
        retry.check(&self)?;
        let mut attempts = 1;
        loop {
            let mut output = self.clone().output().await?;
            output.attempts = attempts;
            match retry.pause_after(&output) {
                None => return Ok(output),
                Some(pause) => tokio::time::sleep(pause).await,
            }
            attempts += 1;
        }
    }
}
