//! What the owner's thread has: the engine, the timers, the reactor, and the loop over them.
//!
//! Foreign code runs here in these forms, each under no borrow: tasks and their ends (`task/raw` lists
//! them), the future of `block_on`, wakers of timers that fired (`fire`, `end_timers`), wakers of sockets
//! (`reactor`), and wakers of the shutdown handle when a signal came (`turn`). Their panics end in
//! `contain`, but for that of `block_on`'s own future, which leaves through `block_on`.

use crate::blocking::Pool;
use crate::config::{Idle, Loop};
use crate::coop;
use crate::reactor::Reactor;
use crate::shutdown::ShutdownHandle;
use crate::stats::ShutdownStatsAtomics;
use crate::task::raw::WakerSlot;
use crate::task::{Engine, Join, Origin, Visibility};
use crate::time::clock::{Clock, NEVER, Nanos};
use crate::time::wheel::Wheel;
use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Looks at the inbox between two looks at the clock and the sockets, while spinning.
const SPINS: u32 = 8;

/// Polls of one cycle at most, whatever the builder was told: the deadline of an end, and the future of
/// `block_on`, are looked at between two cycles.
const LONGEST_CYCLE: usize = 1 << 16;

/// How long a runtime that has just received foreign wakes looks for more before it sleeps: about
/// what a burst that has not ended needs to go on, and a fraction of what a sleep costs both sides.
const LINGER: Nanos = 1_000;

/// A runtime, as everything on its thread reaches it.
pub(crate) struct Owner {
    pub(crate) engine: Engine,
    pub(crate) clock: Clock,
    pub(crate) wheel: RefCell<Wheel<WakerSlot>>,
    pub(crate) reactor: Reactor,
    pub(crate) config: Loop,
    pub(crate) shutdown: ShutdownHandle,
    pub(crate) stats: Arc<ShutdownStatsAtomics>,
    pub(crate) blocking: Arc<Pool>,
    pub(crate) worlds: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
    /// Kept to wake from without an allocation.
    fired: RefCell<Vec<WakerSlot>>,
    pub(crate) idle: Cell<Idle>,
    /// When the sockets and timers were last looked at.
    event_time: Cell<Nanos>,
    /// Polls since then.
    polls: Cell<usize>,
    /// Foreign wakes came since the last sleep.
    received: Cell<bool>,
    pub(crate) ended: Cell<bool>,
    #[cfg(feature = "tokio-compat")]
    pub(crate) tokio: RefCell<Option<tokio::runtime::Runtime>>,
    #[cfg(feature = "insight")]
    pub(crate) insight: Option<Rc<crate::insight::probe::Probe>>,
}

thread_local! {
    /// It has no destructor, and `enter` empties it: so it is there while the thread drops its other
    /// thread locals, among which a runtime may be.
    static CURRENT: ManuallyDrop<RefCell<Option<Rc<Owner>>>> =
        const { ManuallyDrop::new(RefCell::new(None)) };
}

impl Owner {
    pub(crate) fn new(
        engine: Engine,
        clock: Clock,
        reactor: Reactor,
        config: Loop,
        blocking: Arc<Pool>,
        capacity: usize,
    ) -> Self {
        let now = clock.now();
        Self {
            engine,
            clock,
            wheel: RefCell::new(Wheel::starting(now)),
            reactor,
            config,
            shutdown: ShutdownHandle::new(),
            stats: Arc::default(),
            blocking,
            worlds: RefCell::default(),
            fired: RefCell::new(Vec::with_capacity(capacity)),
            idle: Cell::new(config.idle),
            event_time: Cell::new(now),
            polls: Cell::new(0),
            received: Cell::new(false),
            ended: Cell::new(false),
            #[cfg(feature = "tokio-compat")]
            tokio: RefCell::new(None),
            #[cfg(feature = "insight")]
            insight: None,
        }
    }

    /// The runtime that runs on this thread, if one does.
    pub(crate) fn current() -> Option<Rc<Self>> {
        CURRENT.with(|current| current.borrow().clone())
    }

