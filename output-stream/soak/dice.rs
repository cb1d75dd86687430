//! Random choices that can be replayed.

/// A small generator.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        // A linear congruential step, of which the high bits are good enough for dice.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// A die of its own for a task.
    pub(crate) fn split(&mut self) -> Self {
        Self::new(self.roll(u64::from(u32::MAX)))
    }
}
