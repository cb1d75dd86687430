//! Bytes in pieces: appended at the back, dropped from the front, each in constant time.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// A shorter piece is copied behind the one before: alone it would cost more than it holds.
const OWN_PIECE: usize = 4 * 1024;
/// How much room is made for short pieces at a time.
const OPEN: usize = 16 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Rope {
    pieces: VecDeque<Bytes>,
    open: BytesMut,
    len: u64,
}

impl Rope {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len() as u64;
        if bytes.len() < OWN_PIECE {
            if self.open.capacity() - self.open.len() < bytes.len() {
                self.close();
                // A short output shall not pay for a long one.
                let room = if self.pieces.is_empty() { bytes.len().max(64) } else { OPEN };
                self.open = BytesMut::with_capacity(room.max(bytes.len()));
            }
            self.open.extend_from_slice(&bytes);
        } else {
            self.close();
            self.pieces.push_back(bytes);
        }
    }

    /// Drops whole pieces from the front for as long as `len` bytes stay. Returns how many went.
    pub(crate) fn shrink_to(&mut self, len: u64) -> u64 {
        let before = self.len;
        while let Some(front) = self.pieces.front() {
            let size = front.len() as u64;
            if self.len - size < len {
                break;
            }
            self.len -= size;
            self.pieces.pop_front();
        }
        before - self.len
    }

    /// The last `len` bytes, in pieces.
    pub(crate) fn last(&self, len: u64) -> Vec<Bytes> {
        let mut skip = self.len.saturating_sub(len);
        let open = Bytes::copy_from_slice(&self.open);
        let mut out = Vec::with_capacity(self.pieces.len() + 1);
        for piece in self.pieces.iter().chain([&open]) {
            let cut = skip.min(piece.len() as u64);
            skip -= cut;
            let rest = piece.slice(usize::try_from(cut).expect("within the piece")..);
            if !rest.is_empty() {
                out.push(rest);
            }
        }
        out
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.pieces.push_back(self.open.split().freeze());
        }
    }
}
