//! How far back the log must be able to replay: a floor that only rises.

use crate::config::Retain;
use memchr::{memchr_iter, memrchr_iter};
use std::collections::VecDeque;

/// What a mark counts towards the cap: eight bytes, and as many that the queue may hold in reserve.
const MARK: u64 = 16;

/// Computes the offset below which replay promises nothing.
#[derive(Debug)]
pub(crate) struct Retention {
    retain: Retain,
    /// Never keep more than this many bytes for replay, marks included, whatever `retain` counts.
    cap: u64,
    /// Starts of the last chunks, or ends of the last lines; at most `n + 1` of them, and no more
    /// than the cap has room for.
    marks: VecDeque<u64>,
    sealed: bool,
}

impl Retention {
    pub(crate) fn new(retain: Retain, cap: u64) -> Self {
        let mut marks = VecDeque::new();
        if matches!(retain, Retain::Lines(_)) {
            marks.push_back(0);
        }
        Self { retain, cap, marks, sealed: false }
    }

    /// From now on nothing is kept for replay.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
        self.marks = VecDeque::new();
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The bytes that its own bookkeeping takes.
    pub(crate) fn memory(&self) -> u64 {
        (self.marks.capacity() * size_of::<u64>()) as u64
    }

    /// Takes note of one read, `bytes` at `start`.
    pub(crate) fn note(&mut self, start: u64, bytes: &[u8]) {
        if self.sealed {
            return;
        }
        match self.retain {
            Retain::Chunks(n) => {
                self.marks.push_back(start);
                self.forget(n, start + bytes.len() as u64);
            }
            Retain::Lines(n) => self.note_lines(n, start, bytes),
            Retain::Nothing | Retain::Bytes(_) | Retain::All => {}
        }
    }

    fn note_lines(&mut self, n: usize, start: u64, bytes: &[u8]) {
        let most = usize::try_from(self.cap / MARK).unwrap_or(usize::MAX);
        let keep = n.min(most).saturating_add(1);
        // Only the last `keep` line ends can matter: find the first of them from the back.
        let Some(first) = memrchr_iter(b'\n', bytes).take(keep).last() else {
            return;
        };
        for at in memchr_iter(b'\n', &bytes[first..]) {
            self.marks.push_back(start + (first + at) as u64 + 1);
        }
        self.forget(keep, start + bytes.len() as u64);
    }

    /// Drops the oldest marks: those that are too many, and those that the cap makes useless.
    fn forget(&mut self, keep: usize, end: u64) {
        while self.marks.len() > keep
            || self.marks.get(1).is_some_and(|second| *second <= self.capped(end))
        {
            self.marks.pop_front();
        }
    }

    /// The first offset for which the cap has room beside the marks. The first two are free: without
    /// them nothing could be said of any line.
    fn capped(&self, end: u64) -> u64 {
        let marks = (self.marks.len() as u64).saturating_sub(2).saturating_mul(MARK);
        end.saturating_sub(self.cap.saturating_sub(marks))
    }

    /// The first offset that must be replayable when the log ends at `end`.
    pub(crate) fn floor(&self, end: u64) -> u64 {
        if self.sealed {
            return end;
        }
        let wanted = match self.retain {
            Retain::Nothing => end,
            Retain::Chunks(_) | Retain::Lines(_) => self.marks.front().copied().unwrap_or(end),
            Retain::Bytes(n) => end.saturating_sub(n),
            Retain::All => 0,
        };
        wanted.max(self.capped(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floors(retain: Retain, chunks: &[&str]) -> Vec<u64> {
        let mut retention = Retention::new(retain, u64::MAX);
        let mut end = 0;
        let step = |chunk: &&str| {
            retention.note(end, chunk.as_bytes());
            end += chunk.len() as u64;
            retention.floor(end)
        };
        chunks.iter().map(step).collect()
    }

    #[test]
    fn each_unit_is_counted_from_the_end() {
        let chunks = ["ab\n", "c", "d\ne\nf", "\n\n"];
        assert_eq!(floors(Retain::Nothing, &chunks), [3, 4, 9, 11]);
        assert_eq!(floors(Retain::Bytes(2), &chunks), [1, 2, 7, 9]);
        assert_eq!(floors(Retain::Chunks(2), &chunks), [0, 0, 3, 4]);
        assert_eq!(floors(Retain::Lines(1), &chunks), [0, 0, 6, 10]);
        assert_eq!(floors(Retain::Lines(2), &chunks), [0, 0, 3, 8]);
        assert_eq!(floors(Retain::All, &chunks), [0, 0, 0, 0]);
    }

    #[test]
    fn a_cap_in_bytes_holds_for_every_unit_and_a_seal_for_good() {
        let mut retention = Retention::new(Retain::All, 4);
        retention.note(0, b"0123456789");
        assert_eq!(retention.floor(10), 6);
        retention.seal();
        retention.note(10, b"x");
        assert_eq!((retention.floor(11), retention.memory()), (11, 0));
    }

    #[test]
    fn marks_count_towards_the_cap() {
        for retain in [Retain::Lines(usize::MAX), Retain::Chunks(usize::MAX)] {
            let cap = 64 * 1024;
            let mut retention = Retention::new(retain, cap);
            let mut end = 0u64;
            let read = [b'\n'; 7];
            for _ in 0..1_000_000 {
                retention.note(end, &read);
                end += read.len() as u64;
                assert!(end - retention.floor(end) + retention.memory() <= cap + 2 * MARK);
            }
            assert!(end - retention.floor(end) >= cap / (MARK + 8), "{retain:?} keeps what fits");
        }
    }
}
