//! The reference core: the contract of the engine without `unsafe`.
//!
//! Futures are boxed in a slab and taken out while they are polled; wakers are `Arc`s with the key
//! and number of their task; foreign wakes go through a lock. Nothing here is clever: it is what the
//! intrusive core is compared with.

mod body;
mod name;

pub(crate) use body::RefJoin;
pub(crate) use name::RefAbort;

use crate::error::{JoinError, Payload};
use crate::stats::{Outcome, ShutdownCounts, TaskCounts};
use crate::sys::Unpark;
use crate::task::order::Order;
use crate::task::origin::Origin;
#[cfg(feature = "insight")]
use crate::task::origin::TaskView;
use crate::task::plan::{EngineConfig, Generations, Visibility};
use crate::task::raw::WakerSlot;
use crate::{contain, coop, trace};
use body::{Body, Output};
use name::{CURRENT, Here, Inbox, Name, Polled, Ready, Task};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

/// Destructors that spawn after the end are followed this deep: each takes some stack.
const LATE: usize = 32;

/// The engine whose futures are boxed in a slab.
pub(crate) struct Engine {
    inbox: Arc<Inbox>,
    ready: Rc<Ready>,
    received: RefCell<VecDeque<Arc<Name>>>,
    config: EngineConfig,
    /// Slots in use, and how many there are.
    slots: Cell<(usize, usize)>,
    numbers: Cell<u64>,
    escaped: RefCell<VecDeque<Payload>>,
    counts: Cell<TaskCounts>,
    order: Option<Order>,
    /// Tasks in no count that are alive.
    hidden: Cell<usize>,
    /// Tasks that the end could not take.
    kept: Cell<usize>,
    /// How many late spawns are inside of each other.
    late: Cell<usize>,
}

impl Engine {
    pub(crate) fn new(config: EngineConfig, unpark: Arc<dyn Unpark>) -> Self {
        Self {
            inbox: Arc::new(Inbox::new(unpark)),
            ready: Rc::default(),
            received: RefCell::default(),
            slots: Cell::new((0, config.slab.map_or(0, |slab| slab.count))),
            numbers: Cell::new(0),
            escaped: RefCell::default(),
            counts: Cell::default(),
            order: config.seed.map(Order::new),
            hidden: Cell::new(0),
            kept: Cell::new(0),
            late: Cell::new(0),
            config,
        }
    }

