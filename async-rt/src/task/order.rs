//! An order of tasks that a seed decides.

use crate::random;
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
        let mut state = self.state.get();
        let number = random::next(&mut state);
        self.state.set(state);
        (number % len as u64) as usize
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
