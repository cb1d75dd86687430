//! What a pipeline leaves: the result of each stage, and whether that is a success.

use super::error::OutputError;
use super::output::{Output, describe};
#[cfg(doc)]
use super::pipeline::Pipeline;
use lastout_proc_tree::SpawnError;
use std::error::Error;
use std::fmt;

/// The number of SIGPIPE: what ends a process that writes to a pipe which nobody reads any more.
const SIGPIPE: i32 = 13;

/// Which stages have to succeed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) only_last: bool,
    pub(super) forgives_sigpipe: bool,
}

/// A pipeline that is over, without anybody left of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct PipelineOutput {
    /// The stages, the first one first. Between two stages no standard output was kept.
    pub stages: Vec<Output>,
    pub(super) rule: Rule,
}

impl PipelineOutput {
    /// What the last stage wrote.
    #[must_use]
    pub fn stdout(&self) -> &crate::Collected {
        &self.stages[self.stages.len() - 1].stdout
    }

    /// Whether every stage succeeded, or those that [have to](Pipeline::only_last_counts).
    #[must_use]
    pub fn success(&self) -> bool {
        self.culprit().is_none()
    }

    /// The output when it was a success.
    ///
    /// # Errors
    ///
    /// [`PipelineFailed`], which names the stage, otherwise.
    pub fn check(self) -> Result<Self, PipelineFailed> {
        match self.culprit() {
            None => Ok(self),
            Some(place) => Err(PipelineFailed { stage: place + 1, output: Box::new(self) }),
        }
    }

    /// The stage that made it fail: the first one that did not just find nobody to read what it wrote.
    fn culprit(&self) -> Option<usize> {
        let last = self.stages.len() - 1;
        let broke = |stage: &Output| stage.exit.signal() == Some(SIGPIPE);
        let failed = |place: &usize| {
            let stage = &self.stages[*place];
            let forgiven = self.rule.forgives_sigpipe
                && *place < last
                && broke(stage)
                && !stage.exit.timed_out;
            !stage.success() && !forgiven
        };
        let from = if self.rule.only_last { last } else { 0 };
        let all = || (from..=last).filter(failed);
        let first = all().find(|place| !broke(&self.stages[*place]));
        first.or_else(|| all().next())
    }
}

/// A pipeline that failed, with all that is known of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct PipelineFailed {
    /// The number of the stage that made it fail, from 1 on.
    pub stage: usize,
    /// The output.
    pub output: Box<PipelineOutput>,
}

impl fmt::Display for PipelineFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stage {} of {}: ", self.stage, self.output.stages.len())?;
        describe(&self.output.stages[self.stage - 1], f)
    }
}

impl Error for PipelineFailed {}

/// Why there is no complete [`PipelineOutput`].
#[derive(Debug)]
#[non_exhaustive]
pub enum PipelineError {
    /// A stage was not started; those that were are ended.
    Spawn(SpawnError),
    /// How a stage ended is not known, or it left somebody.
    Stage {
        /// The number of the stage, from 1 on.
        stage: usize,
        /// What went wrong.
        source: Box<OutputError>,
        /// What the stages left for which nothing did.
        others: Vec<Output>,
    },
    /// It failed, and the call asked for success.
    Failed(PipelineFailed),
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawn(error) => match error.source() {
                Some(reason) => write!(f, "{error}: {reason}"),
                None => error.fmt(f),
            },
            Self::Stage { stage, .. } => write!(f, "run stage {stage} of a pipeline"),
            Self::Failed(failed) => failed.fmt(f),
        }
    }
}

impl Error for PipelineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Stage { source, .. } => Some(source),
            Self::Spawn(_) | Self::Failed(_) => None,
        }
    }
}

impl From<SpawnError> for PipelineError {
    fn from(error: SpawnError) -> Self {
        Self::Spawn(error)
    }
}

/// So that `output().await?.check()?` has one error type.
impl From<PipelineFailed> for PipelineError {
    fn from(failed: PipelineFailed) -> Self {
        Self::Failed(failed)
    }
}
