//! Callbacks on events and lines.

use super::Consumer;
use crate::event::Event;
use crate::lines::{LineRef, Lines, LinesEnd};
use crate::subscriber::Subscriber;
use std::ops::ControlFlow;

impl Subscriber {
    /// Calls `f` with every event, on a task, until the end. The result is the account.
    ///
    /// A callback that panics ends this consumer and nothing else; one that blocks, blocks a
    /// thread of the runtime.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn inspect(
        mut self,
        mut f: impl FnMut(&Event) + Send + 'static,
    ) -> Consumer<crate::SubscriberStats> {
        Consumer::spawn(async move {
            while let Some(event) = self.next().await {
                f(&event);
            }
            self.stats()
        })
    }
}

impl Lines {
    /// Calls `f` with every line, on a task, until the end, which is the result.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn inspect(
        mut self,
        mut f: impl FnMut(LineRef<'_>) + Send + 'static,
    ) -> Consumer<Option<LinesEnd>> {
        Consumer::spawn(async move {
            let visit = |line: LineRef<'_>| {
                f(line);
                ControlFlow::Continue(())
            };
            let _ = self.for_each(visit).await;
            self.end().cloned()
        })
    }
}
