//! The cooperative budget: how many operations of this crate one poll of a task may complete before
//! they pretend to be pending, so that a task whose channel is never empty still lets others run.

use std::cell::Cell;
use std::task::{Context, Poll};

/// Operations per poll: enough to be rare, few enough that others wait microseconds.
const BUDGET: u32 = 128;

thread_local! { static LEFT: Cell<u32> = const { Cell::new(BUDGET) }; }

/// A new poll begins.
#[inline]
pub(crate) fn refill() {
    LEFT.with(|left| left.set(BUDGET));
}

/// Spends one operation; when none is left, wakes the task for its next turn and is pending.
///
/// Call it when an operation is about to complete, never when it is pending anyway.
#[inline]
pub(crate) fn proceed(cx: &Context<'_>) -> Poll<()> {
    if cfg!(lastout_loom) {
        // What is left over from one execution of a model must not change the next one.
        return Poll::Ready(());
    }
    LEFT.with(|left| match left.get().checked_sub(1) {
        Some(rest) => {
            left.set(rest);
            Poll::Ready(())
        }
        None => {
            // Also under an executor that never refills, the operation after this one proceeds.
            left.set(BUDGET);
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn the_budget_runs_out_and_comes_back() {
        let cx = Context::from_waker(Waker::noop());
        refill();
        assert!((0..BUDGET).all(|_| proceed(&cx).is_ready()));
        assert!(proceed(&cx).is_pending());
        assert!(proceed(&cx).is_ready(), "an executor that does not refill is not stuck");
    }
}
