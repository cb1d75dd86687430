//! [`Limits`]: what a whole tree may take, and [`LimitGuarantee`]: what enforces it.

use std::error::Error;
use std::fmt;
use std::io;

/// Limits for a whole tree, enforced by the kernel. Nothing is limited by default.
///
/// ```
/// use lastout_proc_tree::{Containment, Limits};
///
/// let limits = Limits::new().memory(512 << 20).tasks(200).milli_cpus(1_500);
/// let containment = Containment::strongest().limits(limits);
/// ```
///
/// A spawn sets all of them before the root runs, or fails with [`LimitError`]. A limit that is given
/// twice has the value that was given last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    memory: Option<u64>,
    tasks: Option<u32>,
    milli_cpus: Option<u32>,
}

impl Limits {
    /// No limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// The memory of all members together, in bytes. The kernel rounds down to whole pages.
    ///
    /// A tree that needs more loses a member to the kernel's memory killer. Memory that was moved to
    /// swap is not counted. A limit that is too small for one process ends the root at its start; one that
    /// is too small for the exec of a program, such as a single page, fails the spawn with
    /// [`SpawnError::Command`](crate::SpawnError::Command) and `ENOMEM`. On Windows the limit is on committed memory, and
    /// an allocation beyond it fails.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// How many processes and threads there may be at a time, all members together.
    ///
    /// A member that starts one more gets `EAGAIN`. With a limit of 1 the root can start nothing. On Windows
    /// threads are not counted.
    pub fn tasks(mut self, count: u32) -> Self {
        self.tasks = Some(count);
        self
    }

    /// The processor time of all members together, in thousandths of one processor: 1 500 is one and a
    /// half. A tree that has used its share waits for the next period. On Windows the share is rounded down to
    /// ten-thousandths of the whole machine; a share below one ten-thousandth is refused.
    pub fn milli_cpus(mut self, thousandths: u32) -> Self {
        self.milli_cpus = Some(thousandths);
        self
    }

    /// The limits that were given, each with its value.
    pub(crate) fn given(&self) -> impl Iterator<Item = (Resource, u64)> {
        let memory = self.memory.map(|bytes| (Resource::Memory, bytes));
        let tasks = self.tasks.map(|count| (Resource::Tasks, u64::from(count)));
        let cpu = self.milli_cpus.map(|share| (Resource::Cpu, u64::from(share)));
        [memory, tasks, cpu].into_iter().flatten()
    }
}

/// What can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Resource {
    /// Memory, in bytes.
    Memory,
    /// Processes and threads.
    Tasks,
    /// Processor time, in thousandths of one processor.
    Cpu,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Tasks => "tasks",
            Self::Cpu => "processor time",
        })
    }
}

/// A limit that holds, and what enforces it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LimitGuarantee {
    /// What is limited.
    pub resource: Resource,
    /// The limit, as it was given.
    pub value: u64,
    /// What enforces it.
    pub by: Hierarchy,
}

impl fmt::Display for LimitGuarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} limited to {} by {}", self.resource, self.value, self.by)
    }
}

/// What enforces a limit, strongest first: one of the two hierarchies of cgroups of Linux, or a job of Windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Hierarchy {
    /// The leaf of the tree itself: a member that leaves the limit has left the leaf, too.
    V2,
    /// A leaf of the same name in the hierarchy of that one controller. It limits, and contains nobody.
    V1,
    /// The job of the tree on Windows.
    Job,
}

impl Hierarchy {
    /// How a member can get around the limit.
    pub fn blind_spots(self) -> &'static [&'static str] {
        match self {
            Self::V2 => {
                &["a member that may write to the cgroup file system moves out of the leaf"]
            }
            Self::V1 => &[
                "a member that may write to the cgroup file system moves out of this leaf alone, \
                 and stays in the tree",
                "a member may start in the leaf of another controller later than in this one",
            ],
            Self::Job => &[
                "threads are not counted: the limit of tasks is one of processes",
                "a process that a service starts for a member is not in the job",
            ],
        }
    }
}

impl fmt::Display for Hierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2 => "cgroup v2",
            Self::V1 => "cgroup v1",
            Self::Job => "job object",
        })
    }
}

/// Why a limit was not set. Nothing runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum LimitError {
    /// The limit is 0, under which nothing can run.
    Zero(Resource),
    /// No cgroup can enforce it here.
    Unavailable {
        /// What was to be limited.
        resource: Resource,
        /// Why the leaf of the tree cannot.
        v2: String,
        /// Why the hierarchy of the controller cannot.
        v1: String,
    },
    /// The kernel did not take the value.
    Refused {
        /// What was to be limited.
        resource: Resource,
        /// The limit, as it was given.
        value: u64,
        /// What the kernel said.
        source: io::Error,
    },
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero(resource) => {
                write!(f, "limit {resource} to 0: nothing can run under this limit")
            }
            Self::Unavailable { resource, v2, v1 } => {
                write!(f, "limit {resource}: cgroup v2: {v2}; cgroup v1: {v1}")
            }
            Self::Refused { resource, value, .. } => write!(f, "limit {resource} to {value}"),
        }
    }
}

impl Error for LimitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused { source, .. } => Some(source),
            Self::Zero(_) | Self::Unavailable { .. } => None,
        }
    }
}