    pub(crate) fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        struct Restore(Option<Here>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let before = self.0.take();
                drop(CURRENT.with(|current| current.replace(before)));
            }
        }
        let here = (Arc::clone(&self.inbox), Rc::clone(&self.ready));
        let _restore = Restore(CURRENT.with(|current| current.replace(Some(here))));
        work()
    }

    pub(crate) fn spawn<F>(
        &self,
        future: F,
        origin: Origin,
        visibility: Visibility,
        in_slab: bool,
    ) -> RefJoin<F::Output>
    where
        F: Future + 'static,
    {
        let number = self.numbers.replace(self.numbers.get() + 1);
        let hidden = visibility == Visibility::Hidden;
        let output = Rc::new(Output {
            value: Cell::new(None),
            done: Cell::new(false),
            joined: Cell::new(true),
            joiner: Cell::new(WakerSlot::EMPTY),
        });
        let body = Body { future: Some(Box::pin(future)), output: Rc::clone(&output) };
        let mut tasks = self.ready.tasks.borrow_mut();
        let key = tasks.vacant_key();
        let name = Arc::new(Name {
            key,
            number,
            aborted: AtomicBool::new(false),
            in_inbox: AtomicBool::new(false),
            in_slab,
            hidden,
            inbox: Arc::clone(&self.inbox),
        });
        tasks.insert(Task {
            number,
            ready: true,
            future: Some(Box::new(body)),
            name: Arc::clone(&name),
            origin: Rc::new(origin),
        });
        drop(tasks);
        self.ready.queue.borrow_mut().push_back(Arc::clone(&name));
        if hidden {
            self.hidden.set(self.hidden.get() + 1);
        } else {
            self.count(|counts| counts.spawned += 1);
            trace::spawned(number as usize);
        }
        let closed = self.inbox.lock().closed;
        if closed {
            self.admit_late(&name);
        }
        RefJoin { output, name }
    }

    /// The engine has ended: the future is dropped at once, unless it comes from the destructor of one
    /// that was, too many times over. Then it is kept for ever.
    fn admit_late(&self, name: &Arc<Name>) {
        let depth = self.late.get();
        if depth == LATE {
            let task = self.ready.tasks.borrow_mut().remove(name.key);
            self.kept.set(self.kept.get() + 1);
            let _kept = ManuallyDrop::new(task);
            return;
        }
        self.late.set(depth + 1);
        self.cancel(name);
        self.late.set(depth);
        drop(self.ready.queue.take());
    }

    pub(crate) fn take_slot(&self) -> bool {
        let (used, capacity) = self.slots.get();
        let unbounded = self.config.slab.is_some_and(|slab| slab.unbounded);
        if used == capacity && !unbounded {
            return false;
        }
        let capacity = if used == capacity { (capacity * 2).max(16) } else { capacity };
        self.slots.set((used + 1, capacity));
        true
    }

    pub(crate) fn return_slot(&self) {
        let (used, capacity) = self.slots.get();
        self.slots.set((used - 1, capacity));
    }

    pub(crate) fn slab_shape(&self) -> Option<(usize, usize)> {
        let align = crate::task::raw::SLOT_ALIGN;
        let size = |asked: usize| asked.div_ceil(align).max(1) * align;
        self.config.slab.map(|slab| (size(slab.slot_size), self.slots.get().1))
    }

    pub(crate) fn run(&self, budget: usize, stop: &Cell<bool>) -> usize {
        for done in 0..budget {
            if stop.get() {
                return done;
            }
            let mut queue = self.ready.queue.borrow_mut();
            if let Some(order) = self.order.as_ref().filter(|_| !queue.is_empty()) {
                let index = order.pick(queue.len());
                queue.swap(0, index);
            }
            let Some(name) = queue.pop_front() else {
                return done;
            };
            drop(queue);
            self.dispatch(&name);
        }
        budget
    }

    /// Takes the future out of its place, if the task is there and does not run.
    fn take(&self, name: &Name) -> Option<(Box<dyn Polled>, Rc<Origin>)> {
        let mut tasks = self.ready.tasks.borrow_mut();
        let task = tasks.get_mut(name.key).filter(|task| task.number == name.number)?;
        task.ready = false;
        Some((task.future.take()?, Rc::clone(&task.origin)))
    }

    #[cfg_attr(not(feature = "insight"), expect(unused_variables, reason = "for the probe"))]
    fn dispatch(&self, name: &Arc<Name>) {
        if name.aborted.load(Ordering::Relaxed) {
            return self.cancel(name);
        }
        let Some((mut future, origin)) = self.take(name) else {
            return;
        };
        coop::begin_turn();
        #[cfg(feature = "insight")]
        let _probe = self.config.probe.as_ref().map(|probe| probe.polling(&origin));
        let waker = Waker::from(Arc::clone(name));
        match future.poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => self.ready.tasks.borrow_mut()[name.key].future = Some(future),
            Poll::Ready(Ok(())) => self.end(name, future, Outcome::Completed),
            Poll::Ready(Err(payload)) => self.end_early(name, future, Some(payload)),
        }
    }

    fn cancel(&self, name: &Arc<Name>) {
        if let Some((future, _)) = self.take(name) {
            self.end_early(name, future, None);
        }
    }

    /// Ends a task without an output: it was aborted, or `polled` is the panic of its poll.
    fn end_early(&self, name: &Name, mut body: Box<dyn Polled>, polled: Option<Payload>) {
        let dropped = body.drop_future().err();
        let (panic, surplus) = if polled.is_some() { (polled, dropped) } else { (dropped, None) };
        contain::discard(surplus);
        let (error, outcome) = match panic {
            None => (JoinError::cancelled(), Outcome::Cancelled),
            Some(payload) if self.config.propagate && !body.is_joined() => {
                self.escaped.borrow_mut().push_back(payload);
                (JoinError::cancelled(), Outcome::Panicked)
            }
            Some(payload) => (JoinError::panicked(payload), Outcome::Panicked),
        };
        body.fail(error);
        self.end(name, body, outcome);
    }

    /// The task is over, and its output is in place.
    fn end(&self, name: &Name, body: Box<dyn Polled>, outcome: Outcome) {
        let task = self.ready.tasks.borrow_mut().remove(name.key);
        drop(task);
        if name.hidden {
            self.hidden.set(self.hidden.get() - 1);
        } else {
            self.count(|counts| counts.note(outcome));
        }
        if name.in_slab {
            self.return_slot();
        }
        body.settle();
        if !name.hidden {
            trace::ended(name.number as usize, outcome);
        }
    }

    fn count(&self, change: impl FnOnce(&mut TaskCounts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.queue.borrow().is_empty()
    }

    pub(crate) fn has_foreign(&self) -> bool {
        !self.received.borrow().is_empty() || !self.inbox.lock().woken.is_empty()
    }

    pub(crate) fn drain(&self, limit: usize) -> usize {
        let mut received = self.received.borrow_mut();
        if received.is_empty() {
            let mut state = self.inbox.lock();
            state.parked = false;
            received.extend(state.woken.drain(..));
        }
        let count = limit.min(received.len());
        for name in received.drain(..count) {
            // The lock of the inbox ordered this against the wake; a later wake comes again.
            name.in_inbox.swap(false, Ordering::AcqRel);
            self.ready.schedule(&name);
        }
        count
    }

    pub(crate) fn park(&self) -> bool {
        let mut state = self.inbox.lock();
        let empty = state.woken.is_empty() && self.received.borrow().is_empty();
        state.parked = empty;
        empty
    }

    pub(crate) fn live(&self) -> usize {
        self.ready.tasks.borrow().len() - self.hidden.get() + self.kept.get()
    }

    /// Tasks that are done are gone here: only their names are left.
    #[expect(clippy::unused_self, reason = "the other engine needs it")]
    pub(crate) fn outstanding(&self) -> usize {
        0
    }

    pub(crate) fn counts(&self) -> TaskCounts {
        self.counts.get()
    }

    pub(crate) fn has_escaped(&self) -> bool {
        !self.escaped.borrow().is_empty()
    }

    pub(crate) fn take_escaped(&self) -> Option<Payload> {
        self.escaped.borrow_mut().pop_front()
    }

    pub(crate) fn shutdown(&self, mut time_is_up: impl FnMut() -> bool) -> ShutdownCounts {
        self.enter(|| {
            let (mut counts, mut ends) = (ShutdownCounts::default(), Generations::default());
            loop {
                self.drain(usize::MAX);
                drop(self.ready.queue.take());
                let tasks = self.ready.tasks.borrow();
                let idle = tasks.iter().filter(|(_, task)| task.future.is_some());
                let names: Vec<_> = idle.map(|(_, task)| Arc::clone(&task.name)).collect();
                drop(tasks);
                if !ends.goes_on(names.len(), &mut time_is_up) {
                    break;
                }
                for name in &names {
                    counts.cancelled += usize::from(!name.hidden);
                    self.cancel(name);
                }
            }
            (counts.running, counts.spawning) = self.keep_what_is_left();
            let mut state = self.inbox.lock();
            state.closed = true;
            let woken = std::mem::take(&mut state.woken);
            drop(state);
            counts.undrained = woken.len();
            contain::discard_all(self.escaped.take());
            counts
        })
    }

    /// Keeps the tasks that the end did not reach, for ever; how many run, and how many do not.
    fn keep_what_is_left(&self) -> (usize, usize) {
        let (mut running, mut others) = (0, 0);
        for (_, task) in self.ready.tasks.take() {
            let count = if task.future.is_none() { &mut running } else { &mut others };
            *count += usize::from(!task.name.hidden);
            let _kept = ManuallyDrop::new(task);
        }
        self.hidden.set(0);
        self.kept.set(running + others);
        (running, others)
    }

    #[cfg(feature = "insight")]
    pub(crate) fn each(&self, mut see: impl FnMut(TaskView<'_>)) {
        let tasks = self.ready.tasks.borrow();
        for (_, task) in tasks.iter() {
            let (ready, running) = (task.ready, task.future.is_none());
            see(TaskView { id: task.number as usize, ready, running, origin: &task.origin });
        }
    }
}
