//! The errors, one enum for each operation.

use crate::guarantee::Level;
use crate::id::{Pid, ProcId};
use crate::limits::LimitError;
use crate::report::Report;
use std::error::Error;
use std::fmt;
use std::io;

/// Why a tree was not spawned. Nothing runs, unless the variant says so.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// The command could not be started.
    Command {
        /// The program, as it was given.
        program: String,
        /// What failed.
        step: SpawnStep,
        /// What the system said.
        source: io::Error,
    },
    /// The program was described in a way that no system call can take.
    Invalid {
        /// The program, as it was given.
        program: String,
        /// What is wrong.
        why: String,
    },
    /// Pipes for tokio were asked for outside of a tokio runtime with its I/O enabled.
    NoRuntime,
    /// The level that was demanded is not available here.
    Unavailable {
        /// That level.
        level: Level,
        /// What stands in its way.
        why: String,
    },
    /// A descriptor of the root was asked for that cannot be given.
    Descriptor {
        /// The number in the root.
        number: i32,
        /// What the system said.
        source: io::Error,
    },
    /// A limit of the tree could not be set.
    Limit(LimitError),
    /// The root started, and could not be taken hold of; it was killed.
    Lost {
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command { program, step: SpawnStep::Process | SpawnStep::Program, .. } => {
                write!(f, "start {program}")
            }
            Self::Command { program, step, .. } => write!(f, "start {program}: {step}"),
            Self::Invalid { program, why } => write!(f, "start {program}: {why}"),
            Self::NoRuntime => {
                write!(f, "give the pipes to tokio: no runtime with its I/O enabled is current")
            }
            Self::Unavailable { level, why } => {
                write!(f, "contain the tree by {level}: {why}")
            }
            Self::Descriptor { number, .. } => {
                write!(f, "hand over a descriptor as number {number}")
            }
            Self::Limit(error) => error.fmt(f),
            Self::Lost { .. } => write!(f, "take hold of the root after its start"),
        }
    }
}

impl Error for SpawnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Command { source, .. }
            | Self::Descriptor { source, .. }
            | Self::Lost { source } => Some(source),
            Self::Limit(error) => error.source(),
            Self::Unavailable { .. } | Self::Invalid { .. } | Self::NoRuntime => None,
        }
    }
}

/// What a new process was doing when its start failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(i32)]
pub enum SpawnStep {
    /// The process was being made; for a `Command`, whatever std does before the exec, and the exec.
    Process = 1,
    /// It was joining the cgroup of its tree.
    Cgroup,
    /// It was becoming the leader of a process group.
    Group,
    /// It was becoming the leader of a session.
    Session,
    /// It was taking its controlling terminal.
    Terminal,
    /// It was putting its descriptors in place.
    Descriptors,
    /// It was changing its user, group or groups.
    User,
    /// It was entering its directory.
    Directory,
    /// It was executing the program.
    Program,
    /// It was setting up its PID namespace.
    Namespace,
    /// Its supervisor was being started.
    Supervisor,
}

impl SpawnStep {
    /// The step with this number, as a new process reports it.
    pub(crate) fn from_raw(number: i32) -> Option<Self> {
        const ALL: [SpawnStep; 11] = [
            SpawnStep::Process,
            SpawnStep::Cgroup,
            SpawnStep::Group,
            SpawnStep::Session,
            SpawnStep::Terminal,
            SpawnStep::Descriptors,
            SpawnStep::User,
            SpawnStep::Directory,
            SpawnStep::Program,
            SpawnStep::Namespace,
            SpawnStep::Supervisor,
        ];
        ALL.into_iter().find(|step| *step as i32 == number)
    }
}

impl fmt::Display for SpawnStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "make the process",
            Self::Cgroup => "join the cgroup of the tree",
            Self::Group => "lead a process group",
            Self::Session => "lead a session",
            Self::Terminal => "take the controlling terminal",
            Self::Descriptors => "put the descriptors in place",
            Self::User => "change the user",
            Self::Directory => "enter the directory",
            Self::Program => "execute the program",
            Self::Namespace => "set up the pid namespace",
            Self::Supervisor => "start the supervisor",
        })
    }
}

/// Why a running process was not adopted. It goes on as before; on Windows it may have become a member of a job that
/// does nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum AdoptError {
    /// Nobody has this pid.
    Gone(Pid),
    /// The process of the pidfd has ended, or it is of another PID namespace.
    Ended,
    /// This process must not be killed.
    Refused {
        /// Its pid.
        pid: Pid,
        /// Why not.
        why: Refused,
    },
    /// The process table cannot be read, or the process cannot be held by a pidfd.
    Io(io::Error),
}

