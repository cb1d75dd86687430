//! What the engine reports its polls to: a histogram, and the watchdog.

use super::watchdog::{Callback, Watchdog};
use crate::error::BuildError;
use crate::task::origin::Origin;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What the builder was asked to measure.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) histogram: bool,
    pub(crate) stall: Option<(Duration, Callback)>,
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted").field("histogram", &self.histogram).finish_non_exhaustive()
    }
}

impl Wanted {
    pub(crate) fn probe(self) -> Result<Option<Rc<Probe>>, BuildError> {
        if !self.histogram && self.stall.is_none() {
            return Ok(None);
        }
        let watchdog = self.stall.map(|(limit, callback)| Watchdog::start(limit, callback));
        let watchdog = watchdog.transpose()?;
        Ok(Some(Rc::new(Probe { times: RefCell::default(), watchdog })))
    }
}

/// How many polls took how long: bucket `n` counts those of less than `2^n` nanoseconds that the
/// bucket before does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollTimes {
    buckets: [u64; 64],
}

impl Default for PollTimes {
    fn default() -> Self {
        Self { buckets: [0; 64] }
    }
}

impl PollTimes {
    fn note(&mut self, elapsed: Duration) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - nanos.leading_zeros()).min(63);
        self.buckets[bucket as usize] += 1;
    }

    /// The buckets that are not empty: the bound below which their polls stayed, and how many.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let bound = |index: usize| Duration::from_nanos(1 << index);
        let all = self.buckets.iter().enumerate();
        all.filter(|(_, count)| **count > 0).map(move |(index, count)| (bound(index), *count))
    }

    /// How many polls there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// A time below which at least `share` (0 to 1) of the polls stayed.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = share.clamp(0.0, 1.0) * self.count() as f64;
        let mut seen = 0;
        self.buckets()
            .find(|(_, count)| {
                seen += count;
                seen as f64 >= wanted
            })
            .map(|(bound, _)| bound)
    }
}

/// Measures polls.
pub(crate) struct Probe {
    times: RefCell<PollTimes>,
    pub(crate) watchdog: Option<Watchdog>,
}

/// A poll under way.
pub(crate) struct Polling<'a> {
    probe: &'a Probe,
    start: Instant,
}

impl Probe {
    pub(crate) fn polling(&self, origin: &Origin) -> Polling<'_> {
        origin.polls.set(origin.polls.get() + 1);
        let start = Instant::now();
        if let Some(watchdog) = &self.watchdog {
            watchdog.watch(origin.name.as_deref(), origin.location, start);
        }
        Polling { probe: self, start }
    }

    pub(crate) fn times(&self) -> PollTimes {
        self.times.borrow().clone()
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.probe.times.borrow_mut().note(self.start.elapsed());
        if let Some(watchdog) = &self.probe.watchdog {
            watchdog.watch_none();
        }
    }
}
