//! One browser of the pool and the units on it.

use super::{LeaseId, Place, UnitId};
use crate::report::EndReason;
use crate::request::{LaunchProfile, UnitSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A browser that is lost sooner after its launch counts as a launch that failed.
pub(super) const SHORT_LIFE: Duration = Duration::from_secs(10);

/// Where a browser is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    Launching,
    Ready,
    /// It gets no new leases, and closes after its last one.
    Retiring {
        reason: EndReason,
        since: Instant,
    },
    /// Its end was ordered, or seen; its supervisor tears it down.
    Closing {
        reason: EndReason,
    },
}

/// Where a unit is in its life. An ended unit is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnitPhase {
    Making,
    Spare,
    Leased(LeaseId),
    /// It was used, and is being made like new.
    Resetting,
    /// It is being thrown away.
    Ending,
    /// The browser did not manage to end it: it is still there, and counts until the browser ends.
    Stuck,
}

/// Something on a browser that can be leased.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) spec: UnitSpec,
    pub(crate) phase: UnitPhase,
    /// When its lease is revoked, if it is leased and there is a limit.
    pub(crate) until: Option<Instant>,
    /// Pages that stand, or are being made, in this unit, those that pages opened included.
    pub(crate) pages: usize,
    /// Those that pages opened.
    pub(crate) popups: BTreeSet<String>,
}

/// A browser.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) profile: Arc<LaunchProfile>,
    pub(crate) phase: Phase,
    pub(crate) units: BTreeMap<UnitId, Unit>,
    /// Whether it is kept for one lease of the whole browser.
    pub(crate) exclusive: bool,
    pub(crate) born: Instant,
    /// When it had been launched.
    pub(crate) ready: Option<Instant>,
    /// Whether it was launched by somebody else, and has neither a directory for downloads nor a bridge.
    pub(crate) adopted: bool,
    /// When the last lease ended, or the launch did.
    pub(crate) last_used: Instant,
    /// Leases given so far.
    pub(crate) served: u64,
    /// Units made so far.
    pub(crate) made: u64,
    /// Failures since the last lease that went well.
    pub(crate) errors: u32,
    pub(crate) memory: Option<u64>,
}

impl Slot {
    pub(super) fn new(profile: Arc<LaunchProfile>, exclusive: bool, now: Instant) -> Self {
        Self {
            profile,
            phase: Phase::Launching,
            units: BTreeMap::new(),
            exclusive,
            born: now,
            ready: None,
            adopted: false,
            last_used: now,
            served: 0,
            made: 0,
            errors: 0,
            memory: None,
        }
    }

    pub(crate) fn leases(&self) -> usize {
        self.in_phase(|phase| matches!(phase, UnitPhase::Leased(_)))
    }

    pub(crate) fn spares(&self) -> usize {
        self.in_phase(|phase| phase == UnitPhase::Spare)
    }

    /// Whether it has run for so long that its launch was a success.
    pub(super) fn has_lived(&self, now: Instant) -> bool {
        self.ready.is_some_and(|ready| now.saturating_duration_since(ready) >= SHORT_LIFE)
    }

    /// Units that the browser did not manage to end.
    pub(super) fn stuck(&self) -> usize {
        self.in_phase(|phase| phase == UnitPhase::Stuck)
    }

    /// Pages in those.
    pub(super) fn stuck_pages(&self) -> usize {
        let stuck = self.units.values().filter(|unit| unit.phase == UnitPhase::Stuck);
        stuck.map(|unit| unit.pages).sum()
    }

    /// Whether such a unit can be made on it at all.
    pub(super) fn can(&self, spec: &UnitSpec) -> bool {
        !(self.adopted && spec.needs_own_browser())
    }

    fn in_phase(&self, which: impl Fn(UnitPhase) -> bool) -> usize {
        self.units.values().filter(|unit| which(unit.phase)).count()
    }

    /// Pages on the browser, those of units that end included.
    pub(crate) fn pages(&self) -> usize {
        self.units.values().map(|unit| unit.pages).sum()
    }

    /// Units of this kind that will be spares soon.
    pub(crate) fn coming(&self, spec: &UnitSpec) -> usize {
        let soon = |phase| matches!(phase, UnitPhase::Making | UnitPhase::Resetting);
        let mine = |unit: &&Unit| soon(unit.phase) && unit.spec == *spec;
        self.units.values().filter(mine).count()
    }

    /// Whether a lease is out or a unit on the way.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_phase(|phase| matches!(phase, UnitPhase::Leased(_) | UnitPhase::Making)) > 0
    }

    /// Whether the whole browser may still be given to one lease as new.
    pub(super) fn is_fresh(&self) -> bool {
        let taken = |unit: &Unit| unit.phase != UnitPhase::Spare || unit.spec.is_browser();
        self.phase == Phase::Ready && self.served == 0 && !self.units.values().any(taken)
    }

    pub(super) fn spare(&self, spec: &UnitSpec) -> Option<UnitId> {
        let fits = |unit: &Unit| unit.phase == UnitPhase::Spare && unit.spec == *spec;
        self.units.iter().find(|(_, unit)| fits(unit)).map(|(id, _)| *id)
    }

    /// The unit of a lease that is still out.
    pub(super) fn leased(&mut self, place: Place) -> Option<&mut Unit> {
        let unit = self.units.get_mut(&place.unit)?;
        (unit.phase == UnitPhase::Leased(place.lease)).then_some(unit)
    }
}
