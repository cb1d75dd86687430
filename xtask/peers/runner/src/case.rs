//! A case: one measurement, taken of us, of the peers and of the floor.

use crate::bar::Bar;

/// What a variant stands for in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Floor,
    Ours,
    Peer,
}

/// One contender of a case; one call is one round.
pub(crate) struct Variant<'a> {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) round: Box<dyn FnMut() -> f64 + 'a>,
}

/// One row of the table: a name, a unit, who runs it, and the bars it promises to keep.
pub struct Case<'a> {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) lower_is_better: bool,
    pub(crate) isolated: bool,
    pub(crate) rounds: Option<usize>,
    pub(crate) variants: Vec<Variant<'a>>,
    pub(crate) bars: Vec<Bar>,
}

impl<'a> Case<'a> {
    fn new(name: &str, unit: &str, lower_is_better: bool) -> Self {
        Self {
            name: name.into(),
            unit: unit.into(),
            lower_is_better,
            isolated: false,
            rounds: None,
            variants: Vec::new(),
            bars: Vec::new(),
        }
    }

    /// A case in which the smaller value wins, such as nanoseconds.
    pub fn lower(name: &str, unit: &str) -> Self {
        Self::new(name, unit, true)
    }

    /// A case in which the larger value wins, such as jobs per second.
    pub fn higher(name: &str, unit: &str) -> Self {
        Self::new(name, unit, false)
    }

    /// Runs each round of each variant in a process of its own: for variants that leave state
    /// behind, or that count memory.
    #[must_use]
    pub fn isolated(mut self) -> Self {
        self.isolated = true;
        self
    }

    /// Overrides the number of measured rounds of this case, for a slow one.
    #[must_use]
    pub fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = Some(rounds);
        self
    }

    /// The raw mechanism below which nobody can go.
    #[must_use]
    pub fn floor(self, round: impl FnMut() -> f64 + 'a) -> Self {
        self.variant("floor", Role::Floor, round)
    }

    /// Our crate.
    #[must_use]
    pub fn ours(self, round: impl FnMut() -> f64 + 'a) -> Self {
        self.variant("ours", Role::Ours, round)
    }

    /// Somebody else's way to do the same.
    #[must_use]
    pub fn peer(self, name: &str, round: impl FnMut() -> f64 + 'a) -> Self {
        self.variant(name, Role::Peer, round)
    }

    /// Adds a promise; a case may have several, each is a row of its own in the JSON.
    #[must_use]
    pub fn bar(mut self, bar: Bar) -> Self {
        self.bars.push(bar);
        self
    }

    fn variant(mut self, name: &str, role: Role, round: impl FnMut() -> f64 + 'a) -> Self {
        let round = Box::new(round);
        self.variants.push(Variant { name: name.into(), role, round });
        self
    }
}
