//! The engine: admits tasks, runs those that are ready, and ends each of them once. It is whole
//! whenever foreign code runs; `mod.rs` lists where that is.

use super::cell::{self, Kind};
use super::context;
use super::header::{Header, Phase, Polled, TaskPtr, Thrown, VTable};
use super::join::RawJoin;
use super::refs::{self, TaskRef};
use super::schedule::Schedule;
use super::slots::Slot;
use super::table::Table;
use super::wake;
use crate::error::{JoinError, Payload};
use crate::inbox::Batch;
use crate::stats::{Outcome, ShutdownCounts, TaskCounts};
use crate::sys::Unpark;
#[cfg(feature = "testing")]
use crate::task::order::Order;
use crate::task::origin::Origin;
#[cfg(feature = "insight")]
use crate::task::origin::TaskView;
use crate::task::plan::{EngineConfig, Generations, Visibility};
use crate::{contain, coop, trace};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::Context;

/// Destructors that spawn after the end are followed this deep: each takes some stack.
const LATE: usize = 32;

/// The owner's half of the core.
pub(crate) struct Engine {
    config: EngineConfig,
    /// Every task that is not `Done`.
    table: RefCell<Table>,
    /// Tasks of the table that are in no count.
    hidden: Cell<usize>,
    /// Tasks that the end could not take: their memory is kept for ever.
    kept: Cell<usize>,
    /// Taken from the inbox, and not yet received.
    received: RefCell<Batch<Header>>,
    /// The panics of detached tasks, under the policy that passes them on.
    escaped: RefCell<VecDeque<Payload>>,
    closed: Cell<bool>,
    /// How many late spawns are inside of each other, each in the destructor of the one before.
    late: Cell<usize>,
    counts: Cell<TaskCounts>,
    #[cfg(feature = "testing")]
    order: Option<Order>,
    /// Last: what ends above gives its memory back here.
    schedule: Schedule,
}

impl Engine {
    pub(crate) fn new(config: EngineConfig, unpark: Arc<dyn Unpark>) -> Self {
        let schedule = Schedule::new(&config, unpark);
        Self {
            table: RefCell::new(Table::with_capacity(config.task_capacity)),
            hidden: Cell::new(0),
            kept: Cell::new(0),
            received: RefCell::new(Batch::EMPTY),
            escaped: RefCell::default(),
            closed: Cell::new(false),
            late: Cell::new(0),
            counts: Cell::new(TaskCounts::default()),
            #[cfg(feature = "testing")]
            order: config.seed.map(Order::new),
            config,
            schedule,
        }
    }

