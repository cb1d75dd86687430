//! [`Program`]: what a tree is started from without copying the caller.

use crate::error::SpawnError;
use crate::sys::{Executable, Recipe, Strings, User};
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::Arc;

/// A program and everything that it starts with.
///
/// [`Tree::spawn`](crate::Tree::spawn) takes it as it takes a [`Command`](std::process::Command), and
/// starts it without a copy of the calling process: in a time that does not grow with the caller's memory,
/// and without a stall of its other threads. It may be spawned again and again.
///
/// ```
/// use lastout_proc_tree::{Containment, Io, Program, Tree};
/// use std::io::Read;
/// use std::time::Duration;
///
/// let mut program = Program::new("sh");
/// program.args(["-c", "echo $GREETING; sleep 600 &"]).env("GREETING", "hello").stdout(Io::Piped);
/// let (tree, mut child) = Tree::spawn(&mut program, Containment::strongest())?;
///
/// let mut word = [0; 5];
/// child.stdout.take().expect("it is piped").read_exact(&mut word)?;
/// assert_eq!(&word, b"hello");
/// assert!(tree.kill_blocking(Duration::from_secs(5))?.is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The process group, the session, the terminal and further descriptors are a matter of the
/// [`Containment`](crate::Containment), for a `Command` as well. As with std, the child has the signal mask
/// of the thread that spawns it, the default action for SIGPIPE, and ignores what the caller ignores
/// otherwise.
#[derive(Debug, Clone)]
pub struct Program {
    name: OsString,
    first: Option<OsString>,
    arguments: Vec<OsString>,
    clears: bool,
    variables: BTreeMap<OsString, Option<OsString>>,
    directory: Option<PathBuf>,
    pub(crate) io: [Io; 3],
    leads: [bool; 3],
    user: User,
}

/// Where a standard stream of a [`Program`] leads.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Io {
    /// To the same place as the caller's.
    #[default]
    Inherit,
    /// Nowhere: reading ends at once, and what is written is discarded.
    Null,
    /// To the caller, through the [`Child`](crate::Child).
    Piped,
    /// To this descriptor, which the program and its clones keep until they are dropped or given another one.
    Descriptor(Arc<OwnedFd>),
}

macro_rules! descriptors {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Io {
            fn from(descriptor: $kind) -> Self {
                Self::Descriptor(Arc::new(descriptor.into()))
            }
        }
    )*};
}

descriptors!(OwnedFd, File, ChildStdin, ChildStdout, ChildStderr);

impl Program {
    /// A program: a path, or a name that is looked for in the `PATH` that the program will have.
    ///
    /// It has no arguments, the variables, the directory and the standard streams of the caller.
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            first: None,
            arguments: Vec::new(),
            clears: false,
            variables: BTreeMap::new(),
            directory: None,
            io: [Io::Inherit, Io::Inherit, Io::Inherit],
            leads: [false; 3],
            user: User::default(),
        }
    }

    /// The name or path.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// The directory that it starts in, if that is not the caller's.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Sets what the program is told to be called: its argument 0, otherwise the name.
    pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.first = Some(name.as_ref().to_owned());
        self
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
        self.arguments.extend(arguments);
        self
    }

    /// Sets a variable.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.variables.insert(name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Sets variables.
    pub fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Self {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// Does not hand on this variable of the caller.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.variables.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Hands on no variable of the caller, and forgets those that were set. What is set afterwards is all,
    /// beside the one by which the tree may be found.
    pub fn env_clear(&mut self) -> &mut Self {
        self.clears = true;
        self.variables.clear();
        self
    }

    /// Starts it in this directory. A relative path of the program counts from there.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets where its standard input comes from.
    pub fn stdin(&mut self, io: impl Into<Io>) -> &mut Self {
        self.lead(0, io.into())
    }

    /// Sets where its standard output goes.
    pub fn stdout(&mut self, io: impl Into<Io>) -> &mut Self {
        self.lead(1, io.into())
    }

    /// Sets where its standard error goes.
    pub fn stderr(&mut self, io: impl Into<Io>) -> &mut Self {
        self.lead(2, io.into())
    }

    fn lead(&mut self, number: usize, io: Io) -> &mut Self {
        self.io[number] = io;
        self.leads[number] = true;
        self
    }

    /// Where standard input, output or error leads (0, 1 or 2), if that was set.
    pub fn stream(&self, number: usize) -> Option<&Io> {
        let io = self.io.get(number)?;
        self.leads.get(number)?.then_some(io)
    }

    /// Runs it as this user. Unless [`groups`](Self::groups) are set, a privileged caller hands on none of its
    /// own supplementary groups.
    pub fn user(&mut self, id: u32) -> &mut Self {
        self.user.user = Some(id);
        self
    }

    /// Runs it with this group.
    pub fn group(&mut self, id: u32) -> &mut Self {
        self.user.group = Some(id);
        self
    }

    /// Runs it with these supplementary groups.
    pub fn groups(&mut self, ids: impl Into<Vec<u32>>) -> &mut Self {
        self.user.groups = Some(ids.into());
        self
    }

    /// Everything that the exec needs, with one variable more.
    pub(crate) fn recipe(&self, variable: (&str, &str)) -> Result<Recipe, SpawnError> {
        let invalid = |why: String| SpawnError::Invalid { program: self.shown(), why };
        let text = |what: &str, text: &OsStr| {
            CString::new(text.as_bytes())
                .map_err(|_| invalid(format!("{what} {text:?} holds a NUL")))
        };
        if self.name.is_empty() {
            return Err(SpawnError::Invalid {
                program: "a program without a name".into(),
                why: "the name is empty".into(),
            });
        }
        let mut variables = BTreeMap::new();
        if !self.clears {
            variables.extend(std::env::vars_os());
        }
        for (name, value) in &self.variables {
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                return Err(invalid(format!("the variable {name:?} has no valid name")));
            }
            match value {
                Some(value) => drop(variables.insert(name.clone(), value.clone())),
                None => drop(variables.remove(name)),
            }
        }
        variables.insert(variable.0.into(), variable.1.into());
        let path = variables.get(OsStr::new("PATH")).map(OsString::as_os_str);
        let paths = candidates(&self.name, path);
        let paths: Result<Vec<_>, _> = paths.iter().map(|path| text("the path", path)).collect();
        let first = self.first.as_ref().unwrap_or(&self.name);
        let arguments = std::iter::once(first).chain(&self.arguments);
        let arguments: Result<_, _> = arguments.map(|word| text("the argument", word)).collect();
        let variables = variables.into_iter().map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            text("the variable", &name)
        });
        let variables: Result<_, _> = variables.collect();
        let directory = self.directory.as_deref();
        let directory =
            directory.map(|path| text("the directory", path.as_os_str())).transpose()?;
        Ok(Recipe {
            program: Executable::Paths(paths?),
            arguments: Strings::new(arguments?),
            variables: Strings::new(variables?),
            directory,
            user: self.user.clone(),
        })
    }

    pub(crate) fn shown(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }
}

