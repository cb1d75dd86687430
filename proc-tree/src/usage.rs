//! [`Usage`]: what a tree has used, each number with where it comes from.

use std::fmt;
use std::time::Duration;

/// What a tree has used until now. A number that nothing counts is `None`, never 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Usage {
    /// Processor time of all members in their own code.
    pub user: Option<Reading<Duration>>,
    /// Processor time of all members in the kernel.
    pub system: Option<Reading<Duration>>,
    /// The most memory that the tree had at a time, in bytes. By [`Source::Processes`] it is that of
    /// the largest process, which is less than that of the tree.
    pub peak_memory: Option<Reading<u64>>,
    /// Bytes read from block devices. The files of cgroup v1 miss what some devices do, and 0 may stand for all of
    /// it: where the processes have counted more than [`Source::V1`], it is their number. By [`Source::Job`] these are
    /// the bytes of all input, also of pipes and of the file cache.
    pub read: Option<Reading<u64>>,
    /// Bytes written to block devices, by the processes counted from the moment on in which they are handed to the
    /// kernel. Where the processes have counted more than [`Source::V1`], it is their number. By
    /// [`Source::Job`] these are the bytes of all output, also of pipes and of the file cache.
    pub written: Option<Reading<u64>>,
    /// How many processes and threads there are now. A cgroup counts a process that has ended until it was
    /// waited for, as its limit does, so that an empty tree may still have a task; [`Source::Processes`] counts
    /// those that run, and [`Source::Job`] counts processes alone.
    pub tasks: Option<Reading<u64>>,
    /// The most processes and threads that there were at a time, counted as [`tasks`](Self::tasks).
    pub peak_tasks: Option<Reading<u64>>,
}

/// A number, and what counted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Reading<T> {
    /// The number.
    pub value: T,
    /// What counted it.
    pub source: Source,
}

/// What counts the usage of a tree, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Source {
    /// The leaf of the tree in cgroup v2.
    V2,
    /// A leaf in the hierarchy of one controller in cgroup v1.
    V1,
    /// The job of the tree on Windows.
    Job,
    /// The members themselves: `/proc`, and what the kernel said of those that were waited for.
    Processes,
}

impl Source {
    /// What the number misses.
    pub fn blind_spots(self) -> &'static [&'static str] {
        match self {
            Self::V2 => &["a member that moved out of the leaf"],
            Self::V1 => &[
                "a member that moved out of the leaf of that controller",
                "input and output of devices that the throttle of blkio does not count",
            ],
            Self::Job => &[
                "threads are not counted: the tasks are processes",
                "bytes are those of every read and write, also of pipes and of what is in memory already",
            ],
            Self::Processes => &[
                "a member that ended, and that no other member or the tree itself waited for",
                "a member that the caller may not look at, or has no time to look at before a kill",
                "input and output of a member whose file of it the caller may not read",
            ],
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2 => "cgroup v2",
            Self::V1 => "cgroup v1",
            Self::Job => "job object",
            Self::Processes => "processes",
        })
    }
}

impl<T> Reading<T> {
    pub(crate) fn new(value: T, source: Source) -> Self {
        Self { value, source }
    }

    /// Makes readings of one source.
    pub(crate) fn of(source: Source) -> impl Fn(T) -> Self {
        move |value| Self::new(value, source)
    }
}

impl Usage {
    /// Whether every number is known that the processes could tell. They are asked beside the files of v1 that count
    /// bytes.
    pub(crate) fn is_full(&self) -> bool {
        self.cpu().is_some()
            && self.peak_memory.is_some()
            && [self.read, self.written].iter().all(|bytes| bytes.is_some_and(counts_every_device))
            && self.tasks.is_some()
    }

    /// Takes the numbers of `other` for those that are missing, or that count too little.
    pub(crate) fn fill(&mut self, other: Self) {
        self.user = self.user.or(other.user);
        self.system = self.system.or(other.system);
        self.peak_memory = self.peak_memory.or(other.peak_memory);
        self.read = more_bytes(self.read, other.read);
        self.written = more_bytes(self.written, other.written);
        self.tasks = self.tasks.or(other.tasks);
        self.peak_tasks = self.peak_tasks.or(other.peak_tasks);
    }

    /// Processor time in all.
    pub fn cpu(&self) -> Option<Duration> {
        let user = self.user?.value;
        Some(user.saturating_add(self.system?.value))
    }
}

/// The throttle of blkio counts nothing of a device that it has not been switched on for.
fn counts_every_device(bytes: Reading<u64>) -> bool {
    bytes.source != Source::V1
}

fn more_bytes(own: Option<Reading<u64>>, other: Option<Reading<u64>>) -> Option<Reading<u64>> {
    let more = other
        .filter(|other| own.is_none_or(|own| !counts_every_device(own) && other.value > own.value));
    more.or(own)
}

impl fmt::Display for Usage {
    /// One line: what is known, each with its source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut part = |name: &str, value: Option<(String, Source)>| {
            parts.extend(value.map(|(value, source)| format!("{name} {value} ({source})")));
        };
        let time = |r: Reading<Duration>| (format!("{:.2} s", r.value.as_secs_f64()), r.source);
        let kib = |r: Reading<u64>| (format!("{} KiB", r.value.div_ceil(1024)), r.source);
        let plain = |r: Reading<u64>| (r.value.to_string(), r.source);
        part("user", self.user.map(time));
        part("system", self.system.map(time));
        part("peak memory", self.peak_memory.map(kib));
        part("read", self.read.map(kib));
        part("written", self.written.map(kib));
        part("tasks", self.tasks.map(plain));
        part("most tasks", self.peak_tasks.map(plain));
        match parts.is_empty() {
            true => f.write_str("nothing is known"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_number_is_taken_from_the_next_source_alone() {
        let from = |source, value| Some(Reading::new(value, source));
        let mut usage = Usage { tasks: from(Source::V2, 1), ..Usage::default() };
        usage.fill(Usage {
            tasks: from(Source::V1, 2),
            read: from(Source::V1, 3),
            ..Usage::default()
        });
        assert_eq!(usage.tasks, from(Source::V2, 1));
        assert_eq!(usage.read, from(Source::V1, 3));
        assert_eq!(usage.to_string(), "read 1 KiB (cgroup v1), tasks 1 (cgroup v2)");
        assert_eq!(Usage::default().to_string(), "nothing is known");
    }

    #[test]
    fn bytes_that_the_old_files_do_not_count_are_those_of_the_processes() {
        let from = |source, value| Some(Reading::new(value, source));
        let counted = |source, read, written| Usage {
            read: from(source, read),
            written: from(source, written),
            ..Usage::default()
        };
        let processes = || counted(Source::Processes, 4, 20);
        let mut usage = counted(Source::V1, 5, 0);
        usage.fill(processes());
        assert_eq!(usage.read, from(Source::V1, 5));
        assert_eq!(usage.written, from(Source::Processes, 20));
        let mut usage = counted(Source::V2, 0, 0);
        usage.fill(processes());
        assert_eq!(usage, counted(Source::V2, 0, 0), "the files of v2 count every device");
    }
}
