//! [`Guarantee`]: which level of containment holds, and what it cannot see.

use std::fmt;

/// A way to hold a tree together, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Level {
    /// A PID namespace: when its first process ends, the kernel ends all. Only on demand, because
    /// the members see other pids than the caller does. Needs privileges.
    PidNamespace,
    /// A leaf of the cgroup v2 tree. Needs write access to the caller's own cgroup.
    Cgroup,
    /// A job object of Windows. Every process that a member starts is born in it, and it ends with its owner. On Windows
    /// a spawned tree has this level, and an adopted one [`Walk`](Self::Walk).
    Job,
    /// A parent process between the caller and the tree that every orphan falls back to, and that
    /// ends the tree when the caller is gone. The root gets a death signal: it is killed when the supervisor
    /// dies. Needs no privileges.
    Supervisor,
    /// As evidence, and the calling process itself is made the one that orphans fall back to, so that
    /// no other process has to wait for them. Only on demand, because it holds for the whole process:
    /// orphans of children that are no trees fall to it as well. Members that ended are waited for by
    /// every call on the tree; nobody else is.
    Subreaper,
    /// A mark that children inherit, a variable in the environment, the process group, and the walk
    /// from parent to child.
    Evidence,
    /// The walk from parent to child alone. On Windows a job holds the processes that
    /// the walk has found.
    Walk,
}

impl Level {
    /// Whether the kernel or a supervisor holds every member, however it daemonizes: no change of group,
    /// session, environment, parent or limit takes it out of the tree. What a member can do on purpose
    /// is told by [`same_user`](Self::same_user).
    pub fn is_complete(self) -> bool {
        matches!(self, Self::PidNamespace | Self::Cgroup | Self::Job | Self::Supervisor)
    }

    /// What a process has to do to become invisible.
    pub fn blind_spots(self) -> &'static [&'static str] {
        match self {
            Self::PidNamespace => &[],
            Self::Cgroup => &[
                "a member that may write to the cgroup file system moves out of the leaf, and had shed the mark, the variable and the group",
            ],
            Self::Job => &[
                "a member has a service of the system, such as the task scheduler, start a process for it",
                "a member creates a process as the child of another process, which it may open for that",
            ],
            Self::Supervisor => &[
                "a member makes itself a subreaper and is killed by another process during the kill, and had shed the mark, the variable and the group",
                "a member kills the supervisor, and had shed the mark, the variable and the group",
            ],
            Self::Subreaper | Self::Evidence => &[
                "an orphan that also left the group, lost the variable, and changed two inert resource limits",
            ],
            Self::Walk => &["an orphan: its parent ended before it was seen"],
        }
    }

    /// What a member that runs as the user of the caller can do on purpose, and what comes of it.
    ///
    /// Such a member may always signal the caller itself, trace it, and start programs through services
    /// that are no members. No level holds against that; another user does, or a sandbox.
    pub fn same_user(self) -> &'static str {
        match self {
            Self::PidNamespace => {
                "it can neither stop nor kill the first process of the namespace, with which all end"
            }
            Self::Cgroup => {
                "it can move out of the leaf; the mark, the variable or the group finds it, unless it sheds all three"
            }
            Self::Job => {
                "it can have a service start a process, or create one with a parent outside of the tree: neither is a member"
            }
            Self::Supervisor => {
                "it can stop or kill the supervisor; the caller then kills by what members carry, but a caller that is killed after that leaves them"
            }
            Self::Subreaper | Self::Evidence => {
                "it can shed the mark, the variable and the group, and become an orphan"
            }
            Self::Walk => "it can become an orphan",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PidNamespace => "pid namespace",
            Self::Cgroup => "cgroup",
            Self::Job => "job object",
            Self::Supervisor => "supervisor",
            Self::Subreaper => "subreaper",
            Self::Evidence => "evidence",
            Self::Walk => "walk",
        })
    }
}

