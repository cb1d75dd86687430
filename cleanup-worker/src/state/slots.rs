//! The tasks in flight: a table of at most `concurrency` slots. Pure bookkeeping under the lock.
//!
//! ```text
//!                    ┌─────────── put_back ──────────┐
//!   occupy ──► Polled ◄── take, expire ── Here ◄─────┘
//!                │ └── settle ──► Settling ──► vacate
//!                └─ give_up ──► Revoked ──► vacate        (Here ─ give_up ──► gone)
//! ```

use crate::clock::Key;
use crate::config::Timeout;
use crate::contain::TaskRef;
use crate::node::{Keep, Node};
use crate::ready::{Ready, SlotWaker};
use crate::report::LeftReason;
use crate::waiting::Epoch;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the worker knows about a task from when it was taken until it has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Info {
    pub(crate) id: u64,
    pub(crate) label: &'static str,
    pub(crate) timeout: Timeout,
    pub(crate) weight: u32,
    pub(crate) epoch: Epoch,
    pub(crate) since: Instant,
}

/// A task that was taken from the inbox.
pub(crate) struct Queued<K: Keep> {
    pub(crate) node: Node<K>,
    pub(crate) info: Info,
}

/// A slot with a task.
pub(super) struct Busy<K: Keep> {
    pub(super) info: Info,
    pub(super) time: Time,
    place: Place<K>,
    /// Flushes and the like that wait inside the task.
    waiting: u32,
    /// Blocking closures that run, and whose calls are not dropped.
    pub(super) closures: u32,
}

/// How long the task may still run.
pub(super) struct Time {
    /// The timer that looks at it, at its end or sooner.
    pub(super) key: Option<Key>,
    pub(super) due: Instant,
    /// Closures of the task that wait for a thread: meanwhile its time stands.
    standing: u32,
    left: Duration,
}

/// Where the task of a slot is.
enum Place<K: Keep> {
    /// Here, waiting for its waker.
    Here(Node<K>),
    /// With the driver, which polls it.
    Polled,
    /// With the driver, which knows its outcome and tells about it.
    Settling,
    /// With the driver, and its outcome was counted already: it is only to be dropped.
    Revoked { told: bool },
}

/// What is left to do for a task whose slot is free.
pub(super) enum Vacated {
    /// Its end is to be counted.
    Uncounted,
    /// It was given up, and its end was told: it leaves its epoch.
    Told,
    /// It was given up, and leaves its epoch once its end was told.
    Untold,
}

struct Slot<K: Keep> {
    waker: Arc<SlotWaker>,
    busy: Option<Busy<K>>,
}

pub(crate) struct Slots<K: Keep> {
    slots: Vec<Slot<K>>,
    free: Vec<usize>,
    limit: usize,
}

/// Slots that are kept although all are empty.
const KEPT: usize = 64;

/// What is to happen at the moment that a timer named.
pub(super) enum Look<K: Keep> {
    /// The time is over.
    Expired(Node<K>, Info),
    /// It is not over before then.
    Later(Instant),
    /// It stands, or the task is gone.
    Nothing,
}

