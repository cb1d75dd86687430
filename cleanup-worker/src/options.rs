//! What a task may say about itself: label, timeout and weight.

use std::fmt;
use std::time::Duration;

/// The largest weight that counts, so that what refused producers hold for a moment fits the gate.
pub(crate) const MAX_WEIGHT: u32 = 1 << 20;

/// Label, timeout and weight of one task. What is not set comes from the worker's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub(crate) label: &'static str,
    pub(crate) timeout: Timeout,
    pub(crate) weight: u32,
}

impl Options {
    /// No label, the worker's timeout, weight 1.
    pub const fn new() -> Self {
        Self { label: "", timeout: Timeout::DEFAULT, weight: 1 }
    }

    /// Names the task in reports and events. Static, so that naming never allocates.
    #[must_use]
    pub const fn label(mut self, label: &'static str) -> Self {
        self.label = label;
        self
    }

    /// Bounds how long the task may run, counted from its start. The time that its blocking closures wait
    /// for a thread does not count. Kept in whole milliseconds, rounded up; above 49 days it is 49 days.
    ///
    /// At its timeout the task is dropped on the worker's thread. While a destructor or a poll blocks that
    /// thread, the timeouts of all tasks are late by as much.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Timeout::of(timeout);
        self
    }

    /// How much of the worker's capacity the task takes until it has ended; 0 counts as 1,
    /// and more than 1 048 576 as that.
    #[must_use]
    pub const fn weight(mut self, weight: u32) -> Self {
        self.weight = if weight == 0 {
            1
        } else if weight > MAX_WEIGHT {
            MAX_WEIGHT
        } else {
            weight
        };
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// A timeout in four bytes, because each queued task carries one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeout(u32);

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DEFAULT => f.write_str("the worker's"),
            Self(ms) => Duration::from_millis(u64::from(ms)).fmt(f),
        }
    }
}

impl Timeout {
    const DEFAULT: Self = Self(u32::MAX);

    const fn of(timeout: Duration) -> Self {
        let ms = timeout.as_nanos().div_ceil(1_000_000);
        Self(if ms < u32::MAX as u128 { ms as u32 } else { u32::MAX - 1 })
    }

    /// The duration, where `default` stands in for a task that did not say.
    pub(crate) fn resolve(self, default: Duration) -> Duration {
        if self == Self::DEFAULT { default } else { Duration::from_millis(u64::from(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_rounded_up_and_never_becomes_the_default() {
        let default = Duration::from_secs(30);
        let of = |timeout| Timeout::of(timeout).resolve(default);
        assert_eq!(of(Duration::ZERO), Duration::ZERO);
        assert_eq!(of(Duration::from_nanos(1)), Duration::from_millis(1));
        assert_eq!(of(Duration::from_millis(7)), Duration::from_millis(7));
        assert_eq!(of(Duration::MAX), Duration::from_millis(u64::from(u32::MAX) - 1));
        assert_eq!(Timeout::DEFAULT.resolve(default), default);
    }

    #[test]
    fn a_weight_of_zero_still_takes_room() {
        assert_eq!(Options::new().weight(0).weight, 1);
    }
}
