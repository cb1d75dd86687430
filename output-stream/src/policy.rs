//! Where a subscriber starts, and what happens when it cannot keep up.

use std::time::Duration;

/// Where a new subscriber starts to read.
///
/// Attaching copies nothing and takes the same time for any amount of history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Position {
    /// At offset 0. What is no longer in memory is a [gap](crate::Event::Gap).
    #[default]
    Start,
    /// At the next byte that is read.
    Live,
    /// At this offset; a gap up to the first byte in memory, if it is older than that. An offset
    /// that lies ahead waits for the stream to get there.
    Offset(u64),
    /// At most this many bytes back; less when less is in memory, without a gap.
    LastBytes(u64),
    /// This many complete lines back, and whatever follows the last of them; less when less is in
    /// memory, without a gap. A line ends at LF.
    LastLines(usize),
}

/// What the stream does when a subscriber lags by more than the
/// [window](crate::ConfigBuilder::window).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Policy {
    /// The source waits: nothing is ever lost, and a reader that stops, stops the writer and with
    /// it every other subscriber.
    #[default]
    Block,
    /// The source waits for as long as this reader goes on taking something; when it held up the
    /// source for `stall` without taking a single byte, `then` happens to it, and to it alone.
    BlockFor {
        /// How long it may hold up the source without progress. Zero is refused.
        stall: Duration,
        /// What becomes of it.
        then: OnStall,
    },
    /// The source never waits; the oldest bytes that this subscriber has not read are lost, a segment of at most
    /// 64 KiB at a time: with a window that is smaller than what is read at once, that may be all of them.
    DropOldest,
    /// The source never waits; what arrives while this subscriber lags by a whole window is lost,
    /// until it has read all that was kept for it.
    DropNewest,
}

impl Policy {
    /// [`Policy::BlockFor`]: waits at most `stall` for a reader that takes nothing.
    #[must_use]
    pub fn block_for(stall: Duration, then: OnStall) -> Self {
        Self::BlockFor { stall, then }
    }

    /// Whether the source waits for such a subscriber.
    pub(crate) fn blocks(self) -> bool {
        matches!(self, Self::Block | Self::BlockFor { .. })
    }
}

/// What becomes of a subscriber that stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnStall {
    /// From now on it is [`Policy::DropOldest`].
    Lossy,
    /// What it has not read is a gap, and then it ends with [`EndReason::Detached`](crate::EndReason::Detached).
    Detach,
}
