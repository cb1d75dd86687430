//! What the pool is doing and has done, as plain numbers.

use crate::request::LaunchProfile;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where a browser is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BrowserPhase {
    /// It is being launched.
    Launching,
    /// It gives leases.
    Ready,
    /// It gives no new leases and ends after its last one.
    Retiring,
    /// It is being ended.
    Closing,
}

/// One browser of the pool at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BrowserInfo {
    /// The number that the pool gave it.
    pub number: u64,
    /// The pid of its root process, once it is launched and if the driver tells.
    pub pid: Option<u32>,
    /// Where it is in its life.
    pub phase: BrowserPhase,
    /// What it was started with.
    pub profile: Arc<LaunchProfile>,
    /// How long ago its launch began.
    pub age: Duration,
    /// Leases on it that are out.
    pub leases: usize,
    /// Units on it that wait for a caller.
    pub spares: usize,
    /// Units on it, whatever they are doing.
    pub units: usize,
    /// Pages on it that the pool knows of.
    pub pages: usize,
    /// Leases it has given, those that are out included.
    pub served: u64,
    /// Failures since the last lease that went well.
    pub errors: u32,
    /// Bytes that its processes used together (PSS), when that was last measured.
    pub memory: Option<u64>,
}

/// A snapshot of the pool. `granted = returned + revoked + out` holds in each one.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Browsers that are being launched.
    pub launching: usize,
    /// Browsers that give leases.
    pub ready: usize,
    /// Browsers that end when their last lease does.
    pub retiring: usize,
    /// Browsers that are being ended.
    pub closing: usize,
    /// Units that wait for a caller.
    pub spares: usize,
    /// Units on all browsers, whatever they are doing.
    pub units: usize,
    /// Pages that the pool knows of.
    pub pages: usize,
    /// Callers in the queue.
    pub waiting: usize,
    /// Leases that are out.
    pub out: u64,
    /// Leases asked for.
    pub asked: u64,
    /// Leases given.
    pub granted: u64,
    /// Leases that came back.
    pub returned: u64,
    /// Leases that ended with their browser.
    pub revoked: u64,
    /// Callers that were refused.
    pub refused: u64,
    /// Callers that gave up while they waited.
    pub cancelled: u64,
    /// Leases that were given without waiting, from stock.
    pub from_stock: u64,
    /// Launches begun.
    pub launches: u64,
    /// Launches that failed.
    pub launch_failures: u64,
    /// Units made.
    pub made: u64,
    /// Units that could not be made.
    pub make_failures: u64,
    /// Browsers that ended by themselves: crashed, killed, hung, disconnected.
    pub lost: u64,
    /// Pages whose renderer crashed.
    pub page_crashes: u64,
    /// Browsers of which something was left behind when they ended.
    pub quarantined: u64,
    /// Ended browsers, by [`EndReason::name`](crate::EndReason::name).
    pub ended: BTreeMap<&'static str, u64>,
    /// Bytes that the browsers used together when each was last measured (PSS). Measured only
    /// when `max_memory` is set, or by [`Pool::measure`](crate::Pool::measure).
    pub memory: u64,
    /// How long callers waited for their leases.
    pub waits: Waits,
}

/// Number of buckets: the last one begins at 2^38 µs, three days.
const BUCKETS: usize = 40;

/// Waiting times in buckets that double, from one microsecond up.
#[derive(Debug, Clone)]
pub struct Waits {
    buckets: [u64; BUCKETS],
    count: u64,
    longest: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], count: 0, longest: Duration::ZERO }
    }
}

impl Waits {
    pub(crate) fn record(&mut self, waited: Duration) {
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
        self.count += 1;
        self.longest = self.longest.max(waited);
    }

    /// How many leases were waited for.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest wait.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// An upper bound of the wait of this share of the callers, at most twice the true value.
    ///
    /// `0.5` gives the median; `None` before the first wait.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let rank = (share.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(Duration::from_micros(1 << bucket).min(self.longest));
            }
        }
        Some(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_twice_the_true_one() {
        let mut waits = Waits::default();
        assert_eq!(waits.quantile(0.5), None);
        for micros in 1..=1000 {
            waits.record(Duration::from_micros(micros));
        }
        let median = waits.quantile(0.5).unwrap();
        assert!(median >= Duration::from_micros(500) && median <= Duration::from_micros(1000));
        assert_eq!(waits.quantile(1.0), Some(Duration::from_micros(1000)));
        waits.record(Duration::MAX);
        assert_eq!(waits.longest(), Duration::MAX);
    }
}
