//! The turns of a task: a reader that always finds something must not starve the others.
//!
//! tokio counts what a task takes in one turn, and makes it wait when that was enough: that is when
//! time limits around it fire. Readers take part in that by themselves, so that a loop over `next`
//! can be timed out whatever its source does. One that finds nothing takes nothing: a task may poll
//! any number of idle readers. Outside of tokio there are no turns.

use std::task::{Context, Poll};

/// So many lines that were found in memory count as much as one read.
pub(crate) const LINES: u32 = 32;

/// Pending when the task has had its turn; it is woken for the next one by then.
pub(crate) fn poll_may(cx: &mut Context<'_>) -> Poll<()> {
    #[cfg(feature = "tokio")]
    if !tokio::task::coop::has_budget_remaining() {
        return poll_unit(cx);
    }
    let _ = cx;
    Poll::Ready(())
}

/// The task took something.
pub(crate) fn took(cx: &mut Context<'_>) {
    #[cfg(feature = "tokio")]
    if tokio::task::coop::has_budget_remaining() {
        // Ready, for there is something left to take it from.
        let _ = poll_unit(cx);
    }
    let _ = cx;
}

#[cfg(feature = "tokio")]
fn poll_unit(cx: &mut Context<'_>) -> Poll<()> {
    use std::future::Future;
    std::pin::pin!(tokio::task::coop::consume_budget()).poll(cx)
}

/// Counts lines towards the turn of a task.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    lines: u32,
}

impl Turn {
    /// A line was found.
    pub(crate) fn took_line(&mut self, cx: &mut Context<'_>) {
        self.lines += 1;
        if self.lines == LINES {
            self.lines = 0;
            took(cx);
        }
    }
}
