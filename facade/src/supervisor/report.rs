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
}

/// How a member ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Ending {
    /// Its drain returned.
    Drained,
    /// It was told to end at once: a second signal came, its drain overran its deadline, or panicked.
    Forced,
    /// It did not return even when it was forced.
    Stuck,
    /// There was nothing to end: it was never started, or had failed before.
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

    /// 0 when all is well; 1 when something is left behind or a sum is off; 2 when nothing is, but a
    /// member had failed for good.
    pub fn exit_code(&self) -> u8 {
        match (self.is_clean(), &self.cause) {
            (false, _) => 1,
            (true, Cause::Failed(_)) => 2,
            (true, _) => 0,
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
