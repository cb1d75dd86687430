//! What all ends of a worker share: the way in, the gate, and the side that only the worker works at.
//!
//! A task passes each file once on its way down and once on its way up:
//!
//! ```text
//!   in:    handle ─► gate ─► node ─► inbox                     then the driver is woken: ready, driver::launch
//!   run:   driver ─► state ─► state::slots ─► node ─► task     and for a closure: context ─► pool
//!   end:   driver ─► event ─► state ─► waiting::ledger ─► gate ─► waiting     which finds the flushes to wake
//! ```
//!
//! The submit path reads three words that hardly ever change (which process this is, whether a
//! worker runs), takes room (a plain submit) and swaps. Everything else is on the [`Side`], which a
//! forked child gets anew, because a lock of the parent may be held for ever there. In the child the parent's
//! side is neither used nor dropped, and no number that the parent gave (to a task, a wait, a timer) is given
//! there again: what comes over the fork finds nothing.

use crate::clock::Alarm;
use crate::config::Config;
use crate::contain::{Identity, drop_quietly};
use crate::event::Event;
use crate::fork::{self, PerProcess};
use crate::gate::{Drained, Gate};
use crate::inbox::Inbox;
use crate::pool::Pool;
use crate::ready::Ready;
use crate::state::{Intake, State};
use crate::stats::Stats;
use crate::sync::process::AtomicU32 as ProcessU32;
use crate::sync::{Arc, AtomicU32, AtomicU64, Mutex, MutexGuard, Padded, lock, yield_now};
use std::sync::Arc as StdArc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::thread::JoinHandle;

/// How many bits the numbers have that a process gives to tasks, waits and timers.
const NUMBERS: u32 = 40;

/// The number of no process: see [`fork`].
const STOPPED: u32 = u32::MAX;

pub(crate) struct Shared {
    inbox: Padded<Inbox<Arc<Self>>>,
    gate: Gate,
    /// The process in which a driver runs, or is being started; [`STOPPED`] when there is none.
    live: AtomicU32,
    /// The process this belongs to: see [`fork`].
    generation: ProcessU32,
    #[cfg(feature = "tokio")]
    built_in: u32,
    /// The process that began anew last, or is at it.
    beginning: ProcessU32,
    /// Lazy handles, and guards that they armed: while there are any, the driver looks by its timer.
    lazy: AtomicU64,
    /// In a forked child, the weight of the guards that were armed at the fork and are not gone here.
    inherited: AtomicU64,
    pub(crate) config: Config,
    sides: PerProcess<Side>,
    refused: AtomicU64,
    pub(crate) starts: AtomicU64,
    pub(crate) start_failures: AtomicU64,
}

impl Drop for Shared {
    /// The last one may be a handle or a guard in an unwind, and what the hook owns is a user's.
    fn drop(&mut self) {
        drop_quietly(self.config.on_event.take());
    }
}

// Each critical section leaves its data whole, and no code of a user runs inside one: what a caught panic
// leaves behind is never half done.
impl std::panic::UnwindSafe for Shared {}
impl std::panic::RefUnwindSafe for Shared {}

/// What a worker runs on, to be joined when it has finished.
pub(crate) enum Placed {
    Thread(JoinHandle<()>),
    #[cfg(feature = "tokio")]
    Tokio(tokio::task::JoinHandle<()>, tokio::runtime::Id),
}

/// What producers never touch: the lock, the threads, the timers.
pub(crate) struct Side {
    pub(crate) state: Mutex<State<Arc<Shared>>>,
    pub(crate) ready: StdArc<Ready>,
    pub(crate) pool: StdArc<Pool>,
    pub(crate) alarm: StdArc<Alarm>,
    /// The thread or runtime task that drives, to be joined.
    pub(crate) placed: Mutex<Option<Placed>>,
    /// The thread that drops what was given up while a task holds the driver, to be joined.
    pub(crate) sweeper: Mutex<Option<JoinHandle<()>>>,
}

impl Side {
    fn new(config: &Config, generation: u32) -> Self {
        let first = u64::from(generation) << NUMBERS;
        let ready = Ready::new();
        config.clock.follow(&ready);
        let pool = Pool::new(config.blocking_threads, &config.name);
        Self {
            state: Mutex::new(State::new(config.concurrency, pool.stuck_count(), first)),
            ready,
            pool,
            alarm: Alarm::new(first),
            placed: Mutex::new(None),
            sweeper: Mutex::new(None),
        }
    }
}

