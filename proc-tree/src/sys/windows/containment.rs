//! [`Containment`]: how a tree is to be held together when it is spawned.

use crate::guarantee::Level;
use crate::limits::Limits;

/// How to hold a spawned tree together: by a job object of its own.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Containment {
    pub(super) demanded: Option<Level>,
    pub(super) outlive_caller: bool,
    pub(super) keep_group: bool,
    pub(super) flags: u32,
    pub(super) limits: Limits,
}

impl Containment {
    /// The strongest level that is available: [`Level::Job`].
    pub fn strongest() -> Self {
        Self::default()
    }

    /// This level and no other: the spawn fails when it is not available.
    pub fn demand(level: Level) -> Self {
        Self { demanded: Some(level), ..Self::default() }
    }

    /// Ends the tree even if the calling process is killed. On Windows this is the default: the system closes the
    /// only handle of the job, and a job that loses it ends all of its processes.
    pub fn die_with_parent(mut self) -> Self {
        self.outlive_caller = false;
        self
    }

    /// Lets the tree live if the calling process ends without a drop of the tree. A drop of the
    /// [`Tree`](crate::Tree) still kills it.
    pub fn outlive_caller(mut self) -> Self {
        self.outlive_caller = true;
        self
    }

    /// Leaves the root in the process group of the caller, whose Ctrl-C then reaches it. Such a tree cannot be asked
    /// to end: the console event would reach the caller as well.
    pub fn keep_group(mut self) -> Self {
        self.keep_group = true;
        self
    }

    /// Makes the root the leader of a process group of its own. This is the default.
    pub fn own_group(mut self) -> Self {
        self.keep_group = false;
        self
    }

    /// Whether the root will lead a process group of its own.
    pub fn leads_group(&self) -> bool {
        !self.keep_group
    }

    /// Whether the tree is to [outlive the caller](Self::outlive_caller).
    pub fn outlives_caller(&self) -> bool {
        self.outlive_caller
    }

    /// Creates the root with these flags of `CreateProcess` as well, such as `CREATE_NO_WINDOW`.
    ///
    /// Flags that were set on the command itself are lost, because std does not reveal them. `CREATE_SUSPENDED` has no effect,
    /// the root always runs when the spawn returns, and `CREATE_BREAKAWAY_FROM_JOB` takes the root out of the job of
    /// the caller, and not out of that of the tree.
    pub fn creation_flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    /// Limits the whole tree.
    ///
    /// The spawn fails with [`SpawnError::Limit`](crate::SpawnError::Limit) when one of them cannot be
    /// set; [`Tree::limits`](crate::Tree::limits) tells what enforces each.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Counts what the tree uses as completely as the machine can. A job always does.
    pub fn measured(self) -> Self {
        self
    }
}
