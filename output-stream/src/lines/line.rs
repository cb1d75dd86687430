//! One line.

use super::bytes::LineBytes;
use std::borrow::Cow;

/// How a line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// With LF.
    Lf,
    /// With CR LF, both stripped.
    CrLf,
    /// With CR.
    Cr,
    /// With the chosen separator byte.
    Byte,
    /// Not yet: it is longer than allowed and goes on in the next piece.
    Split,
    /// Cut off by lost bytes: its rest, and maybe more lines, are in a gap.
    Gap,
    /// With the stream, without a separator.
    End,
}

/// A line that owns its bytes, or shares them with the log, see [`LineBytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// The line without its ending.
    pub bytes: LineBytes,
    /// The offset of its first byte in the stream.
    pub offset: u64,
    /// How it ended.
    pub ending: Ending,
    /// How many bytes of it were dropped because it was too long.
    pub cut: u64,
    /// How many bytes before it were lost: when there are any, it may be the rest of a line.
    pub lost_before: u64,
}

impl Line {
    /// The line as text; what is not UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// A line that is borrowed for the time of a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineRef<'a> {
    /// The line without its ending.
    pub bytes: &'a [u8],
    /// The offset of its first byte in the stream.
    pub offset: u64,
    /// How it ended.
    pub ending: Ending,
    /// How many bytes of it were dropped because it was too long.
    pub cut: u64,
    /// How many bytes before it were lost: when there are any, it may be the rest of a line.
    pub lost_before: u64,
}

impl Line {
    /// The line as visitors see it.
    #[must_use]
    pub fn borrow(&self) -> LineRef<'_> {
        let Self { bytes, offset, ending, cut, lost_before } = self;
        LineRef { bytes, offset: *offset, ending: *ending, cut: *cut, lost_before: *lost_before }
    }
}

impl<'a> LineRef<'a> {
    /// The line as text; what is not UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.bytes)
    }

    /// A copy that owns its bytes.
    #[must_use]
    pub fn to_line(&self) -> Line {
        let Self { bytes, offset, ending, cut, lost_before } = *self;
        Line { bytes: LineBytes::copied(bytes), offset, ending, cut, lost_before }
    }
}
