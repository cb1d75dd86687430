//! `WakerSlot`: a place of the owner's thread that remembers whom to wake, without a locked
//! instruction when that is a task of the runtime which is running.

use super::context;
use super::header::{Phase, TaskRef};
use super::wake;
use crate::contain::{self, Contained};
use std::fmt;
use std::task::Waker;

/// Nobody, a task of this thread's runtime, or any waker.
///
/// Waking, dropping or replacing one may run foreign code, whose panics end here: never under a
/// borrow.
#[derive(Default)]
pub(crate) struct WakerSlot(Inner);

enum Inner {
    Task(Option<TaskRef>),
    Other(Contained<Waker>),
}

impl Default for Inner {
    fn default() -> Self {
        Self::Task(None)
    }
}

impl WakerSlot {
    pub(crate) const EMPTY: Self = Self(Inner::Task(None));

    pub(crate) fn new(waker: &Waker) -> Self {
        match Self::local(waker) {
            Some(task) => Self(Inner::Task(Some(task))),
            None => Self(Inner::Other(Contained::new(waker.clone()))),
        }
    }

    fn local(waker: &Waker) -> Option<TaskRef> {
        let (task, current) = (wake::task_of(waker)?, context::current()?);
        // The owner's cells may be read once the comparison says that we are the owner.
        if task.shared != current || task.phase.get() == Phase::Done {
            return None;
        }
        task.owners.set(task.owners.get() + 1);
        Some(TaskRef(task))
    }

    /// Whether a wake of this slot would do what `waker` does.
    pub(crate) fn will_wake(&self, waker: &Waker) -> bool {
        match &self.0 {
            Inner::Task(None) => false,
            Inner::Task(Some(task)) => wake::task_of(waker) == Some(task.0),
            Inner::Other(other) => other.get().is_some_and(|other| other.will_wake(waker)),
        }
    }

    /// Wakes whom it holds.
    pub(crate) fn wake(self) {
        match self.0 {
            Inner::Task(None) => {}
            Inner::Task(Some(task)) => task.wake(),
            Inner::Other(mut waker) => waker.take().into_iter().for_each(contain::wake),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.0, Inner::Task(None))
    }
}

impl fmt::Debug for WakerSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "WakerSlot(empty)" } else { "WakerSlot(set)" })
    }
}
