//! The knobs of a worker, with their defaults and their bounds.

use crate::error::BuildError;
use crate::lease::LeaseTimings;
use crate::retry::Backoff;
use std::time::Duration;

/// The knobs of a worker that are the same for all its queues.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) lease: LeaseTimings,
    /// How long a handler has to return after it was asked to stop.
    pub(crate) grace: Duration,
    /// How many jobs are claimed ahead of a free place, as a share of the places.
    pub(crate) prefetch: usize,
    /// How long a job of a kind without a handler waits before somebody else may take it.
    pub(crate) unknown_kind_delay: Duration,
    /// How long ended jobs are kept; `None` for ever.
    pub(crate) keep: Option<Duration>,
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
            unknown_kind_delay: Duration::from_secs(10),
            keep: Some(Duration::from_secs(24 * 3600)),
            wedged_after: Duration::from_secs(30),
            stuck_backoff: Backoff::new(Duration::from_secs(60), Duration::from_secs(3600)),
        }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let at_least = |value: Duration, what, least: Duration, words| {
            if value < least {
                return Err(BuildError::OutOfRange { what, least: words });
            }
            Ok(())
        };
        let beat = self.lease.beat();
        at_least(self.wedged_after, "the time until a runtime counts as wedged", beat, "one beat")?;
        let tick = Duration::from_millis(1);
        at_least(self.unknown_kind_delay, "the delay of an unknown kind", tick, "1 ms")
    }
}
