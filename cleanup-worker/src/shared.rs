//! What all ends of a worker share: the way in, the gate, and the side that only the worker works at.
//!
//! The submit path reads three words that hardly ever change (which process this is, whether a
//! worker runs), takes room (a plain submit) and swaps. It takes no lock, calls no user code and
//! touches no thread-local; locks come in only once the worker has ended or is to be started.

mod life;

use crate::config::Config;
use crate::error::{RejectReason, Rejected};
use crate::event::Event;
use crate::fork;
use crate::gate::{Gate, NoRoom, Quiet};
use crate::inbox::{Inbox, Pushed, push_kept};
use crate::node::{Meta, Node, Origin, TypedNode};
use crate::side::{Side, Sides};
use crate::state::{Doomed, Intake, State};
use crate::stats::Stats;
use crate::sync::{Arc, AtomicU32, AtomicU64, Padded, lock, on};
use crate::task::{Cleanup, Options};
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

/// The number of no process: see [`fork`].
const STOPPED: u32 = u32::MAX;

pub(crate) struct Shared {
    inbox: Padded<Inbox>,
    gate: Gate,
    /// The process in which a driver runs, or is being started; [`STOPPED`] when there is none.
    live: AtomicU32,
    /// The process this belongs to: see [`fork`].
    generation: AtomicU32,
    #[cfg(feature = "tokio")]
    built_in: u32,
    /// The process that began anew last, or is at it.
    beginning: AtomicU32,
    /// Lazy handles, and guards that they armed: while there are any, the driver looks by its timer.
    lazy: AtomicU64,
    pub(crate) config: Config,
    sides: Sides,
    refused: AtomicU64,
    pub(crate) starts: AtomicU64,
    start_failures: AtomicU64,
}

// Each critical section leaves its data whole, and no code of a user runs inside one: what a caught panic
// leaves behind is never half done.
impl std::panic::UnwindSafe for Shared {}
impl std::panic::RefUnwindSafe for Shared {}

