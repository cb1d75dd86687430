//! Numbers that order the reads of several streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Streams that share a sequence number their reads in one order, see [`merge`](crate::merge).
///
/// Two streams may share one: standard output and standard error. The order is that of the reads,
/// which is close to that of the writes but not the same: what the kernel does not keep, nobody
/// can restore. For the exact order give the child one pipe for both.
#[derive(Debug, Clone, Default)]
pub struct Sequence {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The last number given, and in the lowest bits who got it. All changes are atomic
    /// read-modify-writes of this one word, made under the lock of the stream that is stamped, so
    /// relaxed ordering is enough: whoever saw a stamp under one stream's lock, and then finds
    /// another stream empty under its lock, knows that the latter's next stamp is larger.
    last: AtomicU64,
    members: AtomicU64,
}

/// Bits of the word that name the stream.
const WHO_BITS: u32 = 8;

impl Sequence {
    /// A new sequence, without streams.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a stream to the sequence.
    pub(crate) fn join(&self) -> Stamper {
        let who = self.shared.members.fetch_add(1, Relaxed) % (1 << WHO_BITS);
        Stamper { shared: self.shared.clone(), who }
    }
}

/// Stamps the reads of one stream.
#[derive(Debug)]
pub(crate) struct Stamper {
    shared: Arc<Shared>,
    who: u64,
}

impl Stamper {
    /// The number of a read that happens now. Reads of one stream between which no other stream
    /// was read share their number, so that they can stay one slice.
    pub(crate) fn stamp(&self) -> u64 {
        let next = |word: u64| {
            let same = word & ((1 << WHO_BITS) - 1) == self.who && word != 0;
            (!same).then_some((((word >> WHO_BITS) + 1) << WHO_BITS) | self.who)
        };
        match self.shared.last.fetch_update(Relaxed, Relaxed, next) {
            Ok(word) => (word >> WHO_BITS) + 1,
            Err(word) => word >> WHO_BITS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_when_the_reads_alternate() {
        let sequence = Sequence::new();
        let (out, err) = (sequence.join(), sequence.join());
        let got = [out.stamp(), out.stamp(), err.stamp(), err.stamp(), out.stamp()];
        assert_eq!(got, [1, 1, 2, 2, 3]);
    }
}
