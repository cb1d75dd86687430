//! `Report`: how a runtime ended, and what it could not end.

use std::fmt;
use std::time::Duration;

/// How the end of a runtime went. [`is_clean`](Self::is_clean) is what a test asserts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "it says what was left behind"]
pub struct Report {
    pub(crate) finished: u64,
    pub(crate) forced: u64,
    pub(crate) left_behind: Vec<LeftBehind>,
    pub(crate) elapsed: Duration,
}

impl Report {
    /// Tasks and blocking closures that ended by themselves while the runtime was ending.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// Tasks that had not ended by the deadline, and whose futures were dropped; and blocking closures
    /// that were dropped before a thread took them.
    pub fn forced(&self) -> u64 {
        self.forced
    }

    /// What still runs or is still allocated, each with the reason.
    pub fn left_behind(&self) -> &[LeftBehind] {
        &self.left_behind
    }

    /// Whether nothing is left behind: every future was dropped, and no thread of the runtime runs.
    pub fn is_clean(&self) -> bool {
        self.left_behind.is_empty()
    }

    /// How long the end took.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

/// One thing that the end of a runtime left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    what: &'static str,
    name: Option<String>,
    reason: String,
}

impl LeftBehind {
    pub(crate) fn new(what: &'static str, name: Option<String>, reason: impl Into<String>) -> Self {
        Self { what, name, reason: reason.into() }
    }

    /// What kind of thing it is.
    pub fn what(&self) -> &str {
        self.what
    }

    /// Its name, or the place where it was spawned, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Why it is still there.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        write!(f, ": {}", self.reason)
    }
}
