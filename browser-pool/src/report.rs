//! What ending a browser or a pool came to.

use crate::error::Loss;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Why a browser was ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// It had no lease for `idle_timeout`.
    Idle,
    /// It had served `max_leases`.
    Leases,
    /// It had reached `max_age`.
    Age,
    /// Its processes used more than `max_memory`.
    Memory,
    /// It had failed `max_errors` times, or an operation of its own had timed out.
    Errors,
    /// Its place was needed for another launch profile.
    Evicted,
    /// The lease that had it for itself ended.
    LeaseEnded,
    /// The caller asked for it.
    Asked,
    /// The pool was drained, destroyed or dropped.
    PoolEnded,
    /// It ended by itself.
    Lost(Loss),
    /// It could not be launched.
    LaunchFailed,
}

impl EndReason {
    /// A word for tables and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Leases => "leases",
            Self::Age => "age",
            Self::Memory => "memory",
            Self::Errors => "errors",
            Self::Evicted => "evicted",
            Self::LeaseEnded => "lease ended",
            Self::Asked => "asked",
            Self::PoolEnded => "pool ended",
            Self::Lost(_) => "lost",
            Self::LaunchFailed => "launch failed",
        }
    }
}

/// Something that could not be removed in time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftBehind {
    /// A process that is still there.
    Process {
        /// Its pid at that time.
        pid: u32,
        /// Its command name.
        name: String,
        /// Why it is still there.
        reason: String,
    },
    /// A directory that is still there, or came back.
    Directory {
        /// Where.
        path: PathBuf,
        /// Why it is still there.
        reason: String,
    },
    /// A browser whose end was not seen before the deadline.
    Browser {
        /// The number that the pool gave it.
        browser: u64,
    },
}

impl LeftBehind {
    /// What it is: the kind of thing, with its number or name.
    pub fn what(&self) -> String {
        match self {
            Self::Process { pid, name, .. } => format!("process {pid} ({name})"),
            Self::Directory { path, .. } => format!("directory {}", path.display()),
            Self::Browser { browser } => format!("browser {browser}"),
        }
    }

    /// Why it is still there.
    pub fn reason(&self) -> &str {
        match self {
            Self::Process { reason, .. } | Self::Directory { reason, .. } => reason,
            Self::Browser { .. } => "its end was not seen",
        }
    }
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what(), self.reason())
    }
}

/// How one browser ended.
#[derive(Debug, Clone, Default)]
#[must_use = "a report says what was left behind"]
pub struct BrowserReport {
    /// The number that the pool gave the browser.
    pub(crate) browser: u64,
    pub(crate) reason: Option<EndReason>,
    pub(crate) forced: bool,
    pub(crate) killed: usize,
    pub(crate) elapsed: Duration,
    pub(crate) left: Vec<LeftBehind>,
}

impl BrowserReport {
    /// A report for drivers to fill: nothing left, nothing forced.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that processes had to be killed.
    #[must_use = "the report is returned"]
    pub fn with_killed(mut self, killed: usize) -> Self {
        self.killed = killed;
        self.forced = true;
        self
    }

    /// Adds something that is still there.
    #[must_use = "the report is returned"]
    pub fn with_left(mut self, left: LeftBehind) -> Self {
        self.left.push(left);
        self
    }

    /// The number that the pool gave the browser.
    pub fn browser(&self) -> u64 {
        self.browser
    }

    /// Why it was ended.
    pub fn reason(&self) -> Option<&EndReason> {
        self.reason.as_ref()
    }

    /// Whether processes were killed that had not ended when they were asked to.
    pub fn forced(&self) -> bool {
        self.forced
    }

    /// How many processes were killed.
    pub fn killed(&self) -> usize {
        self.killed
    }

    /// How long the end took.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What is still there.
    pub fn left_behind(&self) -> &[LeftBehind] {
        &self.left
    }

    /// Whether nothing is left.
    pub fn is_clean(&self) -> bool {
        self.left.is_empty()
    }
}

/// How a pool ended.
#[derive(Debug, Clone, Default)]
#[must_use = "a report says what was left behind"]
pub struct PoolReport {
    pub(crate) browsers: Vec<BrowserReport>,
    pub(crate) leases: u64,
    pub(crate) returned: u64,
    pub(crate) revoked: u64,
    pub(crate) left: Vec<LeftBehind>,
}

impl PoolReport {
    /// The browsers that were ended by this call, in the order of their ends.
    pub fn browsers(&self) -> &[BrowserReport] {
        &self.browsers
    }

    /// Leases given out in the life of the pool.
    pub fn leases(&self) -> u64 {
        self.leases
    }

    /// Leases that their holders gave back.
    pub fn returned(&self) -> u64 {
        self.returned
    }

    /// Leases that ended because their browser did.
    pub fn revoked(&self) -> u64 {
        self.revoked
    }

    /// Everything that is still there, over all browsers that the pool ever had.
    pub fn left_behind(&self) -> &[LeftBehind] {
        &self.left
    }

    /// Whether nothing is left, and every lease is counted as returned or revoked.
    pub fn is_clean(&self) -> bool {
        self.left.is_empty() && self.leases == self.returned + self.revoked
    }
}

impl fmt::Display for PoolReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} browsers ended, {} by force; {} leases = {} returned + {} revoked; {} left behind",
            self.browsers.len(),
            self.browsers.iter().filter(|browser| browser.forced).count(),
            self.leases,
            self.returned,
            self.revoked,
            self.left.len()
        )?;
        for left in &self.left {
            write!(f, "\n  {left}")?;
        }
        Ok(())
    }
}
