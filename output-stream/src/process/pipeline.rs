//! Several processes, each of which reads what the one before writes, through pipes of the system.

use super::Process;
use super::builder::ProcessBuilder;
use super::error::OutputError;
use super::outlet::{Inlet, Outlet};
use super::output::Limits;
use super::pipeline_output::{PipelineError, PipelineOutput, Rule};
use super::route::Named;
use crate::collect::Keep;
use crate::stream::Stream;
use lastout_proc_tree::{Deadline, KillError, Report, SpawnError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Processes in a row, see [`ProcessBuilder::pipe`].
#[derive(Debug, Clone)]
#[must_use = "a pipeline does nothing until it is spawned"]
pub struct Pipeline {
    stages: Vec<ProcessBuilder>,
    time: Option<Duration>,
    rule: Rule,
}

impl ProcessBuilder {
    /// Leads standard output to the input of `next`, through a pipe of the system: no byte passes through the
    /// caller.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lastout_output_stream::Process;
    /// use std::time::Duration;
    ///
    /// let output = Process::builder("printf")
    ///     .arg(r"b\na\nb\n")
    ///     .pipe(Process::builder("sort"))
    ///     .pipe(Process::builder("uniq").arg("-c"))
    ///     .timeout(Duration::from_secs(10))
    ///     .output()
    ///     .await?
    ///     .check()?; // every stage has to succeed
    /// assert_eq!(output.stdout().text().split_whitespace().collect::<String>(), "1a2b");
    /// # Ok(())
    /// # }
    /// ```
    pub fn pipe(self, next: Self) -> Pipeline {
        let rule = Rule { only_last: false, forgives_sigpipe: false };
        Pipeline { stages: vec![self, next], time: None, rule }
    }
}

impl Pipeline {
    /// Adds a stage that reads what the last one writes.
    pub fn pipe(mut self, next: ProcessBuilder) -> Self {
        self.stages.push(next);
        self
    }

    /// Ends all stages when they are not over so long after the start of the first one, each with everything
    /// that it started. A stage may have a shorter limit of its own.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// Lets the last stage alone decide whether the pipeline succeeds, as a shell does by default.
    pub fn only_last_counts(mut self) -> Self {
        self.rule.only_last = true;
        self
    }

    /// Counts a stage that SIGPIPE ended as a success, unless it is the last one: it wrote more than the next
    /// stage wanted, as in `yes | head`. A shell that runs such a command exits with 141 itself, which is not
    /// forgiven.
    pub fn forgive_sigpipe(mut self) -> Self {
        self.rule.forgives_sigpipe = true;
        self
    }

    /// Starts all stages.
    ///
    /// # Errors
    ///
    /// When one could not be started, or its stream between two stages was led elsewhere. What had been started
    /// is ended.
    ///
    /// # Panics
    ///
    /// As [`ProcessBuilder::spawn`].
    pub fn spawn(self) -> Result<RunningPipeline, SpawnError> {
        let (stages, _) = self.start(|_, _| ())?;
        Ok(RunningPipeline { stages })
    }

    /// Runs all stages to their end, keeps the first and the last mebibyte of what the last one writes and of each
    /// standard error, and ends what is left of each.
    ///
    /// Whoever still holds a pipe between two stages keeps the next stage reading, as in a shell.
    ///
    /// # Errors
    ///
    /// When a stage could not be started, or one could not be ended. A stage that fails is no error of this
    /// call; see [`PipelineOutput::check`].
    ///
    /// # Panics
    ///
    /// As [`ProcessBuilder::spawn`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills all stages; the output is lost.
    pub async fn output(self) -> Result<PipelineOutput, PipelineError> {
        self.output_within(Limits::default()).await
    }

    /// [`output`](Self::output) with other limits, which hold for each stage.
    ///
    /// # Errors
    ///
    /// As [`output`](Self::output).
    ///
    /// # Panics
    ///
    /// As [`ProcessBuilder::spawn`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills all stages; the output is lost.
    pub async fn output_within(
        self,
        limits: impl Into<Limits>,
    ) -> Result<PipelineOutput, PipelineError> {
        let limits = limits.into();
        let rule = self.rule;
        let collect = |stream: &Stream, keep: Keep| stream.collect(keep);
        let (mut stages, collectors) = self
            .start(|out, err| Ok((collect(out, limits.stdout)?, collect(err, limits.stderr)?)))
            .map_err(PipelineError::Spawn)?;
        let mut ended = Vec::new();
        for (stage, collectors) in stages.iter_mut().zip(collectors) {
            ended.push(match collectors.map_err(OutputError::Subscribe) {
                Ok((out, err)) => stage.finished(out, err).await,
                Err(error) => Err(error),
            });
        }
        // One end for all, and not before the last one: whatever a stage left may be what the next one reads.
        let (mut outputs, mut failure) = (Vec::new(), None);
        for (number, (stage, ended)) in stages.into_iter().zip(ended).enumerate() {
            let output = match ended {
                Ok(ended) => stage.buried(ended).await,
                Err(error) => Err(error),
            };
            match output {
                Ok(output) => outputs.push(output),
                Err(source) => drop(failure.get_or_insert((number + 1, source))),
            }
        }
        match failure {
            None => Ok(PipelineOutput { stages: outputs, rule }),
            Some((stage, source)) => {
                Err(PipelineError::Stage { stage, source: Box::new(source), others: outputs })
            }
        }
    }

    /// Starts all stages with one clock; `attach` sees the streams of each before the first byte is read.
    fn start<T>(
        self,
        mut attach: impl FnMut(&Stream, &Stream) -> T,
    ) -> Result<(Vec<Process>, Vec<T>), SpawnError> {
        let begin = Instant::now();
        let count = self.stages.len();
        let (mut started, mut attached) = (Vec::new(), Vec::new());
        let mut input = None;
        for (number, mut stage) in self.stages.into_iter().enumerate() {
            let program = stage.program();
            let named = Named(&program);
            if number > 0 && stage.stdin.is_some() {
                return Err(named.refuse("its input is what the stage before it writes"));
            }
            let is_last = number + 1 == count;
            if !is_last && stage.stdout.is_some() {
                return Err(named.refuse("its output is what the stage after it reads"));
            }
            if let Some(reader) = input.take() {
                stage.stdin = Some(Inlet::Descriptor(reader));
            }
            if !is_last {
                let (reader, writer) = named.pipe("output")?;
                stage.stdout = Some(Outlet::Descriptor(Arc::new(writer)));
                input = Some(Arc::new(reader));
            }
            stage.begin = Some(begin);
            stage.time = match (stage.time, self.time) {
                (Some(own), Some(all)) => Some(own.min(all)),
                (own, all) => own.or(all),
            };
            let (process, more) = stage.start(&mut attach)?;
            started.push(process);
            attached.push(more);
        }
        Ok((started, attached))
    }
}

/// The running stages of a pipeline. Dropping it kills them all.
#[derive(Debug)]
#[must_use = "dropping a pipeline kills its stages"]
pub struct RunningPipeline {
    stages: Vec<Process>,
}

impl RunningPipeline {
    /// The stages, the first one first. There are at least two.
    pub fn stages(&mut self) -> &mut [Process] {
        &mut self.stages
    }

    /// What the last stage writes.
    pub fn stdout(&self) -> &Stream {
        self.stages[self.stages.len() - 1].stdout()
    }

    /// Waits until every stage has exited, and tells how, the first one first. Otherwise like [`Process::wait`].
    ///
    /// # Errors
    ///
    /// As [`Process::wait`], for the first stage to which it happens.
    ///
    /// # Cancel safety
    ///
    /// As [`Process::wait`].
    pub async fn wait(&mut self) -> Result<Vec<super::Exit>, super::ExitError> {
        let mut exits = Vec::new();
        for stage in &mut self.stages {
            exits.push(stage.wait().await?);
        }
        Ok(exits)
    }

    /// Kills every stage with all that it started, and returns when nobody is left: one report for each stage.
    ///
    /// # Errors
    ///
    /// When somebody survived; the other stages were killed all the same.
    ///
    /// # Cancel safety
    ///
    /// Who was killed is dead; the future may be made again.
    pub async fn kill(&self, deadline: impl Into<Deadline>) -> Result<Vec<Report>, KillError> {
        let deadline = deadline.into();
        let (mut reports, mut failure) = (Vec::new(), None);
        for stage in &self.stages {
            match stage.kill(deadline).await {
                Ok(report) => reports.push(report),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(reports), Err)
    }
}
