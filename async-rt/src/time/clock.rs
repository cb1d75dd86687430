//! The runtime's clock, real or virtual: nanoseconds since a moment long before it was built, so that
//! instants of the past have a number too.

use crate::sys::Ticker;
#[cfg(feature = "testing")]
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Nanoseconds since the base of a clock; `u64::MAX` is never.
pub(crate) type Nanos = u64;
pub(crate) const NEVER: Nanos = u64::MAX;

/// How long before its creation a clock begins, as a power of two of nanoseconds: 36 years, or less where
/// instants do not reach that far back.
const PAST_BITS: u32 = 60;

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
        let base = back_from(now);
        Self {
            base,
            ticker: Ticker::start(now - base),
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

/// The base of a clock that is made now. Where the first instant of the system is nearer than the base would
/// be, it is that first instant: on Windows the start of the machine.
fn back_from(now: Instant) -> Instant {
    let mut base = now;
    for bits in (0..=PAST_BITS).rev() {
        match base.checked_sub(Duration::from_nanos(1 << bits)) {
            Some(earlier) if bits == PAST_BITS => return earlier,
            Some(earlier) => base = earlier,
            None => {}
        }
    }
    base
}

/// The nanoseconds of a duration, cut to [`NEVER`] (after 584 years).
pub(crate) fn whole_nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}
