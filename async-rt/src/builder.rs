//! `Builder`: the knobs of a runtime, checked when it is built.

use crate::blocking::{Limits, Pool};
use crate::config::{Idle, Loop, PanicPolicy};
use crate::error::BuildError;
use crate::owner::Owner;
use crate::reactor::Reactor;
use crate::runtime::Runtime;
use crate::sys;
use crate::task::{Engine, EngineConfig, SlabConfig, raw};
use crate::time::clock::Clock;
use std::rc::Rc;

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
    pub(crate) testing: crate::config::Testing,
    #[cfg(feature = "insight")]
    pub(crate) insight: crate::insight::probe::Wanted,
}

impl Builder {
    fn new() -> Self {
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
            testing: crate::config::Testing::default(),
            #[cfg(feature = "insight")]
            insight: crate::insight::probe::Wanted::default(),
        }
    }

    /// Polls between two looks at the inbox and the future of `block_on` (default 64). A number above
    /// [`event_interval`](Self::event_interval), or above 65 536, is reduced to the smaller of the two.
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

    /// Socket events taken from the kernel at once (default 256; zero means one; at most 65 536).
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
    /// come back with the last such runtime. Windows has no such signals: there a runtime that asks for them is
    /// refused.
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
    /// [`BuildError::Zero`] for a number that must be at least one, [`BuildError::TooLarge`] for one
    /// that the machine has no memory for or the kernel does not take, [`BuildError::Os`] when the
    /// system has no descriptor left or refuses the signal handlers.
    pub fn build(self) -> Result<Runtime, BuildError> {
        self.check()?;
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
        let blocking = Pool::new(self.blocking, reactor.unpark());
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

    fn check(&self) -> Result<(), BuildError> {
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
        if self.event_capacity > sys::MOST_EVENTS {
            return Err(BuildError::TooLarge {
                option: "event_capacity",
                value: self.event_capacity,
            });
        }
        for (option, value, bytes) in [
            ("queue_capacity", self.queue_capacity, BYTES_PER_TIMER),
            ("task_capacity", self.task_capacity, BYTES_PER_ENTRY),
            ("event_capacity", self.event_capacity, BYTES_PER_EVENT),
        ] {
            reserve(value, bytes).ok_or(BuildError::TooLarge { option, value })?;
        }
        if let Some(slab) = self.slab {
            let too_large = BuildError::TooLarge { option: "slots", value: slab.count };
            let slot = raw::slot_bytes(slab.slot_size)
                .ok_or(BuildError::TooLarge { option: "slot_size", value: slab.slot_size })?;
            reserve(1, slot)
                .ok_or(BuildError::TooLarge { option: "slot_size", value: slab.slot_size })?;
            reserve(slab.count, slot).ok_or(too_large)?;
        }
        Ok(())
    }
}

/// What an entry of the vectors that are allocated at once takes, at most.
const BYTES_PER_TIMER: usize = 16;
const BYTES_PER_ENTRY: usize = 24;
const BYTES_PER_EVENT: usize = 16;

/// Whether memory for so many entries can be had now: it is taken and given back.
fn reserve(count: usize, bytes: usize) -> Option<()> {
    Vec::<u8>::new().try_reserve_exact(count.checked_mul(bytes)?).ok()
}

impl Runtime {
    /// A runtime with the default knobs.
    ///
    /// # Errors
    /// When the system has no descriptor left for it.
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// A runtime with knobs.
    pub fn builder() -> Builder {
        Builder::new()
    }
}
