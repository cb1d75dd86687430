//! The ready queue: tasks in the order in which they were woken, linked through their headers, so
//! that it neither allocates nor counts references.
//!
//! A queued task is kept alive by the owner's table while it is live; one that ends while it is
//! queued gives the queue a reference, which whoever pops it gives up.

use super::header::TaskPtr;
use std::cell::Cell;

/// A list of tasks, first in, first out.
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

    /// Lets the task at a place that `pick` chooses of so many go first, and the first one take its
    /// place.
    #[cfg(feature = "testing")]
    pub(super) fn choose(&self, pick: impl FnOnce(usize) -> usize) {
        let mut tasks: Vec<_> = std::iter::from_fn(|| self.pop()).collect();
        if !tasks.is_empty() {
            let index = pick(tasks.len());
            tasks.swap(0, index);
        }
        tasks.into_iter().for_each(|task| self.push(task));
    }
}
