//! `Backoff`: how long to wait before the next attempt, and when to give up.

use crate::handle::Handle;
use crate::random;
use crate::time::{clock::whole_nanos, sleep};
use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

/// The state of a retry: delays that double, with jitter, bounded in number and by a deadline.
///
/// ```
/// use lastout_async_rt::{Backoff, Runtime};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let attempts = Runtime::new()?.block_on(async {
///     let mut backoff = Backoff::new(Duration::from_micros(10)).max_retries(2);
///     let mut attempts = 0;
///     loop {
///         attempts += 1;
///         let error = "refused"; // of an attempt that failed
///         if let Err(exhausted) = backoff.wait(error).await {
///             assert_eq!(exhausted.error, "refused");
///             break attempts;
///         }
///     }
/// });
/// assert_eq!(attempts, 3);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    max_delay: Duration,
    max_retries: Option<u32>,
    deadline: Option<Instant>,
    jitter: f64,
    retries: u32,
    seed: u64,
}

impl Backoff {
    /// Waits `initial` before the first retry, then twice as long each time, up to 30 s, for ever.
    pub fn new(initial: Duration) -> Self {
        Self {
            initial,
            max_delay: Duration::from_secs(30),
            max_retries: None,
            deadline: None,
            jitter: 0.0,
            retries: 0,
            seed: whole_nanos(initial),
        }
    }

    /// No delay is longer than this.
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Gives up after this many retries; zero allows none.
    #[must_use]
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = Some(retries);
        self
    }

    /// Gives up when the next retry would be later. A [`reset`](Self::reset) does not move it.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Shortens each delay by a random share of itself, `share` (0 to 1) at most, so that clients
    /// that failed together do not retry together. Give each its own `seed`. A share that is not a
    /// number is none.
    #[must_use]
    pub fn jitter(mut self, share: f64, seed: u64) -> Self {
        self.jitter = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        self.seed = seed;
        self
    }

    /// The delay before the next retry at `now`, which counts as made; `None` when exhausted.
    pub fn advance(&mut self, now: Instant) -> Option<Duration> {
        if self.remaining() == Some(0) {
            return None;
        }
        let doubled =
            self.initial.saturating_mul(1_u32.checked_shl(self.retries).unwrap_or(u32::MAX));
        let bounded = doubled.min(self.max_delay);
        // A share of a delay is never more than the delay, so only the shortening is computed.
        let shorter = bounded.as_secs_f64() * self.jitter * self.random();
        let shorter = Duration::try_from_secs_f64(shorter).unwrap_or(bounded);
        let delay = bounded.saturating_sub(shorter);
        let past = |deadline| now.checked_add(delay).is_none_or(|retry| retry > deadline);
        if self.deadline.is_some_and(past) {
            return None;
        }
        self.retries = self.retries.saturating_add(1);
        Some(delay)
    }

    /// A number in 0 to 1.
    fn random(&mut self) -> f64 {
        (random::next(&mut self.seed) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Waits before the next retry; hands `error` back when there is none.
    ///
    /// # Errors
    /// [`Exhausted`] when the retries or the time are used up.
    ///
    /// # Cancel safety
    /// The retry counts as made.
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn wait<E>(&mut self, error: E) -> Result<(), Exhausted<E>> {
        // The clock of the runtime, which may be virtual, as that of `sleep`.
        let now = Handle::current().owner.clock.instant_now();
        match self.advance(now) {
            Some(delay) => {
                sleep(delay).await;
                Ok(())
            }
            None => Err(Exhausted { error, retries: self.retries }),
        }
    }

    /// Whether no retry is left; the deadline is only looked at by [`advance`](Self::advance).
    pub fn is_exhausted(&self) -> bool {
        self.remaining() == Some(0)
    }

    /// Retries left; `None` is any number.
    pub fn remaining(&self) -> Option<u32> {
        self.max_retries.map(|max| max.saturating_sub(self.retries))
    }

    /// Starts over after a success, with the same deadline.
    pub fn reset(&mut self) {
        self.retries = 0;
    }
}

/// No retry is left.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exhausted<E> {
    /// The error of the last attempt.
    pub error: E,
    /// Retries that were made.
    pub retries: u32,
}

impl<E> fmt::Display for Exhausted<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gave up after {} retries", self.retries)
    }
}

impl<E: Error + 'static> Error for Exhausted<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_bound_and_end() {
        let ms = Duration::from_millis;
        let now = Instant::now();
        let mut backoff = Backoff::new(ms(10)).max_delay(ms(35)).max_retries(4);
        let delays: Vec<_> = std::iter::from_fn(|| backoff.advance(now)).collect();
        assert_eq!(delays, [ms(10), ms(20), ms(35), ms(35)]);
        assert!(backoff.is_exhausted());
        backoff.reset();
        assert_eq!(backoff.advance(now), Some(ms(10)));
    }

    #[test]
    fn nothing_overflows_and_the_deadline_holds() {
        let now = Instant::now();
        let mut backoff = Backoff::new(Duration::MAX).max_delay(Duration::MAX);
        for _ in 0..100 {
            assert!(backoff.advance(now).is_some());
        }
        let mut late = Backoff::new(Duration::from_secs(2)).deadline(now + Duration::from_secs(1));
        assert_eq!(late.advance(now), None);
    }

    #[test]
    fn any_share_of_jitter_shortens_by_no_more() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let delay = |share| Backoff::new(second).jitter(share, 7).advance(now).unwrap();
        assert_eq!([f64::NAN, -0.0, -1.0, f64::NEG_INFINITY].map(delay), [second; 4]);
        assert_eq!(delay(f64::INFINITY), delay(1.0));
        assert!(delay(f64::MIN_POSITIVE) <= second && delay(1.0) < second);
    }

    #[test]
    fn jitter_shortens_and_differs_by_seed() {
        let now = Instant::now();
        let delay =
            |seed| Backoff::new(Duration::from_secs(1)).jitter(0.5, seed).advance(now).unwrap();
        let delays: Vec<_> = (1..20).map(delay).collect();
        assert!(
            delays.iter().all(|d| *d <= Duration::from_secs(1) && *d >= Duration::from_millis(500))
        );
        let different: std::collections::HashSet<_> = delays.iter().collect();
        assert_eq!(different.len(), delays.len(), "every seed has delays of its own");
    }
}
