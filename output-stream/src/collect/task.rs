//! A collector that reads by itself.

use super::{Collected, Keep, Sink};
use crate::consume::{Consumer, ConsumerError};
use crate::error::SubscribeError;
#[cfg(doc)]
use crate::event::End;
use crate::policy::{Policy, Position};
use crate::stream::Stream;
use crate::subscriber::Subscriber;
use std::sync::{Arc, Mutex, MutexGuard};

/// A collector that runs as a task. What it has kept can be looked at while it runs.
///
/// Dropping it stops it.
#[derive(Debug)]
pub struct Collector {
    sink: Arc<Mutex<Sink>>,
    task: Consumer<()>,
    is_over: bool,
}

impl Stream {
    /// Collects from the start of the stream, on a task; it never loses what it was to keep.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe).
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn collect(&self, keep: Keep) -> Result<Collector, SubscribeError> {
        Ok(self.subscribe(Position::Start, Policy::Block)?.collect(keep))
    }
}

impl Subscriber {
    /// Collects from here on, on a task.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn collect(mut self, keep: Keep) -> Collector {
        let sink = Arc::new(Mutex::new(Sink::new(keep)));
        let filled = sink.clone();
        let task = Consumer::spawn(async move {
            while let Some(event) = self.next().await {
                lock(&filled).take(&event);
            }
        });
        Collector { sink, task, is_over: false }
    }
}

impl Collector {
    /// What is kept now, while it goes on.
    #[must_use]
    pub fn snapshot(&self) -> Collected {
        lock(&self.sink).snapshot()
    }

    /// Waits for the end of the stream. Called again it gives the same.
    ///
    /// When the runtime of the collector is shut down, its collection ends there, with
    /// [`EndReason::Aborted`](crate::EndReason::Aborted) unless the stream had ended before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the collector goes on, and [`snapshot`](Self::snapshot)
    /// shows what it has.
    pub async fn wait(&mut self) -> Collected {
        if !self.is_over {
            // A runtime that is shut down ends the task; what was kept is still here.
            let ended = self.task.wait().await;
            debug_assert!(!matches!(ended, Err(ConsumerError::Panicked(_))), "it never panics");
            self.is_over = true;
            lock(&self.sink).cut_short();
        }
        self.snapshot()
    }
}

fn lock(sink: &Mutex<Sink>) -> MutexGuard<'_, Sink> {
    sink.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
