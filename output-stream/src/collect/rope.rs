//! Bytes in pieces, with the places where some are missing: appended at the back, dropped from the
//! front, each in constant time.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// A shorter piece is copied behind the one before: alone it would cost more than it holds.
const OWN_PIECE: usize = 4 * 1024;
/// How much room is made for short pieces at a time.
const OPEN: usize = 16 * 1024;
/// A part of an output that was collected, in the order of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a byte is here or it is not")]
pub enum Part {
    /// Bytes that were kept, without a hole.
    Bytes(Bytes),
    /// Here bytes are missing.
    Missing(Missing),
}

/// How many bytes are missing at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Missing {
    /// Bytes that arrived and were not to be kept.
    pub omitted: u64,
    /// Bytes that were lost before they arrived.
    pub lost: u64,
}

impl Missing {
    pub(crate) fn omitted(omitted: u64) -> Self {
        Self { omitted, lost: 0 }
    }

    pub(crate) fn lost(lost: u64) -> Self {
        Self { omitted: 0, lost }
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn add(&mut self, more: Self) {
        self.omitted = self.omitted.saturating_add(more.omitted);
        self.lost = self.lost.saturating_add(more.lost);
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Rope {
    parts: VecDeque<Part>,
    open: BytesMut,
    len: u64,
}

impl Rope {
    /// How many bytes are here.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether neither bytes nor holes are here.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.open.is_empty()
    }

    /// Appends bytes.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len() as u64;
        if bytes.len() < OWN_PIECE {
            if self.open.capacity() - self.open.len() < bytes.len() {
                self.close();
                // A short output shall not pay for a long one.
                let room = if self.parts.is_empty() { bytes.len().max(64) } else { OPEN };
                self.open = BytesMut::with_capacity(room.max(bytes.len()));
            }
            self.open.extend_from_slice(&bytes);
        } else {
            self.close();
            self.parts.push_back(Part::Bytes(bytes));
        }
    }

    /// Notes that bytes are missing behind what is here.
    pub(crate) fn push_missing(&mut self, missing: Missing) {
        if missing.is_nothing() {
            return;
        }
        self.close();
        if let Some(Part::Missing(last)) = self.parts.back_mut() {
            last.add(missing);
        } else {
            self.parts.push_back(Part::Missing(missing));
        }
    }

    /// Drops whole parts from the front for as long as `len` bytes stay. Returns what is missing
    /// there from this call on: a hole that comes to the front is part of that.
    pub(crate) fn shrink_to(&mut self, len: u64) -> Missing {
        let mut gone = Missing::default();
        while let Some(front) = self.parts.front() {
            match front {
                Part::Bytes(bytes) => {
                    let size = bytes.len() as u64;
                    if self.len - size < len {
                        break;
                    }
                    self.len -= size;
                    gone.add(Missing::omitted(size));
                }
                Part::Missing(missing) => gone.add(*missing),
            }
            self.parts.pop_front();
        }
        gone
    }

    /// The last `len` bytes in parts, and what is missing before them.
    pub(crate) fn last(&self, len: u64) -> (Missing, Vec<Part>) {
        let mut before = Missing::default();
        let mut skip = self.len.saturating_sub(len);
        let open = Bytes::copy_from_slice(&self.open);
        let open = (!open.is_empty()).then_some(Part::Bytes(open));
        let mut out = Vec::with_capacity(self.parts.len() + 1);
        for part in self.parts.iter().chain(&open) {
            match part {
                Part::Bytes(bytes) => {
                    let cut = skip.min(bytes.len() as u64);
                    skip -= cut;
                    before.add(Missing::omitted(cut));
                    let rest = bytes.slice(usize::try_from(cut).expect("within the part")..);
                    if !rest.is_empty() {
                        out.push(Part::Bytes(rest));
                    }
                }
                Part::Missing(missing) if skip > 0 => before.add(*missing),
                Part::Missing(_) => out.push(part.clone()),
            }
        }
        (before, out)
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.parts.push_back(Part::Bytes(self.open.split().freeze()));
        }
    }
}
