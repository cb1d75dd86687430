//! The turns of a task: a reader that always finds something must not starve the others.
//!
//! tokio counts what a task takes in one turn, and makes it wait when that was enough: that is when
//! time limits around it fire. Readers take part in that by themselves, so that a loop over `next`
//! can be timed out whatever its source does. One that finds nothing takes nothing: a task may poll
//! any number of idle readers. Outside of tokio there are no turns.

use std::task::{Context, Poll};
#[cfg(feature = "tokio")]
use std::{future::Future, task::Waker};
#[cfg(feature = "tokio")]
use tokio::task::coop::{consume_budget, has_budget_remaining};

/// So many lines that were found in memory count as much as one read.
pub(crate) const LINES: u32 = 64;

/// Pending when the task has had its turn; it is woken for the next one by then.
pub(crate) fn poll_may(cx: &mut Context<'_>) -> Poll<()> {
    #[cfg(feature = "tokio")]
    if !has_budget_remaining() {
        return std::pin::pin!(consume_budget()).poll(cx);
    }
    let _ = cx;
    Poll::Ready(())
}

/// The task took something. `false` when that was all that it may have in this turn.
///
/// Never inlined: it would keep the loop over lines around it from being.
#[inline(never)]
pub(crate) fn took() -> bool {
    #[cfg(feature = "tokio")]
    if has_budget_remaining() {
        // Ready, for there is something left to take it from: nobody will have to be woken.
        let mut cx = Context::from_waker(Waker::noop());
        let _ = std::pin::pin!(consume_budget()).poll(&mut cx);
        return has_budget_remaining();
    }
    cfg!(not(feature = "tokio"))
}

/// Counts lines towards the turn of a task.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    lines: u32,
}

impl Turn {
    /// [`poll_may`], which is asked once for so many lines.
    #[inline]
    pub(crate) fn poll_may(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.lines == 0 { poll_may(cx) } else { Poll::Ready(()) }
    }

    /// A line was found. `false` when the task has had its turn.
    #[inline]
    pub(crate) fn took_line(&mut self) -> bool {
        self.lines += 1;
        if self.lines < LINES {
            return true;
        }
        self.lines = 0;
        took()
    }
}

/// Lets the other futures of the thread have a turn.
#[cfg(feature = "process")]
pub(crate) async fn let_others_run() {
    let mut had_turn = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut had_turn, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
