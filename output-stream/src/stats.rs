//! The numbers of a stream and of each of its subscribers.

use crate::policy::Policy;
use std::time::Duration;

/// A snapshot of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// All bytes ever read from the source.
    pub ingested: u64,
    /// The number of reads that gave them.
    pub chunks: u64,
    /// How many of the last bytes a new subscriber can get.
    pub retained: u64,
    /// The bytes allocated for the log now, unused parts of segments included.
    pub memory: u64,
    /// The most that was ever allocated for the log.
    pub peak_memory: u64,
    /// How long the source had to wait for readers, up to now.
    pub blocked: Duration,
    /// The attached subscribers.
    pub subscribers: Vec<SubscriberStats>,
}

/// A snapshot of one subscriber.
///
/// `attached_at + delivered + lost + lag` is what the stream had ingested at that moment, or when
/// the subscriber ended; before the stream has come to where the subscriber waits for it
/// ([`Position::Offset`](crate::Position::Offset)), it is that place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriberStats {
    /// Tells the subscribers of a stream apart while they are attached.
    pub id: usize,
    /// Its policy; changes when a stall limit ran out.
    pub policy: Policy,
    /// The offset at which it started.
    pub attached_at: u64,
    /// The offset of the next byte it has not been given.
    pub position: u64,
    /// Bytes that it was given.
    pub delivered: u64,
    /// Bytes that were reported to it as gaps.
    pub lost: u64,
    /// Bytes between its position and the end of the stream.
    pub lag: u64,
    /// Of these, bytes that left the log and are kept for it alone (`DropNewest`).
    pub kept: u64,
}
