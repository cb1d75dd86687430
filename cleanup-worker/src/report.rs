//! What a worker says at its end.

use crate::stats::Stats;
use std::fmt;
use std::time::Duration;

/// How a worker ended. [`is_clean`](Self::is_clean) is what a test asserts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it says what was left behind"]
pub struct Report {
    pub(crate) stats: Stats,
    pub(crate) left_behind: Vec<LeftBehind>,
}

impl Report {
    /// The numbers at the end.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// All that did not come to its own end.
    pub fn left_behind(&self) -> &[LeftBehind] {
        &self.left_behind
    }

    /// Whether nothing was left behind: no task was given up, and no task, guard, closure or thread goes on.
    ///
    /// A task that failed, panicked or ran out of its time has ended: [`stats`](Self::stats) counts it.
    pub fn is_clean(&self) -> bool {
        self.left_behind.is_empty()
    }
}

/// One thing that was left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    pub(crate) name: &'static str,
    pub(crate) age: Duration,
    pub(crate) reason: LeftReason,
}

impl LeftBehind {
    /// What kind of thing it is: `"task"`, `"guard"`, `"closure"`, `"submit"` or `"thread"`.
    pub fn what(&self) -> &'static str {
        match self.reason {
            LeftReason::Abandoned
            | LeftReason::StillPolled
            | LeftReason::InEventHook
            | LeftReason::Unattended { .. } => "task",
            LeftReason::BlockingClosures { .. } => "closure",
            LeftReason::Armed { .. } | LeftReason::Inherited { .. } => "guard",
            LeftReason::StalledProducer => "submit",
            LeftReason::Thread => "thread",
        }
    }

    /// The label of the task; empty if it has none, or if it is not one task.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The time since the worker first saw the task; zero if it is not one task.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Why it was left behind.
    pub fn reason(&self) -> LeftReason {
        self.reason
    }
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use LeftReason::{Abandoned, InEventHook, StillPolled};
        match (self.reason, self.name) {
            (Abandoned | StillPolled | InEventHook, "") => write!(f, "a task")?,
            (Abandoned | StillPolled | InEventHook, name) => write!(f, "task {name:?}")?,
            (reason, _) => return reason.fmt(f),
        }
        write!(f, " of age {:.1?}: {}", self.age, self.reason)
    }
}

/// Why something was left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftReason {
    /// The time ran out: the task was given up and dropped, before or in the middle of its work.
    Abandoned,
    /// The time ran out while the task was being polled: it holds the worker's thread, and is
    /// dropped when that poll returns. Counted as abandoned.
    StillPolled,
    /// The task has ended, and the time ran out while the event hook was told of it, or its error was dropped.
    /// It is counted when that returns.
    InEventHook,
    /// Blocking closures go on whose tasks ended before them.
    BlockingClosures {
        /// How many.
        count: u64,
    },
    /// Guards are still armed. When they are dropped, their tasks are dropped too, as abandoned.
    Armed {
        /// The sum of their weights.
        weight: u64,
    },
    /// This process is a forked child, and guards that were armed at the fork have not been dropped in it.
    /// Those that other threads of the parent held do not exist here, and cannot be told from the rest, nor can
    /// those that the parent had dropped and its worker had not taken.
    Inherited {
        /// The sum of their weights.
        weight: u64,
    },
    /// A producer stopped in the middle of its submit. The worker's thread stays until it goes on.
    StalledProducer,
    /// A thread of the worker did not come to its end in the time that was left: a destructor, a thread-local
    /// or a waker holds it.
    Thread,
    /// The worker was ended from a place where waiting would have kept it from running: it
    /// goes on with all tasks that it accepted, and ends by itself.
    Unattended {
        /// How many tasks had not ended.
        pending: u64,
    },
}

impl fmt::Display for LeftReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abandoned => f.write_str("given up at the deadline"),
            Self::StillPolled => f.write_str("given up at the deadline while it holds the thread"),
            Self::InEventHook => f.write_str(
                "ended, and the event hook or the destructor of its error holds the thread",
            ),
            Self::BlockingClosures { count } => {
                write!(f, "{count} blocking closures go on after the end of their tasks")
            }
            Self::Armed { weight } => write!(f, "guards of weight {weight} are still armed"),
            Self::Inherited { weight } => {
                write!(f, "guards of weight {weight} were inherited by a fork and not dropped")
            }
            Self::StalledProducer => f.write_str("a submit stopped in the middle"),
            Self::Thread => f.write_str("a thread of the worker has not ended"),
            Self::Unattended { pending } => {
                write!(f, "the worker goes on with {pending} tasks and without an owner")
            }
        }
    }
}
