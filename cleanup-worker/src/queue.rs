//! A queue whose memory follows its length: what a burst grew shrinks again.

use std::collections::VecDeque;

/// Up to here the memory is kept, so that usual traffic allocates nothing.
const KEPT: usize = 1024;

/// First in, first out.
#[derive(Debug)]
pub(crate) struct Queue<T>(VecDeque<T>);

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self(VecDeque::new())
    }

    #[inline]
    pub(crate) fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    /// Takes the oldest. Halves the memory once three quarters of it are empty, so each item pays for a
    /// bounded number of moves.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        let item = self.0.pop_front();
        let capacity = self.0.capacity();
        if capacity > KEPT && self.0.len() < capacity / 4 {
            self.0.shrink_to(capacity / 2);
        }
        item
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.0.front()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_a_burst_grew_shrinks_again_and_keeps_its_order() {
        let mut queue = Queue::new();
        (0..100_000).for_each(|item| queue.push(item));
        let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert!(popped.iter().copied().eq(0..100_000));
        assert!(queue.0.capacity() <= 2 * KEPT, "{}", queue.0.capacity());
        queue.push(1);
        let kept = queue.0.capacity();
        assert_eq!((queue.pop(), queue.0.capacity()), (Some(1), kept), "small ones keep theirs");
    }
}