/// Both ends of the standard streams of a program.
pub(crate) struct Ends<'a> {
    pub(crate) ours: [Option<OwnedFd>; 3],
    made: [Option<OwnedFd>; 3],
    io: &'a [Io; 3],
}

impl<'a> Ends<'a> {
    pub(crate) fn open(io: &'a [Io; 3]) -> io::Result<Self> {
        let mut ends = Self { ours: [None, None, None], made: [None, None, None], io };
        for (number, io) in io.iter().enumerate() {
            let (ours, theirs) = match io {
                Io::Inherit | Io::Descriptor(_) => (None, None),
                Io::Null => {
                    let mut options = std::fs::OpenOptions::new();
                    let file = options.read(number == 0).write(number != 0).open("/dev/null")?;
                    (None, Some(file.into()))
                }
                Io::Piped => {
                    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
                    match number {
                        0 => (Some(writer), Some(reader)),
                        _ => (Some(reader), Some(writer)),
                    }
                }
            };
            ends.ours[number] = ours;
            ends.made[number] = theirs;
        }
        Ok(ends)
    }

    /// Number in the child, and the descriptor that becomes it.
    pub(crate) fn theirs(&self) -> Vec<(RawFd, RawFd)> {
        let theirs = (0..).zip(self.io).zip(&self.made).filter_map(|((number, io), made)| {
            let source = match io {
                Io::Descriptor(given) => Some(given.as_raw_fd()),
                _ => made.as_ref().map(AsRawFd::as_raw_fd),
            };
            Some((number, source?))
        });
        theirs.collect()
    }
}

/// Where a program is looked for: in each directory of `path`, unless its name is a path.
fn candidates(name: &OsStr, path: Option<&OsStr>) -> Vec<OsString> {
    if name.as_bytes().contains(&b'/') {
        return vec![name.to_owned()];
    }
    let path = path.map_or(&b"/bin:/usr/bin"[..], OsStr::as_bytes);
    let directories = path.split(|byte| *byte == b':');
    let files = directories.map(|directory| {
        let mut file = directory.to_vec();
        // An empty part means the directory that the program starts in.
        if !file.is_empty() {
            file.push(b'/');
        }
        file.extend_from_slice(name.as_bytes());
        OsString::from_vec(file)
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, path: Option<&str>) -> Vec<OsString> {
        candidates(OsStr::new(name), path.map(OsStr::new))
    }

    #[test]
    fn a_name_is_looked_for_and_a_path_is_not() {
        assert_eq!(found("sh", Some("/a:/b/")), ["/a/sh", "/b//sh"]);
        assert_eq!(found("./sh", Some("/a")), ["./sh"]);
        assert_eq!(found("/x/sh", None), ["/x/sh"]);
        assert_eq!(found("sh", None), ["/bin/sh", "/usr/bin/sh"]);
        assert_eq!(found("sh", Some(":/a")), ["sh", "/a/sh"]);
    }

    #[test]
    fn what_the_kernel_cannot_take_is_refused() {
        let why = |program: &mut Program| match program.recipe(("T", "1")) {
            Err(SpawnError::Invalid { why, .. }) => why,
            other => panic!("{other:?}"),
        };
        assert!(why(&mut Program::new("")).contains("the name is empty"));
        assert!(why(&mut Program::new("a\0b")).contains("NUL"));
        assert!(why(Program::new("a").arg("\0")).contains("argument"));
        assert!(why(Program::new("a").env("", "1")).contains("no valid name"));
        assert!(why(Program::new("a").env("A=B", "1")).contains("no valid name"));
        assert!(why(Program::new("a").env("A", "\0")).contains("NUL"));
        assert!(why(Program::new("a").current_dir("\0")).contains("directory"));
    }
}