impl<K: Keep> Slots<K> {
    pub(super) fn new(limit: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), limit }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn has_room(&self) -> bool {
        self.in_flight() < self.limit
    }

    /// Occupies a slot for a task that the driver is about to poll first.
    pub(super) fn occupy(
        &mut self,
        info: Info,
        ready: &Arc<Ready>,
        due: Instant,
        timer: impl FnOnce(usize) -> Key,
    ) -> (usize, Arc<SlotWaker>) {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.slots.len();
            let waker = SlotWaker::new(index, ready);
            self.slots.push(Slot { waker, busy: None });
            index
        });
        let slot = &mut self.slots[index];
        let key = Some(timer(index));
        let time = Time { key, due, standing: 0, left: Duration::ZERO };
        slot.busy = Some(Busy { info, time, place: Place::Polled, waiting: 0, closures: 0 });
        (index, Arc::clone(&slot.waker))
    }

    /// Takes the task out to poll it; `None` when the wake was for a task that is gone.
    pub(super) fn take(&mut self, index: usize) -> Option<(Node<K>, Info, Arc<SlotWaker>)> {
        let slot = self.slots.get_mut(index)?;
        slot.waker.rearm();
        let busy = slot.busy.as_mut()?;
        match std::mem::replace(&mut busy.place, Place::Polled) {
            Place::Here(node) => Some((node, busy.info, Arc::clone(&slot.waker))),
            other => {
                busy.place = other;
                None
            }
        }
    }

    /// A timer of a task has come; the task is taken out if its time is over.
    pub(super) fn expire(&mut self, task: TaskRef, now: Instant) -> Look<K> {
        let Some(busy) = self.busy(task) else { return Look::Nothing };
        busy.time.key = None;
        if busy.time.standing > 0 {
            return Look::Nothing;
        }
        if busy.time.due > now {
            return Look::Later(busy.time.due);
        }
        match self.take(task.slot) {
            Some((node, info, _)) => Look::Expired(node, info),
            None => Look::Nothing,
        }
    }

    /// The task, while it has not ended.
    pub(super) fn busy(&mut self, task: TaskRef) -> Option<&mut Busy<K>> {
        let busy = self.slots.get_mut(task.slot)?.busy.as_mut()?;
        (busy.info.id == task.id && !matches!(busy.place, Place::Revoked { .. })).then_some(busy)
    }

    /// All tasks that have not ended.
    pub(super) fn all_busy(&mut self) -> impl Iterator<Item = (usize, &mut Busy<K>)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(index, slot)| slot.busy.as_mut().map(|busy| (index, busy)))
    }

    /// The driver knows the outcome; `false` when the task was given up before.
    pub(super) fn settle(&mut self, index: usize) -> bool {
        let busy = self.slots[index].busy.as_mut();
        busy.is_some_and(|busy| {
            let valid = !matches!(busy.place, Place::Revoked { .. });
            if valid {
                busy.place = Place::Settling;
            }
            valid
        })
    }

    /// The poll was pending: the task waits here. A node that comes back was given up.
    pub(super) fn put_back(&mut self, index: usize, node: Node<K>) -> Option<Node<K>> {
        match &mut self.slots[index].busy {
            Some(Busy { place: place @ Place::Polled, .. }) => {
                *place = Place::Here(node);
                None
            }
            _ => Some(node),
        }
    }

    /// Frees the slot; gives what was known about the task, and what is left to do.
    pub(super) fn vacate(&mut self, index: usize) -> Option<(Busy<K>, Vacated)> {
        let busy = self.slots[index].busy.take()?;
        self.free.push(index);
        let vacated = match busy.place {
            Place::Revoked { told: true } => Vacated::Told,
            Place::Revoked { told: false } => Vacated::Untold,
            Place::Here(_) | Place::Polled | Place::Settling => Vacated::Uncounted,
        };
        if self.free.len() == self.slots.len() && self.slots.len() > KEPT {
            // A waker of a former slot wakes the present task of that number once in vain.
            *self = Self::new(self.limit);
        }
        Some((busy, vacated))
    }

    /// The end of a task that was given up was told; `false` when the driver has dropped it before.
    pub(super) fn told(&mut self, task: TaskRef) -> bool {
        let busy = self.slots.get_mut(task.slot).and_then(|slot| slot.busy.as_mut());
        match busy {
            Some(Busy { info, place: Place::Revoked { told }, .. }) if info.id == task.id => {
                *told = true;
                true
            }
            _ => false,
        }
    }

    /// Gives up every task but those whose outcome is known: what waits here is taken out; what the
    /// driver polls is revoked, and is given without a node.
    pub(super) fn give_up(&mut self) -> Vec<(usize, Option<Node<K>>, Busy<K>)> {
        let mut given = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Some(busy) = &mut slot.busy else { continue };
            match std::mem::replace(&mut busy.place, Place::Revoked { told: false }) {
                Place::Here(node) => {
                    given.extend(slot.busy.take().map(|busy| (index, Some(node), busy)));
                    self.free.push(index);
                }
                Place::Polled => {
                    let waiting = std::mem::take(&mut busy.waiting);
                    let time =
                        Time { key: busy.time.key.take(), left: Duration::ZERO, ..busy.time };
                    given.push((
                        index,
                        None,
                        Busy { time, place: Place::Polled, waiting, ..*busy },
                    ));
                }
                known => busy.place = known,
            }
        }
        given
    }

    /// Tasks whose outcome was counted while the driver still had them.
    pub(super) fn revoked(&self) -> usize {
        let is_revoked = |slot: &&Slot<K>| {
            let place = slot.busy.as_ref().map(|busy| &busy.place);
            matches!(place, Some(Place::Revoked { .. }))
        };
        self.slots.iter().filter(is_revoked).count()
    }

    /// The tasks that hold the driver after a shutdown gave up the others, and how.
    pub(super) fn held(&self) -> Vec<(Info, LeftReason)> {
        let busy = self.slots.iter().filter_map(|slot| slot.busy.as_ref());
        busy.filter_map(|busy| match busy.place {
            Place::Revoked { .. } => Some((busy.info, LeftReason::StillPolled)),
            Place::Settling => Some((busy.info, LeftReason::InEventHook)),
            Place::Here(_) | Place::Polled => None,
        })
        .collect()
    }

    /// All occupied slots, for a driver that starts where another one was torn down.
    pub(super) fn wakers(&self) -> Vec<Arc<SlotWaker>> {
        let busy = self.slots.iter().filter(|slot| slot.busy.is_some());
        busy.map(|slot| Arc::clone(&slot.waker)).collect()
    }

    /// When the oldest task in flight came in.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let busy = self.slots.iter().filter_map(|slot| slot.busy.as_ref());
        busy.map(|busy| busy.info.since).min()
    }
}

