//! For tests of programs that run here: time that only tests move, an order that a seed decides, and
//! the reference core. Everything is chosen per runtime; nothing changes for the others.

use crate::builder::Builder;
use crate::handle::Handle;
use crate::time::clock::whole_nanos;
use crate::time::yield_now;
use std::time::Duration;

impl Builder {
    /// Time stands still while tasks run, and jumps to the next timer when all of them wait. So no
    /// deadline passes, that of an end included, while a task is always ready.
    pub fn virtual_clock(mut self) -> Self {
        self.testing.virtual_clock = true;
        self
    }

    /// Ready tasks run in an order that depends on `seed` alone, instead of first in, first
    /// out. Each seed has an order of its own.
    pub fn seeded_order(mut self, seed: u64) -> Self {
        self.testing.seed = Some(seed);
        self
    }

    /// Runs tasks on the reference core: the same behaviour without `unsafe`, a few times slower.
    pub fn reference_core(mut self) -> Self {
        self.testing.reference = true;
        self
    }
}

/// Moves the virtual clock of this thread's runtime forward, and lets the tasks whose timers fire
/// run once.
///
/// # Cancel safety
/// The clock stays moved.
///
/// # Panics
/// Outside a runtime, and when its clock is real.
pub async fn advance(by: Duration) {
    let owner = Handle::current().owner;
    assert!(owner.clock.is_virtual(), "`advance` needs a runtime with a virtual clock");
    owner.clock.advance_to(owner.clock.now().saturating_add(whole_nanos(by)));
    owner.look();
    yield_now().await;
}
