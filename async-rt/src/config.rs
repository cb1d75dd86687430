//! `Builder`: the knobs of a runtime, checked when it is built.

use crate::blocking::{Limits, Pool};
use crate::error::BuildError;
use crate::owner::Owner;
use crate::reactor::Reactor;
use crate::runtime::Runtime;
use crate::task::{Engine, EngineConfig, SlabConfig};
use crate::time::clock::Clock;
use std::rc::Rc;
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

/// Builds a [`Runtime`].
///
/// ```
/// use lastout_async_rt::{Idle, Runtime};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), lastout_async_rt::BuildError> {
/// let runtime = Runtime::builder()
///     .idle(Idle::SpinThenPark(Duration::from_micros(20)))
///     .slab_bounded(256, 1024)
///     .build()?;
/// # drop(runtime);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Builder {
    looping: Loop,
    queue_capacity: usize,
    task_capacity: usize,
    event_capacity: usize,
    slab: Option<SlabConfig>,
    blocking: Limits,
    signals: bool,
    panics: PanicPolicy,
    #[cfg(feature = "testing")]
    pub(crate) testing: crate::testing::Testing,
    #[cfg(feature = "insight")]
    pub(crate) insight: crate::insight::Insight,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            looping: Loop {
                tasks_per_cycle: 64,
                event_interval: 256,
                drain_limit: usize::MAX,
                idle: Idle::Park,
            },
            queue_capacity: 64,
            task_capacity: 64,
            event_capacity: 256,
            slab: None,
            blocking: Limits::default(),
            signals: false,
            panics: PanicPolicy::Join,
            #[cfg(feature = "testing")]
            testing: crate::testing::Testing::default(),
            #[cfg(feature = "insight")]
            insight: crate::insight::Insight::default(),
        }
    }

    /// Polls between two looks at the inbox and the future of `block_on` (default 64).
    pub fn tasks_per_cycle(mut self, tasks: usize) -> Self {
        self.looping.tasks_per_cycle = tasks;
        self
    }

    /// Polls between two looks at sockets and timers while tasks are ready (default 256). A look
    /// costs a system call; a smaller number bounds how long ready tasks can keep sockets waiting.
    pub fn event_interval(mut self, polls: usize) -> Self {
        self.looping.event_interval = polls;
        self
    }

    /// Foreign wakes taken from the inbox at once (default: all), so that a flood of them cannot
    /// keep local tasks waiting.
    pub fn cross_thread_drain_limit(mut self, wakes: usize) -> Self {
        self.looping.drain_limit = wakes;
        self
    }

    /// Timers that fire at one look to have room for from the start (default 64). Ready tasks need no
    /// room: they are linked to each other.
    pub fn queue_capacity(mut self, tasks: usize) -> Self {
        self.queue_capacity = tasks;
        self
    }

    /// Tasks to have room for in the table from the start (default 64).
    pub fn task_capacity(mut self, tasks: usize) -> Self {
        self.task_capacity = tasks;
        self
    }

    /// Socket events taken from the kernel at once (default 256; zero means one).
    pub fn event_capacity(mut self, events: usize) -> Self {
        self.event_capacity = events;
        self
    }

    /// What to do when no task is ready.
    pub fn idle(mut self, idle: Idle) -> Self {
        self.looping.idle = idle;
        self
    }

    /// A slab for [`spawn_slab`](crate::spawn_slab): `slots` places of at least `slot_size` bytes,
    /// header included, and no more. Zero slots are a slab that is always full. A slot is taken until
    /// its task has ended and the last waker and handle of that task are gone.
    pub fn slab_bounded(mut self, slots: usize, slot_size: usize) -> Self {
        self.slab = Some(SlabConfig { slot_size, count: slots, unbounded: false });
        self
    }

    /// A slab that starts with `slots` places and doubles when they are taken.
    pub fn slab_unbounded(mut self, slots: usize, slot_size: usize) -> Self {
        self.slab = Some(SlabConfig { slot_size, count: slots, unbounded: true });
        self
    }

    /// Threads of the blocking pool at most (default 16). They are started as closures need them, and
    /// end when they have had nothing to do for ten seconds.
    pub fn blocking_threads(mut self, threads: usize) -> Self {
        self.blocking.threads = threads;
        self
    }

    /// Closures that may wait for a thread of the blocking pool (default 4096). One more is refused.
    pub fn blocking_queue(mut self, closures: usize) -> Self {
        self.blocking.waiting = closures;
        self
    }

    /// Handles SIGINT and SIGTERM for the whole process while this runtime lives: they trigger its
    /// [`ShutdownHandle`](crate::ShutdownHandle) (default: no). Handlers that were installed before
    /// come back with the last such runtime.
    pub fn signal_handlers(mut self, on: bool) -> Self {
        self.signals = on;
        self
    }

    /// Where panics of tasks go.
    pub fn panic_policy(mut self, policy: PanicPolicy) -> Self {
        self.panics = policy;
        self
    }

    /// Builds the runtime, which belongs to this thread.
    ///
    /// # Errors
    /// [`BuildError::Zero`] for a number that must be at least one, [`BuildError::Os`] when the
    /// system has no descriptor left or refuses the signal handlers.
    pub fn build(self) -> Result<Runtime, BuildError> {
        for (option, value) in [
            ("tasks_per_cycle", self.looping.tasks_per_cycle),
            ("event_interval", self.looping.event_interval),
            ("cross_thread_drain_limit", self.looping.drain_limit),
            ("blocking_threads", self.blocking.threads),
            ("blocking_queue", self.blocking.waiting),
        ] {
            if value == 0 {
                return Err(BuildError::Zero { option });
            }
        }
        let reactor = Reactor::new(self.event_capacity, self.signals)
            .map_err(|source| BuildError::Os { what: "create its epoll and eventfd", source })?;
        #[cfg(feature = "insight")]
        let insight = self.insight.probe()?;
        let engine = EngineConfig {
            task_capacity: self.task_capacity,
            slab: self.slab,
            propagate: self.panics == PanicPolicy::Propagate,
            #[cfg(feature = "testing")]
            seed: self.testing.seed,
            #[cfg(feature = "insight")]
            probe: insight.clone(),
        };
        #[cfg(feature = "testing")]
        let clock =
            if self.testing.virtual_clock { Clock::virtual_from_now() } else { Clock::real() };
        #[cfg(not(feature = "testing"))]
        let clock = Clock::real();
        let unpark = reactor.unpark();
        let blocking = Pool::new(self.blocking, clock.is_virtual().then(|| reactor.unpark()));
        #[cfg(feature = "testing")]
        let engine = if self.testing.reference {
            Engine::reference(engine, unpark)
        } else {
            Engine::raw(engine, unpark)
        };
        #[cfg(not(feature = "testing"))]
        let engine = Engine::raw(engine, unpark);
        #[cfg_attr(not(feature = "insight"), expect(unused_mut, reason = "set with the feature"))]
        let mut owner =
            Owner::new(engine, clock, reactor, self.looping, blocking, self.queue_capacity);
        #[cfg(feature = "insight")]
        {
            owner.insight = insight;
        }
        Ok(Runtime::from_owner(Rc::new(owner)))
    }
}