impl Shared {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        let sides = Sides::new(&config);
        Arc::new(Self {
            inbox: Padded(Inbox::new()),
            gate: Gate::new(config.capacity),
            live: AtomicU32::new(STOPPED),
            generation: AtomicU32::new(fork::generation()),
            #[cfg(feature = "tokio")]
            built_in: fork::generation(),
            beginning: AtomicU32::new(fork::generation()),
            lazy: AtomicU64::new(0),
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
        shared.live.store(shared.generation(), Relaxed);
        shared
    }

    /// Submits: an allocation, a room and a swap.
    #[inline]
    pub(crate) fn submit<T: Cleanup>(
        this: &Arc<Self>,
        task: T,
        options: Options,
        lazy: bool,
    ) -> Result<(), Rejected<T>> {
        let settled = this.is_settled();
        if !settled {
            this.check_process();
        }
        if let Err((reason, quiet)) = this.gate.submit(options.weight) {
            return Err(this.refuse(reason, quiet, options, task));
        }
        let origin = Origin { armed: false, lazy };
        match TypedNode::new(task, this.meta(options, origin), None) {
            Ok(node) => {
                Self::push(this, node.erase());
                if !settled {
                    Self::ensure_running(this);
                }
                Ok(())
            }
            Err(task) => {
                let quiet = this.gate.release(options.weight);
                Err(this.out_of_memory(options, task, quiet))
            }
        }
    }

    /// Reserves and allocates all that the drop of the guard will need.
    pub(crate) fn arm<T: Cleanup>(
        this: &Arc<Self>,
        task: T,
        options: Options,
        lazy: bool,
    ) -> Result<TypedNode<T>, Rejected<T>> {
        this.check_process();
        if let Err((reason, quiet)) = this.gate.arm(options.weight) {
            return Err(this.refuse(reason, quiet, options, task));
        }
        Self::ensure_running(this);
        let origin = Origin { armed: true, lazy };
        let keep = Some(Arc::clone(this));
        let node = TypedNode::new(task, this.meta(options, origin), keep).map_err(|task| {
            let quiet = this.gate.disarm(options.weight);
            this.out_of_memory(options, task, quiet)
        })?;
        if lazy {
            this.lazy_begins();
        }
        Ok(node)
    }

    /// The task of a guard goes back to its owner, and the room is free again.
    pub(crate) fn disarm<T>(mut node: TypedNode<T>) -> T {
        let header = node.header_mut();
        let shared = header.keep.take();
        let (weight, generation) = (header.meta.options.weight, header.meta.generation);
        let lazy = header.meta.origin.lazy;
        let task = node.into_task();
        if let Some(shared) = shared {
            shared.check_process();
            if generation == shared.generation() {
                let quiet = shared.gate.disarm(weight);
                shared.tell(quiet);
                if lazy {
                    shared.lazy_ends();
                }
            }
        }
        task
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

    /// Drops a guard: the node holds everything, this thread needs nothing but the swap.
    #[inline]
    pub(crate) fn push_armed(node: Node) {
        let settled = node.header().keep.as_ref().is_some_and(|shared| shared.is_settled());
        if !settled {
            return Self::push_unsettled(node);
        }
        push_kept(node);
    }

    #[cold]
    #[inline(never)]
    fn push_unsettled(node: Node) {
        // An armed node has its queue from `arm` until it is taken.
        if let Some(shared) = node.header().keep.clone() {
            shared.check_process();
            Self::push(&shared, node);
            Self::ensure_running(&shared);
        }
    }

    /// What the first push into an empty inbox has to do.
    pub(crate) fn after_first(pushed: Pushed) {
        match pushed {
            Pushed::Joined | Pushed::Late(None) => {}
            Pushed::Edge(waker) => wake(waker),
            Pushed::Late(Some(shared)) => Self::sweep(&shared),
        }
    }

    fn meta(&self, options: Options, origin: Origin) -> Meta {
        Meta { options, generation: self.generation(), origin }
    }

    #[inline]
    fn push(this: &Arc<Self>, node: Node) {
        match this.inbox.push(node) {
            Pushed::Joined => {}
            Pushed::Edge(waker) => wake(waker),
            Pushed::Late(_) => Self::sweep(this),
        }
    }

    /// The worker has ended and this node came too late: what is in the inbox is abandoned here.
    #[cold]
    fn sweep(this: &Arc<Self>) {
        if on("i2.late") {
            let doomed = this.state().take_late(this.intake(), this.config.clock.now());
            this.doom(doomed);
        }
    }

    /// Drops tasks that were given up, and counted as such, and tells about them.
    pub(crate) fn doom(&self, doomed: Vec<Doomed>) {
        for Doomed { node, info } in doomed {
            if let Some(node) = node {
                crate::contain::drop_quietly(node);
                if info.charged {
                    let quiet = self.gate.release(info.weight);
                    self.tell(quiet);
                }
            }
            let age = self.age(info.since);
            self.report(&Event::Abandoned { label: info.label, age });
        }
        self.tell(Quiet(true));
    }

    /// Wakes those who wait for something that may have come true.
    pub(crate) fn tell(&self, quiet: Quiet) {
        if quiet.0 {
            let (wakers, unattended) = {
                let mut state = self.state();
                (state.satisfied(&self.gate), state.unattended)
            };
            wakers.into_iter().for_each(wake);
            if unattended {
                self.side().ready.kick.wake();
            }
        }
    }

    #[cold]
    fn refuse<T>(&self, reason: NoRoom, quiet: Quiet, options: Options, task: T) -> Rejected<T> {
        self.tell(quiet);
        let reason = match reason {
            NoRoom::Full => RejectReason::Full,
            NoRoom::Closed => RejectReason::Closed,
        };
        self.rejected(reason, options, task)
    }

    #[cold]
    fn out_of_memory<T>(&self, options: Options, task: T, quiet: Quiet) -> Rejected<T> {
        self.tell(quiet);
        self.rejected(RejectReason::OutOfMemory, options, task)
    }

    fn rejected<T>(&self, reason: RejectReason, options: Options, task: T) -> Rejected<T> {
        self.refused.fetch_add(1, Relaxed);
        self.report(&Event::Refused { label: options.label, reason });
        Rejected::new(reason, task)
    }

    /// Tells the event hook, and `tracing`.
    pub(crate) fn report(&self, event: &Event<'_>) {
        crate::event::emit(event, self.config.on_event.as_deref());
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    pub(crate) fn intake(&self) -> Intake<'_> {
        Intake {
            inbox: &self.inbox,
            gate: &self.gate,
            generation: self.generation(),
            lazy: &self.lazy,
        }
    }

    pub(crate) fn side(&self) -> &Side {
        self.sides.last()
    }

    pub(crate) fn state(&self) -> crate::sync::MutexGuard<'_, State> {
        lock(&self.side().state)
    }

    /// Takes `since` by the clock of the worker.
    pub(crate) fn age(&self, since: std::time::Instant) -> std::time::Duration {
        self.config.clock.now().saturating_duration_since(since)
    }

    pub(crate) fn stats(&self) -> Stats {
        self.check_process();
        let now = self.config.clock.now();
        let mut state = self.state();
        let late = state.take_late(self.intake(), now);
        let room = self.gate.snapshot();
        let unended = state.unended();
        let stats = Stats {
            refused: self.refused.load(Relaxed),
            queued: state.queued(),
            in_flight: unended - state.queued(),
            oldest: state.oldest().map(|since| now.saturating_duration_since(since)),
            armed: room.armed(),
            used: room.armed() + room.submitted(),
            capacity: self.gate.capacity(),
            wakes: self.inbox.wakes(),
            starts: self.starts.load(Relaxed),
            start_failures: self.start_failures.load(Relaxed),
            stuck_blocking: self.side().pool.stuck(),
            ..state.ledger.counts()
        };
        drop(state);
        self.doom(late);
        stats
    }
}

fn wake(waker: Waker) {
    // Wakers of other runtimes are not ours to trust.
    let _ = crate::contain::contain(move || waker.wake());
}
