//! What a blocking pool says: its counts, the closures that run, and why it refuses one.

use std::error::Error;
use std::panic::Location;
use std::time::Duration;
use std::{fmt, io};

/// What the blocking pool of a runtime has done so far.
/// `accepted = waiting + running + completed + panicked + cancelled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BlockingStats {
    /// Closures accepted, ever. A refused one is not counted.
    pub accepted: u64,
    /// Closures that wait for a thread.
    pub waiting: u64,
    /// Closures that run.
    pub running: u64,
    /// Closures that returned.
    pub completed: u64,
    /// Closures that panicked.
    pub panicked: u64,
    /// Closures that were aborted, or were waiting when the runtime ended. None of them ran.
    pub cancelled: u64,
    /// Threads that exist.
    pub threads: u64,
}

impl BlockingStats {
    /// Closures that have run to their end.
    pub(crate) fn ended(self) -> u64 {
        self.completed + self.panicked
    }
}

/// A closure that runs on a thread of the blocking pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningClosure {
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// For how long it has run.
    pub running_for: Duration,
}

impl fmt::Display for RunningClosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spawned_at, running_for } = self;
        write!(f, "blocking closure spawned at {spawned_at} has run for {running_for:?}")
    }
}

/// Why the blocking pool did not take a closure.
#[derive(Debug)]
#[non_exhaustive]
pub enum BlockingRefusedKind {
    /// As many closures wait for a thread as the runtime allows.
    Full {
        /// How many wait.
        waiting: usize,
    },
    /// The system refused to start a thread, and the pool has no other.
    NoThread {
        /// Why it was refused.
        source: io::Error,
    },
    /// The runtime has ended, or this process is a fork of the one that built it.
    Ended,
}

impl fmt::Display for BlockingRefusedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { waiting } => {
                write!(f, "blocking pool is full: {waiting} closures wait for a thread")
            }
            Self::NoThread { .. } => f.write_str("blocking pool could not start its first thread"),
            Self::Ended => f.write_str("runtime of the blocking pool has ended"),
        }
    }
}

impl Error for BlockingRefusedKind {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoThread { source } => Some(source),
            Self::Full { .. } | Self::Ended => None,
        }
    }
}

/// The blocking pool did not take a closure, which comes back inside.
#[non_exhaustive]
pub struct BlockingRefused<W> {
    /// Why.
    pub kind: BlockingRefusedKind,
    /// What was to be run.
    pub work: W,
}

impl<W> fmt::Debug for BlockingRefused<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingRefused").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<W> fmt::Display for BlockingRefused<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl<W> Error for BlockingRefused<W> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}
