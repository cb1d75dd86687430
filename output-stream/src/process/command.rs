//! What a process can be made of.

use std::ffi::{OsStr, OsString};
use std::mem;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// What [`Process::builder`](crate::Process::builder) takes: the name or the path of a program, or a
/// command of std or of tokio.
///
/// A command that is only borrowed, as `Command::new("sort").arg("-r")` is, is emptied: what it held
/// is taken, and it has no program any more.
pub trait IntoCommand {
    /// The command.
    fn into_command(self) -> Command;
}

impl IntoCommand for Command {
    fn into_command(self) -> Command {
        self
    }
}

impl IntoCommand for &mut Command {
    fn into_command(self) -> Command {
        mem::replace(self, Command::new(""))
    }
}

impl IntoCommand for std::process::Command {
    fn into_command(self) -> Command {
        self.into()
    }
}

impl IntoCommand for &mut std::process::Command {
    fn into_command(self) -> Command {
        mem::replace(self, std::process::Command::new("")).into()
    }
}

macro_rules! programs {
    ($($program:ty),*) => {$(
        impl IntoCommand for $program {
            fn into_command(self) -> Command {
                Command::new(self)
            }
        }
    )*};
}

programs!(&str, &String, String, &OsStr, &OsString, OsString, &Path, &PathBuf, PathBuf);