    /// Runs `work` as this engine's loop.
    pub(crate) fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        context::enter(&self.schedule, work)
    }

    pub(crate) fn spawn<F>(
        &self,
        future: F,
        origin: Origin,
        visibility: Visibility,
    ) -> RawJoin<F::Output>
    where
        F: Future + 'static,
    {
        let header = self.header(const { &Kind::<F>::BOXED }, origin, visibility);
        self.admit(cell::boxed(header, future))
    }

    /// Spawns into a slot of this engine, which the caller has checked to be large enough.
    pub(crate) fn spawn_in<F>(&self, slot: Slot, future: F, origin: Origin) -> RawJoin<F::Output>
    where
        F: Future + 'static,
    {
        let header = self.header(const { &Kind::<F>::SLAB }, origin, Visibility::Counted);
        self.admit(cell::placed(slot, header, future))
    }

    /// A header that the table and the join handle are about to hold.
    fn header(&self, vtable: &'static VTable, origin: Origin, visibility: Visibility) -> Header {
        let shared = self.schedule.credits.spend();
        Header::new(vtable, shared, visibility == Visibility::Hidden, origin)
    }

    fn admit<T>(&self, task: TaskPtr) -> RawJoin<T> {
        let key = self.table.borrow_mut().insert(TaskRef(task));
        task.key.set(key);
        if task.hidden {
            self.hidden.set(self.hidden.get() + 1);
        } else {
            self.count(|counts| counts.spawned += 1);
        }
        self.schedule.ready.push(task);
        let join = RawJoin::new(TaskRef(task));
        if !task.hidden {
            trace::spawned(task.id());
        }
        if self.closed.get() {
            self.admit_late(task);
        }
        join
    }

    /// The engine has ended: the future is dropped at once, unless it comes from the destructor of one
    /// that was, too many times over. Then it is kept for ever.
    #[cold]
    fn admit_late(&self, task: TaskPtr) {
        let depth = self.late.get();
        if depth == LATE {
            let own = self.table.borrow_mut().remove(task.key.get());
            self.kept.set(self.kept.get() + 1);
            let _kept = ManuallyDrop::new(own);
            return;
        }
        self.late.set(depth + 1);
        self.cancel(task);
        self.late.set(depth);
        self.clear_ready();
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
        if let Some(order) = &self.order {
            self.schedule.ready.choose(|len| order.pick(len));
        }
        self.schedule.ready.pop()
    }

    /// Runs a task that was popped. While it is live the table keeps it: only the end of its poll
    /// takes it out, and the end of the runtime, which does not come inside a poll.
    #[inline]
    fn dispatch(&self, task: TaskPtr, thrown: &Thrown) {
        match task.phase.get() {
            Phase::Idle => {}
            Phase::Running => return,
            Phase::Done => return give_up(task),
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
            Polled::Completed => self.finish(task, Outcome::Completed),
            Polled::Panicked => self.end_early(task, thrown.take()),
        }
    }

    #[cold]
    fn cancel(&self, task: TaskPtr) {
        task.phase.set(Phase::Running);
        self.end_early(task, None);
    }

    /// Ends a task without an output: it was aborted, or `polled` is the panic of its poll. A panic
    /// of its destructor makes the task a panicked one, in the handle and in the counts.
    #[cold]
    fn end_early(&self, task: TaskPtr, polled: Option<Payload>) {
        let dropped = task.drop_future();
        let (panic, surplus) = if polled.is_some() { (polled, dropped) } else { (dropped, None) };
        contain::discard(surplus);
        let (error, outcome) = match panic {
            None => (JoinError::cancelled(), Outcome::Cancelled),
            Some(payload) if self.config.propagate && !task.joined.get() => {
                self.escaped.borrow_mut().push_back(payload);
                (JoinError::cancelled(), Outcome::Panicked)
            }
            Some(payload) => (JoinError::panicked(payload), Outcome::Panicked),
        };
        task.fail(error);
        self.finish(task, outcome);
    }

    /// The future is gone, the output in place.
    fn finish(&self, task: TaskPtr, outcome: Outcome) {
        task.phase.set(Phase::Done);
        // Keeps the task to the end of this, whatever the wake and the destructor below do.
        let own = self.table.borrow_mut().remove(task.key.get());
        if own.hidden {
            self.hidden.set(self.hidden.get() - 1);
        } else {
            self.count(|counts| counts.note(outcome));
        }
        if own.ready.get() {
            // The queue holds it from here on.
            let _held_by_the_queue = ManuallyDrop::new(own.clone());
        }
        if own.joined.get() {
            own.joiner.take().wake();
        } else {
            own.clear();
        }
        if !own.hidden {
            trace::ended(own.id(), outcome);
        }
    }

    fn count(&self, change: impl FnOnce(&mut TaskCounts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    /// Forgets what is queued.
    fn clear_ready(&self) {
        while let Some(task) = self.schedule.ready.pop() {
            if task.phase.get() == Phase::Done {
                give_up(task);
            }
        }
    }

    /// A free slot; those that dead tasks have sent home are looked at before the slab grows.
    pub(crate) fn take_slot(&self) -> Option<Slot> {
        let free = || self.schedule.free_slot();
        free()
            .or_else(|| {
                self.enter(|| self.drain(usize::MAX));
                free()
            })
            .or_else(|| {
                self.schedule.grow_slab()?;
                free()
            })
    }

    pub(crate) fn return_slot(&self, slot: Slot) {
        self.schedule.return_slot(slot);
    }

    /// Size of a slot and number of slots, if there is a slab.
    pub(crate) fn slab_shape(&self) -> Option<(usize, usize)> {
        self.schedule.slab_shape()
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.schedule.ready.is_empty()
    }

    pub(crate) fn has_foreign(&self) -> bool {
        !self.received.borrow().is_empty() || self.schedule.shared.inbox.has_nodes()
    }

    /// Moves at most `limit` foreign wakes to the ready queue, and withdraws a `park`.
    pub(crate) fn drain(&self, limit: usize) -> usize {
        let mut batch = self.received.replace(Batch::EMPTY);
        if batch.is_empty() && !self.closed.get() {
            batch = self.schedule.shared.inbox.take_all();
        }
        let count = refs::deliver(&mut batch, &self.schedule, limit);
        self.received.replace(batch);
        count
    }

    /// Announces a sleep; `false` when a foreign wake is there already.
    pub(crate) fn park(&self) -> bool {
        self.received.borrow().is_empty() && self.schedule.shared.inbox.park()
    }

    /// Tasks that are counted and have not ended.
    pub(crate) fn live(&self) -> usize {
        self.table.borrow().len() - self.hidden.get() + self.kept.get()
    }

    /// Tasks that are done, and whose memory waits for the last reference.
    pub(crate) fn outstanding(&self) -> usize {
        let alive = self.table.borrow().len() + self.kept.get();
        self.schedule.credits.outstanding().saturating_sub(alive)
    }

    pub(crate) fn counts(&self) -> TaskCounts {
        self.counts.get()
    }

    /// Whether a panic of a detached task is there.
    pub(crate) fn has_escaped(&self) -> bool {
        !self.escaped.borrow().is_empty()
    }

    pub(crate) fn take_escaped(&self) -> Option<Payload> {
        self.escaped.borrow_mut().pop_front()
    }

    /// Drops every future, with this engine entered so that destructors may spawn and wake, and
    /// closes the inbox. What destructors spawn is dropped too, until `time_is_up` and [`Generations`] says
    /// that it is enough; then, and when a task is inside its own poll because that poll ends the process,
    /// tasks are kept for ever.
    pub(crate) fn shutdown(&self, mut time_is_up: impl FnMut() -> bool) -> ShutdownCounts {
        self.enter(|| {
            let (mut counts, mut ends) = (ShutdownCounts::default(), Generations::default());
            loop {
                self.drain(usize::MAX);
                self.clear_ready();
                let idle = |task: &&TaskRef| task.phase.get() == Phase::Idle;
                let tasks: Vec<_> = self.table.borrow().iter().filter(idle).cloned().collect();
                if !ends.goes_on(tasks.len(), &mut time_is_up) {
                    break;
                }
                for task in tasks.iter().filter(idle) {
                    counts.cancelled += usize::from(!task.hidden);
                    self.cancel(task.0);
                }
            }
            self.closed.set(true);
            (counts.running, counts.spawning) = self.keep_what_is_left();
            let mut late = self.schedule.shared.inbox.close();
            counts.undrained = refs::deliver(&mut late, &self.schedule, usize::MAX);
            contain::discard_all(self.escaped.take());
            counts.outstanding = self.outstanding();
            counts
        })
    }

    /// Keeps the tasks that the end did not reach, for ever; how many of them run, and how many
    /// do not.
    fn keep_what_is_left(&self) -> (usize, usize) {
        let (mut running, mut others) = (0, 0);
        let left = self.table.borrow_mut().take();
        for task in left {
            let count = if task.phase.get() == Phase::Running { &mut running } else { &mut others };
            *count += usize::from(!task.hidden);
            let _kept = ManuallyDrop::new(task);
        }
        self.hidden.set(0);
        self.kept.set(running + others);
        (running, others)
    }

    /// Shows each live task to `see`.
    #[cfg(feature = "insight")]
    pub(crate) fn each(&self, mut see: impl FnMut(TaskView<'_>)) {
        let tasks: Vec<_> = self.table.borrow().iter().cloned().collect();
        for task in &tasks {
            let (ready, running) = (task.ready.get(), task.phase.get() == Phase::Running);
            see(TaskView { id: task.id(), ready, running, origin: &task.origin });
        }
    }
}

/// Gives up the reference that came with a task that was done when it was popped.
#[cold]
fn give_up(task: TaskPtr) {
    debug_assert_eq!(task.phase.get(), Phase::Done);
    drop(TaskRef(task));
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.closed.get() {
            self.shutdown(|| false);
        }
        self.clear_ready();
    }
}
