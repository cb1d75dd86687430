//! What a channel refuses, with what it refused.

use std::error::Error;
use std::fmt;

/// The receiver is gone or closed; the value comes back.
#[derive(PartialEq, Eq, Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "the value is all it can hold")]
pub struct SendError<T>(pub T);

/// Why a value was not sent at once; it comes back.
#[derive(PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// There is no room, or others wait for it.
    Full(T),
    /// The receiver is gone or closed.
    Closed(T),
}

/// Why no value was received at once.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum TryRecvError {
    /// None is there now.
    Empty,
    /// None will come.
    Closed,
}

/// Nothing more will come: the sender is gone, or the receiver has closed the channel.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub struct RecvError;

/// Why a plain thread did not send; the value comes back.
#[derive(PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum SendTimeoutError<T> {
    /// The time passed before there was room.
    TimedOut(T),
    /// The receiver is gone or closed.
    Closed(T),
}

/// Why a plain thread did not receive.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// The time passed before a value came.
    TimedOut,
    /// None will come.
    Closed,
}

/// The capacity of a channel is zero, or more than the memory holds.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub struct CapacityError {
    /// What was asked for.
    pub capacity: usize,
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.capacity {
            0 => f.write_str("a channel needs room for one value: its capacity is zero"),
            capacity => write!(f, "a channel of capacity {capacity} does not fit into the memory"),
        }
    }
}

impl Error for CapacityError {}

const NO_RECEIVER: &str = "the receiver of the channel is gone or takes no more values";
const NO_MORE: &str = "no more values will come through the channel";

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError")
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NO_RECEIVER)
    }
}

impl<T> Error for SendError<T> {}

impl<T> TrySendError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Closed(value) => value,
        }
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Closed(_) => "Closed",
        })
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the channel is full",
            Self::Closed(_) => NO_RECEIVER,
        })
    }
}

impl<T> Error for TrySendError<T> {}

impl<T> SendTimeoutError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::TimedOut(value) | Self::Closed(value) => value,
        }
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut(_) => "TimedOut",
            Self::Closed(_) => "Closed",
        })
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut(_) => "the time passed before the channel had room",
            Self::Closed(_) => NO_RECEIVER,
        })
    }
}

impl<T> Error for SendTimeoutError<T> {}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "the time passed before a value came",
            Self::Closed => NO_MORE,
        })
    }
}

impl Error for RecvTimeoutError {}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the channel is empty",
            Self::Closed => NO_MORE,
        })
    }
}

impl Error for TryRecvError {}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NO_MORE)
    }
}

impl Error for RecvError {}
