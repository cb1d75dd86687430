//! Where in a stream the numbers of its reads change.

use crate::sequence::Stamper;
use std::collections::VecDeque;

/// More changes than this are not kept: the oldest merge into one, and the order gets coarser.
const MOST: usize = 64 * 1024;

/// The stamps of one stream.
#[derive(Debug)]
pub(crate) struct Marks {
    stamper: Stamper,
    /// `(start, number)`: bytes from `start` on were read as `number`; both ascend.
    marks: VecDeque<(u64, u64)>,
}

impl Marks {
    pub(crate) fn new(stamper: Stamper) -> Self {
        Self { stamper, marks: VecDeque::new() }
    }

    /// Stamps the read that is about to be pushed at `start`.
    pub(crate) fn note(&mut self, start: u64) {
        let number = self.stamper.stamp();
        if self.marks.back().is_none_or(|(_, last)| *last != number) {
            if self.marks.len() == MOST {
                self.marks.pop_front();
            }
            self.marks.push_back((start, number));
        }
    }

    /// The number of the byte at `at`, and where the next number starts.
    pub(crate) fn at(&self, at: u64) -> (u64, Option<u64>) {
        let next = self.marks.partition_point(|(start, _)| *start <= at);
        let number = match next.checked_sub(1) {
            Some(own) => self.marks[own].1,
            None => self.marks.front().map_or(0, |(_, first)| *first),
        };
        (number, self.marks.get(next).map(|(start, _)| *start))
    }

    /// Bytes before `first` are gone.
    pub(crate) fn trim(&mut self, first: u64) {
        while self.marks.get(1).is_some_and(|(start, _)| *start <= first) {
            self.marks.pop_front();
        }
    }

    pub(crate) fn memory(&self) -> u64 {
        (self.marks.capacity() * size_of::<(u64, u64)>()) as u64
    }
}
