//! Several processes, each of which reads what the one before writes, through pipes of the system.

use super::builder::ProcessBuilder;
use super::error::OutputError;
#[cfg(feature = "tokio")]
use super::fifo::Fifos;
use super::outlet::{Inlet, Outlet};
use super::output::Output;
use super::pipeline_output::{PipelineError, PipelineOutput, Rule};
use super::route::Named;
use lastout_proc_tree::SpawnError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Processes in a row, see [`ProcessBuilder::pipe`].
#[derive(Debug, Clone)]
#[must_use = "a pipeline does nothing until it is spawned"]
pub struct Pipeline {
    stages: Vec<ProcessBuilder>,
    time: Option<Duration>,
    rule: Rule,
    /// When its time began to run; `None`: with the first start.
    begin: Option<Instant>,
}

impl ProcessBuilder {
    /// Leads standard output to the input of `next`, through a pipe of the system: no byte passes through the
    /// caller.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lastout_output_stream::Process;
    /// use std::time::Duration;
    ///
    /// let output = Process::builder("printf")
    ///     .arg(r"b\na\nb\n")
    ///     .pipe(Process::builder("sort"))
    ///     .pipe(Process::builder("uniq").arg("-c"))
    ///     .timeout(Duration::from_secs(10))
    ///     .output_blocking()?
    ///     .check()?; // every stage has to succeed
    /// assert_eq!(output.stdout().text().split_whitespace().collect::<String>(), "1a2b");
    /// # Ok(())
    /// # }
    /// ```
    pub fn pipe(self, next: Self) -> Pipeline {
        let rule = Rule { only_last: false, forgives_sigpipe: false };
        Pipeline { stages: vec![self, next], time: None, rule, begin: None }
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

    /// Starts all stages with one clock, each by `start`.
    pub(super) fn start_each<T>(
        self,
        mut start: impl FnMut(ProcessBuilder) -> Result<T, SpawnError>,
    ) -> Result<Vec<T>, SpawnError> {
        let begin = self.begin.unwrap_or_else(Instant::now);
        let count = self.stages.len();
        let mut started = Vec::new();
        let mut input = None;
        for (number, mut stage) in self.stages.into_iter().enumerate() {
            let program = stage.shown();
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
            stage.time = shorter(stage.time, self.time);
            started.push(start(stage)?);
        }
        Ok(started)
    }

    /// Waits until the other ends of all named pipes are open. What is returned has to live until the start.
    #[cfg(feature = "tokio")]
    pub(super) async fn awaited(&mut self) -> Result<Vec<Fifos>, SpawnError> {
        let begin = *self.begin.insert(tokio::time::Instant::now().into_std());
        let mut all = Vec::new();
        for stage in &mut self.stages {
            (stage.begin, stage.time) = (Some(begin), shorter(stage.time, self.time));
            all.extend(stage.awaited().await?);
        }
        Ok(all)
    }

    pub(super) fn rule(&self) -> Rule {
        self.rule
    }

    #[cfg(feature = "tokio")]
    pub(super) fn needs_runtime(&self) -> bool {
        self.stages.iter().any(ProcessBuilder::needs_runtime)
    }
}

fn shorter(own: Option<Duration>, all: Option<Duration>) -> Option<Duration> {
    match (own, all) {
        (Some(own), Some(all)) => Some(own.min(all)),
        (own, all) => own.or(all),
    }
}

/// What the stages left, or the first thing that went wrong.
pub(super) fn concluded(
    stages: impl IntoIterator<Item = Result<Output, OutputError>>,
    rule: Rule,
) -> Result<PipelineOutput, PipelineError> {
    let (mut outputs, mut failure) = (Vec::new(), None);
    for (number, output) in stages.into_iter().enumerate() {
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
