//! [`Spawn`]: what a tree can be started from. [`TreeCommand`]: a way to keep one's own spawn.

use crate::child::Child;
use crate::containment::Containment;
use crate::error::{AdoptError, SpawnError};
use crate::id::Pid;
use crate::program::Program;
use crate::spawn::Plan;
use crate::tree::Tree;
use std::process::Command;

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::process::Command {}
    impl Sealed for crate::Program {}
    #[cfg(feature = "tokio")]
    impl Sealed for crate::OnTokio<'_> {}
    #[cfg(feature = "tokio")]
    impl Sealed for tokio::process::Command {}
}

/// What a tree can be started from: a [`Program`], a command of std, and with the feature `tokio` one of tokio.
///
/// A `Program` starts in a time that does not grow with the caller's memory. For a command std forks the
/// caller: with 1 GiB of memory that takes tens of milliseconds, in which every other thread of the
/// caller that touches new memory stands still.
pub trait Spawn: sealed::Sealed {
    /// The handle of the root.
    type Child;

    /// Starts it.
    #[doc(hidden)]
    fn start(&mut self, containment: Containment) -> Result<(Tree, Self::Child), SpawnError>;
}

impl Spawn for Program {
    type Child = Child;

    fn start(&mut self, containment: Containment) -> Result<(Tree, Child), SpawnError> {
        crate::spawn::start_program(self, containment)
    }
}

impl Spawn for Command {
    type Child = Child;

    fn start(&mut self, containment: Containment) -> Result<(Tree, Child), SpawnError> {
        crate::spawn::start_command(self, containment)
    }
}

/// A command that its owner spawns: that of std, and with the feature `tokio` that of tokio.
pub trait TreeCommand: Spawn {
    /// The command of std underneath.
    #[doc(hidden)]
    fn as_std(&mut self) -> &mut Command;

    /// Prepares the next spawn of this command, for those who keep a spawn of their own.
    ///
    /// Call [`Contained::adopt`] with the pid that the spawn returned. A supervisor would be that pid, so
    /// the level is [`Cgroup`](crate::Level::Cgroup) or [`Evidence`](crate::Level::Evidence). Nothing that
    /// the command does later belongs to the tree: dropping the preparation, or the adoption, ends it.
    /// Std has no way to take a hook out of a command, so an inert one stays for each call.
    ///
    /// The members of a command with variables of its own are not recognised by a variable: that would
    /// have to stay in the command.
    ///
    /// # Errors
    ///
    /// As [`Tree::spawn`], for what happens before the start.
    fn contain(&mut self, containment: Containment) -> Result<Contained, SpawnError> {
        let plan = crate::spawn::contain_command(self.as_std(), containment)?;
        Ok(Contained { plan })
    }
}

impl TreeCommand for Command {
    fn as_std(&mut self) -> &mut Command {
        self
    }
}

/// A command is prepared, and not spawned yet. Dropping this undoes the preparation.
#[derive(Debug)]
#[must_use = "adopt the pid that the spawn returned"]
pub struct Contained {
    plan: Plan,
}

impl Contained {
    /// The tree of the process that was spawned meanwhile, which the caller still waits for itself. If the
    /// process was waited for already, the tree is what it has left behind.
    ///
    /// # Errors
    ///
    /// When the command has started no process with this pid.
    pub fn adopt(self, pid: Pid) -> Result<Tree, AdoptError> {
        self.plan.adopt(pid)
    }
}
