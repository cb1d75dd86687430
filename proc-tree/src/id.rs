//! [`ProcId`]: the identity of a process, which a bare pid is not.
//!
//! A pid is used again as soon as the process that had it is gone and waited for. With the time at
//! which the process started, and the boot that this time counts from, the name is good for ever:
//! it can be stored, read by another run of the program, and checked.

use crate::sys;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// A number of a process: only a name, and only while that process is not reaped.
pub type Pid = u32;

/// Names one process, now and after its pid was given to another one.
///
/// The order is by boot, then by start, then by pid: older processes first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ProcId {
    boot: BootId,
    start: u64,
    pid: Pid,
}

/// Which boot of the machine a start time counts from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct BootId(u64);

impl BootId {
    fn current() -> Self {
        static CURRENT: OnceLock<BootId> = OnceLock::new();
        *CURRENT.get_or_init(|| Self(sys::boot_id()))
    }
}

impl ProcId {
    /// The identity of the process that has `pid` now; `None` when there is none.
    ///
    /// A zombie still has its pid, and therefore an identity.
    pub fn of(pid: Pid) -> Option<Self> {
        sys::start_of(pid).map(|start| Self::new(pid, start))
    }

    /// The identity of the calling process.
    ///
    /// # Panics
    ///
    /// When the process table cannot be read at all, as in a sandbox without `/proc`.
    pub fn current() -> Self {
        Self::of(std::process::id()).expect("the calling process is in the process table")
    }

    pub(crate) fn new(pid: Pid, start: u64) -> Self {
        Self { boot: BootId::current(), start, pid }
    }

    /// The number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// When it started, in the unit of the system: clock ticks since the boot on Linux.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Whether this very process still has its pid, running or as a zombie that nobody waited for.
    pub fn exists(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }

    /// Whether this very process still runs: it exists, and is not a zombie.
    ///
    /// A process whose first thread has ended while others go on runs.
    pub fn is_running(&self) -> bool {
        self.boot == BootId::current() && sys::is_running(self.pid, self.start)
    }
}

impl fmt::Display for ProcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}.{:016x}", self.pid, self.start, self.boot.0)
    }
}

impl fmt::Debug for ProcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text was not written by the `Display` of a [`ProcId`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseProcIdError {
    text: String,
}

impl fmt::Display for ParseProcIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read {:?} as a process identity: expected pid@start.boot", self.text)
    }
}

impl std::error::Error for ParseProcIdError {}

impl FromStr for ProcId {
    type Err = ParseProcIdError;

    fn from_str(text: &str) -> Result<Self, ParseProcIdError> {
        let parse = || {
            let (pid, rest) = text.split_once('@')?;
            let (start, boot) = rest.split_once('.')?;
            Some(Self {
                boot: BootId(u64::from_str_radix(boot, 16).ok()?),
                start: start.parse().ok()?,
                pid: pid.parse().ok()?,
            })
        };
        parse().ok_or_else(|| ParseProcIdError { text: text.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_rubbish_is_refused() {
        let id = ProcId::current();
        assert_eq!(id.to_string().parse(), Ok(id));
        for rubbish in ["", "12", "12@", "12@5", "@5.0", "12@5.zz", "-1@5.0"] {
            assert!(rubbish.parse::<ProcId>().is_err(), "{rubbish}");
        }
    }

    #[test]
    fn another_start_or_another_boot_is_another_process() {
        let me = ProcId::current();
        assert!(me.exists() && me.is_running());
        let earlier = ProcId { start: me.start - 1, ..me };
        assert!(!earlier.exists() && !earlier.is_running());
        let other_boot = ProcId { boot: BootId(me.boot.0 ^ 1), ..me };
        assert!(!other_boot.exists() && !other_boot.is_running());
        assert!(earlier < me);
    }
}
