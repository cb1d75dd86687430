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

/// The end of a stream for a subscriber: why, where, and of which stream.
///
/// It is kept for as long as the stream lives: a subscriber that comes late gets the retained
/// bytes and then the same end.
///
/// ```
/// use lastout_output_stream::{End, EndReason};
///
/// assert_eq!(End::new(EndReason::Eof, 500).to_string(), "end of file at byte 500");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct End {
    /// Why it ended.
    pub reason: EndReason,
    /// How many bytes had been read from the source; for [`EndReason::Detached`], where the subscriber was
    /// let go.
    pub at: u64,
    /// The [name](crate::ConfigBuilder::name) of the stream.
    pub stream: Option<Arc<str>>,
}

/// Why a stream has ended for a subscriber.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EndReason {
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
    /// The end of a stream without a name, after so many bytes.
    #[must_use]
    pub fn new(reason: EndReason, at: u64) -> Self {
        Self { reason, at, stream: None }
    }

    /// Whether the source was read to its end: nothing can have been written that was not read.
    #[must_use]
    pub fn is_eof(&self) -> bool {
        matches!(self.reason, EndReason::Eof)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, at, stream } = self;
        if let Some(stream) = stream {
            write!(f, "{stream}: ")?;
        }
        match reason {
            EndReason::ReadError(error) => write!(f, "read error at byte {at}: {error}"),
            EndReason::Detached => {
                write!(f, "{reason} at byte {at}, because it held up the source")
            }
            reason => write!(f, "{reason} at byte {at}"),
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eof => f.write_str("end of file"),
            Self::ReadError(error) => write!(f, "read error: {error}"),
            Self::Closed => f.write_str("closed by request"),
            Self::Drained => f.write_str("drained before the end of the source"),
            Self::Aborted => f.write_str("aborted with its runtime"),
            Self::Detached => f.write_str("subscriber detached"),
        }
    }
}
