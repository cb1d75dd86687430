//! How long to wait before the next attempt: a pure function of the attempt and a random number.

use crate::job::millis;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Exponential backoff with full jitter: before attempt `n + 1` a uniformly random wait between
/// half of and all of `min(cap, base * 2^(n - 1))`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    base_ms: i64,
    cap_ms: i64,
}

impl Default for Backoff {
    /// From one second to one hour.
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(3600))
    }
}

impl Backoff {
    /// From `base` up to `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base_ms: millis(base), cap_ms: millis(cap) }
    }

    /// The wait after attempt `attempt` (from 1) failed; `random` chooses within the jitter.
    pub fn wait_ms(self, attempt: i32, random: u64) -> i64 {
        // 62 doublings of one millisecond are more than any cap.
        let doublings = (attempt.max(1) - 1).min(62) as u32;
        let full = self.base_ms.saturating_mul(1_i64 << doublings).min(self.cap_ms).max(0);
        let half = full / 2;
        half + (random % (full - half + 1) as u64) as i64
    }
}

/// A random number: good enough for jitter, seeded by the operating system.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// `around`, up to a fifth shorter or longer.
pub(crate) fn jittered(around: Duration, random: u64) -> Duration {
    let percent = 80 + (random % 41) as u32;
    around * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_wait_lies_within_its_jitter_and_never_overflows(
            base in 0..10_000_i64, cap in 0..100_000_000_i64, attempt in i32::MIN..i32::MAX, random: u64,
        ) {
            let backoff = Backoff { base_ms: base, cap_ms: cap };
            let wait = backoff.wait_ms(attempt, random);
            // The same in floating point, which cannot overflow.
            let full = (base as f64 * 2_f64.powi((attempt.max(1) - 1).min(62))).min(cap as f64);
            prop_assert!(wait as f64 <= full);
            prop_assert!(wait as f64 >= (full / 2.0).floor());
        }

        #[test]
        fn jitter_stays_within_a_fifth(ms in 0..1_000_000_u64, random: u64) {
            let around = Duration::from_millis(ms);
            let it = jittered(around, random);
            prop_assert!(it >= around * 8 / 10 && it <= around * 12 / 10);
        }
    }
}
