//! How often a command is tried that may be run twice.

use super::builder::ProcessBuilder;
use super::output::Output;
use super::route::Named;
use lastout_proc_tree::SpawnError;
use std::time::Duration;

/// How often a command is tried, and how long is waited between two attempts.
///
/// ```
/// use lastout_output_stream::Retry;
/// use std::time::Duration;
///
/// // Waits 100 ms, 200 ms, 400 ms, and then 500 ms each time.
/// let retry = Retry::attempts(8).backoff(Duration::from_millis(100), Duration::from_millis(500));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Retry {
    attempts: u32,
    first: Duration,
    most: Duration,
}

impl Retry {
    /// Tries so often at most, the first time included, without a pause.
    pub fn attempts(attempts: u32) -> Self {
        Self { attempts, first: Duration::ZERO, most: Duration::ZERO }
    }

    /// Waits for `first` after the first failure, twice as long after each further one, and never longer than
    /// `most`.
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        (self.first, self.most) = (first, most);
        self
    }

    /// The pause after so many failures.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.most)
    }

    /// Refuses no attempts at all, and more than one of a builder that one start uses up.
    pub(super) fn check(&self, builder: &ProcessBuilder) -> Result<(), SpawnError> {
        let shown = builder.shown();
        let named = Named(&shown);
        if self.attempts == 0 {
            return Err(named.refuse("it is to be attempted zero times"));
        }
        match builder.only_once() {
            Some(what) if self.attempts > 1 => {
                Err(named.refuse(&format!("{what} can be had by one start only")))
            }
            _ => Ok(()),
        }
    }

    /// How long to wait before the next attempt; `None` when there is none after this output.
    pub(super) fn pause_after(&self, output: &Output) -> Option<Duration> {
        let is_last = output.success() || output.attempts >= self.attempts;
        (!is_last).then(|| self.pause(output.attempts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_most_and_never_overflow() {
        let ms = Duration::from_millis;
        let retry = Retry::attempts(9).backoff(ms(100), ms(500));
        let pauses: Vec<_> = (1..=4).map(|failures| retry.pause(failures)).collect();
        assert_eq!(pauses, [ms(100), ms(200), ms(400), ms(500)]);
        assert_eq!(retry.pause(u32::MAX), ms(500));
        let longest = Retry::attempts(u32::MAX).backoff(Duration::MAX, Duration::MAX);
        assert_eq!(longest.pause(40), Duration::MAX);
        assert_eq!(Retry::attempts(2).pause(1), Duration::ZERO);
    }
}
