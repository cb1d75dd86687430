//! What a stop leaves, by name.

use crate::job::JobId;
use std::fmt;
use std::time::Duration;

/// The end of a worker: what was finished, what was given back, what could not be ended.
#[derive(Debug, Clone, Default)]
#[must_use]
#[non_exhaustive]
pub struct StopReport {
    /// Jobs that ended by themselves while the worker stopped.
    pub finished: u64,
    /// Jobs given back to the store uncharged.
    pub given_back: u64,
    /// Jobs whose lease was lost before their end could be written; the store will recover them.
    pub lost: u64,
    /// How long it took.
    pub took: Duration,
    left: Vec<LeftBehind>,
}

/// Something that outlived the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftBehind {
    /// A handler that blocks its thread: its job was given back, its code still runs.
    Handler(JobId),
    /// A job whose end could not be written before the deadline; its lease lapses by itself.
    Job(JobId),
    /// The lease of the worker: it could not be given back before the deadline and lapses by itself.
    Lease,
}

impl LeftBehind {
    /// What it is: the kind of thing, with the id of its job.
    pub fn what(&self) -> String {
        match self {
            Self::Handler(job) => format!("handler of job {job}"),
            Self::Job(job) => format!("job {job}"),
            Self::Lease => "lease of the worker".to_owned(),
        }
    }

    /// Why it is still there.
    pub fn reason(&self) -> &str {
        match self {
            Self::Handler(_) => "it did not return in time",
            Self::Job(_) => "its end could not be written in time",
            Self::Lease => "it could not be given back in time",
        }
    }
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what(), self.reason())
    }
}

impl StopReport {
    /// What outlived the worker, each with the reason.
    pub fn left_behind(&self) -> &[LeftBehind] {
        &self.left
    }

    /// Whether nothing did.
    pub fn is_clean(&self) -> bool {
        self.left.is_empty()
    }

    pub(crate) fn leave(&mut self, what: LeftBehind) {
        self.left.push(what);
    }
}

impl fmt::Display for StopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "finished {}, given back {}, lost {}, left behind {} in {:?}",
            self.finished,
            self.given_back,
            self.lost,
            self.left.len(),
            self.took
        )?;
        self.left.iter().try_for_each(|what| write!(f, "; {what}"))
    }
}
