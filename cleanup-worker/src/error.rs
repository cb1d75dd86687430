//! The errors, one for each operation that can fail. Dropping a guard is not among them.

use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A task that was not accepted, and why. The task comes back.
///
/// It is `Sync` whatever the task is, so that `?` turns it into any boxed error.
#[must_use = "the task is in here, and dropping it drops the task"]
pub struct Rejected<T> {
    reason: RejectReason,
    /// Never locked: the task is reached by value alone.
    task: Mutex<T>,
}

/// Why a task was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectReason {
    /// The weight of the task does not fit into what is left of the capacity. For a moment that is less, while
    /// another thread is refused a task.
    Full,
    /// The worker is closed.
    Closed,
    /// The allocator had no memory for the task.
    OutOfMemory,
}

impl<T> Rejected<T> {
    pub(crate) fn new(reason: RejectReason, task: T) -> Self {
        Self { reason, task: Mutex::new(task) }
    }

    /// Why the task was not accepted.
    pub fn reason(&self) -> RejectReason {
        self.reason
    }

    /// The task itself.
    pub fn into_task(self) -> T {
        self.task.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<T> Error for Rejected<T> {}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "submit the cleanup: the worker is full",
            Self::Closed => "submit the cleanup: the worker is closed",
            Self::OutOfMemory => "submit the cleanup: out of memory",
        })
    }
}

impl Error for RejectReason {}

/// Why a worker could not be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The concurrency is 0: no task could ever run.
    NoConcurrency,
    /// The number of blocking threads is 0: no blocking closure could ever run.
    NoBlockingThreads,
    /// The name holds a NUL byte, which no thread may be called.
    NameWithNul,
    /// The worker is to run on the current runtime, and there is none.
    NoRuntime,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoConcurrency => "build the cleanup worker: concurrency is 0",
            Self::NoBlockingThreads => "build the cleanup worker: blocking_threads is 0",
            Self::NameWithNul => "build the cleanup worker: the name holds a NUL byte",
            Self::NoRuntime => "build the cleanup worker: no current tokio runtime",
        })
    }
}

impl Error for BuildError {}

/// Why a flush, or a quiesce, did not reach its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlushError {
    /// The time ran out.
    TimedOut {
        /// How many of the tasks waited for had not ended, or were given up and not dropped yet.
        pending: u64,
    },
    /// Waiting here could keep the worker from ever getting there: the caller is a cleanup, a destructor or a
    /// hook on the thread that runs it for the worker, or a thread inside the runtime with one thread that the
    /// worker runs on. Await the flush instead.
    WouldDeadlock,
    /// The worker does not run, because the system refused it a thread.
    NotRunning {
        /// How many of the tasks waited for had not ended.
        pending: u64,
    },
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut { pending } => {
                write!(f, "flush the cleanup worker: time ran out with {pending} tasks pending")
            }
            Self::WouldDeadlock => {
                f.write_str("flush the cleanup worker: blocking here would keep it from running")
            }
            Self::NotRunning { pending } => {
                write!(f, "flush the cleanup worker: it has no thread, {pending} tasks pending")
            }
        }
    }
}

impl Error for FlushError {}

/// Why a blocking closure gave no value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockingError {
    /// The closure panicked, with this message.
    Panicked(String),
    /// The worker ended before the closure could run.
    Closed,
}

impl fmt::Display for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => {
                write!(f, "run the blocking closure: it panicked: {message}")
            }
            Self::Closed => f.write_str("run the blocking closure: the worker has ended"),
        }
    }
}

impl Error for BlockingError {}
