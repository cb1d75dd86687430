//! [`Report`]: what a kill has done; [`Survivor`]: who is left, and why.

use crate::guarantee::Guarantee;
use crate::id::ProcId;
use crate::usage::Usage;
use std::fmt;
use std::time::Duration;

/// What ending a tree took. One that is returned as a success is clean, and may be dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Report {
    /// Members that the kill has ended.
    ///
    /// Those that were born and died during the kill may be missing from the count. The kernel does not count
    /// the members of a PID namespace: more than 32 are counted before the kill by the mark they carry, with
    /// zombies. A supervisor counts the processes that it has waited for, and reports the
    /// count when it ends. A member that its own parent has waited for is missing from the count, and a report made before
    /// the supervisor ends may count fewer.
    pub killed: usize,
    /// Members that had ended before the kill, and were found as zombies that nobody had waited for.
    pub already_gone: usize,
    /// Whether a member had to be killed: by SIGKILL, or on Windows by the job.
    pub forced: bool,
    /// How often the tree was looked at and struck.
    pub rounds: u32,
    /// How long it took.
    pub elapsed: Duration,
    /// What the tree has used: all that can be known of a tree that is
    /// [measured](crate::Containment::measured) or limited, otherwise little more than its processor time.
    pub usage: Box<Usage>,
    /// What the word "gone" is worth here.
    pub guarantee: Guarantee,
    /// Who is left. Empty in every report that is returned as a success.
    pub survivors: Vec<Survivor>,
}

impl Report {
    pub(crate) fn new(guarantee: Guarantee) -> Self {
        Self {
            killed: 0,
            already_gone: 0,
            forced: false,
            rounds: 0,
            elapsed: Duration::ZERO,
            usage: Box::default(),
            guarantee,
            survivors: Vec::new(),
        }
    }

    /// Who is left behind.
    pub fn left_behind(&self) -> &[Survivor] {
        &self.survivors
    }

    /// Whether nothing is left behind, as far as [`Report::guarantee`] sees.
    pub fn is_clean(&self) -> bool {
        self.survivors.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "killed {}, already gone {}, left behind {}, {} rounds, {:.1?}, by {}",
            self.killed,
            self.already_gone,
            self.survivors.len(),
            self.rounds,
            self.elapsed,
            self.guarantee.level(),
        )
    }
}

/// A member that still runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Survivor {
    /// Which process.
    pub id: ProcId,
    /// Its name, as in `ps -o comm`.
    pub name: String,
    /// Its state, as the letter of `ps`; `?` when it could not be read.
    pub state: char,
    /// Why it still runs.
    pub reason: SurvivorReason,
}

impl Survivor {
    pub(crate) fn new(id: ProcId, name: &[u8], state: char, reason: SurvivorReason) -> Self {
        Self { id, name: String::from_utf8_lossy(name).into_owned(), state, reason }
    }
}

impl fmt::Display for Survivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, state, reason } = self;
        write!(f, "{name:?} (pid {}, state {state}): {reason}", id.pid())
    }
}

/// Why a member still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum SurvivorReason {
    /// It belongs to somebody whose processes the caller may not signal.
    Permission,
    /// SIGKILL is pending, and it waits inside the kernel.
    Uninterruptible,
    /// The deadline came first.
    Deadline,
    /// No file descriptor was free to hold it with, so it could not be signalled safely.
    Descriptors,
}

impl fmt::Display for SurvivorReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permission => "not permitted to signal it",
            Self::Uninterruptible => "waits inside the kernel with SIGKILL pending",
            Self::Deadline => "the deadline came first",
            Self::Descriptors => "no descriptor was free to hold it with",
        })
    }
}
