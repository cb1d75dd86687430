//! The runtime's clock, real or virtual: nanoseconds since a moment long before it was built, so that
//! instants of the past have a number too.

use crate::sys::Ticker;
#[cfg(feature = "testing")]
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Nanoseconds since the base of a clock; `u64::MAX` is never.
pub(crate) type Nanos = u64;
pub(crate) const NEVER: Nanos = u64::MAX;

/// How long before its creation a clock begins: 36 years.
const PAST: Duration = Duration::from_nanos(1 << 60);

/// Tells the time of a runtime.
#[derive(Debug)]
pub(crate) struct Clock {
    base: Instant,
    /// Started after `base` was read, so that what is due by it is due by `Instant` too.
    ticker: Ticker,
    /// The time of a virtual clock, which only tests move.
    #[cfg(feature = "testing")]
    virtual_now: Option<Cell<Nanos>>,
}

impl Clock {
    pub(crate) fn real() -> Self {
        let now = Instant::now();
        let (base, past) = match now.checked_sub(PAST) {
            Some(base) => (base, PAST),
            // Where instants do not reach back, the past is the moment of creation.
            None => (now, Duration::ZERO),
        };
        Self {
            base,
            ticker: Ticker::start(past),
            #[cfg(feature = "testing")]
            virtual_now: None,
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn virtual_from_now() -> Self {
        let real = Self::real();
        Self { virtual_now: Some(Cell::new(real.now())), ..real }
    }

    /// Whether only tests move this clock.
    pub(crate) fn is_virtual(&self) -> bool {
        #[cfg(feature = "testing")]
        return self.virtual_now.is_some();
        #[cfg(not(feature = "testing"))]
        false
    }

    /// Moves a virtual clock forward; a real one stays what it is.
    #[cfg(feature = "testing")]
    pub(crate) fn advance_to(&self, nanos: Nanos) {
        if let Some(now) = &self.virtual_now {
            now.set(now.get().max(nanos));
        }
    }

    pub(crate) fn now(&self) -> Nanos {
        #[cfg(feature = "testing")]
        if let Some(now) = &self.virtual_now {
            return now.get();
        }
        self.ticker.nanos()
    }

    pub(crate) fn instant(&self, nanos: Nanos) -> Instant {
        self.base + Duration::from_nanos(nanos)
    }

    /// The time as an instant; under a virtual clock, virtual time.
    pub(crate) fn instant_now(&self) -> Instant {
        self.instant(self.now())
    }

    /// When `instant` is; what is before the base is zero, the farthest future never.
    pub(crate) fn nanos(&self, instant: Instant) -> Nanos {
        whole_nanos(instant.saturating_duration_since(self.base))
    }

    /// `delay` from now.
    pub(crate) fn after(&self, delay: Duration) -> Nanos {
        self.now().saturating_add(whole_nanos(delay))
    }
}

/// The nanoseconds of a duration, cut to [`NEVER`] (after 584 years).
pub(crate) fn whole_nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}
