//! What the members counted: a line each, and their sum.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// What one member counted.
///
/// Names say the mechanism first: `cleanup.accepted`, `pool.granted`. Equal names of different members
/// are added up by [`Stats::totals`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Counters {
    /// Value by name. Those of an earlier instance of a restarted service are added.
    pub counts: BTreeMap<Cow<'static, str>, u64>,
    /// Equations that hold when nothing is under way, such as `accepted = ended`.
    pub sums: Vec<Sum>,
}

impl Counters {
    /// Nothing counted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds to the count of this name.
    #[must_use]
    pub fn count(mut self, name: impl Into<Cow<'static, str>>, value: u64) -> Self {
        let count = self.counts.entry(name.into()).or_default();
        *count = count.saturating_add(value);
        self
    }

    /// States an equation: what came in on the left, its outcomes on the right.
    #[must_use]
    pub fn sum(mut self, what: impl Into<Cow<'static, str>>, left: u64, right: u64) -> Self {
        self.sums.push(Sum { what: what.into(), left, right });
        self
    }

    /// Adds the counts of another instance or member; equal equations are added side by side.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (name, value) in other.counts {
            self = self.count(name, value);
        }
        for sum in other.sums {
            match self.sums.iter_mut().find(|mine| mine.what == sum.what) {
                Some(mine) => {
                    mine.left = mine.left.saturating_add(sum.left);
                    mine.right = mine.right.saturating_add(sum.right);
                }
                None => self.sums.push(sum),
            }
        }
        self
    }
}

/// An equation between what was accepted and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Sum {
    /// Both sides in words.
    pub what: Cow<'static, str>,
    /// What came in.
    pub left: u64,
    /// What became of it.
    pub right: u64,
}

impl Sum {
    /// Whether both sides are equal.
    pub fn holds(&self) -> bool {
        self.left == self.right
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.holds() { '=' } else { '≠' };
        write!(f, "{}: {} {sign} {}", self.what, self.left, self.right)
    }
}

/// What a supervisor's members are doing and have counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// The members, in the order in which they were added.
    pub members: Vec<MemberStats>,
}

impl Stats {
    /// The counts of all members, added up by name.
    pub fn totals(&self) -> Counters {
        let parts = self.members.iter().map(|member| member.counters.clone());
        parts.fold(Counters::new(), Counters::and)
    }

    /// The total of one name; 0 when nobody counts it.
    pub fn total(&self, name: &str) -> u64 {
        let counts = self.members.iter().map(|member| &member.counters.counts);
        counts.filter_map(|counts| counts.get(name)).sum()
    }

    /// Sets a counter of the `metrics` crate for every count, with the name of the member as a label.
    /// Call it as often as the numbers should be seen elsewhere.
    #[cfg(feature = "metrics")]
    pub fn record(&self) {
        for member in &self.members {
            let labels = [("member", member.name.clone())];
            for (name, value) in &member.counters.counts {
                metrics::counter!(format!("lastout.{name}"), &labels).absolute(*value);
            }
            metrics::counter!("lastout.supervisor.restarts", &labels)
                .absolute(u64::from(member.restarts));
        }
    }
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MemberStats {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub phase: Phase,
    /// How often it was started again.
    pub restarts: u32,
    /// What it counted, over all its instances.
    pub counters: Counters,
}

/// What a member is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Phase {
    /// A service that waits for its turn to start.
    Waiting,
    /// A service that is being started.
    Starting,
    /// It runs.
    Running,
    /// It failed, and what is left of it is being ended.
    Failing,
    /// It ended and will be started again after a pause.
    BackingOff,
    /// It failed more often than its policy allows.
    GaveUp,
    /// It has ended by itself, and is not started again.
    Done,
    /// It is being drained.
    Draining,
    /// It has ended.
    Ended,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Failing => "failing",
            Self::BackingOff => "backing off",
            Self::GaveUp => "gave up",
            Self::Done => "done",
            Self::Draining => "draining",
            Self::Ended => "ended",
        })
    }
}
