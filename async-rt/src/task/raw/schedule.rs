//! `Schedule`: what a task needs of the runtime that owns it, and all that it knows of it. Wakes put
//! tasks into its ready queue, and the last reference to a task gives its memory back here.
//!
//! The engine is built on it; nothing below the engine knows more of the engine than this.

use super::header::{Header, Phase, TaskPtr};
use super::ready::Ready;
use super::shared::{Credits, SharedPtr};
use super::slots::Slots;
use std::cell::RefCell;

/// The owner's half that wakes and the ends of tasks reach.
pub(super) struct Schedule {
    pub(super) ready: Ready,
    pub(super) slots: RefCell<Option<Slots>>,
    /// Wakes are noted in the origins of tasks.
    #[cfg(feature = "insight")]
    pub(super) note_wakes: bool,
    pub(super) shared: SharedPtr<Header>,
    /// Last: tasks give their credits back while the fields above end.
    pub(super) credits: Credits<Header>,
}

impl Schedule {
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

    /// The memory of a task has been freed on this thread: its credit and its slot come back.
    pub(super) fn reclaim(&self, task: TaskPtr, in_slab: bool) {
        self.credits.refund();
        if in_slab && let Some(slots) = &mut *self.slots.borrow_mut() {
            slots.give_back(task.0.cast());
        }
    }
}