/// Why a process is never adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Pid 0 or 1, on Windows 0 or 4, or no pid at all.
    System,
    /// The caller itself, or an ancestor of it.
    Caller,
    /// A thread of the kernel.
    Kernel,
    /// The number is that of a thread of a process, and not that of the process.
    Thread,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => {
                "it is pid 0, pid 1 or no pid at all, or the process of the system itself"
            }
            Self::Caller => "it is the caller or an ancestor of the caller",
            Self::Kernel => "it is a thread of the kernel",
            Self::Thread => "it is the number of a thread, not of a process",
        })
    }
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(pid) => write!(f, "adopt process {pid}: there is no such process"),
            Self::Ended => write!(f, "adopt the process of a pidfd: it has ended"),
            Self::Refused { pid, why } => write!(f, "adopt process {pid}: {why}"),
            Self::Io(_) => write!(f, "take hold of a process to adopt"),
        }
    }
}

impl Error for AdoptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            _ => None,
        }
    }
}

/// Why a tree is not known to be gone.
#[derive(Debug)]
#[non_exhaustive]
pub enum KillError {
    /// Members still run: [`Report::survivors`] names them. Everybody else was killed.
    Survivors(Report),
    /// No member is known to run, and it is not known that none does: the deadline came first, or the
    /// guarantee of the report has a [gap](crate::Guarantee::gaps).
    Unconfirmed(Report),
    /// The process table, or the mechanism that holds the tree, could not be used.
    Io(io::Error),
}

impl KillError {
    /// The report of what was done, when there is one.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Survivors(report) | Self::Unconfirmed(report) => Some(report),
            Self::Io(_) => None,
        }
    }
}

impl fmt::Display for KillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Survivors(report) => {
                write!(f, "end the tree: {} still run", report.survivors.len())?;
                for survivor in &report.survivors {
                    write!(f, "; {survivor}")?;
                }
                Ok(())
            }
            Self::Unconfirmed(report) => {
                write!(f, "end the tree: no member is seen, and ")?;
                match report.guarantee.gaps().next() {
                    Some(gap) => gap.fmt(f),
                    None => write!(f, "not every process could be looked at before the deadline"),
                }
            }
            Self::Io(_) => write!(f, "end the tree with what the system offers"),
        }
    }
}

impl Error for KillError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            Self::Survivors(_) | Self::Unconfirmed(_) => None,
        }
    }
}

/// Why one call to end the tree of a pid failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum KillTreeError {
    /// It was not adopted, and nothing was done.
    Adopt(AdoptError),
    /// It was, and is not known to be gone.
    Kill(KillError),
}

impl fmt::Display for KillTreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adopt(error) => error.fmt(f),
            Self::Kill(error) => error.fmt(f),
        }
    }
}

impl Error for KillTreeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Adopt(error) => error.source(),
            Self::Kill(error) => error.source(),
        }
    }
}

/// Why one member did not get a signal. Nobody got it.
#[derive(Debug)]
#[non_exhaustive]
pub enum SignalError {
    /// That process has ended, even if another one has its pid.
    Gone(ProcId),
    /// It runs, and is no member of the tree.
    NoMember(ProcId),
    /// The members could not be listed, or the process may not be signalled.
    Io(io::Error),
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(id) => write!(f, "signal process {id}: it has ended"),
            Self::NoMember(id) => write!(f, "signal process {id}: it is no member of the tree"),
            Self::Io(_) => write!(f, "signal a member of the tree"),
        }
    }
}

impl Error for SignalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            Self::Gone(_) | Self::NoMember(_) => None,
        }
    }
}

/// Why the tree was not seen empty.
#[derive(Debug)]
#[non_exhaustive]
pub enum WaitError {
    /// The deadline came while this many members were alive.
    Deadline {
        /// How many at least; never 0.
        alive: usize,
    },
    /// No member is seen, and it is not known that none runs: not every process could be looked at, or the
    /// guarantee of the tree has a [gap](crate::Guarantee::gaps).
    Unconfirmed,
    /// The process table, or the mechanism that holds the tree, could not be read.
    Io(io::Error),
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline { alive } => write!(f, "wait for the tree: {alive} members still run"),
            Self::Unconfirmed => {
                write!(f, "wait for the tree: no member is seen, and not all can be")
            }
            Self::Io(_) => write!(f, "wait for the tree with what the system offers"),
        }
    }
}

impl Error for WaitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            Self::Deadline { .. } | Self::Unconfirmed => None,
        }
    }
}
