//! What a step of the parser finds.

use super::line::Ending;
use std::error::Error;
use std::fmt;
use std::ops::Range;

/// A line of more than `limit` bytes, where [`OnLong::Fail`](crate::OnLong::Fail) was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooLong {
    /// The offset of its first byte.
    pub offset: u64,
    /// What was allowed.
    pub limit: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, limit } = self;
        write!(f, "the line at offset {offset} is longer than {limit} bytes")
    }
}

impl Error for TooLong {}

/// Where the bytes of a found line lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the slice that was given.
    Slice(Range<usize>),
    /// In the parser, until its next step.
    Piece,
}

/// A line that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) offset: u64,
    pub(crate) ending: Ending,
    pub(crate) cut: u64,
    pub(crate) lost_before: u64,
}

/// What one step did.
pub(crate) type Step = Result<(usize, Option<Found>), TooLong>;

/// The largest place up to `most` that does not lie inside a UTF-8 character. What is not UTF-8 is
/// cut at `most`.
pub(super) fn char_boundary(bytes: &[u8], most: usize) -> usize {
    let is_inside = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    let lead = (most.saturating_sub(3)..=most).rev().find(|at| !is_inside(*at));
    match lead {
        // A cut at 0 would make no progress.
        Some(at) if at > 0 => at,
        _ => most,
    }
}
