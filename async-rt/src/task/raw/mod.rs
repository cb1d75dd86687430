//! The intrusive core: one allocation per task, owner-only cells beside one shared word.
//!
//! ```text
//!            schedule (owner)                        complete
//!   Idle ─────────────► ready queue ─► Running ─┬──────────────► Done ── take / clear ──► empty
//!    ▲   wake_by_ref (foreign) ─► inbox ─► drain│                  ▲
//!    └──────────────────────────────────────────┘ Pending          │
//!                     aborted, or the runtime ends ── cancel ──────┘
//! ```
//!
//! Every arrow but `wake_by_ref` is taken by the owner's thread. No locked instruction is on the
//! owner's path unless a waker is cloned or dropped. A task may sit in both queues; the second
//! entry is harmless.

mod cell;
mod context;
mod header;
mod join;
mod ready;
mod shared;
mod slot;
mod slots;
mod wake;

pub(crate) use cell::layout_of;
pub(crate) use join::RawJoin;
pub(crate) use slot::WakerSlot;
pub(crate) use slots::{SLOT_ALIGN, Slot};
pub(crate) use wake::RawAbort;

use crate::error::{JoinError, Payload};
use crate::inbox::Batch;
use crate::sync::lock;
use crate::sys::Unpark;
#[cfg(feature = "insight")]
use crate::task::TaskView;
use crate::task::{EngineConfig, Origin, ShutdownCounts, TaskCounts};
use crate::{coop, trace};
use cell::{Kind, Thrown};
use header::{Header, Phase, Polled, TaskPtr, TaskRef, VTable};
use ready::Ready;
use shared::{Credits, Shared, SharedPtr};
use slots::Slots;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::Context;

fn from_box<T>(boxed: Box<T>) -> NonNull<T> {
    NonNull::new(Box::into_raw(boxed)).expect("a box is not null")
}

/// The owner's half of the core.
pub(crate) struct Engine {
    ready: Ready,
    shared: SharedPtr,
    config: EngineConfig,
    /// Every task that is not `Done`.
    table: RefCell<slab::Slab<TaskRef>>,
    slots: RefCell<Option<Slots>>,
    /// Taken from the inbox, and not yet received.
    received: RefCell<Batch<Header>>,
    /// The panic of a task that nobody joins, under the policy that passes it on.
    escaped: Cell<Option<Payload>>,
    closed: Cell<bool>,
    counts: Cell<TaskCounts>,
    #[cfg(feature = "testing")]
    order: Cell<u64>,
    credits: Credits,
}

impl Engine {
    pub(crate) fn new(config: EngineConfig, unpark: Arc<dyn Unpark>) -> Self {
        let credits = Credits::new(unpark);
        let shared = credits.shared();
        let slots = config.slab.map(|slab| {
            let (slots, chunk) = Slots::new(slab.slot_size, slab.count, slab.unbounded);
            lock(&shared.chunks).push(chunk);
            slots
        });
        Self {
            ready: Ready::default(),
            shared,
            table: RefCell::new(slab::Slab::with_capacity(config.task_capacity)),
            slots: RefCell::new(slots),
            received: RefCell::new(Batch::EMPTY),
            escaped: Cell::new(None),
            closed: Cell::new(false),
            counts: Cell::new(TaskCounts::default()),
            #[cfg(feature = "testing")]
            order: Cell::new(config.seed.unwrap_or(0)),
            credits,
            config,
        }
    }

