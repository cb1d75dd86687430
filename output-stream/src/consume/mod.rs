//! Consumers that run as tasks: each owns one subscriber, and fails alone.

mod inspect;
mod tee;

pub use tee::{Tee, TeeEnd};

use crate::error::SubscribeError;
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::Future;
use tokio::task::JoinHandle;

/// A task that reads a stream. Dropping it stops it, and detaches its subscriber.
#[must_use = "dropping a consumer stops it"]
#[derive(Debug)]
pub struct Consumer<T> {
    task: JoinHandle<T>,
}

/// Why a consumer gave no result. Nothing else is affected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsumerError {
    /// Its callback panicked, with this message.
    Panicked(String),
    /// It was stopped, or its runtime was shut down.
    Aborted,
    /// It could not be attached.
    Subscribe(SubscribeError),
}

impl fmt::Display for ConsumerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => {
                write!(f, "consume a stream: the callback panicked: {message}")
            }
            Self::Aborted => f.write_str("consume a stream: the consumer was stopped"),
            Self::Subscribe(_) => f.write_str("consume a stream: it could not be attached"),
        }
    }
}

impl Error for ConsumerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Subscribe(error) => Some(error),
            Self::Panicked(_) | Self::Aborted => None,
        }
    }
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
            Ok(panic) => ConsumerError::Panicked(message(&*panic)),
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

pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a value that is no text".into())
}
