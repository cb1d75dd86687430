//! Consumers that run as tasks: each owns one subscriber, and fails alone.

#[cfg(feature = "tokio")]
mod inspect;
#[cfg(feature = "tokio")]
mod task;
#[cfg(feature = "tokio")]
mod tee;

#[cfg(feature = "tokio")]
pub use task::Consumer;
#[cfg(feature = "tokio")]
pub use tee::{Tee, TeeEnd};

use crate::error::SubscribeError;
use crate::lines::TooLong;
use std::error::Error;
use std::fmt;

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
    /// A line was too long, see [`OnLong::Fail`](crate::OnLong::Fail): its callback saw no more of that output.
    TooLong(TooLong),
}

impl fmt::Display for ConsumerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => {
                write!(f, "consume a stream: the callback panicked: {message}")
            }
            Self::Aborted => f.write_str("consume a stream: the consumer was stopped"),
            Self::Subscribe(_) => f.write_str("consume a stream: it could not be attached"),
            Self::TooLong(_) => f.write_str("consume a stream: a line was too long"),
        }
    }
}

impl Error for ConsumerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Subscribe(error) => Some(error),
            Self::TooLong(error) => Some(error),
            Self::Panicked(_) | Self::Aborted => None,
        }
    }
}