    /// Runs `work` as this engine's loop.
    pub(crate) fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        context::enter(self, work)
    }

    pub(crate) fn spawn<F>(&self, future: F, origin: Origin) -> RawJoin<F::Output>
    where
        F: Future + 'static,
    {
        let header = self.header(const { &Kind::<F>::BOXED }, origin);
        self.admit(cell::boxed(header, future))
    }

    /// Spawns into a slot of this engine, which the caller has checked to be large enough.
    pub(crate) fn spawn_in<F>(&self, slot: Slot, future: F, origin: Origin) -> RawJoin<F::Output>
    where
        F: Future + 'static,
    {
        let header = self.header(const { &Kind::<F>::SLAB }, origin);
        self.admit(cell::placed(slot, header, future))
    }

    /// A header that the table and the join handle are about to hold.
    fn header(&self, vtable: &'static VTable, origin: Origin) -> Header {
        let key = u32::try_from(self.table.borrow().vacant_key()).expect("at most 2^32 tasks");
        let shared = self.credits.spend();
        Header::new(vtable, shared, key, 2, origin)
    }

    fn admit<T>(&self, task: TaskPtr) -> RawJoin<T> {
        self.count(|counts| counts.spawned += 1);
        trace::spawned(task.id());
        self.table.borrow_mut().insert(TaskRef(task));
        self.ready.push(task);
        let join = RawJoin::new(TaskRef(task));
        if self.closed.get() {
            self.cancel(join.task());
            self.ready.clear();
        }
        join
    }

    /// Puts a task into the ready queue, unless it is there or done.
    #[inline]
    fn schedule(&self, task: TaskPtr) {
        if task.ready.get() || task.phase.get() == Phase::Done {
            return;
        }
        #[cfg(feature = "insight")]
        if self.config.probe.is_some() {
            task.origin.woken();
        }
        self.ready.push(task);
    }

    /// Runs ready tasks, at most `budget`, until `stop`; returns how many.
    pub(crate) fn run(&self, budget: usize, stop: &Cell<bool>) -> usize {
        let thrown = Cell::new(None);
        for done in 0..budget {
            if stop.get() {
                return done;
            }
            let Some(task) = self.next() else { return done };
            self.dispatch(task, &thrown);
        }
        budget
    }

    #[inline]
    fn next(&self) -> Option<TaskPtr> {
        #[cfg(feature = "testing")]
        if self.order.get() != 0 {
            self.ready.choose(|len| crate::testing::pick(&self.order, len));
        }
        self.ready.pop()
    }

    /// Runs a task that was popped. While it is live the table keeps it: only the end of its poll
    /// takes it out, and the end of the runtime, which does not come inside a poll.
    #[inline]
    fn dispatch(&self, task: TaskPtr, thrown: &Thrown) {
        match task.phase.get() {
            Phase::Idle => {}
            Phase::Running => return,
            Phase::Done => return Ready::give_up(task),
        }
        if task.is_aborted() {
            return self.cancel(task);
        }
        coop::begin_turn();
        task.phase.set(Phase::Running);
        #[cfg(feature = "insight")]
        let _probe = self.config.probe.as_ref().map(|probe| probe.polling(&task.origin));
        let waker = wake::borrowed(task);
        match task.poll(&mut Context::from_waker(&waker), thrown) {
            Polled::Pending => task.phase.set(Phase::Idle),
            Polled::Completed => {
                self.count(|counts| counts.completed += 1);
                trace::ended(task.id(), "completed");
                self.finish(task);
            }
            Polled::Panicked => self.panicked(task, thrown.take()),
        }
    }

    #[cold]
    fn panicked(&self, task: TaskPtr, payload: Option<Payload>) {
        let payload = payload.expect("a poll that panicked hands out with what");
        self.count(|counts| counts.panicked += 1);
        trace::panicked(task.id());
        if self.config.propagate && !task.joined.get() {
            self.escaped.set(Some(payload));
            task.fail(JoinError::cancelled());
        } else {
            task.fail(JoinError::panicked(payload));
        }
        self.finish(task);
    }

    #[cold]
    fn cancel(&self, task: TaskPtr) {
        self.count(|counts| counts.cancelled += 1);
        trace::ended(task.id(), "cancelled");
        task.phase.set(Phase::Running);
        task.fail(JoinError::cancelled());
        self.finish(task);
    }

    /// The future is gone, the output in place.
    fn finish(&self, task: TaskPtr) {
        task.phase.set(Phase::Done);
        // Keeps the task to the end of this, whatever the wake and the destructor below do.
        let own = self.table.borrow_mut().remove(task.key as usize);
        if own.ready.get() {
            Ready::keep(own.clone());
        }
        if own.joined.get() {
            own.joiner.take().wake();
        } else {
            own.clear();
        }
    }

    fn count(&self, change: impl FnOnce(&mut TaskCounts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    /// Called in place of the inbox's `QUEUED`, or when the last reference was dropped here.
    fn reclaim(&self, task: TaskPtr, in_slab: bool) {
        self.credits.refund();
        if in_slab && let Some(slots) = &mut *self.slots.borrow_mut() {
            slots.give_back(task.0.cast());
        }
    }

    /// A free slot; those that dead tasks have sent home are looked at before the slab grows.
    pub(crate) fn take_slot(&self) -> Option<Slot> {
        let free = || self.slots.borrow_mut().as_mut().and_then(Slots::take);
        free()
            .or_else(|| {
                self.enter(|| self.drain(usize::MAX));
                free()
            })
            .or_else(|| {
                let chunk = self.slots.borrow_mut().as_mut().and_then(Slots::grow)?;
                lock(&self.shared.chunks).push(chunk);
                free()
            })
    }

    pub(crate) fn return_slot(&self, slot: Slot) {
        if let Some(slots) = &mut *self.slots.borrow_mut() {
            slots.give_back(slot.start);
        }
    }

    /// Size of a slot and number of slots, if there is a slab.
    pub(crate) fn slab_shape(&self) -> Option<(usize, usize)> {
        self.slots.borrow().as_ref().map(|slots| (slots.size(), slots.capacity()))
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(crate) fn has_foreign(&self) -> bool {
        !self.received.borrow().is_empty() || self.shared.inbox.has_nodes()
    }

    /// Moves at most `limit` foreign wakes to the ready queue, and withdraws a `park`.
    pub(crate) fn drain(&self, limit: usize) -> usize {
        let mut batch = self.received.replace(Batch::EMPTY);
        if batch.is_empty() && !self.closed.get() {
            batch = self.shared.inbox.take_all();
        }
        let count = header::deliver(&mut batch, self, limit);
        self.received.replace(batch);
        count
    }

    /// Announces a sleep; `false` when a foreign wake is there already.
    pub(crate) fn park(&self) -> bool {
        self.received.borrow().is_empty() && self.shared.inbox.park()
    }

    pub(crate) fn live(&self) -> usize {
        self.table.borrow().len()
    }

    /// Tasks that are done, and whose memory waits for somebody's reference.
    pub(crate) fn outstanding(&self) -> usize {
        self.credits.outstanding().saturating_sub(self.live())
    }

    pub(crate) fn counts(&self) -> TaskCounts {
        self.counts.get()
    }

    pub(crate) fn take_escaped(&self) -> Option<Payload> {
        self.escaped.take()
    }

    /// Drops every future, with this engine entered so that destructors may spawn and wake, and
    /// closes the inbox. What destructors spawn is dropped too.
    pub(crate) fn shutdown(&self) -> ShutdownCounts {
        self.enter(|| {
            let mut cancelled = 0;
            loop {
                self.drain(usize::MAX);
                self.ready.clear();
                let tasks: Vec<_> =
                    self.table.borrow().iter().map(|(_, task)| task.clone()).collect();
                if tasks.is_empty() {
                    break;
                }
                for task in tasks.iter().filter(|task| task.phase.get() == Phase::Idle) {
                    cancelled += 1;
                    self.cancel(task.0);
                }
            }
            self.closed.set(true);
            let mut late = self.shared.inbox.close();
            let undrained = header::deliver(&mut late, self, usize::MAX);
            let outstanding = self.outstanding();
            ShutdownCounts { cancelled, undrained, outstanding }
        })
    }

    /// Shows each live task to `see`.
    #[cfg(feature = "insight")]
    pub(crate) fn each(&self, mut see: impl FnMut(TaskView<'_>)) {
        let tasks: Vec<_> = self.table.borrow().iter().map(|(_, task)| task.clone()).collect();
        for task in &tasks {
            let (ready, running) = (task.ready.get(), task.phase.get() == Phase::Running);
            see(TaskView { id: task.id(), ready, running, origin: &task.origin });
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.closed.get() {
            self.shutdown();
        }
    }
}
