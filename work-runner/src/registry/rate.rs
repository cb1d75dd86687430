//! Rates: how often jobs of a queue, or of a limit key, may start over all workers.
//!
//! A rate is a bucket of tokens, and each claim takes one. What is stored is how much the bucket lacked at some
//! time, in parts of a token so small that nothing is rounded: one token is `per_ms` parts, and `max` parts come
//! back in each millisecond.

use crate::error::{StoreError, StoreErrorKind};
use crate::job::{check_name, millis};
use std::fmt;
use std::time::Duration;

/// The largest `max` and `burst`.
const MOST: u32 = 1_000_000;
/// The longest `per`: 366 days.
const MOST_PER_MS: i64 = 366 * 86_400_000;
/// A bucket whose next token is further ahead than the time that it needs to fill up, and this much more, was
/// written before the clock was set back: it counts as full.
const SLACK_MS: i64 = 60_000;

/// How often jobs may start: in any span of time at most [`burst`](Self::burst), and `max` more for each `per`
/// that has passed.
///
/// ```
/// use lastout_work_runner::Rate;
/// use std::time::Duration;
///
/// // 100 a minute on average; after a quiet time up to 100 at once.
/// let hundred = Rate::new(100, Duration::from_secs(60));
/// // As many, but evenly: one every 600 ms.
/// let evenly = hundred.burst(1);
/// assert_eq!((evenly.max, evenly.per_ms, evenly.burst), (100, 60_000, 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// Starts in each `per_ms`, on average; from 1 to 1 000 000.
    pub max: u32,
    /// The time that `max` is for, in milliseconds; from 1 to 366 days.
    pub per_ms: i64,
    /// Starts that a quiet time saves up at most; from 1 to 1 000 000, and `max` unless set.
    pub burst: u32,
}

impl Rate {
    /// `max` starts in each `per`, whole milliseconds of which count. Whether it can be kept is checked when it
    /// is set.
    pub fn new(max: u32, per: Duration) -> Self {
        Self { max, per_ms: millis(per), burst: max }
    }

    /// How many may start at once after a quiet time.
    #[must_use]
    pub fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    /// A rate as a store keeps it; `None` if it is out of range.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn stored(max: i64, per_ms: i64, burst: i64) -> Option<Self> {
        let number = |stored| u32::try_from(stored).ok();
        let rate = Self { max: number(max)?, per_ms, burst: number(burst)? };
        rate.in_range().then_some(rate)
    }

    fn in_range(self) -> bool {
        let numbers = 1..=MOST;
        numbers.contains(&self.max)
            && numbers.contains(&self.burst)
            && (1..=MOST_PER_MS).contains(&self.per_ms)
    }
}

/// As people say it: `10 per 1s`, or `100 per 60s, 1 at once`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max, per_ms, burst } = *self;
        write!(f, "{max} per {:?}", Duration::from_millis(per_ms.unsigned_abs()))?;
        if burst == max { Ok(()) } else { write!(f, ", {burst} at once") }
    }
}

/// What a rate is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RateOf {
    /// All jobs of this queue.
    Queue(String),
    /// The jobs of all queues with this limit key, see [`NewJob::limit`](crate::NewJob::limit).
    Key(String),
}

impl RateOf {
    /// The queue or the key.
    pub fn name(&self) -> &str {
        match self {
            Self::Queue(name) | Self::Key(name) => name,
        }
    }

    /// How the stores tell the two apart.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) const fn code(&self) -> i16 {
        match self {
            Self::Queue(_) => 0,
            Self::Key(_) => 1,
        }
    }

    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn of_code(code: i64, name: String) -> Self {
        if code == 0 { Self::Queue(name) } else { Self::Key(name) }
    }

    /// Whether every store can keep `rate` for it.
    pub(crate) fn check(&self, rate: Option<Rate>) -> Result<(), StoreError> {
        let what = match self {
            Self::Queue(_) => "the name of the queue",
            Self::Key(_) => "the limit key",
        };
        check_name(what, self.name())?;
        match rate {
            Some(rate) if !rate.in_range() => {
                let why = format!(
                    "{rate:?} is out of range: max and burst go from 1 to {MOST}, per_ms from 1 to {MOST_PER_MS}"
                );
                let error = StoreError::new(StoreErrorKind::Invalid, "check a rate");
                Err(error.with_source(why))
            }
            _ => Ok(()),
        }
    }
}