impl<K: Keep> Busy<K> {
    /// Something inside the task begins to wait; gives the task for the first.
    pub(super) fn begin_wait(&mut self) -> Option<Info> {
        self.waiting += 1;
        (self.waiting == 1).then_some(self.info)
    }

    /// It waits no longer; gives the task for the last.
    pub(super) fn end_wait(&mut self) -> Option<Info> {
        self.waiting = self.waiting.saturating_sub(1);
        (self.waiting == 0).then_some(self.info)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }
}

impl Time {
    /// A closure of the task begins to wait for a thread.
    pub(super) fn stand(&mut self, now: Instant) {
        if self.standing == 0 {
            self.left = self.due.saturating_duration_since(now);
        }
        self.standing += 1;
    }

    /// It has its thread, or needs none any more; `true` when the time goes on and no timer looks at it.
    pub(super) fn go_on(&mut self, now: Instant, all: bool) -> bool {
        if self.standing == 0 {
            return false;
        }
        self.standing = if all { 0 } else { self.standing - 1 };
        if self.standing > 0 {
            return false;
        }
        self.due = crate::clock::after(now, self.left);
        self.key.is_none()
    }
}

/// Up to here the memory is kept, so that usual traffic allocates nothing.
const ROOM_KEPT: usize = 1024;

/// First in, first out. Its memory follows its length: what a burst grew shrinks again.
#[derive(Debug)]
pub(super) struct Queue<T>(VecDeque<T>);

impl<T> Queue<T> {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    #[inline]
    pub(super) fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    /// Takes the oldest. Halves the memory once three quarters of it are empty, so each item pays for a
    /// bounded number of moves.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        let item = self.0.pop_front();
        let capacity = self.0.capacity();
        if capacity > ROOM_KEPT && self.0.len() < capacity / 4 {
            self.0.shrink_to(capacity / 2);
        }
        item
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.0.front()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_a_burst_grew_shrinks_again_and_keeps_its_order() {
        let mut queue = Queue::new();
        (0..100_000).for_each(|item| queue.push(item));
        let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert!(popped.iter().copied().eq(0..100_000));
        assert!(queue.0.capacity() <= 2 * ROOM_KEPT, "{}", queue.0.capacity());
        queue.push(1);
        let kept = queue.0.capacity();
        assert_eq!((queue.pop(), queue.0.capacity()), (Some(1), kept), "small ones keep theirs");
    }
}
