//! The ready queue: tasks in the order in which they were woken, linked through their headers, so
//! that it neither allocates nor counts references.
//!
//! A queued task is kept alive by the owner's table while it is live; one that ends while it is
//! queued gives the queue a reference, which whoever pops it gives up.

use super::header::{Phase, TaskPtr, TaskRef};
use std::cell::Cell;
use std::mem::ManuallyDrop;

/// See the module.
#[derive(Default)]
pub(super) struct Ready {
    first: Cell<Option<TaskPtr>>,
    /// The end of the list; means nothing while it is empty.
    last: Cell<Option<TaskPtr>>,
}

impl Ready {
    /// Adds a task that is alive, not done, and not queued.
    #[inline]
    pub(super) fn push(&self, task: TaskPtr) {
        task.ready.set(true);
        task.after.set(None);
        match (self.first.get(), self.last.get()) {
            (Some(_), Some(last)) => last.after.set(Some(task)),
            _ => self.first.set(Some(task)),
        }
        self.last.set(Some(task));
    }

    /// The task that has waited longest. If it is done, the caller gives its reference up.
    #[inline]
    pub(super) fn pop(&self) -> Option<TaskPtr> {
        let task = self.first.get()?;
        self.first.set(task.after.get());
        task.ready.set(false);
        Some(task)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    /// A task has just become done while it is queued: the queue holds `own` from here on.
    pub(super) fn keep(own: TaskRef) {
        debug_assert!(own.ready.get() && own.phase.get() == Phase::Done);
        let _held_by_the_queue = ManuallyDrop::new(own);
    }

    /// Gives up the reference that came with a task that was done when it was popped.
    #[cold]
    pub(super) fn give_up(task: TaskPtr) {
        debug_assert_eq!(task.phase.get(), Phase::Done);
        drop(TaskRef(task));
    }

    /// Forgets everything that is queued.
    pub(super) fn clear(&self) {
        while let Some(task) = self.pop() {
            if task.phase.get() == Phase::Done {
                Self::give_up(task);
            }
        }
    }

    /// Lets the task at a place that `pick` chooses of so many go first, and the first one take its
    /// place.
    #[cfg(feature = "testing")]
    pub(super) fn choose(&self, pick: impl FnOnce(usize) -> Option<usize>) {
        let mut tasks: Vec<_> = std::iter::from_fn(|| self.pop()).collect();
        if let Some(index) = pick(tasks.len()) {
            tasks.swap(0, index);
        }
        tasks.into_iter().for_each(|task| self.push(task));
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.clear();
    }
}