/// A rate that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateRecord {
    /// What it is for.
    pub of: RateOf,
    /// How often.
    pub rate: Rate,
}

impl RateRecord {
    /// `rate` is set for `of`.
    pub fn new(of: RateOf, rate: Rate) -> Self {
        Self { of, rate }
    }
}

/// A rate and the tokens that it has given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    rate: Rate,
    at_ms: i64,
    /// Parts that it lacked at `at_ms`.
    missing: i64,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now_ms: i64) -> Self {
        Self { rate, at_ms: now_ms, missing: 0 }
    }

    /// A bucket as a store keeps it. What cannot be is corrected: one row of a table does not stop a queue.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn stored(rate: Rate, at_ms: i64, missing: i64) -> Self {
        let bucket = Self { rate, at_ms, missing: 0 };
        Self { missing: missing.clamp(0, bucket.size()), ..bucket }
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// When it was full but for [`missing`](Self::missing).
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn at_ms(&self) -> i64 {
        self.at_ms
    }

    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn missing(&self) -> i64 {
        self.missing
    }

    /// All its parts.
    fn size(&self) -> i64 {
        i64::from(self.rate.burst) * self.rate.per_ms
    }

    /// How far ahead of the clock its next token may be.
    pub(crate) fn span_ms(&self) -> i64 {
        ceil_div(self.size(), i64::from(self.rate.max)) + SLACK_MS
    }

    /// Brings it up to `now_ms`.
    fn refill(&mut self, now_ms: i64) {
        if self.free_at_ms() > now_ms.saturating_add(self.span_ms()) {
            *self = Self::full(self.rate, now_ms);
        } else if self.at_ms < now_ms {
            let back = now_ms.saturating_sub(self.at_ms).saturating_mul(i64::from(self.rate.max));
            self.missing = self.missing.saturating_sub(back).max(0);
            self.at_ms = now_ms;
        }
    }

    /// How many jobs may start at `now_ms`.
    pub(crate) fn free(mut self, now_ms: i64) -> usize {
        self.refill(now_ms);
        usize::try_from((self.size() - self.missing) / self.rate.per_ms).unwrap_or(0)
    }

    /// `count` jobs start, no more than are free.
    pub(crate) fn take(&mut self, count: usize, now_ms: i64) {
        self.refill(now_ms);
        let parts = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(self.rate.per_ms);
        self.missing = self.missing.saturating_add(parts).min(self.size());
    }

    /// When the next job may start, as of its last change; a time that has passed when one may at once.
    pub(crate) fn free_at_ms(&self) -> i64 {
        let lacks = self.missing + self.rate.per_ms - self.size();
        if lacks <= 0 {
            return i64::MIN;
        }
        self.at_ms.saturating_add(ceil_div(lacks, i64::from(self.rate.max)))
    }

    /// Time until the next job may start; 0 when one may at once.
    pub(crate) fn wait_ms(mut self, now_ms: i64) -> i64 {
        self.refill(now_ms);
        self.free_at_ms().saturating_sub(now_ms).max(0)
    }
}

