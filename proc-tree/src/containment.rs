//! [`Containment`]: how a tree is to be held together when it is spawned.

use crate::guarantee::Level;
use crate::limits::Limits;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

/// How to hold a spawned tree together, and what to hand to its root.
///
/// By default the strongest level that the machine offers without changing the calling process:
/// cgroup, else supervisor, else evidence. [`Tree::guarantee`](crate::Tree::guarantee) tells which.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Containment {
    pub(crate) demanded: Option<Level>,
    pub(crate) die_with_parent: bool,
    pub(crate) outlive_caller: bool,
    pub(crate) standing: Option<Standing>,
    pub(crate) copies_caller: bool,
    pub(crate) descriptors: Vec<(RawFd, Arc<OwnedFd>)>,
    pub(crate) limits: Limits,
    pub(crate) measure: bool,
    pub(crate) parent: Option<PathBuf>,
}

/// Where the root stands among process groups and sessions.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    /// It leads a process group of its own, as it does if nothing else is chosen.
    OwnGroup,
    /// It stays in the group of the caller.
    CallersGroup,
    /// It leads a session of its own, perhaps with this controlling terminal.
    Session(Option<Arc<OwnedFd>>),
}

impl Containment {
    /// The strongest level that is available.
    pub fn strongest() -> Self {
        Self::default()
    }

    /// This level and no other: the spawn fails when it is not available.
    pub fn demand(level: Level) -> Self {
        Self { demanded: Some(level), ..Self::default() }
    }

    /// Ends the tree even if the calling process is killed with SIGKILL.
    ///
    /// A supervisor is put above the tree that watches a socket to the calling *process*: not the
    /// kernel's death signal, which fires when the *thread* that spawned ends. The supervisor costs one
    /// small process; see [`SupervisorForm`](crate::SupervisorForm).
    pub fn die_with_parent(mut self) -> Self {
        self.die_with_parent = true;
        self.outlive_caller = false;
        self
    }

    /// Lets the tree live if the calling process ends without a drop of the tree: on SIGKILL, for example.
    ///
    /// No level ends the tree then. [`Level::Supervisor`] and [`Level::PidNamespace`] otherwise do. A drop of
    /// the [`Tree`](crate::Tree) still kills it.
    pub fn outlive_caller(mut self) -> Self {
        self.outlive_caller = true;
        self.die_with_parent = false;
        self
    }

    /// Makes a supervisor a copy of the caller, where it would be a program that is executed from memory.
    ///
    /// For machines that watch or forbid programs without a file on a disk: some security tools report each.
    /// The copy costs a fork of the caller, and gives back the memory that it does not need.
    pub fn supervise_by_copy(mut self) -> Self {
        self.copies_caller = true;
        self
    }

    /// Leaves the root in the process group of the caller. No signal is ever sent to that group.
    ///
    /// By default the root leads a group of its own. Then Ctrl-C reaches the caller alone, which decides
    /// what to do with the tree, and the root cannot read from the terminal of the caller.
    pub fn keep_group(mut self) -> Self {
        self.standing = Some(Standing::CallersGroup);
        self
    }

    /// Makes the root the leader of a process group of its own. This is the default of a spawned tree.
    pub fn own_group(mut self) -> Self {
        self.standing = Some(Standing::OwnGroup);
        self
    }

    /// Whether the process group or the session of the root was chosen.
    pub fn chooses_group(&self) -> bool {
        self.standing.is_some()
    }

    /// Whether the root will lead a process group of its own in the session of the caller. Such a root is a
    /// background process of the caller's terminal: a read from the terminal stops it.
    pub fn leads_group(&self) -> bool {
        matches!(self.standing, None | Some(Standing::OwnGroup))
    }

    /// Whether the tree is to [outlive the caller](Self::outlive_caller).
    pub fn outlives_caller(&self) -> bool {
        self.outlive_caller
    }

    /// Makes the root the leader of a session of its own, without a controlling terminal.
    pub fn new_session(mut self) -> Self {
        self.standing = Some(Standing::Session(None));
        self
    }

    /// Makes the root the leader of a session of its own with this controlling terminal, such as the inner
    /// end of a pseudoterminal. Its standard streams are not changed.
    pub fn new_session_on(mut self, terminal: impl Into<OwnedFd>) -> Self {
        self.standing = Some(Standing::Session(Some(Arc::new(terminal.into()))));
        self
    }

    /// Makes `descriptor` the descriptor `number` of the root, such as 3 or 4 for a pipe of DevTools.
    ///
    /// The caller's copy is closed by the spawn, unless a clone of this containment holds it, so that the
    /// other end of a pipe sees the end when the tree is gone. Numbers below 3 belong to the command's own stdin,
    /// stdout and stderr.
    pub fn descriptor(mut self, number: RawFd, descriptor: impl Into<OwnedFd>) -> Self {
        self.descriptors.push((number, Arc::new(descriptor.into())));
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

    /// Counts what the tree uses as completely as the machine can.
    ///
    /// For what the leaf of the tree does not count, leaves of cgroup v1 are made, which costs four
    /// directories and four writes at the spawn; without those, the members are asked once more before a
    /// kill. [`Tree::usage`](crate::Tree::usage) works without this, too, and knows less.
    pub fn measured(mut self) -> Self {
        self.measure = true;
        self
    }

    /// Makes the leaf below this cgroup v2 directory instead of below the caller's own cgroup.
    ///
    /// The caller needs write access to it and to the common ancestor of the two. Its controllers are
    /// used as they are enabled there; nothing is enabled.
    pub fn below(mut self, cgroup: impl Into<PathBuf>) -> Self {
        self.parent = Some(cgroup.into());
        self
    }
}
