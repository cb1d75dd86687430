//! The tasks in flight: a table of at most `concurrency` slots. Pure bookkeeping under the lock.

use crate::ledger::Epoch;
use crate::node::Node;
use crate::ready::{Ready, SlotWaker};
use crate::task::Timeout;
use crate::timers::Key;
use std::sync::Arc;
use std::time::Instant;

/// What the worker knows about a task from when it was taken until it has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Info {
    pub(crate) id: u64,
    pub(crate) label: &'static str,
    pub(crate) timeout: Timeout,
    pub(crate) weight: u32,
    /// Whether room was reserved in this process: not for a guard that came over a fork.
    pub(crate) charged: bool,
    pub(crate) epoch: Epoch,
    pub(crate) since: Instant,
}

/// A task that was taken from the inbox.
pub(crate) struct Queued {
    pub(crate) node: Node,
    pub(crate) info: Info,
}

/// A slot with a task.
struct Busy {
    info: Info,
    timeout: Key,
    place: Place,
}

/// Where the task of a slot is.
enum Place {
    /// Here, waiting for its waker.
    Here(Node),
    /// With the driver, which polls it.
    Polled,
    /// With the driver, and its outcome was counted already: it is only to be dropped.
    Revoked,
}

struct Slot {
    waker: Arc<SlotWaker>,
    busy: Option<Busy>,
}

pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
    limit: usize,
}

/// What a slot says when its task comes back from a poll.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Valid,
    Revoked,
}

impl Slots {
    pub(crate) fn new(limit: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), limit }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.in_flight() < self.limit
    }

    /// Occupies a slot for a task that the driver is about to poll first.
    pub(crate) fn occupy(
        &mut self,
        info: Info,
        ready: &Arc<Ready>,
        timeout: impl FnOnce(usize) -> Key,
    ) -> (usize, Arc<SlotWaker>) {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.slots.len();
            let waker = SlotWaker::new(index, ready);
            self.slots.push(Slot { waker, busy: None });
            index
        });
        let slot = &mut self.slots[index];
        slot.busy = Some(Busy { info, timeout: timeout(index), place: Place::Polled });
        (index, Arc::clone(&slot.waker))
    }

    /// Takes the task out to poll it; `None` when the wake was for a task that is gone.
    pub(crate) fn take(&mut self, index: usize) -> Option<(Node, Info, Arc<SlotWaker>)> {
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

    /// Takes the task out because its time is up, if the slot still holds that very task.
    pub(crate) fn expire(&mut self, index: usize, id: u64) -> Option<(Node, Info)> {
        let busy = self.slots.get(index)?.busy.as_ref()?;
        if busy.info.id != id {
            return None;
        }
        self.take(index).map(|(node, info, _)| (node, info))
    }

    /// Whether the driver's claim on the slot it polled still holds.
    pub(crate) fn claim(&self, index: usize) -> Claim {
        match self.slots[index].busy.as_ref().map(|busy| &busy.place) {
            Some(Place::Polled) => Claim::Valid,
            _ => Claim::Revoked,
        }
    }

    /// The poll was pending: the task waits here.
    pub(crate) fn put_back(&mut self, index: usize, node: Node) {
        if let Some(busy) = &mut self.slots[index].busy {
            busy.place = Place::Here(node);
        }
    }

    /// Frees the slot; gives the key of its timeout, to be removed.
    pub(crate) fn vacate(&mut self, index: usize) -> Option<Key> {
        let busy = self.slots[index].busy.take()?;
        self.free.push(index);
        Some(busy.timeout)
    }

    /// Gives every task up: those that wait here come back; those with the driver are revoked, and
    /// come back without a node.
    pub(crate) fn give_up(&mut self) -> Vec<(Option<Node>, Info)> {
        let mut given = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Some(busy) = &mut slot.busy else { continue };
            let info = busy.info;
            match std::mem::replace(&mut busy.place, Place::Revoked) {
                Place::Here(node) => {
                    slot.busy = None;
                    self.free.push(index);
                    given.push((Some(node), info));
                }
                Place::Polled => given.push((None, info)),
                Place::Revoked => {}
            }
        }
        given
    }

    /// Tasks whose outcome was counted while the driver still had them.
    pub(crate) fn revoked(&self) -> usize {
        let is_revoked = |slot: &&Slot| {
            let place = slot.busy.as_ref().map(|busy| &busy.place);
            matches!(place, Some(Place::Revoked))
        };
        self.slots.iter().filter(is_revoked).count()
    }

    /// All occupied slots, for a driver that starts where another one was torn down.
    pub(crate) fn wakers(&self) -> Vec<Arc<SlotWaker>> {
        let busy = self.slots.iter().filter(|slot| slot.busy.is_some());
        busy.map(|slot| Arc::clone(&slot.waker)).collect()
    }

    /// When the oldest task in flight came in.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let busy = self.slots.iter().filter_map(|slot| slot.busy.as_ref());
        busy.map(|busy| busy.info.since).min()
    }
}
