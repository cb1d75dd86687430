//! [`End`]: how a tree has ended, root and members in one answer, and [`Cause`]: why the root did.

use crate::usage::Usage;
use std::fmt;
use std::process::ExitStatus;

/// A whole tree that has ended: no member runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct End {
    /// How the root ended; `None` when it was no child of this tree (an adopted one), and when somebody
    /// else has waited for it.
    pub root: Option<RootEnd>,
    /// What the tree has used.
    pub usage: Usage,
}

/// How and why the root of a tree ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RootEnd {
    /// Its exit status.
    pub status: ExitStatus,
    /// Why it ended.
    pub cause: Cause,
}

/// Why the root of a tree ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// It exited, perhaps because it was asked to.
    Exit,
    /// A signal ended it that this tree had sent: a request, or SIGKILL. On Windows: the tree terminated it, or it did
    /// not handle the console event of a request.
    Tree,
    /// SIGKILL ended it that this tree had not sent, and the kernel's memory killer has ended a member
    /// of the tree. Needs a limit for memory, or a tree that is
    /// [measured](crate::Containment::measured): otherwise it is [`Signal`](Self::Signal).
    MemoryKiller,
    /// A signal ended it that this tree had not sent: its own fault, or another process. On Windows: an exception, or a
    /// console event that this tree had not sent.
    Signal,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exit => "it exited",
            Self::Tree => "the tree was told to end",
            Self::MemoryKiller => "the kernel's memory killer ended it",
            Self::Signal => "a signal of somebody else, or of its own, ended it",
        })
    }
}
