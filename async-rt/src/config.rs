//! What a runtime is told when it is built: plain data. `builder.rs` checks it and builds.

use std::time::Duration;

/// What a runtime does when no task is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Idle {
    /// Sleeps in the kernel at once. The default.
    #[default]
    Park,
    /// Watches for wakes, sockets and timers for this long before it sleeps. A wake in that time
    /// costs the path between two cores instead of the path through the kernel; the price is a core
    /// kept busy. 10 to 50 µs are sensible; on a machine with one core any is harmful.
    SpinThenPark(Duration),
    /// Never sleeps.
    Busy,
}

/// Where the panic of a task goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// To the join handle; of a detached task, nowhere but into the count. The default.
    #[default]
    Join,
    /// To the join handle; of a detached task, out of `block_on`, which may be called again.
    Propagate,
}

/// The knobs of the loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loop {
    pub(crate) tasks_per_cycle: usize,
    pub(crate) event_interval: usize,
    pub(crate) drain_limit: usize,
    pub(crate) idle: Idle,
}

/// What tests ask for.
#[cfg(feature = "testing")]
#[derive(Debug, Default)]
pub(crate) struct Testing {
    pub(crate) virtual_clock: bool,
    pub(crate) seed: Option<u64>,
    pub(crate) reference: bool,
}
