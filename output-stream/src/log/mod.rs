//! The one log of a stream: every byte at a `u64` offset, in segments that are shared by all readers.
//!
//! It is pure: no lock, no clock, no waker. Replay, live delivery and the tail kept for diagnostics
//! are the same bytes.
//!
//! ```text
//!  first            floor                     tail_start    end
//!    │ excess pieces  │ kept for replay          │ open tail │ room of the pump
//!    ▼                ▼                          ▼           ▼
//!    [piece][piece][piece][piece][piece][piece]   ██████████··············
//!     └── one segment ──┘                         └── one segment ───────┘
//! ```
//!
//! The pump reads into the *room*, the unused rest of the open segment, without holding a lock.
//! [`Log::push`] joins what it read to the *open tail*; both are views of one allocation, so this
//! copies nothing, and a read of one byte costs one byte. A reader that takes a large part of the
//! open tail cuts it off as a *piece* that is shared from then on; a small part is copied for it.
//!
//! Invariants: the pieces and the tail are contiguous from `first` to `end`; a piece is never
//! empty; the bytes charged are those allocated, not those written.

mod pool;
mod retention;

use crate::config::Limits;
use bytes::{Bytes, BytesMut};
use memchr::memrchr_iter;
use pool::Pool;
use retention::Retention;
use std::collections::VecDeque;

/// A part of the open tail that is smaller than this is copied for its reader: sharing it would
/// cost more in bookkeeping, and would pin a whole segment.
const SHARE_FROM: usize = 4 * 1024;

/// A contiguous, immutable part of one segment.
#[derive(Debug)]
struct Piece {
    start: u64,
    bytes: Bytes,
    /// Bytes at the end of the segment that were never written; only on its last piece.
    waste: usize,
    /// The allocation that goes with this piece: its segment for the last piece of one, else 0.
    charge: usize,
    /// Which segment its bytes lie in.
    segment: u64,
}

/// A piece that has left the log, for those who still want its bytes.
#[derive(Debug)]
pub(crate) struct Evicted {
    /// The offset of its first byte.
    pub(crate) start: u64,
    pub(crate) bytes: Bytes,
    /// Which segment its bytes lie in.
    pub(crate) segment: u64,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// What the piece counts towards the window.
    fn weight(&self) -> u64 {
        (self.bytes.len() + self.waste) as u64
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Log {
    pieces: VecDeque<Piece>,
    tail: BytesMut,
    tail_start: u64,
    retention: Retention,
    floor: u64,
    /// How many pieces at the front lie wholly below the floor, and what they weigh.
    excess_pieces: usize,
    excess: u64,
    window: u64,
    /// A segment with less room than this is closed when the last read was larger than the room.
    spare: usize,
    pool: Pool,
    /// Segments that are in the log or in the hands of the pump, in bytes.
    charged: u64,
    /// Which segment the pump reads into: they are counted from 0.
    open_segment: u64,
    chunks: u64,
}

impl Log {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            pieces: VecDeque::new(),
            tail: BytesMut::new(),
            tail_start: 0,
            retention: Retention::new(limits.retain, limits.retain_cap),
            floor: 0,
            excess_pieces: 0,
            excess: 0,
            window: limits.window,
            spare: limits.segment / limits.spare_share,
            pool: Pool::new(limits.segment),
            charged: 0,
            open_segment: 0,
            chunks: 0,
        }
    }

    /// The first offset that is still in memory.
    pub(crate) fn first(&self) -> u64 {
        self.pieces.front().map_or(self.tail_start, |piece| piece.start)
    }

    /// The first offset that a new reader may see.
    pub(crate) fn oldest(&self) -> u64 {
        if self.retention.is_sealed() { self.end() } else { self.first() }
    }

    /// The number of bytes ever pushed: the offset of the next one.
    pub(crate) fn end(&self) -> u64 {
        self.tail_start + self.tail.len() as u64
    }

    /// The first offset that is kept for replay.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// The number of reads that were pushed.
    pub(crate) fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Allocated bytes: segments in the log, in the pump and in the pool.
    pub(crate) fn memory(&self) -> u64 {
        self.charged + self.pool.memory() + self.retention.memory()
    }

    /// The first segment of which bytes are still in the log.
    pub(crate) fn first_segment(&self) -> u64 {
        self.pieces.front().map_or(self.open_segment, |piece| piece.segment)
    }

    /// An empty segment for the pump to read into.
    pub(crate) fn room(&mut self) -> BytesMut {
        let room = self.pool.take();
        self.charged += self.pool.segment() as u64;
        room
    }

    /// Appends what was read into `room`, and leaves in `room` where to read next.
    pub(crate) fn push(&mut self, room: &mut BytesMut) {
        let read = room.split();
        if read.is_empty() {
            return;
        }
        let size = read.len();
        self.chunks += 1;
        self.retention.note(self.end(), &read);
        self.tail.unsplit(read);
        let left = room.capacity();
        if left == 0 || (left < self.spare && size > left) {
            self.close_segment(left);
            self.open_segment += 1;
            *room = self.room();
        }
        self.raise_floor();
    }

