//! The waits of callers and the time of each task, under the lock.

use super::slots::Busy;
use super::{Due, Intake, Seat, State};
use crate::clock::Key;
use crate::contain::TaskRef;
use crate::gate::Gate;
use crate::node::Keep;
use crate::ready::SlotWaker;
use crate::sync::on;
use crate::waiting::{Goal, Nudge, View, Waiter};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;
use std::time::Instant;

impl<K: Keep> State<K> {
    /// Begins to wait, from inside of that task if it has not ended.
    pub(crate) fn wait(
        &mut self,
        goal: Goal,
        inside: Option<TaskRef>,
        intake: Intake<'_, K>,
        now: Instant,
    ) -> (u64, Nudge) {
        if goal != Goal::Unlined || on("i6.take") {
            self.look(intake, now);
        }
        let goal = match goal {
            Goal::Unlined if !self.is_stalled() => Goal::Line(self.ledger.draw()),
            goal => goal,
        };
        let inside = inside.filter(|task| self.slots.busy(*task).is_some());
        let busy = inside.and_then(|task| self.slots.busy(task));
        if let Some(task) = busy.and_then(Busy::begin_wait) {
            self.ledger.hold(task.epoch);
            self.held_weight += u64::from(task.weight);
        }
        let id = self.waiters.add(goal, inside);
        // A task that waits is not waited for by others that do.
        (id, self.nudge(intake))
    }

    /// Waits no longer; gives the waker, to be dropped after the lock.
    pub(crate) fn stop_waiting(&mut self, id: u64) -> Option<Waker> {
        let waiter = self.waiters.remove(id)?;
        let busy = waiter.inside.and_then(|task| self.slots.busy(task));
        if let Some(task) = busy.and_then(Busy::end_wait) {
            self.ledger.let_go(task.epoch);
            self.held_weight -= u64::from(task.weight);
        }
        waiter.into_waker()
    }

    /// Whether the waiter has reached its goal, after a look at what came in.
    pub(crate) fn is_reached(
        &mut self,
        id: u64,
        intake: Intake<'_, K>,
        now: Instant,
    ) -> (bool, Nudge) {
        if self.waiters.is_reached(id) {
            return (true, Nudge::default());
        }
        self.look(intake, now);
        let nudge = self.nudge(intake);
        (self.waiters.is_reached(id), nudge)
    }

    /// Gives the old waker back, to be dropped after the lock.
    pub(crate) fn set_waker(&mut self, id: u64, waker: Waker) -> Option<Waker> {
        self.waiters.set_waker(id, waker)
    }

    /// How much stands between a waiter and its goal, at least 1.
    pub(crate) fn pending(&self, id: u64, gate: &Gate) -> u64 {
        let Some(waiter) = self.waiters.find(id) else { return 1 };
        let pending = match waiter.goal {
            Goal::Unlined => self.unended(),
            Goal::Line(line) => self.ledger.pending(line, waiter.view()),
            Goal::Drained | Goal::Swept | Goal::Finished => gate.snapshot().submitted(),
        };
        pending.max(1)
    }

    /// Finds the waiters that have reached their goal.
    pub(crate) fn nudge(&mut self, intake: Intake<'_, K>) -> Nudge {
        if self.waiters.is_empty() {
            return Nudge::default();
        }
        let mut wakers = Vec::new();
        // What is on its way in is not counted yet, so nothing is quiet or drained.
        let clear = !self.is_stalled() && !intake.inbox.is_occupied();
        for view in [View::Outside, View::Inside] {
            let reached = self.ledger.reached(view);
            let reached = if clear { reached } else { reached.short_of_all() };
            self.waiters.reach(reached, view, &mut wakers);
        }
        let room = intake.gate.snapshot();
        let swept = self.doomed.is_empty() && !self.sweeping;
        let (held, finished) = (self.held_weight, self.seat == Seat::Finished);
        let is_so = |waiter: &Waiter| match waiter.goal {
            Goal::Drained => {
                let held = if waiter.view() == View::Inside { held } else { 0 };
                clear && room.is_closed() && room.submitted() <= held
            }
            Goal::Swept => swept,
            Goal::Finished => finished,
            Goal::Unlined | Goal::Line(_) => false,
        };
        self.waiters.reach_ends(is_so, &mut wakers);
        Nudge::of(wakers)
    }

