//! Leases: who may write about a job, for how long, and how their holder is named.
//!
//! A lease is a row of the *worker*, renewed by one write whatever the number of its jobs; each job
//! carries the worker's id and a fence. The clock of the store decides when it ends; the holder
//! stops itself earlier, by its own boot clock (see `runner::guard`).

use crate::job::JobId;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

/// The fencing token of a job: goes up with each claim, never down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number with a name, for ever")]
pub struct Fence(pub i64);

impl Fence {
    /// The fence of a job that was never claimed.
    pub const ZERO: Self = Self(0);
}

/// One start of one worker: drawn at random, never a host name or a pid, and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number with a name, for ever")]
pub struct WorkerId(pub i64);

impl WorkerId {
    /// Nobody: the job was never claimed, or was taken from its holder.
    pub const NONE: Self = Self(0);
    /// Somebody outside of any runner; see [`Recovery::External`](crate::Recovery::External).
    pub const EXTERNAL: Self = Self(-1);

    /// A new incarnation.
    pub fn random() -> Self {
        // `RandomState` is seeded by the operating system; each state differs from the last one.
        let bits = RandomState::new().build_hasher().finish() >> 1;
        Self((bits as i64).max(1))
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("nobody"),
            Self::EXTERNAL => f.write_str("external"),
            Self(id) => write!(f, "{id:016x}"),
        }
    }
}

/// Reads what `Display` writes.
impl FromStr for WorkerId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        match text {
            "nobody" => Ok(Self::NONE),
            "external" => Ok(Self::EXTERNAL),
            digits => u64::from_str_radix(digits, 16).map(|id| Self(id as i64)),
        }
    }
}

/// The right to write about one job: shown with every write, refused when it is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The token of the claim.
    pub fence: Fence,
    /// The worker that claimed it: after a failover that lost a commit a fence may be issued
    /// twice, the pair cannot.
    pub owner: WorkerId,
}

impl Lease {
    /// The lease on `job` that `owner` got with `fence`.
    pub fn new(job: JobId, fence: Fence, owner: WorkerId) -> Self {
        Self { job, fence, owner }
    }
}

/// How long a worker's lease lasts and how often it is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimings {
    ttl: Duration,
    beat: Duration,
}

/// A lease that could not survive two lost renewals was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseTimingsError {
    /// The lease that was asked for.
    pub ttl: Duration,
    /// The time between renewals that was asked for.
    pub beat: Duration,
}

impl fmt::Display for LeaseTimingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a lease of {:?} renewed every {:?}: it must last at least three renewals of 10 ms or more",
            self.ttl, self.beat
        )
    }
}

impl std::error::Error for LeaseTimingsError {}

impl LeaseTimings {
    /// A lease of `ttl`, renewed every `beat`.
    ///
    /// # Errors
    ///
    /// [`LeaseTimingsError`] when `ttl` is under three beats, or a beat under 10 ms.
    pub fn new(ttl: Duration, beat: Duration) -> Result<Self, LeaseTimingsError> {
        if beat < Duration::from_millis(10) || ttl < beat.saturating_mul(3) {
            return Err(LeaseTimingsError { ttl, beat });
        }
        Ok(Self { ttl, beat })
    }

    /// A lease of `ttl`, renewed at a third of it.
    ///
    /// # Errors
    ///
    /// [`LeaseTimingsError`] when a third is under 10 ms.
    pub fn with_ttl(ttl: Duration) -> Result<Self, LeaseTimingsError> {
        Self::new(ttl, ttl / 3)
    }

    /// How long a lease lasts after its renewal.
    pub fn ttl(self) -> Duration {
        self.ttl
    }

    /// How often it is renewed.
    pub fn beat(self) -> Duration {
        self.beat
    }

    /// How long before the end of the lease its holder stops itself: a tenth, for the time that a
    /// cancelled job needs to notice.
    pub fn margin(self) -> Duration {
        self.ttl / 10
    }
}

impl Default for LeaseTimings {
    /// 30 s, renewed every 10 s.
    fn default() -> Self {
        Self { ttl: Duration::from_secs(30), beat: Duration::from_secs(10) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_read_as_it_is_shown() {
        for id in [0, 1, -1, -2, i64::MIN, i64::MAX] {
            assert_eq!(WorkerId(id).to_string().parse(), Ok(WorkerId(id)));
        }
        for wrong in ["", "-1", "x", "10000000000000000"] {
            assert!(wrong.parse::<WorkerId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_lease_shorter_than_three_beats_is_refused() {
        let second = Duration::from_secs(1);
        assert!(LeaseTimings::new(second * 3, second).is_ok());
        assert!(LeaseTimings::new(second * 3 - Duration::from_nanos(1), second).is_err());
        assert!(LeaseTimings::with_ttl(Duration::from_millis(29)).is_err());
    }

    #[test]
    fn incarnations_differ_and_are_never_nobody() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| WorkerId::random()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.0 > 0));
    }
}
