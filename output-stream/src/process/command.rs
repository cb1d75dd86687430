//! What a process can be made of.

use lastout_proc_tree::{Containment, Io, Program, SpawnError, TokioChild, Tree};
use std::ffi::{OsStr, OsString};
use std::mem;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

mod sealed {
    use super::{Command, OsStr, OsString, Path, PathBuf, Program};

    pub trait Sealed {}
    impl Sealed for Program {}
    impl Sealed for Command {}
    impl Sealed for &mut Command {}
    impl Sealed for std::process::Command {}
    impl Sealed for &mut std::process::Command {}
    impl Sealed for &str {}
    impl Sealed for &String {}
    impl Sealed for String {}
    impl Sealed for &OsStr {}
    impl Sealed for OsString {}
    impl Sealed for &Path {}
    impl Sealed for PathBuf {}
    impl Sealed for &PathBuf {}
}

/// What [`Process::builder`](crate::Process::builder) takes: the name or the path of a program, a
/// [`Program`](crate::tree::Program), or a command of std or of tokio.
///
/// A program starts in a time that does not grow with the memory of the caller; for a command std copies
/// the caller. A command that is only borrowed, as `Command::new("sort").arg("-r")` is, is emptied: what it
/// held is taken, and it has no program any more.
pub trait IntoCommand: sealed::Sealed {
    /// What it is.
    #[doc(hidden)]
    fn into_origin(self) -> Origin;
}

/// A program, or a command that is spawned through std.
#[derive(Debug)]
pub enum Origin {
    /// Started by the process tree itself.
    Program(Program),
    /// Started by std.
    Command(Command),
}

/// Where a standard stream of either leads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lead {
    Null,
    Inherit,
    Piped,
}

/// Does the same to a program and to a command.
macro_rules! either {
    ($origin:expr, $it:ident => $what:expr) => {
        match $origin {
            Origin::Program($it) => drop($what),
            Origin::Command($it) => drop($what),
        }
    };
}

impl Origin {
    pub(super) fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) {
        either!(self, it => it.args(args));
    }

    pub(super) fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) {
        either!(self, it => it.envs(variables));
    }

    pub(super) fn env_remove(&mut self, name: impl AsRef<OsStr>) {
        either!(self, it => it.env_remove(name));
    }

    pub(super) fn env_clear(&mut self) {
        either!(self, it => it.env_clear());
    }

    pub(super) fn current_dir(&mut self, directory: impl AsRef<Path>) {
        either!(self, it => it.current_dir(directory));
    }

    /// Leads stdin, stdout and stderr.
    pub(super) fn lead(&mut self, [stdin, stdout, stderr]: [Lead; 3]) {
        match self {
            Self::Program(program) => {
                program.stdin(stdin).stdout(stdout).stderr(stderr);
            }
            Self::Command(command) => {
                command.stdin(stdin).stdout(stdout).stderr(stderr);
            }
        }
    }

    pub(super) fn name(&self) -> &OsStr {
        match self {
            Self::Program(program) => program.name(),
            Self::Command(command) => command.as_std().get_program(),
        }
    }

    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Program(program) => program.directory(),
            Self::Command(command) => command.as_std().get_current_dir(),
        }
    }

    pub(super) fn spawn(
        &mut self,
        containment: Containment,
    ) -> Result<(Tree, TokioChild), SpawnError> {
        match self {
            Self::Program(program) => Tree::spawn(&mut program.on_tokio(), containment),
            Self::Command(command) => Tree::spawn(command, containment),
        }
    }
}

impl From<Lead> for Io {
    fn from(lead: Lead) -> Self {
        match lead {
            Lead::Null => Self::Null,
            Lead::Inherit => Self::Inherit,
            Lead::Piped => Self::Piped,
        }
    }
}

impl From<Lead> for Stdio {
    fn from(lead: Lead) -> Self {
        match lead {
            Lead::Null => Self::null(),
            Lead::Inherit => Self::inherit(),
            Lead::Piped => Self::piped(),
        }
    }
}

impl IntoCommand for Program {
    fn into_origin(self) -> Origin {
        Origin::Program(self)
    }
}

impl IntoCommand for Command {
    fn into_origin(self) -> Origin {
        Origin::Command(self)
    }
}

impl IntoCommand for &mut Command {
    fn into_origin(self) -> Origin {
        Origin::Command(mem::replace(self, Command::new("")))
    }
}

impl IntoCommand for std::process::Command {
    fn into_origin(self) -> Origin {
        Origin::Command(self.into())
    }
}

impl IntoCommand for &mut std::process::Command {
    fn into_origin(self) -> Origin {
        Origin::Command(mem::replace(self, std::process::Command::new("")).into())
    }
}

macro_rules! programs {
    ($($program:ty),*) => {$(
        impl IntoCommand for $program {
            fn into_origin(self) -> Origin {
                Origin::Program(Program::new(self))
            }
        }
    )*};
}

programs!(&str, &String, String, &OsStr, OsString, &Path, &PathBuf, PathBuf);
