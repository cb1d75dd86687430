//! A process whose lines are taken one after the other, and whose failure is the last of them.

use super::builder::ProcessBuilder;
use super::{Ended, OutputError, Process, concluded};
use crate::collect::{Collector, Keep};
use crate::lines::Line;
use crate::merge::{Channel, MergedLines};

/// How much of each output an error shows.
const TAIL: u64 = 64 * 1024;

/// The lines of a running process, see [`ProcessBuilder::lines`]. Dropping it kills the tree.
#[must_use = "dropping it kills the process"]
#[derive(Debug)]
pub struct ProcessLines {
    process: Process,
    lines: MergedLines,
    tails: [Collector; 2],
    is_over: bool,
}

impl ProcessBuilder {
    /// Starts the process, to take the lines of both outputs from the first one on, in the order in which they were
    /// read. After the last line, a process that failed gives an error, as [`Output::check`](crate::Output::check) does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lastout_output_stream::Process;
    ///
    /// let mut lines = Process::shell("echo one; echo two >&2").lines()?;
    /// let mut seen = Vec::new();
    /// while let Some((channel, line)) = lines.try_next().await? {
    ///     seen.push(format!("{channel}: {}", line.text()));
    /// }
    /// seen.sort();
    /// assert_eq!(seen, ["stderr: two", "stdout: one"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`output`](Self::output), for what happens before the first line.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    #[expect(clippy::result_large_err, reason = "it is that of the other calls")]
    pub fn lines(self) -> Result<ProcessLines, OutputError> {
        let options = self.line_options;
        let (process, tails) = self.start(|stdout, stderr| {
            let keep = Keep::tail(TAIL);
            Ok([stdout.collect(keep)?, stderr.collect(keep)?])
        })?;
        let tails = tails.map_err(OutputError::Subscribe)?;
        let lines = process.lines(options).map_err(OutputError::Subscribe)?;
        Ok(ProcessLines { process, lines, tails, is_over: false })
    }

    /// [`lines`](Self::lines) for a `for` loop, on a thread without a runtime.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lastout_output_stream::Process;
    ///
    /// let mut sum = 0;
    /// for line in Process::shell("seq 10").lines_blocking()? {
    ///     let (_channel, line) = line?; // the last one, if the process failed
    ///     sum += line.text().parse::<u32>()?;
    /// }
    /// assert_eq!(sum, 55);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`lines`](Self::lines), and when the system gives no descriptors for the wait.
    ///
    /// # Panics
    ///
    /// In async code, which must not block.
    #[expect(clippy::result_large_err, reason = "it is that of the other calls")]
    pub fn lines_blocking(self) -> Result<LinesBlocking, OutputError> {
        let runtime = super::blocking::runtime(&self.shown())?;
        let lines = runtime.block_on(async { self.lines() })?;
        Ok(LinesBlocking { lines, runtime })
    }
}

impl ProcessLines {
    /// The next line of either output. After the last one comes an error, if the process failed, a line was too
    /// long to go on with, or a member of its tree survived, and then `None`.
    ///
    /// # Cancel safety
    ///
    /// A line is taken in the moment in which it is returned; dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<(Channel, Line), OutputError>> {
        if self.is_over {
            return None;
        }
        if let Some(line) = self.lines.next().await {
            return Some(Ok(line));
        }
        let end = self.end().await;
        self.is_over = true;
        end.err().map(Err)
    }

    /// [`next`](Self::next) for the question mark.
    ///
    /// # Errors
    ///
    /// After the last line, as [`next`](Self::next) says.
    ///
    /// # Cancel safety
    ///
    /// As [`next`](Self::next).
    pub async fn try_next(&mut self) -> Result<Option<(Channel, Line)>, OutputError> {
        self.next().await.transpose()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits for the end, and ends what is left. It may be dropped and called again at every wait.
    async fn end(&mut self) -> Result<(), OutputError> {
        let [out, err] = &mut self.tails;
        let exit = match self.process.wait().await {
            Ok(exit) => exit,
            Err(source) => {
                let (stdout, stderr) = (Box::new(out.snapshot()), Box::new(err.snapshot()));
                return Err(OutputError::Exit { source, stdout, stderr });
            }
        };
        let (stdout, stderr) = (out.wait().await, err.wait().await);
        let stdin = self.process.last_report(&exit).await;
        let ended = Ended { exit, stdout, stderr, stdin };
        let process = &mut self.process;
        let report = process.end_rest().await;
        let output = concluded(process.shown.clone(), &process.tree, false, ended, report)?;
        let program = output.check()?.program;
        match self.lines.too_long() {
            Some(error) => Err(OutputError::TooLong(program, error)),
            None => Ok(()),
        }
    }
}

/// The lines of a running process for a `for` loop, see [`ProcessBuilder::lines_blocking`]. Dropping it kills
/// the tree.
#[must_use = "dropping it kills the process"]
#[derive(Debug)]
pub struct LinesBlocking {
    // Before its runtime: the tree is ended first.
    lines: ProcessLines,
    runtime: tokio::runtime::Runtime,
}

impl LinesBlocking {
    /// The process.
    pub fn process(&mut self) -> &mut Process {
        self.lines.process()
    }
}

impl Iterator for LinesBlocking {
    type Item = Result<(Channel, Line), OutputError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.block_on(self.lines.next())
    }
}
