//! The owner's claim on a task's output.

use super::header::Phase;
use super::refs::TaskRef;
use super::slot::WakerSlot;
use super::wake::RawAbort;
use crate::error::JoinError;
use std::marker::PhantomData;
use std::task::{Context, Poll};

/// The one reference that may take the output, so its type is the task's output type.
pub(crate) struct RawJoin<T> {
    task: TaskRef,
    _output: PhantomData<T>,
}

impl<T> RawJoin<T> {
    /// `task` is new, and its output is a `T`.
    pub(super) fn new(task: TaskRef) -> Self {
        Self { task, _output: PhantomData }
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        if self.is_finished() {
            return Poll::Ready(self.task.take_output());
        }
        let joiner = self.task.joiner.take();
        if joiner.will_wake(cx.waker()) {
            self.task.joiner.set(joiner);
            return Poll::Pending;
        }
        self.task.joiner.set(WakerSlot::new(cx.waker()));
        drop(joiner);
        // Cloning and dropping a waker runs foreign code, in which the task may have ended.
        if self.is_finished() {
            drop(self.task.joiner.take());
            return Poll::Ready(self.task.take_output());
        }
        Poll::Pending
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.task.phase.get() == Phase::Done
    }

    pub(crate) fn abort(&self) {
        self.task.abort();
    }

    pub(crate) fn abort_handle(&self) -> RawAbort {
        RawAbort::new(&self.task)
    }

    pub(crate) fn id(&self) -> usize {
        self.task.id()
    }
}

impl<T> Drop for RawJoin<T> {
    fn drop(&mut self) {
        self.task.joined.set(false);
        drop(self.task.joiner.take());
        if self.is_finished() {
            self.task.clear();
        }
    }
}
