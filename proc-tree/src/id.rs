//! [`ProcId`]: the identity of a process, which a bare pid is not.
//!
//! A pid is used again as soon as the process that had it is gone and waited for. Two facts tell its
//! users apart: the number of its pidfd's inode, which no other process of this boot has (Linux 6.9), and
//! the time of its start, which counts in ticks of 10 ms. With the boot id the name is good for ever: it
//! can be stored, read by another run of the program, and checked.
//!
//! This module only knows what an identity is. How one is read from the system stands in `identity`.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// A number of a process: only a name, and only while that process is not reaped.
pub type Pid = u32;

/// Names one process, now and after its pid was given to another one.
///
/// The order is by boot, then by start, then by pid: older processes first. Two values are equal if all
/// parts are; [`is_same`](Self::is_same) also compares a value that has no inode number with one that has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ProcId {
    boot: BootId,
    start: u64,
    pid: Pid,
    #[cfg_attr(feature = "serde", serde(default))]
    inode: Option<NonZeroU64>,
}

/// Which boot of the machine a start time counts from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct BootId(pub(crate) u64);

impl ProcId {
    pub(crate) fn from_parts(
        boot: BootId,
        pid: Pid,
        start: u64,
        inode: Option<NonZeroU64>,
    ) -> Self {
        Self { boot, start, pid, inode }
    }

    /// The number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// When it started, in the unit of the system: clock ticks since the boot on Linux, tenths of a microsecond
    /// since 1601 on Windows.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The inode number of its pidfd, which no other process has in this boot. `None` where the kernel
    /// has no such number (before Linux 6.9, and on Windows), and where no descriptor was free to ask for it.
    pub fn inode(&self) -> Option<NonZeroU64> {
        self.inode
    }

    /// Whether both name the same process, as far as both tell: by boot, pid and start, and by the inode
    /// number if both have one.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.boot, self.start, self.pid) == (other.boot, other.start, other.pid)
            && (self.inode == other.inode || self.inode.is_none() || other.inode.is_none())
    }

    pub(crate) fn is_of(&self, boot: BootId) -> bool {
        self.boot == boot
    }
}

impl fmt::Display for ProcId {
    /// `pid@start.boot`, and `.inode` where there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}.{:016x}", self.pid, self.start, self.boot.0)?;
        match self.inode {
            Some(inode) => write!(f, ".{inode}"),
            None => Ok(()),
        }
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
        write!(
            f,
            "read {:?} as a process identity: expected pid@start.boot or pid@start.boot.inode",
            self.text
        )
    }
}

impl std::error::Error for ParseProcIdError {}

impl FromStr for ProcId {
    type Err = ParseProcIdError;

    fn from_str(text: &str) -> Result<Self, ParseProcIdError> {
        let parse = || {
            let (pid, rest) = text.split_once('@')?;
            let (start, rest) = rest.split_once('.')?;
            let (boot, inode) = match rest.split_once('.') {
                Some((boot, inode)) => (boot, Some(inode.parse().ok()?)),
                None => (rest, None),
            };
            Some(Self {
                boot: BootId(u64::from_str_radix(boot, 16).ok()?),
                start: start.parse().ok()?,
                pid: pid.parse().ok()?,
                inode,
            })
        };
        parse().ok_or_else(|| ParseProcIdError { text: text.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(inode: Option<u64>) -> ProcId {
        ProcId::from_parts(BootId(0xb007), 12, 500, inode.and_then(NonZeroU64::new))
    }

    #[test]
    fn text_round_trips_with_and_without_an_inode_and_rubbish_is_refused() {
        for id in [id(None), id(Some(1)), id(Some(u64::MAX))] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(id(None).to_string(), "12@500.000000000000b007");
        for rubbish in [
            "",
            "12",
            "12@",
            "12@5",
            "@5.0",
            "12@5.zz",
            "-1@5.0",
            "12@5.0.",
            "12@5.0.0",
            "12@5.0.1.2",
        ] {
            assert!(rubbish.parse::<ProcId>().is_err(), "{rubbish}");
        }
    }

    #[test]
    fn another_part_is_another_process_and_a_missing_inode_contradicts_nothing() {
        let me = id(Some(7));
        assert!(me.is_same(&me) && me.is_same(&id(None)) && id(None).is_same(&me));
        assert!(!me.is_same(&id(Some(8))));
        assert!(!me.is_same(&ProcId { start: 499, ..me }) && ProcId { start: 499, ..me } < me);
        assert!(!me.is_same(&ProcId { boot: BootId(1), ..me }));
        assert!(!me.is_same(&ProcId { pid: 13, ..me }));
    }
}
