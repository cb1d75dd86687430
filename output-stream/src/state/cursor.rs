//! One subscriber: a place in the log, a policy, and its account.

use crate::log::Evicted;
use crate::policy::Policy;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Instant;

/// How far along a cursor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It gets what the stream gets.
    Following,
    /// It was let go when the log ended at `at`: a gap up to there, then its end.
    Detached { at: u64 },
    /// It got its end.
    Ended,
}

/// See the module. `attached + delivered + lost + lag` is always what the stream ingested.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// The next byte for this subscriber.
    pub(crate) at: u64,
    /// Bytes before this are a gap although they may still be in memory: the history was sealed.
    pub(crate) visible_from: u64,
    pub(crate) policy: Policy,
    pub(crate) fate: Fate,
    pub(crate) attached: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    /// Since when the pump waits for this cursor, which took nothing since then.
    pub(crate) holding_since: Option<Instant>,
    pub(crate) waker: Option<Waker>,
    /// It was woken and has not read since: what it has to read is still warm in the cache.
    pub(crate) is_woken: bool,
    /// For [`Policy::DropNewest`]: what was evicted before it was read, oldest first.
    kept: VecDeque<Kept>,
    kept_len: u64,
    /// For [`Policy::DropNewest`]: bytes from here on are lost until all before it is read.
    pub(crate) drop_from: Option<u64>,
}

impl Cursor {
    pub(crate) fn new(at: u64, visible_from: u64, policy: Policy) -> Self {
        Self {
            at,
            visible_from,
            policy,
            fate: Fate::Following,
            attached: at,
            delivered: 0,
            lost: 0,
            holding_since: None,
            waker: None,
            is_woken: false,
            kept: VecDeque::new(),
            kept_len: 0,
            drop_from: None,
        }
    }

    /// The first byte that this cursor still wants from the log, if it wants any that is there.
    pub(crate) fn needs(&self) -> Option<u64> {
        if self.fate != Fate::Following {
            return None;
        }
        let next = self.at + self.kept_len;
        match self.drop_from {
            Some(from) if next >= from => None,
            _ => Some(next),
        }
    }

    /// Whether the pump must wait for this cursor before bytes up to `front_end` can go.
    pub(crate) fn holds(&self, front_end: u64) -> bool {
        self.policy.blocks() && self.wants_before(front_end)
    }

    /// Whether this cursor still wants bytes before `front_end`.
    pub(crate) fn wants_before(&self, front_end: u64) -> bool {
        self.needs().is_some_and(|next| next < front_end)
    }

    /// More is about to arrive at `end`, when everything before `floor` is beyond what replay keeps.
    pub(crate) fn before_arrival(&mut self, end: u64, floor: u64, window: u64) {
        let is_full = self.at.saturating_add(window) <= floor;
        if self.policy == Policy::DropNewest && is_full && self.drop_from.is_none() {
            self.drop_from = Some(end);
        }
    }

    /// The log has evicted a piece: what a drop-newest reader was promised is kept for it.
    pub(crate) fn on_eviction(&mut self, evicted: &Evicted, held: &mut Held) {
        let Some(next) = self.needs() else { return };
        let Evicted { start, bytes, segment } = evicted;
        let end = start + bytes.len() as u64;
        if self.policy != Policy::DropNewest || next < *start || next >= end {
            return;
        }
        let to = self.drop_from.map_or(end, |from| from.min(end));
        let bytes = bytes.slice(place(next - start)..place(to - start));
        self.kept_len += bytes.len() as u64;
        self.kept.push_back(Kept { bytes, hold: held.hold(*segment) });
    }

    /// Takes the oldest bytes that were kept for this cursor alone.
    pub(crate) fn take_kept(&mut self) -> Option<Bytes> {
        let kept = self.kept.pop_front()?;
        self.kept_len -= kept.bytes.len() as u64;
        Some(kept.bytes)
    }

    /// Moves a cursor that has read nothing yet forward to `at`. What was kept for it on the way, while
    /// it stood further back, goes; and so does the judgement that it lags.
    pub(crate) fn skip_to(&mut self, at: u64) {
        while self.at < at {
            let Some(Kept { mut bytes, hold }) = self.kept.pop_front() else {
                self.at = at;
                break;
            };
            let skipped = (at - self.at).min(bytes.len() as u64);
            self.at += skipped;
            self.kept_len -= skipped;
            let bytes = bytes.split_off(place(skipped));
            if !bytes.is_empty() {
                self.kept.push_front(Kept { bytes, hold });
            }
        }
        self.attached = self.at;
        self.drop_from = None;
    }

    pub(crate) fn kept_len(&self) -> u64 {
        self.kept_len
    }

    /// Forgets what was kept: this cursor reads no more.
    pub(crate) fn drop_kept(&mut self) {
        self.kept = VecDeque::new();
        self.kept_len = 0;
    }

    /// Books `n` bytes that the subscriber gets now.
    pub(crate) fn deliver(&mut self, n: u64) {
        self.at += n;
        self.delivered += n;
        self.holding_since = None;
    }

    /// Books the loss of everything up to `to`.
    pub(crate) fn lose(&mut self, to: u64) {
        self.lost += to - self.at;
        self.at = to;
        self.holding_since = None;
    }
}

/// A part of an evicted piece that is kept for one reader.
#[derive(Debug)]
struct Kept {
    bytes: Bytes,
    /// Its drop says that the memory is not needed any more.
    hold: Arc<Hold>,
}

/// The segments that have left the log and are kept for readers. Readers share them.
#[derive(Debug)]
pub(crate) struct Held {
    segment: u64,
    memory: Arc<AtomicU64>,
    newest: Option<(u64, Weak<Hold>)>,
}

/// A segment that is kept for as long as this lives.
#[derive(Debug)]
struct Hold {
    segment: u64,
    memory: Arc<AtomicU64>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // A number to look at: nothing is decided by it.
        self.memory.fetch_sub(self.segment, Relaxed);
    }
}

impl Held {
    /// Nothing, yet; segments are of this size.
    pub(crate) fn new(segment: u64) -> Self {
        Self { segment, memory: Arc::default(), newest: None }
    }

    /// The bytes that are allocated for readers, when the log itself holds the segments from `first`
    /// on.
    pub(crate) fn memory(&self, first: u64) -> u64 {
        let memory = self.memory.load(Relaxed);
        match &self.newest {
            Some((number, hold)) if *number >= first && hold.strong_count() > 0 => {
                memory.saturating_sub(self.segment)
            }
            _ => memory,
        }
    }

    /// Pieces leave the log in order: those of one segment follow each other.
    fn hold(&mut self, number: u64) -> Arc<Hold> {
        let newest = self.newest.as_ref().filter(|(newest, _)| *newest == number);
        if let Some(hold) = newest.and_then(|(_, hold)| hold.upgrade()) {
            return hold;
        }
        self.memory.fetch_add(self.segment, Relaxed);
        let hold = Arc::new(Hold { segment: self.segment, memory: self.memory.clone() });
        self.newest = Some((number, Arc::downgrade(&hold)));
        hold
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset within one piece")
}
