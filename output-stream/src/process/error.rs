//! What can go wrong with a running process.

use super::output::Output;
use lastout_proc_tree::{KillError, SpawnError};
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Why the end of a process is not known.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ExitError {
    /// Somebody else has waited for it: its status is lost.
    Status(Arc<io::Error>),
    /// Its time was over or it was cancelled, and a member of its tree did not end.
    Terminate(Arc<KillError>),
    /// The runtime that watched it was shut down.
    Aborted,
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status(_) => "wait for a process: its status is lost",
            Self::Terminate(_) => "end a process whose time was over",
            Self::Aborted => "wait for a process: the runtime that watched it was shut down",
        })
    }
}

impl Error for ExitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Status(error) => Some(&**error),
            Self::Terminate(error) => Some(&**error),
            Self::Aborted => None,
        }
    }
}

/// Why there is no complete [`Output`].
#[derive(Debug)]
#[non_exhaustive]
pub enum OutputError {
    /// It was not started.
    Spawn(SpawnError),
    /// An output could not be read: it is for a single subscriber, which exists already.
    Subscribe(crate::SubscribeError),
    /// How it ended is not known.
    Exit {
        /// Why not.
        source: ExitError,
        /// What it wrote to standard output until then.
        stdout: Box<crate::Collected>,
        /// What it wrote to standard error until then.
        stderr: Box<crate::Collected>,
    },
    /// It ended, but a member of its tree did not.
    Survivors {
        /// Which members, and why.
        source: KillError,
        /// How it ended and what it wrote to its outputs.
        stdout: Box<crate::Collected>,
        /// What it wrote to standard error.
        stderr: Box<crate::Collected>,
        /// How the root ended.
        exit: Box<super::Exit>,
    },
    /// This process succeeded, and what it wrote cannot be had as text.
    Text(String, crate::TextError),
    /// This process succeeded, and one of its lines was too long to go on with, see
    /// [`OnLong::Fail`](crate::OnLong::Fail).
    TooLong(String, crate::TooLong),
    /// It failed, and the call asked for success.
    Failed(super::Failed),
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // With its reason, which `source` therefore does not repeat.
            Self::Spawn(error) => match error.source() {
                Some(reason) => write!(f, "{error}: {reason}"),
                None => error.fmt(f),
            },
            Self::Subscribe(_) => f.write_str("read the output of a process"),
            Self::Exit { .. } => f.write_str("wait for a process"),
            Self::Survivors { .. } => f.write_str("end what a process left behind"),
            Self::Text(program, _) => write!(f, "read the output of {program} as text"),
            Self::TooLong(program, _) => write!(f, "read the lines of {program}"),
            Self::Failed(failed) => failed.fmt(f),
        }
    }
}

impl Error for OutputError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Subscribe(error) => Some(error),
            Self::Exit { source, .. } => Some(source),
            Self::Survivors { source, .. } => Some(source),
            Self::Text(_, error) => Some(error),
            Self::TooLong(_, error) => Some(error),
            Self::Spawn(_) | Self::Failed(_) => None,
        }
    }
}

impl From<SpawnError> for OutputError {
    fn from(error: SpawnError) -> Self {
        Self::Spawn(error)
    }
}

/// So that `output().await?.check()?` has one error type.
impl From<super::Failed> for OutputError {
    fn from(failed: super::Failed) -> Self {
        Self::Failed(failed)
    }
}

impl OutputError {
    /// The output of a process that failed.
    #[must_use]
    pub fn failed_output(&self) -> Option<&Output> {
        match self {
            Self::Failed(failed) => Some(&failed.output),
            _ => None,
        }
    }
}
