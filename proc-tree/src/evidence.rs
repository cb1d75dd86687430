//! [`Evidence`]: by what a process is recognised as a member of a tree.

use crate::id::{Pid, ProcId};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What makes a process a member of a tree that somebody else started.
///
/// Every descendant of [`process`](Self::process) is one, while the chain of parents that leads to it
/// lives. The rest finds those whose chain is broken. A member must have started no earlier than the
/// process, when one is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    pub(crate) root: Option<ProcId>,
    pub(crate) variables: Vec<Vec<u8>>,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) groups: Vec<Pid>,
    pub(crate) sessions: Vec<Pid>,
    pub(crate) mark: Option<u64>,
    pub(crate) unmarked: bool,
    /// Groups and sessions whose leader is not the root tell only of processes that are older than this.
    pub(crate) adopted_at: u64,
}

impl Evidence {
    /// No evidence: nobody is a member.
    pub fn new() -> Self {
        Self::default()
    }

    /// This process is the root of the tree, while it exists.
    #[must_use]
    pub fn process(mut self, root: ProcId) -> Self {
        self.root = Some(root);
        self
    }

    /// Whoever was executed with exactly this variable is a member. Give it a value that nobody else has.
    ///
    /// Programs that write their title over their environment, such as Chromium's helpers, lose it.
    #[must_use]
    pub fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let mut entry = name.as_ref().as_bytes().to_vec();
        entry.push(b'=');
        entry.extend(value.as_ref().as_bytes());
        self.variables.push(entry);
        self
    }

    /// Whoever has this whole word in its command line is a member, such as
    /// `--user-data-dir=/tmp/profile-of-this-run`.
    ///
    /// A `grep` for that very word has it too: choose one that only members know.
    #[must_use]
    pub fn argument(mut self, word: impl AsRef<OsStr>) -> Self {
        self.arguments.push(word.as_ref().as_bytes().to_vec());
        self
    }

    /// Whoever is in this process group is a member. The group of the caller, and those of its
    /// ancestors, are ignored.
    ///
    /// The number may be reused once the group is empty, so it tells only of processes that started
    /// before the adoption. Their later children carry the mark.
    #[must_use]
    pub fn group(mut self, group: Pid) -> Self {
        self.groups.push(group);
        self
    }

    /// Whoever is in this session is a member; otherwise like [`group`](Self::group).
    #[must_use]
    pub fn session(mut self, session: Pid) -> Self {
        self.sessions.push(session);
        self
    }

    /// Does not mark the members that are found at the adoption.
    ///
    /// Otherwise each gets a mark that its future children inherit, and by which they are found when
    /// they become orphans: a value of this tree alone as the soft limit of `RLIMIT_LOCKS` or `RLIMIT_RSS`,
    /// which kernels ignore since 2.4.25 and 2.4.30.
    #[must_use]
    pub fn unmarked(mut self) -> Self {
        self.unmarked = true;
        self
    }

    /// Whether there is evidence that stands in the memory of a process: a variable or an argument.
    pub(crate) fn is_written(&self) -> bool {
        !self.variables.is_empty() || !self.arguments.is_empty()
    }

    /// Whether an orphan could be recognised at all.
    pub(crate) fn sees_orphans(&self) -> bool {
        let numbers = !self.groups.is_empty() || !self.sessions.is_empty();
        self.mark.is_some() || self.is_written() || numbers
    }
}
