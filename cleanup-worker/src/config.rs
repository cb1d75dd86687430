//! The settings of a worker, with their reasons, and what a task may say about itself: label, timeout and weight.

use crate::clock::{Clock, ManualClock};
use crate::error::BuildError;
use crate::event::{Event, Hook};
use crate::gate::MAX_CAPACITY;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a worker was built with.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) name: String,
    pub(crate) capacity: u32,
    pub(crate) concurrency: usize,
    pub(crate) blocking_threads: usize,
    pub(crate) timeout: Duration,
    pub(crate) drop_deadline: Duration,
    pub(crate) lazy_interval: Duration,
    pub(crate) clock: Clock,
    pub(crate) on_event: Option<Arc<Hook>>,
    pub(crate) placement: Placement,
}

/// Where a worker is to run.
#[derive(Clone)]
pub(crate) enum Placement {
    Dedicated,
    #[cfg(feature = "tokio")]
    CurrentTokio,
    #[cfg(feature = "tokio")]
    Tokio(tokio::runtime::Handle),
}

impl Placement {
    /// Turns "the current runtime" into that one.
    fn resolve(self) -> Result<Self, BuildError> {
        match self {
            #[cfg(feature = "tokio")]
            Self::CurrentTokio => tokio::runtime::Handle::try_current()
                .map(Self::Tokio)
                .map_err(|_| BuildError::NoRuntime),
            placed => Ok(placed),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "lastout-cleanup".to_owned(),
            // 2^20 tasks of the usual size are about 100 MB.
            capacity: 1 << 20,
            concurrency: 64,
            blocking_threads: 4,
            timeout: Duration::from_secs(30),
            drop_deadline: Duration::from_secs(1),
            lazy_interval: Duration::from_millis(1),
            clock: Clock::Monotonic,
            on_event: None,
            placement: Placement::Dedicated,
        }
    }
}

/// Builds a [`CleanupWorker`](crate::CleanupWorker). Every setting has a default that is right for most programs.
#[derive(Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// Names the worker's threads. Default: `lastout-cleanup`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// Bounds the sum of the weights of all tasks that are armed, queued or in flight. Default:
    /// 1 048 576. With 0 every task is refused; more than 2³⁰ counts as 2³⁰.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.config.capacity =
            u32::try_from(capacity).map_or(MAX_CAPACITY, |c| c.min(MAX_CAPACITY));
        self
    }

    /// Bounds how many tasks are in flight at a time. Default: 64. At least 1.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.config.concurrency = concurrency;
        self
    }

    /// Bounds how many threads run blocking closures; they are started when needed and end when
    /// idle. Default: 4. At least 1.
    pub fn blocking_threads(mut self, threads: usize) -> Self {
        self.config.blocking_threads = threads;
        self
    }

    /// The timeout of tasks that have none of their own: see [`Options::timeout`](crate::Options::timeout).
    /// Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// How long dropping the [`CleanupWorker`](crate::CleanupWorker) may wait for what is left. Default: 1 s.
    pub fn drop_deadline(mut self, deadline: Duration) -> Self {
        self.config.drop_deadline = deadline;
        self
    }

    /// How often the worker looks for tasks of [lazy](crate::CleanupHandle::lazy) handles while
    /// there are any. Default: 1 ms; less than 250 µs counts as that.
    pub fn lazy_interval(mut self, interval: Duration) -> Self {
        self.config.lazy_interval = interval;
        self
    }

    /// Calls the hook for each task that was refused, failed, panicked, timed out or was abandoned.
    ///
    /// The hook runs outside all locks, before a flush that waits for the task returns: on the worker, on the
    /// thread that submitted a refused task, or on the one that drops what was given up. It also hears of each
    /// [`FlushGuard`](crate::FlushGuard) that could not wait for all tasks. A panic in the hook is contained. A
    /// hook that owns a handle of its own worker keeps the memory of that worker for ever. [`Event`] says what
    /// a hook is not told of.
    pub fn on_event(mut self, hook: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.config.on_event = Some(Arc::new(hook));
        self
    }

    /// Judges timeouts and ages by a clock that a test moves.
    pub fn clock(mut self, clock: ManualClock) -> Self {
        self.config.clock = Clock::Manual(clock);
        self
    }

    /// Runs the worker on that runtime instead of a thread of its own.
    ///
    /// When the runtime goes away, the worker continues on a thread of its own with its tasks.
    /// Those that need the runtime then end as failed or panicked; none is lost.
    #[cfg(feature = "tokio")]
    #[cfg_attr(lastout_docsrs, doc(cfg(feature = "tokio")))]
    pub fn on_tokio(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.config.placement = Placement::Tokio(runtime);
        self
    }

    /// Runs the worker on the runtime that calls [`build`](Self::build): see
    /// [`on_tokio`](Self::on_tokio).
    #[cfg(feature = "tokio")]
    #[cfg_attr(lastout_docsrs, doc(cfg(feature = "tokio")))]
    pub fn on_current_tokio(mut self) -> Self {
        self.config.placement = Placement::CurrentTokio;
        self
    }

    /// The configuration, if a worker can be built from it.
    pub(crate) fn check(mut self) -> Result<Config, BuildError> {
        if self.config.concurrency == 0 {
            return Err(BuildError::NoConcurrency);
        }
        if self.config.blocking_threads == 0 {
            return Err(BuildError::NoBlockingThreads);
        }
        if self.config.name.contains('\0') {
            return Err(BuildError::NameWithNul);
        }
        self.config.placement = self.config.placement.resolve()?;
        Ok(self.config)
    }
}

