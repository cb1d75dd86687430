//! The operating system: waiting for descriptors and being woken while doing so, and signals.
//!
//! On Linux a thin layer over epoll and eventfd. `mio` was weighed for it and costs what a timer
//! runtime cannot give away: its waits are whole milliseconds, where `epoll_pwait2` takes
//! nanoseconds. Elsewhere `mio` it is, whose kqueue waits are exact.

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(target_os = "linux")]
mod ticker;
#[cfg(target_os = "linux")]
pub(crate) use epoll::{Events, Poller};
#[cfg(target_os = "linux")]
pub(crate) use ticker::Ticker;

#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::{Events, Poller, Ticker};

#[cfg(feature = "net")]
pub(crate) mod peer;
pub(crate) mod signal;

/// Ends the sleep of a runtime that has announced it, from any thread.
pub(crate) trait Unpark: Send + Sync {
    /// Ends the sleep; before the sleep, it shortens it to nothing.
    fn unpark(&self);
}

/// Events that one wait may be asked for; the kernel has a limit of its own, which is higher.
pub(crate) const MOST_EVENTS: usize = 1 << 16;

/// The token of the poller's own wake.
pub(crate) const WAKE: u64 = u64::MAX;
/// The token of the process's signal descriptor.
pub(crate) const SIGNAL: u64 = u64::MAX - 1;

/// What became possible for a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) token: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The direction has ended, or a short count does not say that it is empty: it stays ready until an
    /// operation would block, and no further edge may come.
    pub(crate) read_closed: bool,
    pub(crate) write_closed: bool,
}
