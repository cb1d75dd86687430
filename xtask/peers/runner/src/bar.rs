//! A bar: the ratio, or the value, that a case promises to keep.

/// What a measured value is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Against {
    Floor,
    BestPeer,
    Peer(String),
    Absolute,
}

/// A bound on `ours / reference`, or on `ours` alone for [`Bar::absolute`].
#[derive(Debug, Clone)]
pub struct Bar {
    pub(crate) against: Against,
    pub(crate) max: Option<f64>,
    pub(crate) min: Option<f64>,
}

impl Bar {
    fn new(against: Against) -> Self {
        Self { against, max: None, min: None }
    }

    /// Compares with the floor of the case.
    pub fn floor() -> Self {
        Self::new(Against::Floor)
    }

    /// Compares with the best peer of the run.
    pub fn best_peer() -> Self {
        Self::new(Against::BestPeer)
    }

    /// Compares with the named peer.
    pub fn peer(name: &str) -> Self {
        Self::new(Against::Peer(name.into()))
    }

    /// Bounds our own value, in the unit of the case.
    pub fn absolute() -> Self {
        Self::new(Against::Absolute)
    }

    /// At most `bound`: for units where lower is better.
    #[must_use]
    pub fn max(mut self, bound: f64) -> Self {
        self.max = Some(bound);
        self
    }

    /// At least `bound`: for units where higher is better.
    #[must_use]
    pub fn min(mut self, bound: f64) -> Self {
        self.min = Some(bound);
        self
    }

    pub(crate) fn against_name(&self) -> &str {
        match &self.against {
            Against::Floor => "floor",
            Against::BestPeer => "best_peer",
            Against::Peer(name) => name,
            Against::Absolute => "absolute",
        }
    }

    /// Whether `ratio` keeps the bar. A bar without a bound is never met: it promises nothing.
    pub(crate) fn is_met(&self, ratio: f64) -> bool {
        (self.max.is_some() || self.min.is_some())
            && self.max.is_none_or(|max| ratio <= max)
            && self.min.is_none_or(|min| ratio >= min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_only_within_its_bounds() {
        assert!(Bar::floor().max(1.5).is_met(1.5));
        assert!(!Bar::floor().max(1.5).is_met(1.51));
        assert!(Bar::best_peer().min(2.0).is_met(2.0));
        assert!(!Bar::best_peer().min(2.0).is_met(1.9));
        assert!(!Bar::absolute().max(1.0).is_met(f64::NAN));
        assert!(!Bar::absolute().is_met(0.0), "no bound is no promise");
    }
}
