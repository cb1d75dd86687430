//! What can go wrong between a caller and a store, and while a runner is built.

use crate::contain::Panicked;
use std::fmt;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A store could not do what it was asked.
///
/// Nothing of the call was applied, except where [`StoreErrorKind::Unknown`] says that nobody knows.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    doing: &'static str,
    source: Option<Cause>,
}

/// What a caller can do about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Locked, restarting or unreachable: the same call may succeed later.
    Unavailable,
    /// The connection broke after the call was sent: it was applied or not. Outcomes can be sent
    /// again; an enqueue needs a unique key for that.
    Unknown,
    /// No space, or a size limit.
    Full,
    /// It can be read but not written.
    ReadOnly,
    /// It is damaged, or is no store of ours.
    Corrupt,
    /// It was made by another version.
    SchemaVersion {
        /// The version found; 0 when there are no tables.
        have: i64,
        /// The version that this build reads and writes.
        want: i64,
    },
    /// The store was closed.
    Closed,
    /// The request itself is refused: a name or a key is too long or holds a NUL byte, a payload or a result is over
    /// the limit of the store, a number is out of range, the id of a worker is known already, or a cron expression
    /// cannot be read. The source says which.
    Invalid,
    /// The file of the store does not exist, or was deleted or replaced while it was open.
    Missing,
    /// Anything else; see the source.
    Other,
}

impl StoreError {
    /// An error of `kind` that happened while `doing`, a fragment such as "claim jobs".
    pub fn new(kind: StoreErrorKind, doing: &'static str) -> Self {
        Self { kind, doing, source: None }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Cause>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the store is well and refuses this request alone.
    pub(crate) fn is_about_the_request(&self) -> bool {
        let Self { kind, .. } = self;
        matches!(kind, StoreErrorKind::Invalid | StoreErrorKind::Corrupt | StoreErrorKind::Other)
    }

    /// Whether the same call may succeed later without anybody's help.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown)
    }
}

/// A store is a user's code: its panic is its failure.
impl From<Panicked> for StoreError {
    fn from(Panicked(text): Panicked) -> Self {
        let why = format!("the store panicked: {text}");
        Self::new(StoreErrorKind::Unknown, "call the job store").with_source(why)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.kind {
            StoreErrorKind::Unavailable => "the store is busy or unreachable",
            StoreErrorKind::Unknown => "the connection broke before the answer came",
            StoreErrorKind::Full => "the store has no room",
            StoreErrorKind::ReadOnly => "the store is read-only",
            StoreErrorKind::Corrupt => "the store is damaged or no job store",
            StoreErrorKind::SchemaVersion { have, want } => {
                return write!(
                    f,
                    "{}: the store has schema {have}, this build wants {want}",
                    self.doing
                );
            }
            StoreErrorKind::Closed => "the store is closed",
            StoreErrorKind::Invalid => "the request cannot be stored",
            StoreErrorKind::Missing => "the file of the store does not exist or was replaced",
            StoreErrorKind::Other => "the store refused",
        };
        write!(f, "{}: {why}", self.doing)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|cause| cause as _)
    }
}

/// A worker or runner was asked to be something it cannot be.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// No queue to claim from, or a queue with no place to run.
    NoQueue,
    /// The same kind has two handlers.
    DuplicateKind(String),
    /// The same queue is named twice.
    DuplicateQueue(String),
    /// A time is out of its range.
    OutOfRange {
        /// Which one.
        what: &'static str,
        /// What was asked for.
        value: std::time::Duration,
        /// The shortest it may be.
        least: std::time::Duration,
        /// The longest it may be.
        most: std::time::Duration,
    },
    /// The name of a queue or a kind is too long or holds a NUL byte, so no job can have it. It says which and why.
    BadName(String),
    /// A number is too large.
    TooMany {
        /// Which one.
        what: String,
        /// What was asked for.
        count: usize,
        /// The largest it may be.
        most: usize,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoQueue => f.write_str("build a worker: it has no queue with a place to run"),
            Self::DuplicateKind(kind) => write!(f, "build a worker: two handlers for kind {kind}"),
            Self::BadName(why) => write!(f, "build a worker: {why}"),
            Self::DuplicateQueue(queue) => {
                write!(f, "build a worker: queue {queue} is named twice")
            }
            Self::OutOfRange { what, value, least, most } => {
                write!(f, "build a worker: {what} is {value:?}, not between {least:?} and {most:?}")
            }
            Self::TooMany { what, count, most } => {
                write!(f, "build a worker: {what} is {count}, more than {most}")
            }
        }
    }
}

impl std::error::Error for BuildError {}

/// A drive did not reach its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum DriveError {
    /// The store failed.
    Store(StoreError),
    /// The worker has stopped, or its engine is gone.
    Stopped,
}

impl fmt::Display for DriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(_) => f.write_str("claim and run pending jobs"),
            Self::Stopped => f.write_str("claim and run pending jobs: the worker has stopped"),
        }
    }
}

impl std::error::Error for DriveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(source) => Some(source),
            Self::Stopped => None,
        }
    }
}

impl From<StoreError> for DriveError {
    fn from(source: StoreError) -> Self {
        Self::Store(source)
    }
}

/// A handler could not write what it wanted about its own job.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// The job is no longer held under this lease: stop, whatever was done counts for nothing.
    LeaseLost(crate::lifecycle::LeaseLost),
    /// The store failed.
    Store(StoreError),
    /// The value has no JSON form.
    Encode(serde_json::Error),
    /// The value is longer than the store takes.
    TooLarge {
        /// Its length as JSON.
        bytes: usize,
        /// The limit of the store.
        limit: usize,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeaseLost(_) => "write about a job: its lease is lost",
            Self::Store(_) => "write about a job",
            Self::Encode(_) => "write about a job: encode the value",
            Self::TooLarge { bytes, limit } => {
                return write!(f, "write about a job: {bytes} bytes are over the limit of {limit}");
            }
        })
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::LeaseLost(source) => Some(source),
            Self::Store(source) => Some(source),
            Self::Encode(source) => Some(source),
            Self::TooLarge { .. } => None,
        }
    }
}

impl From<StoreError> for WriteError {
    fn from(source: StoreError) -> Self {
        Self::Store(source)
    }
}