/// What holds for a tree. Known before anything relies on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Guarantee {
    level: Level,
    dies_with_parent: bool,
    skipped: Vec<Skipped>,
    #[cfg_attr(feature = "serde", serde(default))]
    unmarked: bool,
    #[cfg_attr(feature = "serde", serde(default))]
    hidden: bool,
    #[cfg_attr(feature = "serde", serde(default))]
    supervisor: Option<Box<SupervisorForm>>,
}

/// What the supervisor of a tree is. Both forms do the same.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum SupervisorForm {
    /// A program of a few KiB with a command line of its own, executed from memory.
    Program,
    /// A copy of the calling process, which shows its command line, and keeps its code and what it has
    /// mapped from files.
    #[non_exhaustive]
    Copy {
        /// Why it is not the program.
        why: String,
    },
}

/// A stronger level that was not available, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Skipped {
    /// The level.
    pub level: Level,
    /// What stood in its way.
    pub why: String,
}

/// A means of the level that this tree does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Gap {
    /// A member does not carry the mark: the places for marks are taken by other trees, or closed by a
    /// hard limit, or there was no time.
    Unmarked,
    /// The process table does not show every process that could be a member.
    Hidden,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unmarked => "not every member could be marked",
            Self::Hidden => "the process table hides processes from the caller",
        })
    }
}

impl Guarantee {
    pub(crate) fn new(level: Level, dies_with_parent: bool, skipped: Vec<Skipped>) -> Self {
        Self { level, dies_with_parent, skipped, unmarked: false, hidden: false, supervisor: None }
    }

    pub(crate) fn with(mut self, gap: Gap) -> Self {
        match gap {
            Gap::Unmarked => self.unmarked = true,
            Gap::Hidden => self.hidden = true,
        }
        self
    }

    /// What the tree lacks of its level. At a level that rests on what members carry, an end of a tree
    /// with a gap is never confirmed.
    pub fn gaps(&self) -> impl Iterator<Item = Gap> {
        let unmarked = self.unmarked.then_some(Gap::Unmarked);
        unmarked.into_iter().chain(self.hidden.then_some(Gap::Hidden))
    }

    /// Whether an end can be confirmed: by the kernel or a supervisor, or because there is no gap.
    pub(crate) fn can_confirm(&self) -> bool {
        self.gaps().next().is_none() || self.level.is_complete()
    }

    pub(crate) fn with_supervisor(mut self, form: Option<SupervisorForm>) -> Self {
        self.supervisor = form.map(Box::new);
        self
    }

    /// What the supervisor of the tree is, if it has one.
    pub fn supervisor(&self) -> Option<&SupervisorForm> {
        self.supervisor.as_deref()
    }

    /// The level that holds.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether no member gets out of sight: [`Level::is_complete`], and there is no gap.
    pub fn is_complete(&self) -> bool {
        self.level.is_complete() && self.gaps().next().is_none()
    }

    /// What the level cannot see; see [`Level::blind_spots`].
    pub fn blind_spots(&self) -> &'static [&'static str] {
        self.level.blind_spots()
    }

    /// Whether the tree ends also when the calling process is killed with SIGKILL.
    pub fn dies_with_parent(&self) -> bool {
        self.dies_with_parent
    }

    /// The stronger levels that were tried and were not available.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let complete = if self.is_complete() { "complete" } else { "not complete" };
        write!(f, "{}, {complete}", self.level)?;
        if self.dies_with_parent {
            write!(f, ", dies with the caller")?;
        }
        for gap in self.gaps() {
            write!(f, ", {gap}")?;
        }

        if let Some(SupervisorForm::Copy { why }) = self.supervisor() {
            write!(f, "; the supervisor is a copy of the caller: {why}")?;
        }
        for skipped in &self.skipped {
            write!(f, "; no {}: {}", skipped.level, skipped.why)?;
        }
        Ok(())
    }
}
