//! What a process can be made of.

use super::once::Once;
use super::outlet::{Inlet, Outlet};
#[cfg(feature = "tokio")]
use lastout_proc_tree::TokioChild;
use lastout_proc_tree::{Child, Containment, Io, Program, SpawnError, Tree};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

mod sealed {
    use super::{Command, OsStr, OsString, Path, PathBuf, Program};

    pub trait Sealed {}
    impl Sealed for Program {}
    impl Sealed for Command {}
    impl Sealed for &mut Command {}
    #[cfg(feature = "tokio")]
    impl Sealed for tokio::process::Command {}
    #[cfg(feature = "tokio")]
    impl Sealed for &mut tokio::process::Command {}
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
/// [`Program`](crate::tree::Program), or a command of std or, with the feature `tokio`, of tokio.
///
/// Where a program or a command leads its standard streams itself, that holds unless the builder says
/// otherwise.
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
#[derive(Debug, Clone)]
pub enum Origin {
    /// Started by the process tree itself.
    Program(Program),
    /// Started by std.
    Command(Given),
}

/// A command, which cannot be copied, and what the builder changes of it.
#[derive(Debug, Clone)]
pub struct Given {
    command: Once<Command>,
    name: OsString,
    directory: Option<PathBuf>,
    led: [Led; 3],
    edits: Vec<Edit>,
}

/// A change of a command.
#[derive(Debug, Clone)]
enum Edit {
    Arg(OsString),
    Env(OsString, OsString),
    EnvRemove(OsString),
    EnvClear,
}

/// What one start has of an origin.
#[derive(Debug)]
pub(super) enum Taken {
    Program(Program),
    Command(Command),
}

/// Where a standard stream of either leads.
#[derive(Debug, Clone)]
pub(super) enum Lead {
    Null,
    Inherit,
    Piped,
    Descriptor(Arc<OwnedFd>),
    /// Where the program or the command itself leads it.
    Kept,
}

/// Where a program or a command itself leads a standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Led {
    /// It does not say.
    Unset,
    Null,
    Inherit,
    Piped,
    /// To a descriptor of its own.
    Elsewhere,
}

impl From<Command> for Origin {
    fn from(command: Command) -> Self {
        let text = format!("{command:#?}");
        Self::Command(Given {
            name: command.get_program().to_owned(),
            directory: command.get_current_dir().map(Path::to_owned),
            led: [0, 1, 2].map(|number| led_by_std(&text, number)),
            edits: Vec::new(),
            command: Once::new(command),
        })
    }
}

impl Origin {
    pub(super) fn arg(&mut self, arg: &OsStr) {
        match self {
            Self::Program(program) => drop(program.arg(arg)),
            Self::Command(given) => given.edits.push(Edit::Arg(arg.to_owned())),
        }
    }

    pub(super) fn env(&mut self, name: &OsStr, value: &OsStr) {
        match self {
            Self::Program(program) => drop(program.env(name, value)),
            Self::Command(given) => given.edits.push(Edit::Env(name.to_owned(), value.to_owned())),
        }
    }

    pub(super) fn env_remove(&mut self, name: &OsStr) {
        match self {
            Self::Program(program) => drop(program.env_remove(name)),
            Self::Command(given) => given.edits.push(Edit::EnvRemove(name.to_owned())),
        }
    }

    pub(super) fn env_clear(&mut self) {
        match self {
            Self::Program(program) => drop(program.env_clear()),
            Self::Command(given) => given.edits.push(Edit::EnvClear),
        }
    }

    pub(super) fn current_dir(&mut self, directory: &Path) {
        match self {
            Self::Program(program) => drop(program.current_dir(directory)),
            Self::Command(given) => given.directory = Some(directory.to_owned()),
        }
    }

    /// For one start; `None` when an earlier one has had the command.
    pub(super) fn take(self) -> Option<Taken> {
        let given = match self {
            Self::Program(program) => return Some(Taken::Program(program)),
            Self::Command(given) => given,
        };
        let mut command = given.command.take()?;
        for edit in given.edits {
            match edit {
                Edit::Arg(arg) => command.arg(arg),
                Edit::Env(name, value) => command.env(name, value),
                Edit::EnvRemove(name) => command.env_remove(name),
                Edit::EnvClear => command.env_clear(),
            };
        }
        if let Some(directory) = given.directory {
            command.current_dir(directory);
        }
        Some(Taken::Command(command))
    }

    /// Where the program or the command leads standard input; `None` when that is a descriptor of its own.
    pub(super) fn inlet(&self) -> Option<Inlet> {
        match self.led(0) {
            Led::Unset | Led::Null => Some(Inlet::Null),
            Led::Inherit => Some(Inlet::Inherit),
            Led::Piped => Some(Inlet::Piped),
            Led::Elsewhere => None,
        }
    }