    /// Runs `work` as this runtime.
    pub(crate) fn enter<R>(self: &Rc<Self>, work: impl FnOnce() -> R) -> R {
        struct Restore(Option<Rc<Owner>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let before = self.0.take();
                drop(CURRENT.with(|current| current.replace(before)));
            }
        }
        let _restore = Restore(CURRENT.with(|current| current.replace(Some(Rc::clone(self)))));
        let _turns = coop::begin_turns();
        self.engine.enter(work)
    }

    pub(crate) fn spawn<F: Future + 'static>(&self, future: F, origin: Origin) -> Join<F::Output> {
        self.engine.spawn(future, origin, Visibility::Counted)
    }

    /// Spawns a task that serves the runtime itself.
    pub(crate) fn spawn_hidden<F>(&self, future: F, origin: Origin) -> Join<F::Output>
    where
        F: Future + 'static,
    {
        self.engine.spawn(future, origin, Visibility::Hidden)
    }

    /// Tasks that a user spawned and that have not ended.
    pub(crate) fn live(&self) -> usize {
        self.engine.live()
    }

    /// Whether a task is ready, or will be once the inbox is looked at.
    pub(crate) fn has_work(&self) -> bool {
        self.engine.has_ready() || self.engine.has_foreign()
    }

    /// Panics where this runtime must not run: inside a runtime, and in a forked child, which shares
    /// the kernel objects of its parent.
    #[track_caller]
    pub(crate) fn assert_may_run(&self, what: &str) {
        assert!(
            Self::current().is_none(),
            "`{what}` inside a runtime would block the tasks of that runtime"
        );
        assert!(
            self.reactor.is_ours(),
            "`{what}` in a forked child: a runtime does not survive `fork`, build one in the child"
        );
    }

    pub(crate) fn event_time(&self) -> Nanos {
        self.event_time.get()
    }

    /// One round: some tasks, then whatever else is due. Sleeps when there is nothing to do, if it
    /// `may_idle`. Stops as soon as `stop` is set, or a panic waits to be raised.
    pub(crate) fn cycle(&self, stop: &Cell<bool>, may_idle: bool) {
        let Loop { tasks_per_cycle, event_interval, .. } = self.config;
        let before = self.polls.get();
        let until_the_look = event_interval.saturating_sub(before).max(1);
        let budget = tasks_per_cycle.min(until_the_look).min(LONGEST_CYCLE);
        let polls = before.saturating_add(self.engine.run(budget, stop).max(1));
        self.polls.set(polls);
        if self.engine.has_escaped() {
            return;
        }
        if self.engine.has_foreign() {
            self.receive();
        }
        if polls >= event_interval {
            self.look();
        } else if may_idle && !stop.get() && !self.engine.has_ready() {
            self.idle(None);
        }
    }

    /// Unwinds with the panic of a detached task, under the policy that passes it on. One
    /// leaves at a time; the others are still there for the next call.
    pub(crate) fn raise_escaped(&self) {
        if let Some(payload) = self.engine.take_escaped() {
            std::panic::resume_unwind(payload);
        }
    }

    /// The runtime has ended: timers that other executors poll ask again, and find out.
    pub(crate) fn end_timers(&self) {
        let mut wakers = Vec::new();
        self.wheel.borrow_mut().each_value(|waker| wakers.push(std::mem::take(waker)));
        wakers.into_iter().for_each(WakerSlot::wake);
    }

    /// Looks at sockets and timers without waiting.
    pub(crate) fn look(&self) {
        self.turn(Some(Duration::ZERO));
    }

    /// Waits for sockets, the inbox, or `timeout`; fires timers.
    fn turn(&self, timeout: Option<Duration>) {
        self.polls.set(0);
        if self.reactor.turn(timeout) {
            self.shutdown.trigger();
        }
        self.fire();
    }

    fn fire(&self) {
        let now = self.clock.now();
        self.event_time.set(now);
        let mut wheel = self.wheel.borrow_mut();
        if wheel.armed() == 0 {
            return;
        }
        let mut fired = self.fired.take();
        wheel.turn(now, |waker| fired.push(waker));
        drop(wheel);
        fired.drain(..).for_each(WakerSlot::wake);
        self.fired.replace(fired);
    }

    /// When a sleep must end, as a wait.
    fn timeout(&self, deadline: Option<Nanos>) -> Option<Duration> {
        let turn = self.wheel.borrow().next_turn();
        let until = turn.into_iter().chain(deadline).min()?;
        Some(Duration::from_nanos(until.saturating_sub(self.clock.now())))
    }

    /// Nothing is ready: waits, until `deadline` at most.
    pub(crate) fn idle(&self, deadline: Option<Nanos>) {
        if self.clock.is_virtual() {
            return self.idle_virtual(deadline);
        }
        match self.idle.get() {
            Idle::Park => self.park(deadline),
            Idle::SpinThenPark(window) if self.spin(window, deadline) => {}
            Idle::SpinThenPark(_) => self.park(deadline),
            Idle::Busy => {
                self.look();
                std::hint::spin_loop();
            }
        }
    }

    /// Watches the inbox, and now and then the sockets and timers, for at most `window` and not past
    /// `deadline`; `true` when something came.
    fn spin(&self, window: Duration, deadline: Option<Nanos>) -> bool {
        let end = self.clock.after(window).min(deadline.unwrap_or(NEVER));
        loop {
            for _ in 0..SPINS {
                if self.engine.has_foreign() {
                    self.receive();
                    return true;
                }
                std::hint::spin_loop();
            }
            self.look();
            if self.engine.has_ready() {
                return true;
            }
            if self.event_time() >= end {
                return false;
            }
        }
    }

    /// Takes what the inbox has, and withdraws the announcement of a sleep.
    fn receive(&self) {
        if self.engine.drain(self.config.drain_limit) > 0 {
            self.received.set(true);
        }
    }

    /// Waits a moment for more foreign wakes; `true` when they came.
    fn linger(&self) -> bool {
        let end = self.clock.now() + LINGER;
        while !self.engine.has_foreign() {
            if self.clock.now() >= end {
                return false;
            }
        }
        self.receive();
        true
    }

    fn park(&self, deadline: Option<Nanos>) {
        if self.received.take() && !self.clock.is_virtual() && self.linger() {
            return;
        }
        let timeout = self.timeout(deadline);
        if timeout == Some(Duration::ZERO) || !self.engine.park() {
            self.look();
        } else {
            self.turn(timeout);
        }
        self.receive();
    }

    /// A virtual clock jumps to the next timer when nothing else can happen.
    fn idle_virtual(&self, deadline: Option<Nanos>) {
        self.look();
        if self.has_work() {
            return;
        }
        if self.blocking.is_busy() {
            // The pool unparks the runtime when it is not.
            return self.park(deadline);
        }
        #[cfg(feature = "testing")]
        {
            let turn = self.wheel.borrow().next_turn();
            if let Some(until) = turn.into_iter().chain(deadline).min() {
                self.clock.advance_to(until);
                return self.fire();
            }
        }
        self.park(deadline);
    }
}
