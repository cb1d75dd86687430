//! An order of tasks that a seed decides.

use std::cell::Cell;

/// Chooses which ready task goes next; each seed gives a sequence of its own.
#[derive(Debug)]
pub(crate) struct Order {
    state: Cell<u64>,
}

impl Order {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: Cell::new(seed) }
    }

    /// An index below `len`, which is not zero.
    pub(crate) fn pick(&self, len: usize) -> usize {
        (self.next() % len as u64) as usize
    }

    /// A Weyl sequence, mixed: every seed starts a cycle of its own place, zero too.
    fn next(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_seed_has_an_order_of_its_own() {
        let orders: HashSet<Vec<usize>> = (0..200)
            .chain([u64::MAX, u64::MAX - 1])
            .map(|seed| {
                let order = Order::new(seed);
                (0..32).map(|_| order.pick(64)).collect()
            })
            .collect();
        assert_eq!(orders.len(), 202);
    }
}