fn ceil_div(of: i64, by: i64) -> i64 {
    of / by + i64::from(of % by != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_700_000_000_000;

    fn bucket(max: u32, per_ms: i64, burst: u32) -> Bucket {
        Bucket::full(Rate { max, per_ms, burst }, NOW)
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut three = bucket(3, 1000, 2);
        assert_eq!((three.free(NOW), three.wait_ms(NOW)), (2, 0));
        three.take(2, NOW);
        // A third of a second is no whole number of milliseconds: the token is there with the next one.
        assert_eq!((three.free(NOW), three.wait_ms(NOW)), (0, 334));
        assert_eq!((three.free(NOW + 333), three.free(NOW + 334)), (0, 1));
        three.take(1, NOW + 334);
        // Nothing is lost by rounding: three in each second.
        assert_eq!((three.free(NOW + 666), three.free(NOW + 667)), (0, 1));
        assert_eq!((three.free(NOW + 999), three.free(NOW + 1000)), (1, 2));
        assert_eq!(three.free(NOW + 1_000_000), 2, "no more than the burst is saved up");
    }

    #[test]
    fn a_clock_that_was_set_back_closes_nothing_for_long() {
        let mut bucket = bucket(10, 1000, 5);
        bucket.take(5, NOW);
        assert_eq!(bucket.free(NOW - 200), 0, "a transaction that began earlier");
        assert_eq!(bucket.free(NOW - 3_600_000), 5);
    }

    #[test]
    fn the_ends_of_every_number_work() {
        for (max, per_ms, burst) in
            [(1, 1, 1), (MOST, 1, MOST), (1, MOST_PER_MS, MOST), (MOST, MOST_PER_MS, 1)]
        {
            for now in [i64::MIN, -1, 0, NOW, i64::MAX] {
                let mut one = Bucket::full(Rate { max, per_ms, burst }, now);
                one.take(usize::MAX, now);
                assert_eq!(one.free(now), 0);
                for later in [i64::MIN, now, i64::MAX] {
                    assert!(one.free(later) <= burst as usize);
                    assert!(one.wait_ms(later) >= 0);
                }
            }
        }
        assert_eq!(Rate::new(10, Duration::from_secs(1)).to_string(), "10 per 1s");
        let evenly = Rate::new(100, Duration::from_secs(60)).burst(1);
        assert_eq!(evenly.to_string(), "100 per 60s, 1 at once");
        let of = RateOf::Queue("mail".into());
        let max = Rate { max: MOST, per_ms: MOST_PER_MS, burst: MOST };
        assert!(of.check(Some(max)).is_ok() && of.check(None).is_ok());
        for bad in [
            Rate::new(0, Duration::from_secs(1)),
            Rate::new(1, Duration::ZERO),
            Rate::new(1, Duration::MAX),
            Rate::new(u32::MAX, Duration::from_secs(1)),
            Rate::new(1, Duration::from_secs(1)).burst(0),
        ] {
            assert!(of.check(Some(bad)).is_err(), "{bad:?}");
        }
    }

    proptest! {
        /// Whoever comes whenever: in any span no more start than the rate says, and whoever waits gets all of it.
        #[test]
        fn no_span_of_time_has_more_than_its_share(
            max in 1_u32..200, per_ms in 1_i64..5000, burst in 1_u32..50,
            steps in proptest::collection::vec((0_i64..700, 0_usize..60), 1..200),
        ) {
            let mut bucket = bucket(max, per_ms, burst);
            let mut now = NOW;
            let mut starts: Vec<(i64, i64)> = Vec::new();
            for (pause, wanted) in steps {
                now += pause;
                let got = wanted.min(bucket.free(now));
                prop_assert!(wanted == 0 || got > 0 || bucket.wait_ms(now) > 0);
                bucket.take(got, now);
                starts.push((now, got as i64));
                let wait = bucket.wait_ms(now);
                prop_assert!(wait == 0 || bucket.free(now + wait) > 0 && bucket.free(now + wait - 1) == 0);
            }
            for (from, (first, _)) in starts.iter().enumerate() {
                let mut sum = 0;
                for (at, count) in &starts[from..] {
                    sum += count;
                    let share = i64::from(burst) * per_ms + (at - first) * i64::from(max);
                    prop_assert!(sum * per_ms <= share, "{sum} in {} ms", at - first);
                }
            }
        }
    }
}
