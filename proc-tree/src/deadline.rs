//! [`Deadline`]: the point in time at which a wait ends, whatever it waits for.

use std::time::{Duration, Instant};

/// When to stop trying. A [`Duration`] counts from the call that takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

/// A duration too long for the clock means this: for ever, as far as a process is concerned.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);

impl Deadline {
    /// In `duration` from now. A duration that the clock cannot hold ends in a year.
    pub fn after(duration: Duration) -> Self {
        let now = Instant::now();
        Self(now.checked_add(duration.min(FAR)).unwrap_or(now))
    }

    /// At that instant.
    pub fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// The instant.
    pub fn instant(self) -> Instant {
        self.0
    }
}

impl From<Duration> for Deadline {
    fn from(duration: Duration) -> Self {
        Self::after(duration)
    }
}

impl From<Instant> for Deadline {
    fn from(instant: Instant) -> Self {
        Self::at(instant)
    }
}
