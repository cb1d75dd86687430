//! `Schedule`: what a task needs of the runtime that owns it, and all that it knows of it. Wakes put
//! tasks into its ready queue, and the last reference to a task gives its memory back here.
//!
//! The engine is built on it; nothing below the engine knows more of the engine than this.

use super::header::{Header, Phase, TaskPtr};
use super::ready::Ready;
use super::shared::{Credits, SharedPtr};
use super::slots::{Slot, Slots};
use crate::sync::lock;
use crate::sys::Unpark;
use crate::task::plan::EngineConfig;
use std::cell::RefCell;
use std::sync::Arc;

/// The owner's half that wakes and the ends of tasks reach.
pub(super) struct Schedule {
    pub(super) ready: Ready,
    slots: RefCell<Option<Slots>>,
    /// Wakes are noted in the origins of tasks.
    #[cfg(feature = "insight")]
    pub(super) note_wakes: bool,
    pub(super) shared: SharedPtr<Header>,
    /// Last: tasks give their credits back while the fields above end.
    pub(super) credits: Credits<Header>,
}

impl Schedule {
    pub(super) fn new(config: &EngineConfig, unpark: Arc<dyn Unpark>) -> Self {
        let credits = Credits::new(unpark);
        let shared = credits.shared();
        let slots = config.slab.map(|slab| {
            let (slots, chunk) = Slots::new(slab.slot_size, slab.count, slab.unbounded);
            lock(&shared.chunks).push(chunk);
            slots
        });
        Self {
            ready: Ready::default(),
            slots: RefCell::new(slots),
            #[cfg(feature = "insight")]
            note_wakes: config.probe.is_some(),
            shared,
            credits,
        }
    }

    /// Puts a task into the ready queue, unless it is there or done.
    #[inline]
    pub(super) fn schedule(&self, task: TaskPtr) {
        if task.ready.get() || task.phase.get() == Phase::Done {
            return;
        }
        #[cfg(feature = "insight")]
        if self.note_wakes {
            task.origin.woken();
        }
        self.ready.push(task);
    }

    pub(super) fn free_slot(&self) -> Option<Slot> {
        self.slots.borrow_mut().as_mut().and_then(Slots::take)
    }

    /// More slots, if there may be more and there is memory.
    pub(super) fn grow_slab(&self) -> Option<()> {
        let chunk = self.slots.borrow_mut().as_mut().and_then(Slots::grow)?;
        lock(&self.shared.chunks).push(chunk);
        Some(())
    }

    pub(super) fn return_slot(&self, slot: Slot) {
        if let Some(slots) = &mut *self.slots.borrow_mut() {
            slots.give_back(slot.start);
        }
    }

    /// Size of a slot and number of slots, if there is a slab.
    pub(super) fn slab_shape(&self) -> Option<(usize, usize)> {
        self.slots.borrow().as_ref().map(|slots| (slots.size(), slots.capacity()))
    }

    /// The memory of a task has been freed on this thread: its credit and its slot come back.
    pub(super) fn reclaim(&self, task: TaskPtr, in_slab: bool) {
        self.credits.refund();
        if in_slab {
            let mut slots = self.slots.borrow_mut();
            slots.as_mut().expect("a task in the slab has one").give_back(task.0.cast());
        }
    }
}
