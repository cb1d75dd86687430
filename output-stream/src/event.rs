//! What a subscriber sees: data, gaps, and exactly one end.

use bytes::Bytes;
use std::fmt;
use std::io;
use std::sync::Arc;

/// One thing that happened to the stream, in stream order.
///
/// A subscriber sees offsets that never go back and never skip: each event starts where the
/// one before ended. After [`Event::End`] comes nothing.
#[derive(Debug, Clone)]
#[expect(
    clippy::exhaustive_enums,
    reason = "data, gap, end: that these are all is the contract a reader matches on"
)]
pub enum Event {
    /// Bytes of the source, the first of which stands at `offset`.
    Data {
        /// The place of the first byte in all that the source ever gave.
        offset: u64,
        /// The bytes; never empty.
        bytes: Bytes,
    },
    /// Bytes that this subscriber does not get: `from` up to, not including, `to`.
    Gap {
        /// The first lost byte.
        from: u64,
        /// The first byte that is not lost; always greater than `from`.
        to: u64,
    },
    /// The last event.
    End(End),
}

/// Why a stream has ended for a subscriber.
///
/// It is kept for as long as the stream lives: a subscriber that comes late gets the retained
/// bytes and then the same end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum End {
    /// Every writer closed its end, and all bytes were read.
    Eof,
    /// Reading failed; the bytes before the failure were read.
    ReadError(Arc<io::Error>),
    /// Reading was stopped by request, before the end of the source.
    Closed,
    /// [`Stream::drain`](crate::Stream::drain) stopped it: everything that was there was read, and the source
    /// had not come to its end. Behind a pipe, a writer still holds it.
    Drained,
    /// The pump was torn down from outside: its runtime was shut down, or its source panicked.
    Aborted,
    /// This subscriber alone was let go: it held up the source for longer than its policy allows.
    Detached,
}

impl End {
    /// Whether the source was read to its end: nothing can have been written that was not read.
    #[must_use]
    pub fn is_eof(&self) -> bool {
        matches!(self, Self::Eof)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eof => f.write_str("end of file"),
            Self::ReadError(error) => write!(f, "read error: {error}"),
            Self::Closed => f.write_str("closed by request"),
            Self::Drained => f.write_str("drained by request, before the end of the source"),
            Self::Aborted => f.write_str("aborted with its runtime"),
            Self::Detached => f.write_str("detached: the subscriber held up the source"),
        }
    }
}