    /// Ends the stream of pushes: the open segment becomes immutable.
    pub(crate) fn finish(&mut self, room: BytesMut) {
        let waste = room.capacity();
        drop(room);
        let is_whole = self.pieces.back().is_none_or(|piece| piece.charge > 0);
        if is_whole && self.tail.len() < self.pool.segment() / 2 {
            // What is left is short: keep it in an allocation of its own size.
            self.charged -= self.pool.segment() as u64;
            self.charged += self.tail.len() as u64;
            self.tail = BytesMut::from(&self.tail[..]);
            if !self.tail.is_empty() {
                self.cut(0, self.tail.len());
            }
        } else {
            self.close_segment(waste);
        }
        self.raise_floor();
    }

    /// Drops the history: nothing is kept for replay from now on.
    pub(crate) fn seal(&mut self) {
        self.retention.seal();
        self.raise_floor();
    }

    /// Whether history was dropped by [`seal`](Self::seal).
    pub(crate) fn is_sealed(&self) -> bool {
        self.retention.is_sealed()
    }

    /// The longest shareable run of bytes at `at`, which must not lie before [`first`](Self::first);
    /// `None` at the end.
    pub(crate) fn slice(&mut self, at: u64) -> Option<Bytes> {
        debug_assert!(at >= self.first(), "a cursor below the log is a gap");
        if at >= self.tail_start {
            let skip = usize::try_from(at - self.tail_start).ok()?;
            let fresh = self.tail.get(skip..).filter(|fresh| !fresh.is_empty())?;
            if fresh.len() < SHARE_FROM {
                return Some(Bytes::copy_from_slice(fresh));
            }
            self.cut(0, 0);
        }
        let piece = &self.pieces[self.piece_at(at)];
        Some(piece.bytes.slice(offset_in(piece, at)..))
    }

    /// The pieces from `from` on, shared, for a search outside the lock.
    pub(crate) fn share_from(&mut self, from: u64) -> Vec<Bytes> {
        if self.tail.len() >= SHARE_FROM {
            self.cut(0, 0);
        }
        let mut shared = Vec::new();
        if from < self.tail_start {
            for piece in self.pieces.range(self.piece_at(from)..) {
                shared.push(piece.bytes.slice(offset_in(piece, from.max(piece.start))..));
            }
        }
        let skip = usize::try_from(from.saturating_sub(self.tail_start)).unwrap_or(usize::MAX);
        if let Some(tail) = self.tail.get(skip..).filter(|tail| !tail.is_empty()) {
            shared.push(Bytes::copy_from_slice(tail));
        }
        shared
    }

    /// Whether more lies below the floor than the window allows: the front must go, or the pump
    /// must wait.
    pub(crate) fn is_over_window(&self) -> bool {
        self.excess > self.window
    }

    /// Whether so much room is free again that waking the pump pays.
    pub(crate) fn is_half_free(&self) -> bool {
        self.excess <= self.window / 2
    }

    /// Where the piece at the front ends, when it lies below the floor and may go.
    pub(crate) fn front_end(&self) -> Option<u64> {
        (self.excess_pieces > 0).then(|| self.pieces[0].end())
    }

    /// Drops the piece at the front, and gives it to those who may still want it.
    pub(crate) fn evict(&mut self) -> Option<Evicted> {
        if self.excess_pieces == 0 {
            return None;
        }
        let piece = self.pieces.pop_front()?;
        self.excess_pieces -= 1;
        self.excess -= piece.weight();
        let bytes = piece.bytes.clone();
        self.charged -= piece.charge as u64;
        if piece.charge == self.pool.segment() {
            self.pool.give(piece.bytes);
        }
        Some(Evicted { start: piece.start, bytes, segment: piece.segment })
    }

    fn piece_at(&self, at: u64) -> usize {
        self.pieces.partition_point(|piece| piece.end() <= at)
    }

    fn close_segment(&mut self, waste: usize) {
        if self.tail.is_empty() {
            // Everything in this segment was cut off already: its last piece closes it.
            if let Some(last) = self.pieces.back_mut().filter(|piece| piece.charge == 0) {
                last.charge = self.pool.segment();
                last.waste = waste;
                if self.excess_pieces == self.pieces.len() {
                    self.excess += waste as u64;
                }
            } else {
                self.charged -= self.pool.segment() as u64;
            }
        } else {
            self.cut(waste, self.pool.segment());
        }
    }

    fn cut(&mut self, waste: usize, charge: usize) {
        let bytes = self.tail.split().freeze();
        let start = self.tail_start;
        self.tail_start += bytes.len() as u64;
        let segment = self.open_segment;
        self.pieces.push_back(Piece { start, bytes, waste, charge, segment });
        self.raise_floor();
    }

    fn raise_floor(&mut self) {
        self.floor = self.floor.max(self.retention.floor(self.end()));
        while let Some(piece) = self.pieces.get(self.excess_pieces) {
            if piece.end() > self.floor {
                break;
            }
            self.excess += piece.weight();
            self.excess_pieces += 1;
        }
    }
}

fn offset_in(piece: &Piece, at: u64) -> usize {
    usize::try_from(at - piece.start).expect("a piece is no larger than its segment")
}

/// How many bytes the last `lines` complete lines and the rest after them take in `pieces`, or all
/// of them when there are fewer lines.
pub(crate) fn bytes_of_last_lines(pieces: &[Bytes], lines: usize) -> u64 {
    let mut seen = 0usize;
    let mut behind = 0u64;
    for piece in pieces.iter().rev() {
        for at in memrchr_iter(b'\n', piece) {
            if seen == lines {
                return behind + (piece.len() - at - 1) as u64;
            }
            seen += 1;
        }
        behind += piece.len() as u64;
    }
    behind
}

#[cfg(test)]
mod tests;
