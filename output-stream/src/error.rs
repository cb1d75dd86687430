//! What can be refused or go wrong, one enum per operation.

use std::error::Error;
use std::fmt;

/// Why a [`Config`](crate::Config) was refused; nothing was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A read of at most zero bytes would look like the end of the source.
    ZeroChunk,
    /// With a window of zero bytes a reader could never take anything.
    ZeroWindow,
    /// Keeping zero chunks, bytes or lines; say [`Retain::Nothing`](crate::Retain::Nothing).
    ZeroRetain,
    /// A cap of zero bytes on what is retained; say [`Retain::Nothing`](crate::Retain::Nothing).
    ZeroRetainCap,
    /// Lines of at most zero bytes.
    ZeroLine,
    /// A name with a NUL in it, which no thread can have.
    NulName,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ZeroChunk => "configure a stream: the chunk size is zero",
            Self::ZeroWindow => "configure a stream: the window is zero",
            Self::ZeroRetain => {
                "configure a stream: retain counts zero; `Retain::Nothing` says that"
            }
            Self::ZeroRetainCap => {
                "configure a stream: the retain cap is zero; `Retain::Nothing` says that"
            }
            Self::ZeroLine => "configure lines: the greatest length is zero",
            Self::NulName => "configure a stream: the name has a NUL in it",
        })
    }
}

impl Error for ConfigError {}

/// Why a subscriber was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The stream is for a single subscriber, and one is attached that has not ended.
    Busy,
    /// A stall limit of zero would let go of every reader at once.
    ZeroStall,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "subscribe to a single-subscriber stream: another subscriber is attached",
            Self::ZeroStall => "subscribe: the stall limit is zero",
        })
    }
}

impl Error for SubscribeError {}
