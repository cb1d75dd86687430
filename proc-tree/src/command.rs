//! [`TreeCommand`]: the commands that a tree can be spawned from, and the way to keep one's own spawn.

use crate::child::Child;
use crate::containment::Containment;
use crate::error::{AdoptError, SpawnError};
use crate::id::Pid;
use crate::spawn::Plan;
use crate::tree::Tree;
use std::io;
use std::process::Command;

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::process::Command {}
    #[cfg(feature = "tokio")]
    impl Sealed for tokio::process::Command {}
}

/// A command that a tree can be spawned from: that of std, and with the feature `tokio` that of tokio.
pub trait TreeCommand: sealed::Sealed {
    /// The handle of the root.
    type Child;

    /// The command of std underneath.
    #[doc(hidden)]
    fn as_std(&mut self) -> &mut Command;

    /// The handle, made from that of std.
    #[doc(hidden)]
    fn wrap(child: Child) -> io::Result<Self::Child>;

    /// Prepares the next spawn of this command, for those who keep a spawn of their own.
    ///
    /// Call [`Contained::adopt`] with the pid that the spawn returned. A supervisor would be that pid, so
    /// the level is [`Cgroup`](crate::Level::Cgroup) or [`Evidence`](crate::Level::Evidence).
    ///
    /// # Errors
    ///
    /// As [`Tree::spawn`], for what happens before the start.
    fn contain(&mut self, containment: Containment) -> Result<Contained, SpawnError> {
        let plan = Plan::make(self.as_std(), containment, false)?;
        Ok(Contained { plan })
    }
}

impl TreeCommand for Command {
    type Child = Child;

    fn as_std(&mut self) -> &mut Command {
        self
    }

    fn wrap(child: Child) -> io::Result<Child> {
        Ok(child)
    }
}

/// A command is prepared, and not spawned yet. Dropping this undoes the preparation.
#[derive(Debug)]
#[must_use = "adopt the pid that the spawn returned"]
pub struct Contained {
    plan: Plan,
}

impl Contained {
    /// The tree of the process that was spawned meanwhile, which the caller still waits for itself.
    ///
    /// # Errors
    ///
    /// When there is no such process.
    pub fn adopt(self, pid: Pid) -> Result<Tree, AdoptError> {
        self.plan.adopt(pid)
    }
}
