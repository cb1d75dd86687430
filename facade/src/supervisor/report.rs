//! What a supervisor says when everything has ended.

use crate::supervisor::drain::{Drained, Left};
use crate::supervisor::stats::{Counters, Stats, Sum};
use std::process::ExitCode;
use std::time::Duration;

/// How everything ended. Print it for a table; [`is_clean`](Self::is_clean) is what a test asserts;
/// `ExitCode::from(&report)` is what `main` returns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
#[must_use = "a report says what was left behind"]
pub struct Report {
    /// Why everything was ended.
    pub cause: Cause,
    /// Each member, in the order in which they ended.
    pub members: Vec<MemberReport>,
    /// How long the end took.
    pub elapsed: Duration,
}

/// Why a supervisor ended what it owns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Cause {
    /// The program asked for it.
    Asked,
    /// A signal came.
    Signal(String),
    /// A member failed, and its policy allows no further start.
    Failed(String),
    /// Every member has ended by itself.
    Done,
}

/// How a member ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Ending {
    /// Its drain returned, and ended nothing by force.
    Drained,
    /// Something of it was ended by force: by its drain at the deadline, or because it was told to end at
    /// once after a second signal, an overrun deadline, or a panic.
    Forced,
    /// Something of it did not return: its end even when it was forced, its destructor, or its start.
    Stuck,
    /// There was nothing to end: it was never started, or had ended before.
    Absent,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct MemberReport {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub ending: Ending,
    /// What ended, what was forced, what is left behind, over all its instances.
    pub drained: Drained,
    /// What it counted, over all its instances.
    pub counters: Counters,
    /// How often it was started again.
    pub restarts: u32,
    /// Whether it failed and was not started again.
    pub failed_for_good: bool,
    /// Its last failures, oldest first.
    pub failures: Vec<String>,
    /// How long its end took.
    pub elapsed: Duration,
}

impl Report {
    /// Everything that is left behind, with the name of the member that left it.
    pub fn left_behind(&self) -> impl Iterator<Item = (&str, &Left)> {
        self.members.iter().flat_map(|member| {
            let left = member.drained.left_behind.iter();
            left.map(|left| (member.name.as_str(), left))
        })
    }

    /// The equations that do not hold, with the name of the member that states them.
    pub fn sums_off(&self) -> impl Iterator<Item = (&str, &Sum)> {
        self.members.iter().flat_map(|member| {
            let sums = member.counters.sums.iter().filter(|sum| !sum.holds());
            sums.map(|sum| (member.name.as_str(), sum))
        })
    }

    /// Whether nothing is left behind, and every sum holds.
    pub fn is_clean(&self) -> bool {
        self.left_behind().next().is_none() && self.sums_off().next().is_none()
    }

    /// The counts of all members, added up by name.
    pub fn totals(&self) -> Counters {
        let parts = self.members.iter().map(|member| member.counters.clone());
        parts.fold(Counters::new(), Counters::and)
    }

    /// Whether something was ended by force.
    pub fn was_forced(&self) -> bool {
        self.members.iter().any(|member| member.ending == Ending::Forced)
    }

    /// 0 when all is well; 1 when something is left behind or a sum is off; else 2 when a member had failed
    /// for good; else 3 when something was ended by force.
    pub fn exit_code(&self) -> u8 {
        let failed = matches!(self.cause, Cause::Failed(_))
            || self.members.iter().any(|member| member.failed_for_good);
        match (self.is_clean(), failed, self.was_forced()) {
            (false, _, _) => 1,
            (true, true, _) => 2,
            (true, false, true) => 3,
            (true, false, false) => 0,
        }
    }

    pub(crate) fn new(cause: Cause, members: Vec<MemberReport>, elapsed: Duration) -> Self {
        Self { cause, members, elapsed }
    }
}

impl From<&Report> for ExitCode {
    fn from(report: &Report) -> Self {
        Self::from(report.exit_code())
    }
}

impl From<Stats> for Counters {
    fn from(stats: Stats) -> Self {
        stats.totals()
    }
}
