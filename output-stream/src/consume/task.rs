//! A consumer as a tokio task.

use super::ConsumerError;
use crate::contain::message;
use std::future::Future;
use tokio::task::JoinHandle;

/// A task that reads a stream. Dropping it stops it, and detaches its subscriber.
#[must_use = "dropping a consumer stops it"]
#[derive(Debug)]
pub struct Consumer<T> {
    task: JoinHandle<T>,
}

impl<T: Send + 'static> Consumer<T> {
    #[expect(clippy::disallowed_methods, reason = "the one place that starts consumers")]
    pub(crate) fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { task: tokio::spawn(work) }
    }

    /// Waits for its result.
    ///
    /// # Errors
    ///
    /// Its callback panicked, or it was stopped before its end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the consumer as it is. After a result was returned there is no
    /// other: a further call panics.
    ///
    /// # Panics
    ///
    /// When the result was already taken.
    pub async fn wait(&mut self) -> Result<T, ConsumerError> {
        (&mut self.task).await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => ConsumerError::Panicked(message(panic)),
            Err(_) => ConsumerError::Aborted,
        })
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Stops it at its next wait, without a result.
    pub fn stop(&self) {
        self.task.abort();
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
