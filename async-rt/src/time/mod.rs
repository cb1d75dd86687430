//! Time: sleeping, deadlines, intervals, and the clock and wheel behind them.

pub(crate) mod clock;
mod interval;
mod sleep;
mod timeout;
pub(crate) mod wheel;

pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use sleep::{Sleep, after, after_delay, event_time, sleep, sleep_until, yield_now};
pub use timeout::{Elapsed, timeout, timeout_at};
