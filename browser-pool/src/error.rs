//! What can fail, one enum for each operation.

use crate::request::BadOption;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why a browser could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum LaunchError {
    /// No executable was found, in any of these places.
    NotFound {
        /// The places that were looked at.
        searched: Vec<PathBuf>,
    },
    /// What was asked for cannot be done safely; nothing was started.
    Refused {
        /// What was refused, why, and what to do instead.
        what: String,
    },
    /// The browser's private directory could not be made.
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The executable could not be started.
    Spawn {
        /// The executable.
        program: PathBuf,
        /// What the system said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The browser ended before it answered.
    Exited {
        /// Its exit status, when it was seen.
        status: Option<String>,
        /// The last lines that it wrote to its standard error.
        stderr: String,
    },
    /// The browser did not answer in time.
    TimedOut {
        /// What was waited for.
        phase: &'static str,
        /// How long.
        after: Duration,
        /// The last lines that it wrote to its standard error.
        stderr: String,
    },
    /// The browser runs, but the protocol connection could not be made.
    Connect {
        /// What the connection said.
        source: Box<dyn Error + Send + Sync>,
        /// The last lines that the browser wrote to its standard error.
        stderr: String,
    },
    /// A fresh browser could not make its first unit.
    FirstUnit {
        /// What the browser said.
        source: Arc<OpError>,
    },
    /// The launch was called off, because the pool closes.
    CalledOff,
    /// The driver panicked while it launched.
    Panicked,
}

impl LaunchError {
    /// Whether a retry cannot help until the configuration or the machine changes.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Refused { .. })
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { searched } => write!(
                f,
                "find a browser executable: none of {} places has one; set LASTOUT_CHROME to its path",
                searched.len()
            ),
            Self::Refused { what } => write!(f, "launch a browser: {what}"),
            Self::Directory { path, .. } => {
                write!(f, "make the browser's directory {}", path.display())
            }
            Self::Spawn { program, .. } => write!(f, "start {}", program.display()),
            Self::Exited { status, stderr } => {
                let status = status.as_deref().unwrap_or("an unknown status");
                write!(f, "launch a browser: it ended with {status}{}", Tail(stderr))
            }
            Self::TimedOut { phase, after, stderr } => {
                write!(f, "launch a browser: {phase} took more than {after:?}{}", Tail(stderr))
            }
            Self::Connect { stderr, .. } => {
                write!(f, "connect to the launched browser{}", Tail(stderr))
            }
            Self::FirstUnit { .. } => f.write_str("make the first unit of a launched browser"),
            Self::CalledOff => f.write_str("launch a browser: the pool closes"),
            Self::Panicked => f.write_str("launch a browser: the driver panicked"),
        }
    }
}

impl Error for LaunchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Directory { source, .. } => Some(source),
            Self::Spawn { source, .. } | Self::Connect { source, .. } => Some(&**source),
            Self::FirstUnit { source } => Some(&**source),
            _ => None,
        }
    }
}

/// An error and all its causes in one line, for readers of the text alone.
#[cfg(feature = "chrome")]
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The end of what a browser wrote, or nothing when it wrote nothing.
struct Tail<'a>(&'a str);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.trim() {
            "" => Ok(()),
            text => write!(f, "; it wrote: {text}"),
        }
    }
}

/// What a caller was waiting for when its time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Waiting {
    /// Every browser is full or busy with other profiles.
    Capacity,
    /// A browser was being launched.
    Launch,
    /// A running browser was making the unit.
    Creation,
    /// Launches had failed, and the pause before the next had not passed.
    Backoff,
    /// The machine had less memory available than `min_free_memory`.
    Memory,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Capacity => "for capacity",
            Self::Launch => "for a launch",
            Self::Creation => "for the unit to be made",
            Self::Backoff => "for the pause after failed launches",
            Self::Memory => "for free memory",
        })
    }
}

/// Why no lease was given.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AcquireError {
    /// The pool is draining or closed.
    Closed,
    /// As many callers as `max_queue` allows are waiting already.
    QueueFull {
        /// How many are waiting.
        waiting: usize,
    },
    /// The deadline passed.
    Deadline {
        /// The deadline.
        after: Duration,
        /// What was being waited for at that moment.
        waiting: Waiting,
    },
    /// Browsers cannot be launched; the last failure is the source.
    Launch(Arc<LaunchError>),
    /// The browser refused to make what was asked for with these options; what it said is the source.
    Unit(Arc<OpError>),
    /// An option cannot be honoured for what was asked for; nothing was queued, made or launched.
    BadOption {
        /// The option, by the name of its setter.
        option: &'static str,
        /// Why not, and what to say instead.
        reason: &'static str,
    },
    /// The runtime on which the pool was started is gone.
    RuntimeGone,
}

