//! Pipelines whose stages are tasks of tokio.

use super::Process;
use super::builder::ProcessBuilder;
use super::error::OutputError;
use super::output::Limits;
use super::pipeline::{Pipeline, concluded};
use super::pipeline_output::{PipelineError, PipelineOutput};
use crate::collect::Keep;
use crate::stream::Stream;
use lastout_proc_tree::{Deadline, KillError, Report, SpawnError};

impl Pipeline {
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
        let stages = self.start_each(ProcessBuilder::spawn)?;
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
        mut self,
        limits: impl Into<Limits>,
    ) -> Result<PipelineOutput, PipelineError> {
        let limits = limits.into();
        let rule = self.rule();
        let collect = |stream: &Stream, keep: Keep| stream.collect(keep);
        let fifos = self.awaited().await.map_err(PipelineError::Spawn)?;
        let started = self.start_each(|stage| {
            stage.start(|out, err| Ok((collect(out, limits.stdout)?, collect(err, limits.stderr)?)))
        });
        let (mut stages, collectors): (Vec<_>, Vec<_>) =
            started.map_err(PipelineError::Spawn)?.into_iter().unzip();
        drop(fifos);
        let mut ended = Vec::new();
        for (stage, collectors) in stages.iter_mut().zip(collectors) {
            ended.push(match collectors.map_err(OutputError::Subscribe) {
                Ok((out, err)) => stage.finished(out, err).await,
                Err(error) => Err(error),
            });
        }
        // One end for all, and not before the last one: whatever a stage left may be what the next one reads.
        let mut outputs = Vec::new();
        for (stage, ended) in stages.into_iter().zip(ended) {
            outputs.push(match ended {
                Ok(ended) => stage.buried(ended).await,
                Err(error) => Err(error),
            });
        }
        concluded(outputs, rule)
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