    /// A closure of the task begins to run; `false` when no closure begins any more.
    pub(crate) fn closure_begins(&mut self, task: Option<TaskRef>) -> bool {
        if self.closures_over {
            return false;
        }
        match task.and_then(|task| self.slots.busy(task)) {
            Some(busy) => busy.closures += 1,
            None => drop(self.stuck.fetch_add(1, Relaxed)),
        }
        true
    }

    /// It has ended; without a task it had outlived that.
    pub(crate) fn closure_ends(&mut self, task: Option<TaskRef>) {
        match task.and_then(|task| self.slots.busy(task)) {
            Some(busy) => busy.closures -= 1,
            None => drop(self.stuck.fetch_sub(1, Relaxed)),
        }
    }

    /// Its call is gone while it runs: it outlives its task from here on, unless it does already.
    pub(crate) fn closure_deserted(&mut self, task: Option<TaskRef>) {
        if let Some(busy) = task.and_then(|task| self.slots.busy(task)) {
            busy.closures -= 1;
            self.stuck.fetch_add(1, Relaxed);
        }
    }

    /// The worker has ended: no closure begins any more, so those that are counted are all that go on.
    pub(crate) fn end_closures(&mut self) {
        self.closures_over = true;
    }

    /// A closure of the task waits for a thread: the time of the task stands.
    pub(crate) fn stand(&mut self, task: TaskRef, now: Instant) {
        if let Some(busy) = self.slots.busy(task) {
            busy.time.stand(now);
        }
    }

    /// It has its thread, or needs none any more; `true` when the driver has to look at its timers.
    pub(crate) fn go_on(&mut self, task: TaskRef, now: Instant) -> bool {
        let Some(busy) = self.slots.busy(task) else { return false };
        let unwatched = busy.time.go_on(now, false);
        if unwatched {
            let due = busy.time.due;
            self.watch(task, due);
        }
        unwatched
    }

    /// No thread comes any more, so what waits for one runs out of its time.
    pub(crate) fn go_on_all(&mut self, now: Instant) {
        let mut unwatched = Vec::new();
        for (slot, busy) in self.slots.all_busy() {
            if busy.time.go_on(now, true) {
                unwatched.push((TaskRef { slot, id: busy.info.id }, busy.time.due));
            }
        }
        unwatched.into_iter().for_each(|(task, due)| self.watch(task, due));
    }

    /// All tasks in flight, for a driver that starts where another one was torn down.
    pub(crate) fn wakers(&self) -> Vec<Arc<SlotWaker>> {
        self.slots.wakers()
    }

    pub(super) fn watch(&mut self, task: TaskRef, due: Instant) {
        let key = self.timers.insert(due, Due::Timeout(task));
        match self.slots.busy(task) {
            Some(busy) => busy.time.key = Some(key),
            None => drop(self.timers.remove(key)),
        }
    }

    /// Adds a timer, for a sleep of a cleanup; `None` when the worker has ended.
    pub(crate) fn wake_at(&mut self, due: Instant, waker: Waker) -> Option<Key> {
        (self.seat != Seat::Finished).then(|| self.timers.insert(due, Due::Wake(waker)))
    }

    /// Gives the waker of a timer that is not needed any more, to be dropped after the lock.
    pub(crate) fn cancel(&mut self, key: Key) -> Option<Waker> {
        match self.timers.remove(key)? {
            Due::Wake(waker) => Some(waker),
            Due::Timeout(_) => None,
        }
    }
}
