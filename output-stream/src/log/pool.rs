//! Buffers that come back: an evicted segment is read into again when nobody holds a slice of it.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Segments that wait for their last slice to be dropped. The pump gets ahead of a reader that keeps
/// up by two or three; fewer would go back to the system and be paid for again, page by page.
const COOLING: usize = 4;

/// Gives out empty segments of one size.
#[derive(Debug)]
pub(crate) struct Pool {
    segment: usize,
    cooling: VecDeque<Bytes>,
}

impl Pool {
    pub(crate) fn new(segment: usize) -> Self {
        Self { segment, cooling: VecDeque::with_capacity(COOLING) }
    }

    pub(crate) fn segment(&self) -> usize {
        self.segment
    }

    /// The bytes that the pool itself keeps allocated.
    pub(crate) fn memory(&self) -> u64 {
        (self.cooling.len() * self.segment) as u64
    }

    /// An empty segment: the one that was used last of those that are free, for it is still in the
    /// cache, else a new one.
    pub(crate) fn take(&mut self) -> BytesMut {
        for _ in 0..self.cooling.len() {
            let Some(bytes) = self.cooling.pop_back() else {
                break;
            };
            match bytes.try_into_mut() {
                Ok(mut used) => {
                    used.clear();
                    if used.try_reclaim(self.segment) {
                        return used;
                    }
                }
                Err(held) => self.cooling.push_front(held),
            }
        }
        BytesMut::with_capacity(self.segment)
    }

    /// Takes the last piece of an evicted segment. When enough wait already, the new one is let go
    /// in favour of one that is free, and takes the place of one that is held.
    pub(crate) fn give(&mut self, last_piece: Bytes) {
        if self.cooling.len() == COOLING {
            let Some(held) = self.cooling.iter().position(|bytes| !bytes.is_unique()) else {
                return;
            };
            self.cooling.remove(held);
        }
        self.cooling.push_back(last_piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_comes_back_whole_once_its_last_slice_is_gone() {
        let mut pool = Pool::new(64);
        let mut buffer = pool.take();
        let place = buffer.as_ptr();
        buffer.extend_from_slice(&[7; 64]);
        let first = buffer.split_to(40).freeze();
        let second = buffer.freeze();
        pool.give(second);
        assert_ne!(pool.take().as_ptr(), place, "a slice is still held");
        drop(first);
        let again = pool.take();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(again.capacity() >= 64);
    }

    #[test]
    fn it_keeps_a_bounded_number() {
        let mut pool = Pool::new(8);
        for _ in 0..10 {
            pool.give(Bytes::from(vec![0; 8]));
        }
        assert_eq!(pool.memory(), 8 * COOLING as u64);
    }
}