    /// Where it leads an output; `None` when that is a descriptor of its own.
    pub(super) fn outlet(&self, number: usize) -> Option<Outlet> {
        match self.led(number) {
            Led::Unset | Led::Piped => Some(Outlet::default()),
            Led::Null => Some(Outlet::Discard),
            Led::Inherit => Some(Outlet::Inherit),
            Led::Elsewhere => None,
        }
    }

    fn led(&self, number: usize) -> Led {
        match self {
            Self::Program(program) => match program.stream(number) {
                None => Led::Unset,
                Some(Io::Null) => Led::Null,
                Some(Io::Inherit) => Led::Inherit,
                Some(Io::Piped) => Led::Piped,
                Some(_) => Led::Elsewhere,
            },
            Self::Command(given) => given.led[number],
        }
    }

    pub(super) fn name(&self) -> &OsStr {
        match self {
            Self::Program(program) => program.name(),
            Self::Command(given) => &given.name,
        }
    }

    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Program(program) => program.directory(),
            Self::Command(given) => given.directory.as_deref(),
        }
    }
}

impl Taken {
    /// Leads stdin, stdout and stderr.
    pub(super) fn lead(&mut self, leads: [Lead; 3]) -> io::Result<()> {
        match self {
            Self::Program(program) => {
                for (number, io) in leads.into_iter().map(io).enumerate() {
                    match (number, io) {
                        (0, Some(io)) => drop(program.stdin(io)),
                        (1, Some(io)) => drop(program.stdout(io)),
                        (_, Some(io)) => drop(program.stderr(io)),
                        (_, None) => {}
                    }
                }
            }
            Self::Command(command) => {
                for (number, lead) in leads.into_iter().enumerate() {
                    match (number, stdio(lead)?) {
                        (0, Some(stdio)) => drop(command.stdin(stdio)),
                        (1, Some(stdio)) => drop(command.stdout(stdio)),
                        (_, Some(stdio)) => drop(command.stderr(stdio)),
                        (_, None) => {}
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn spawn(&mut self, containment: Containment) -> Result<(Tree, Child), SpawnError> {
        match self {
            Self::Program(program) => Tree::spawn(program, containment),
            Self::Command(command) => Tree::spawn(command, containment),
        }
    }

    #[cfg(feature = "tokio")]
    pub(super) fn spawn_on_tokio(
        self,
        containment: Containment,
    ) -> Result<(Tree, TokioChild), SpawnError> {
        match self {
            Self::Program(mut program) => Tree::spawn(&mut program.on_tokio(), containment),
            Self::Command(command) => {
                Tree::spawn(&mut tokio::process::Command::from(command), containment)
            }
        }
    }
}

fn io(lead: Lead) -> Option<Io> {
    match lead {
        Lead::Null => Some(Io::Null),
        Lead::Inherit => Some(Io::Inherit),
        Lead::Piped => Some(Io::Piped),
        Lead::Descriptor(descriptor) => Some(Io::Descriptor(descriptor)),
        Lead::Kept => None,
    }
}

fn stdio(lead: Lead) -> io::Result<Option<Stdio>> {
    Ok(match lead {
        Lead::Null => Some(Stdio::null()),
        Lead::Inherit => Some(Stdio::inherit()),
        Lead::Piped => Some(Stdio::piped()),
        Lead::Descriptor(descriptor) => Some(descriptor.try_clone()?.into()),
        Lead::Kept => None,
    })
}

/// Std tells where a command leads its streams only in the text for debugging: a field is a line of its own
/// with four spaces before it, and a new line inside of an argument is shown escaped.
fn led_by_std(text: &str, number: usize) -> Led {
    let field = ["    stdin: Some(", "    stdout: Some(", "    stderr: Some("][number];
    let mut lines = text.lines();
    if !lines.any(|line| line == field) {
        return Led::Unset;
    }
    match lines.next().map(str::trim) {
        Some("Null,") => Led::Null,
        Some("Inherit,") => Led::Inherit,
        Some("MakePipe,") => Led::Piped,
        _ => Led::Elsewhere,
    }
}

impl IntoCommand for Program {
    fn into_origin(self) -> Origin {
        Origin::Program(self)
    }
}

impl IntoCommand for Command {
    fn into_origin(self) -> Origin {
        self.into()
    }
}

impl IntoCommand for &mut Command {
    fn into_origin(self) -> Origin {
        mem::replace(self, Command::new("")).into()
    }
}

#[cfg(feature = "tokio")]
impl IntoCommand for tokio::process::Command {
    fn into_origin(self) -> Origin {
        self.into_std().into()
    }
}

#[cfg(feature = "tokio")]
impl IntoCommand for &mut tokio::process::Command {
    fn into_origin(self) -> Origin {
        mem::replace(self, tokio::process::Command::new("")).into_origin()
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
