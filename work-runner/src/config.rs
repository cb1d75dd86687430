//! The knobs of a worker, with their defaults and their bounds.

use crate::error::BuildError;
use crate::lease::LeaseTimings;
use crate::retry::Backoff;
use std::time::Duration;

/// The longest time that a knob takes: ten years.
const MOST_TIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The most jobs that one queue runs or claims ahead in one worker.
pub(crate) const MOST_PLACES: usize = 100_000;

/// The knobs of a worker that are the same for all its queues.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) lease: LeaseTimings,
    /// How long a handler has to return after it was asked to stop.
    pub(crate) grace: Duration,
    /// How many jobs are claimed ahead of a free place, as a share of the places.
    pub(crate) prefetch: usize,
    /// The longest that a call to the store may take.
    pub(crate) store_timeout: Duration,
    /// How long jobs are kept that succeeded or were cancelled; `None` for ever.
    pub(crate) keep: Option<Duration>,
    /// How long jobs are kept that failed, are dead letters or were abandoned; `None` for ever.
    pub(crate) keep_unhappy: Option<Duration>,
    /// A runtime that does not run for this long loses its lease.
    pub(crate) wedged_after: Duration,
    /// The wait before a job is tried again whose handler blocked its thread.
    pub(crate) stuck_backoff: Backoff,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: LeaseTimings::default(),
            grace: Duration::from_secs(5),
            prefetch: 0,
            store_timeout: Duration::from_secs(10),
            keep: Some(Duration::from_secs(24 * 3600)),
            keep_unhappy: Some(Duration::from_secs(30 * 24 * 3600)),
            wedged_after: Duration::from_secs(30),
            stuck_backoff: Backoff::new(Duration::from_secs(60), Duration::from_secs(3600)),
        }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let within = |what, value: Duration, least: Duration| {
            if value < least || value > MOST_TIME {
                return Err(BuildError::OutOfRange { what, value, least, most: MOST_TIME });
            }
            Ok(())
        };
        let tick = Duration::from_millis(1);
        let beat = self.lease.beat();
        within("the lease", self.lease.ttl(), tick)?;
        within("the time until a runtime counts as wedged", self.wedged_after, beat)?;
        within("the grace", self.grace, Duration::ZERO)?;
        within("the store timeout", self.store_timeout, tick)?;
        if self.prefetch > MOST_PLACES {
            let what = "the prefetch".to_owned();
            return Err(BuildError::TooMany { what, count: self.prefetch, most: MOST_PLACES });
        }
        Ok(())
    }
}