// The hook runs inside a panic barrier.
impl std::panic::UnwindSafe for Builder {}
impl std::panic::RefUnwindSafe for Builder {}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("capacity", &self.capacity)
            .field("concurrency", &self.concurrency)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The largest weight that counts, so that what refused producers hold for a moment fits the gate.
pub(crate) const MAX_WEIGHT: u32 = 1 << 20;

/// Label, timeout and weight of one task. What is not set comes from the worker's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub(crate) label: &'static str,
    pub(crate) timeout: Timeout,
    pub(crate) weight: u32,
}

impl Options {
    /// No label, the worker's timeout, weight 1.
    pub const fn new() -> Self {
        Self { label: "", timeout: Timeout::DEFAULT, weight: 1 }
    }

    /// Names the task in reports and events. Static, so that naming never allocates.
    #[must_use]
    pub const fn label(mut self, label: &'static str) -> Self {
        self.label = label;
        self
    }

    /// Bounds how long the task may run, counted from its start. The time that its blocking closures wait
    /// for a thread does not count. Kept in whole milliseconds, rounded up; above 49 days it is 49 days.
    ///
    /// At its timeout the task is dropped on the worker's thread. While a destructor or a poll blocks that
    /// thread, the timeouts of all tasks are late by as much.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Timeout::of(timeout);
        self
    }

    /// How much of the worker's capacity the task takes until it has ended; 0 counts as 1,
    /// and more than 1 048 576 as that.
    #[must_use]
    pub const fn weight(mut self, weight: u32) -> Self {
        self.weight = if weight == 0 {
            1
        } else if weight > MAX_WEIGHT {
            MAX_WEIGHT
        } else {
            weight
        };
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// A timeout in four bytes, because each queued task carries one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeout(u32);

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DEFAULT => f.write_str("the worker's"),
            Self(ms) => Duration::from_millis(u64::from(ms)).fmt(f),
        }
    }
}

impl Timeout {
    const DEFAULT: Self = Self(u32::MAX);

    const fn of(timeout: Duration) -> Self {
        let ms = timeout.as_nanos().div_ceil(1_000_000);
        Self(if ms < u32::MAX as u128 { ms as u32 } else { u32::MAX - 1 })
    }

    /// The duration, where `default` stands in for a task that did not say.
    pub(crate) fn resolve(self, default: Duration) -> Duration {
        if self == Self::DEFAULT { default } else { Duration::from_millis(u64::from(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_rounded_up_and_never_becomes_the_default() {
        let default = Duration::from_secs(30);
        let of = |timeout| Timeout::of(timeout).resolve(default);
        assert_eq!(of(Duration::ZERO), Duration::ZERO);
        assert_eq!(of(Duration::from_nanos(1)), Duration::from_millis(1));
        assert_eq!(of(Duration::from_millis(7)), Duration::from_millis(7));
        assert_eq!(of(Duration::MAX), Duration::from_millis(u64::from(u32::MAX) - 1));
        assert_eq!(Timeout::DEFAULT.resolve(default), default);
    }

    #[test]
    fn a_weight_of_zero_still_takes_room() {
        assert_eq!(Options::new().weight(0).weight, 1);
    }
}
