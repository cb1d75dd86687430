//! `JoinHandle` and `AbortHandle`: waiting for a task, and ending it.

use crate::coop;
use crate::error::JoinError;
use crate::task::{Abort, Join};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Names a task among those alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub(crate) usize);

/// The output of a task, to be awaited. Dropping it detaches the task, which goes on.
///
/// It works inside and outside `block_on`, and after the runtime's end, when it is ready at once.
/// A task that awaits its own handle never ends by itself.
///
/// # Cancel safety
/// Awaiting `&mut handle` loses nothing when it is cancelled.
#[must_use = "a join handle that is dropped detaches its task; call `detach` to say so"]
pub struct JoinHandle<T> {
    join: Option<Join<T>>,
}

impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    pub(crate) fn new(join: Join<T>) -> Self {
        Self { join: Some(join) }
    }
}

impl<T: 'static> JoinHandle<T> {
    /// Whether the output is there, or was there and has been taken.
    pub fn is_finished(&self) -> bool {
        self.join.as_ref().is_none_or(Join::is_finished)
    }

    /// Drops the task's future at its next turn; awaiting the handle then gives a
    /// [`JoinError`] that is cancelled. A task that is done, or becomes done in the poll that is
    /// under way, keeps its output.
    pub fn abort(&self) {
        if let Some(join) = &self.join {
            join.abort();
        }
    }

    /// A handle that can abort the task from any thread; `None` once the output has been taken.
    pub fn abort_handle(&self) -> Option<AbortHandle> {
        self.join.as_ref().map(|join| AbortHandle { abort: join.abort_handle() })
    }

    /// As `poll`, without asking or charging the budget.
    pub(crate) fn poll_output(&mut self, cx: &Context<'_>) -> Poll<Result<T, JoinError>> {
        let join = self.join.as_ref().expect("it is there until the output is taken");
        let output = ready!(join.poll(cx));
        self.join = None;
        Poll::Ready(output.expect("only this handle takes the output, once"))
    }

    /// Lets the task go on without a reader of its output. Its output is dropped, a panic only counted.
    pub fn detach(self) {}

    /// The task's name; `None` once the output has been taken.
    pub fn id(&self) -> Option<TaskId> {
        self.join.as_ref().map(|join| TaskId(join.id()))
    }
}

impl<T: 'static> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    /// When it was ready before.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.join.as_ref().expect("a join handle was polled after it was ready");
        let progress = ready!(coop::poll_proceed(cx));
        let output = ready!(self.poll_output(cx));
        progress.made();
        Poll::Ready(output)
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("taken", &self.join.is_none()).finish_non_exhaustive()
    }
}

/// Aborts a task, from any thread, at any time; after the task's end it does nothing.
#[derive(Clone)]
pub struct AbortHandle {
    abort: Abort,
}

impl AbortHandle {
    /// Drops the task's future at its next turn, on the runtime's thread.
    pub fn abort(&self) {
        self.abort.abort();
    }

    /// The task's name.
    pub fn id(&self) -> TaskId {
        TaskId(self.abort.id())
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AbortHandle").field(&self.id()).finish()
    }
}
