//! Nanoseconds of the monotonic clock, without the arithmetic of `Instant`, which costs as much as
//! reading the clock. It is the clock behind `Instant`.
#![expect(unsafe_code, reason = "the system call has no safe wrapper in std")]

use std::time::Duration;

/// Counts nanoseconds from its start.
#[derive(Debug)]
pub(crate) struct Ticker {
    start: u64,
}

fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is alive during the call, which writes it; this clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Ticker {
    /// A start that lies `past` in the past, which may be before the machine's own start.
    pub(crate) fn start(past: Duration) -> Self {
        let past = u64::try_from(past.as_nanos()).unwrap_or(u64::MAX);
        Self { start: monotonic().wrapping_sub(past) }
    }

    /// Nanoseconds since the start.
    pub(crate) fn nanos(&self) -> u64 {
        monotonic().wrapping_sub(self.start)
    }
}