impl From<BadOption> for AcquireError {
    fn from(BadOption { option, reason }: BadOption) -> Self {
        Self::BadOption { option, reason }
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("lease from the pool: it is closed"),
            Self::QueueFull { waiting } => {
                write!(f, "lease from the pool: {waiting} callers are waiting already")
            }
            Self::Deadline { after, waiting } => {
                write!(f, "lease from the pool: waited {after:?}, at last {waiting}")
            }
            Self::Launch(_) => f.write_str("lease from the pool: no browser can be launched"),
            Self::Unit(_) => f.write_str("lease from the pool: the browser refused the options"),
            Self::BadOption { option, reason } => {
                write!(f, "lease from the pool: the option {option} is refused: {reason}")
            }
            Self::RuntimeGone => f.write_str("lease from the pool: its runtime is gone"),
        }
    }
}

impl Error for AcquireError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Launch(error) => Some(&**error),
            Self::Unit(error) => Some(&**error),
            _ => None,
        }
    }
}

/// Why a lease, or a browser, ended against the will of its user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// The browser's process ended.
    Exited {
        /// Its exit status, when it was seen.
        status: Option<String>,
    },
    /// The protocol connection ended while the process ran on.
    Disconnected,
    /// The browser left a probe unanswered.
    Unresponsive,
    /// The protocol client failed; the text is its panic or error.
    Client(String),
    /// The renderer of this page crashed; the browser lives on.
    PageCrashed,
    /// The pool ended the page, because it kept the browser from its other pages; the browser lives on.
    ///
    /// A pop-up or a frame that floods is ended alone, and the lease that it is in lives on. The pages of a holder
    /// of a whole browser are not ended.
    PageFlooded,
    /// The lease was out for `max_lease`.
    Expired,
    /// The pool closed the browser: at its retirement limit, or because the pool ended.
    Closed,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { status: Some(status) } => write!(f, "the browser ended with {status}"),
            Self::Exited { status: None } => f.write_str("the browser ended"),
            Self::Disconnected => f.write_str("the browser closed the connection"),
            Self::Unresponsive => f.write_str("the browser does not answer"),
            Self::Client(text) => write!(f, "the protocol client failed: {text}"),
            Self::PageCrashed => f.write_str("the page crashed"),
            Self::PageFlooded => f.write_str("the page was ended because it flooded its browser"),
            Self::Expired => f.write_str("the lease was out for max_lease"),
            Self::Closed => f.write_str("the pool closed the browser"),
        }
    }
}

/// Why an operation on a lease failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpError {
    /// The lease is gone: what it stood on has ended.
    Lost(Loss),
    /// The operation took longer than it may.
    TimedOut {
        /// What was being done.
        what: &'static str,
        /// The limit.
        after: Duration,
    },
    /// The browser has as many pages as `max_pages` allows.
    PageLimit {
        /// The limit.
        max: usize,
    },
    /// What was asked for is larger than it may be.
    TooLarge {
        /// What has too many.
        what: &'static str,
        /// The limit.
        most: u64,
    },
    /// The writer that was to take the result failed.
    Write(io::Error),
    /// The browser, or the client that speaks to it, said no.
    Driver(Box<dyn Error + Send + Sync>),
}

impl OpError {
    /// Wraps an error of a driver.
    pub fn driver(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Driver(error.into())
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(loss) => write!(f, "use the lease: {loss}"),
            Self::TimedOut { what, after } => write!(f, "{what}: no answer within {after:?}"),
            Self::PageLimit { max } => write!(f, "open a page: the browser has {max} already"),
            Self::TooLarge { what, most } => write!(f, "more than {most} {what}"),
            Self::Write(_) => f.write_str("write what the browser gave"),
            Self::Driver(_) => f.write_str("ask the browser"),
        }
    }
}

impl Error for OpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Driver(error) => Some(&**error),
            Self::Write(error) => Some(error),
            _ => None,
        }
    }
}

/// Why [`with_page`](crate::Pool::with_page) gave no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum WithPageError<E> {
    /// No page was leased; the work was not started.
    Acquire(AcquireError),
    /// The page was lost while the work ran.
    Lost(Loss),
    /// The work itself failed.
    Work(E),
}

impl<E> fmt::Display for WithPageError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquire(_) => f.write_str("get a page for the work"),
            Self::Lost(loss) => write!(f, "work with a leased page: {loss}"),
            Self::Work(_) => f.write_str("work with a leased page"),
        }
    }
}

impl<E: Error + 'static> Error for WithPageError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Acquire(error) => Some(error),
            Self::Lost(_) => None,
            Self::Work(error) => Some(error),
        }
    }
}