impl Shared {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        let generation = fork::generation();
        let sides = PerProcess::new(Side::new(&config, generation));
        Arc::new(Self {
            inbox: Padded(Inbox::new()),
            gate: Gate::new(config.capacity),
            live: AtomicU32::new(STOPPED),
            generation: ProcessU32::new(generation),
            #[cfg(feature = "tokio")]
            built_in: generation,
            beginning: ProcessU32::new(generation),
            lazy: AtomicU64::new(0),
            inherited: AtomicU64::new(0),
            sides,
            refused: AtomicU64::new(0),
            starts: AtomicU64::new(0),
            start_failures: AtomicU64::new(0),
            config,
        })
    }

    /// A worker whose driver the test or model itself is.
    #[cfg(test)]
    pub(crate) fn for_model(config: Config) -> Arc<Self> {
        let shared = Self::new(config);
        assert!(shared.begin_start() && shared.state().take_seat());
        shared
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(crate) fn inbox(&self) -> &Inbox<Arc<Self>> {
        &self.inbox
    }

    pub(crate) fn intake(&self) -> Intake<'_, Arc<Self>> {
        Intake {
            inbox: &self.inbox,
            gate: &self.gate,
            generation: self.generation(),
            lazy: &self.lazy,
            inherited: &self.inherited,
        }
    }

    pub(crate) fn side(&self) -> &Side {
        self.check_process();
        self.sides.last()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State<Arc<Self>>> {
        lock(&self.side().state)
    }

    /// What a thread is told apart by that runs a task of this worker in this process.
    pub(crate) fn identity(this: &Arc<Self>) -> Identity {
        Identity::new(Arc::as_ptr(this).addr(), this.generation())
    }

    /// Takes `since` by the clock of the worker.
    pub(crate) fn age(&self, since: std::time::Instant) -> std::time::Duration {
        self.config.clock.now().saturating_duration_since(since)
    }

    /// Gives other threads to the closures behind those that go on without their tasks. Where there is none
    /// for them, the time of their tasks goes on.
    pub(crate) fn replace_stuck(&self) {
        let side = self.side();
        if side.pool.stuck() > 0 && side.pool.replace_stuck() {
            self.state().go_on_all(self.config.clock.now());
            side.ready.kick.wake();
        }
    }

    /// Tells the event hook, and `tracing`.
    pub(crate) fn report(&self, event: &Event<'_>) {
        crate::event::emit(event, self.config.on_event.as_deref());
    }

    /// A lazy handle or guard was made.
    pub(crate) fn lazy_begins(&self) {
        if self.lazy.fetch_add(1, Relaxed) == 0 {
            self.side().ready.kick.wake();
        }
    }

    /// One is gone; after the last one the driver looks once more before it sleeps without a timer.
    pub(crate) fn lazy_ends(&self) {
        if self.lazy.fetch_sub(1, Relaxed) == 1 {
            self.side().ready.kick.wake();
        }
    }

    pub(crate) fn is_lazy(&self) -> bool {
        self.lazy.load(Relaxed) > 0
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// A guard that was armed before the fork is gone in this process.
    pub(crate) fn disinherit(&self, weight: u32) {
        crate::state::disinherit(&self.inherited, weight);
    }

    pub(crate) fn inherited(&self) -> u64 {
        self.inherited.load(Relaxed)
    }

    /// Wakes the waiters for a drained gate, if it is drained.
    pub(crate) fn tell(&self, drained: Drained) {
        if drained.is_so() {
            let (nudge, unattended) = {
                let mut state = self.state();
                (state.nudge(self.intake()), state.unattended)
            };
            nudge.wake();
            if unattended {
                self.side().ready.kick.wake();
            }
        }
    }

    /// The numbers, and whether something was given up that falls to the caller to drop.
    pub(crate) fn stats(&self) -> (Stats, bool) {
        self.check_process();
        let now = self.config.clock.now();
        let mut state = self.state();
        state.look(self.intake(), now);
        let room = self.gate.snapshot();
        let (pool, alarm) = (&self.side().pool, &self.side().alarm);
        let stats = Stats {
            refused: self.refused.load(Relaxed),
            armed: room.armed(),
            used: room.armed() + room.submitted(),
            capacity: self.gate.capacity(),
            wakes: self.inbox.wakes(),
            starts: self.starts.load(Relaxed),
            start_failures: self.start_failures.load(Relaxed) + pool.refusals() + alarm.refusals(),
            stuck_blocking: pool.stuck(),
            ..state.stats(now)
        };
        (stats, state.must_sweep_here())
    }

    /// Claims the start of a driver; `false` when there is one, or another caller starts it.
    pub(crate) fn begin_start(&self) -> bool {
        // ORDERING: one caller wins and starts; nothing else is published by it.
        self.live.compare_exchange(STOPPED, self.generation(), AcqRel, Relaxed).is_ok()
    }

    pub(crate) fn set_stopped(&self) {
        // ORDERING: pairs with the exchange in `begin_start`.
        self.live.store(STOPPED, Release);
    }

    pub(crate) fn is_running(&self) -> bool {
        // ORDERING: pairs with `set_stopped`.
        self.live.load(Acquire) != STOPPED
    }

    /// Whether this is the process it was, and a driver runs: then a push needs nothing more. In a
    /// forked child the mark is another one, and without a driver there is no such process.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        fork::is_marked(self.live.load(Relaxed))
    }

    /// Whether this is the process that the worker was built in, and not a forked child of it.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_first_process(&self) -> bool {
        self.generation() == self.built_in
    }

    pub(crate) fn generation(&self) -> u32 {
        // ORDERING: pairs with the store in `begin_anew`.
        self.generation.load(Acquire)
    }

    /// In a forked child, once: leaves everything of the parent's alone and begins anew.
    #[inline]
    pub(crate) fn check_process(&self) {
        if !fork::is_generation(self.generation()) {
            self.begin_anew();
        }
    }

    #[cold]
    fn begin_anew(&self) {
        let now = fork::generation();
        let before = self.beginning.load(Relaxed);
        let turn = self.beginning.compare_exchange(before, now, Relaxed, Relaxed);
        if before == now || turn.is_err() {
            // Another thread of this child is at it: a few stores and two allocations.
            while self.generation() != now {
                yield_now();
            }
            return;
        }
        self.inbox.abandon_inherited();
        self.inherited.fetch_add(self.gate.reset(), Relaxed);
        let _ = self.sides.own(|| Side::new(&self.config, now));
        for counter in [&self.refused, &self.starts, &self.start_failures] {
            counter.store(0, Relaxed);
        }
        self.live.store(STOPPED, Relaxed);
        // ORDERING: publishes the new side to threads of this child that read the generation.
        self.generation.store(now, Release);
    }
}
