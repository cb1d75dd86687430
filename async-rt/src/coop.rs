//! The cooperative budget: how many operations of this crate one poll of a task may complete before
//! the next ones pretend to be pending, so that a task whose channel is never empty lets others run.
//!
//! Only progress is charged. An operation that finds nothing costs nothing, however many of them a
//! task polls.
//!
//! - A future asks before it looks, and says so when it has done something:
//!
//!   ```text
//!   let progress = ready!(coop::poll_proceed(cx));   // costs nothing
//!   let value = ready!(look_or_register(cx));        // pending: nothing is spent
//!   progress.made();                                 // one operation
//!   Poll::Ready(value)
//!   ```
//!
//! - An operation without a context (`try_recv`, `try_read`, a poll that must not be refused) calls
//!   [`made_progress`] when it has succeeded. It is never refused; the next future of the task is.
//!
//! The bound: between two turns of a ready task, every other task that was ready before it has one
//! turn, and one turn completes at most [`BUDGET`] operations that can be refused, and as many again for each
//! [`REFUSALS`] that were.
//!
//! [`poll_proceed`] wakes the task when it refuses: call it under no lock and no borrow.

use std::cell::Cell;
use std::task::{Context, Poll};

/// Operations of one turn: enough to be rare, few enough that others wait microseconds.
pub(crate) const BUDGET: i64 = 128;

/// Refusals of one turn before it gets another budget. A blocking executor inside of a task polls
/// again and again and never ends the turn: it must not hang. A task that polls so many futures in
/// one turn takes long anyway.
const REFUSALS: i64 = 4096;

/// Outside the turns of a runtime nothing is refused: a foreign executor begins no turns here.
const UNLIMITED: i64 = i64::MAX;

thread_local! {
    /// Operations left; below zero, how many were refused.
    static LEFT: Cell<i64> = const { Cell::new(UNLIMITED) };
}

/// The leave to complete one operation. Dropped, it costs nothing.
#[derive(Debug)]
#[must_use = "say `made` when the operation has done something"]
pub(crate) struct Progress(());

impl Progress {
    /// The operation has completed.
    #[inline]
    pub(crate) fn made(self) {
        made_progress();
    }
}

/// Charges the turn for an operation that has completed.
#[inline]
pub(crate) fn made_progress() {
    LEFT.with(|left| {
        let operations = left.get();
        if operations > 0 {
            left.set(operations - 1);
        }
    });
}

/// Whether the turn has operations left.
#[inline]
pub(crate) fn has_left() -> bool {
    // What is left over from one execution of a model must not change the next one.
    cfg!(lastout_loom) || LEFT.with(Cell::get) > 0
}

/// Ready while the turn has operations left; otherwise wakes the task for its next turn.
#[inline]
pub(crate) fn poll_proceed(cx: &Context<'_>) -> Poll<Progress> {
    if has_left() {
        return Poll::Ready(Progress(()));
    }
    refuse(cx)
}

/// The leave to tell of a time-out or a cancellation. It is refused once at most: a loop over what is
/// overdue ends its turn, and a neighbour in the same task that spends each budget delays it by one poll.
#[derive(Debug, Default)]
pub(crate) struct Overdue {
    refused: bool,
}

impl Overdue {
    /// Ready if the turn `had_left` operations before the poll that found it overdue, or after one refusal.
    pub(crate) fn poll(&mut self, had_left: bool, cx: &Context<'_>) -> Poll<()> {
        if had_left || self.refused {
            made_progress();
            return Poll::Ready(());
        }
        self.refused = true;
        refuse(cx).map(Progress::made)
    }
}

#[cold]
fn refuse(cx: &Context<'_>) -> Poll<Progress> {
    LEFT.with(|left| {
        let refused = left.get().min(0) - 1;
        left.set(if refused < -REFUSALS { BUDGET } else { refused });
    });
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// A turn begins.
#[inline]
pub(crate) fn begin_turn() {
    LEFT.with(|left| left.set(BUDGET));
}

/// Turns begin and end inside of this; when it is dropped, what was left before is left again.
#[derive(Debug)]
#[must_use = "the budget of the last turn stays until this is dropped"]
pub(crate) struct Turns(i64);

/// A runtime begins to run on this thread.
pub(crate) fn begin_turns() -> Turns {
    Turns(LEFT.with(|left| left.replace(UNLIMITED)))
}

impl Drop for Turns {
    fn drop(&mut self) {
        LEFT.with(|left| left.set(self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn proceeds() -> bool {
        poll_proceed(&Context::from_waker(Waker::noop())).map(Progress::made).is_ready()
    }

    #[test]
    fn only_progress_is_charged() {
        let cx = Context::from_waker(Waker::noop());
        let _turns = begin_turns();
        begin_turn();
        assert!((0..1000).all(|_| poll_proceed(&cx).is_ready()), "nothing was done");
        assert!((0..BUDGET).all(|_| proceeds()));
        assert!((0..REFUSALS).all(|_| !proceeds()), "the turn is over for every operation");
        begin_turn();
        assert!(proceeds());
    }

    #[test]
    fn an_executor_that_never_ends_its_turn_is_not_stuck() {
        let _turns = begin_turns();
        begin_turn();
        let done = (0..100_000).filter(|_| proceeds()).count();
        assert!(done > 2 * BUDGET as usize, "{done}");
    }

    #[test]
    fn nothing_is_refused_outside_of_turns() {
        assert!((0..100_000).all(|_| proceeds()));
        let turns = begin_turns();
        begin_turn();
        drop(turns);
        assert!((0..100_000).all(|_| proceeds()));
    }
}
