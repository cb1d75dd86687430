//! Ticks at a fixed rate.

use super::clock::{Nanos, whole_nanos};
use super::sleep::{Sleep, current};
use crate::coop;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// What an [`Interval`] does about ticks that were not awaited in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MissedTickBehavior {
    /// Ticks at once until it has caught up. The default.
    #[default]
    Burst,
    /// Goes on one period after the late tick.
    Delay,
    /// Drops the missed ticks and keeps the rhythm.
    Skip,
}

impl MissedTickBehavior {
    /// The deadline after a tick that was due at `due` and came at `now`.
    fn next(self, due: Nanos, now: Nanos, period: Nanos) -> Nanos {
        let next = due.saturating_add(period);
        if now < next {
            return next;
        }
        match self {
            Self::Burst => next,
            Self::Delay => now.saturating_add(period),
            Self::Skip => next.saturating_add(((now - next) / period + 1).saturating_mul(period)),
        }
    }
}

/// Ticks every period. The first tick is one period after [`interval`] was called, or at the start
/// given to [`interval_at`].
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Nanos,
    missed: MissedTickBehavior,
}

/// Ticks every `period`, for the first time in one period.
///
/// # Panics
/// When `period` is zero, and outside a runtime.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    let owner = current();
    let first = owner.clock.after(period);
    Interval::new(Sleep::new(owner, first), period)
}

/// Ticks every `period`, for the first time at `start`.
///
/// # Panics
/// When `period` is zero, and outside a runtime.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    let owner = current();
    let first = owner.clock.nanos(start);
    Interval::new(Sleep::new(owner, first), period)
}

impl Interval {
    #[track_caller]
    fn new(sleep: Sleep, period: Duration) -> Self {
        assert!(!period.is_zero(), "an interval needs a period that is not zero");
        Self { sleep, period: whole_nanos(period), missed: MissedTickBehavior::default() }
    }

    /// Waits for the next tick, and returns when it was due.
    ///
    /// # Cancel safety
    /// Cancel safe: a tick that was not returned is not lost.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// Polls what [`tick`](Self::tick) awaits, for hand-written futures.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(self.sleep.poll_elapsed(cx));
        ready!(coop::poll_proceed(cx)).made();
        let (due, now) = (self.sleep.deadline_nanos(), self.sleep.owner().clock.now());
        let at = self.sleep.deadline();
        self.sleep.reset_to(self.missed.next(due, now, self.period));
        Poll::Ready(at)
    }

    /// The next tick is one period from now.
    pub fn reset(&mut self) {
        let next = self.sleep.owner().clock.now().saturating_add(self.period);
        self.sleep.reset_to(next);
    }

    /// The next tick is at `deadline`.
    pub fn reset_at(&mut self, deadline: Instant) {
        self.sleep.reset(deadline);
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        Duration::from_nanos(self.period)
    }

    /// Sets what happens to missed ticks.
    pub fn set_missed_tick_behavior(&mut self, missed: MissedTickBehavior) {
        self.missed = missed;
    }

    /// What happens to missed ticks.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }
}

/// Yields when each tick was due, for ever.
impl futures_core::Stream for Interval {
    type Item = Instant;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::MissedTickBehavior::{Burst, Delay, Skip};

    #[test]
    fn missed_ticks_are_burst_delayed_or_skipped() {
        for behaviour in [Burst, Delay, Skip] {
            assert_eq!(behaviour.next(100, 103, 10), 110, "in time: the rhythm is kept");
        }
        assert_eq!(Burst.next(100, 137, 10), 110);
        assert_eq!(Delay.next(100, 137, 10), 147);
        assert_eq!(Skip.next(100, 137, 10), 140);
        assert_eq!(Skip.next(100, 140, 10), 150);
        assert_eq!(Skip.next(u64::MAX - 5, u64::MAX, 3), u64::MAX);
    }
}
