//! Where units come from: stock, running browsers, new browsers, in this order.

use super::queue::{KindId, Turn};
use super::{
    Action, LeaseId, Phase, Place, Slot, SlotId, State, Unit, UnitId, UnitPhase, WaiterId,
};
use crate::report::EndReason;
use crate::request::{LaunchProfile, UnitSpec};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// How many leases are given to others while the first in the line waits, before a busy browser is taken
/// from the others for it.
pub(super) const OVERTAKES: u64 = 16;

/// Browsers of this kind are alike: their profile, and whether they are leased as a whole.
type Class = (Arc<LaunchProfile>, bool);

/// What is on its way and not yet meant for anybody, while the waiters are gone through in their order.
#[derive(Debug, Default)]
struct Coming {
    /// Units that are being made or reset.
    units: HashMap<KindId, usize>,
    /// Room that gets free on running browsers.
    room: HashMap<Arc<LaunchProfile>, usize>,
    /// Units that fit on browsers that are being launched, or will be when a place gets free.
    launches: HashMap<Class, usize>,
    /// Places of browsers that end.
    places: usize,
}

/// Takes one, if there is one.
fn claim(left: Option<&mut usize>) -> bool {
    let Some(left) = left.filter(|left| **left > 0) else {
        return false;
    };
    *left -= 1;
    true
}

impl State {
    /// Whether a running browser, or one on its way, can serve this kind.
    pub(super) fn serves(&self, profile: &LaunchProfile, spec: &UnitSpec) -> bool {
        self.slots.values().any(|slot| {
            *slot.profile == *profile
                && slot.can(spec)
                && matches!(slot.phase, Phase::Ready | Phase::Launching)
                && (slot.exclusive == spec.is_browser() || (spec.is_browser() && slot.is_fresh()))
        })
    }

    /// Low memory holds new things back while the pool has something out; when it has nothing out,
    /// one thing at a time goes on, so that a small machine works slowly and not never.
    pub(super) fn is_gated(&self) -> bool {
        let busy = |slot: &Slot| slot.is_busy() || slot.phase == Phase::Launching;
        self.pressure && self.slots.values().any(busy)
    }

    /// Goes through the waiters in their order: each gets a unit, or has one coming to it, or is left
    /// waiting with what would serve it. What comes before in the order is never taken for what comes after.
    pub(super) fn serve(&mut self, now: Instant, out: &mut Vec<Action>) {
        let before = self.queue.len();
        let mut coming = self.all_coming();
        let mut order: BinaryHeap<Reverse<(Turn, KindId)>> =
            self.queue.heads().map(Reverse).collect();
        while let Some(Reverse((turn, id))) = order.pop() {
            let next = self.queue.after(id, turn);
            if self.serve_one(turn, id, &mut coming, now, out) {
                order.extend(next.map(|next| Reverse((next, id))));
            }
        }
        if self.queue.len() < before {
            self.retire_due(now, out);
        }
    }

    /// `false` when nothing can come to this kind now.
    fn serve_one(
        &mut self,
        turn: Turn,
        id: KindId,
        coming: &mut Coming,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(kind) = self.queue.kind(id) else {
            return false;
        };
        let (profile, spec) = (kind.profile.clone(), kind.spec.clone());
        if let Some((slot, unit)) = self.spare_for(&profile, &spec) {
            self.grant(turn, slot, unit, now, out);
            return true;
        }
        if claim(coming.units.get_mut(&id)) {
            return true;
        }
        if self.is_gated() {
            return false;
        }
        if self.make(&profile, &spec, out)
            || claim(coming.room.get_mut(&profile).filter(|_| !spec.is_browser()))
            || self.make_room(&profile, &spec, out)
        {
            return true;
        }
        let class = (profile, spec.is_browser());
        if claim(coming.launches.get_mut(&class)) {
            return true;
        }
        let more = if spec.is_browser() { 0 } else { self.config.max_contexts - 1 };
        if !self.may_launch(&class.0, now) {
            return false;
        }
        if self.slots.len() < self.config.max_browsers {
            self.launch(&class.0, spec.is_browser(), now, out);
        } else {
            let is_first = self.queue.first().is_some_and(|first| self.queue.has(first, turn));
            // A browser that ends may take for ever: its last lease decides.
            let placed = claim(Some(&mut coming.places));
            let wants_more = !placed || (is_first && self.is_overtaken());
            if wants_more && self.make_place(&class.0, &spec, is_first, now, out) {
                self.overtaken.1 = 0;
            } else if !placed {
                return false;
            }
        }
        *coming.launches.entry(class).or_default() += more;
        true
    }

    fn all_coming(&self) -> Coming {
        let mut coming = Coming::default();
        for (_, id) in self.queue.heads() {
            if let Some(kind) = self.queue.kind(id) {
                coming.units.insert(id, self.coming(&kind.profile, &kind.spec));
            }
        }
        for slot in self.slots.values() {
            match slot.phase {
                Phase::Launching => {
                    let each = if slot.exclusive { 1 } else { self.config.max_contexts };
                    let class = (slot.profile.clone(), slot.exclusive);
                    *coming.launches.entry(class).or_default() += each;
                }
                Phase::Ready if !slot.exclusive => {
                    let ending = |unit: &&Unit| unit.phase == UnitPhase::Ending;
                    let ending = slot.units.values().filter(ending).count();
                    *coming.room.entry(slot.profile.clone()).or_default() += ending;
                }
                Phase::Ready => {}
                Phase::Retiring { .. } | Phase::Closing { .. } => coming.places += 1,
            }
        }
        coming
    }

    fn grant(
        &mut self,
        turn: Turn,
        slot_id: SlotId,
        unit_id: UnitId,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let first = self.queue.first();
        let Some(waiter) = self.queue.pop(turn) else {
            return;
        };
        if self.overtaken.0 != first {
            self.overtaken = (first, 0);
        }
        self.overtaken.1 += 1;
        self.give(waiter, slot_id, unit_id, now, out);
    }

    fn give(
        &mut self,
        waiter: WaiterId,
        slot_id: SlotId,
        unit_id: UnitId,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let lease = LeaseId(self.number());
        let slot = self.slots.get_mut(&slot_id);
        let Some((slot, unit)) = slot.and_then(|slot| {
            slot.served += 1;
            slot.last_used = now;
            slot.units.get_mut(&unit_id).map(|unit| (slot_id, unit))
        }) else {
            return;
        };
        unit.phase = UnitPhase::Leased(lease);
        unit.until = self.config.max_lease.map(|limit| now + limit);
        self.counts.granted += 1;
        out.push(Action::Grant { waiter, place: Place { slot, unit: unit_id, lease } });
    }

    /// Gives a spare to somebody who does not wait; never past those who do.
    pub(super) fn give_from_stock(
        &mut self,
        waiter: WaiterId,
        profile: &LaunchProfile,
        spec: &UnitSpec,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> bool {
        let spare = (self.queue.len() == 0).then(|| self.spare_for(profile, spec)).flatten();
        let Some((slot, unit)) = spare else {
            return false;
        };
        self.counts.from_stock += 1;
        self.give(waiter, slot, unit, now, out);
        true
    }

    /// A spare of this kind, on the browser with the fewest leases.
    fn spare_for(&self, profile: &LaunchProfile, spec: &UnitSpec) -> Option<(SlotId, UnitId)> {
        let ready = self.slots.iter().filter(|(_, slot)| {
            slot.phase == Phase::Ready
                && *slot.profile == *profile
                && self.config.max_leases.is_none_or(|max| slot.served < max)
        });
        ready
            .filter_map(|(id, slot)| Some((slot.leases(), *id, slot.spare(spec)?)))
            .min()
            .map(|(_, slot, unit)| (slot, unit))
    }

    /// A browser that is full of stock of another kind throws one piece away.
    fn make_room(
        &mut self,
        profile: &LaunchProfile,
        spec: &UnitSpec,
        out: &mut Vec<Action>,
    ) -> bool {
        if spec.is_browser() {
            return false;
        }
        let shared = |slot: &Slot| {
            slot.phase == Phase::Ready
                && *slot.profile == *profile
                && !slot.exclusive
                && slot.can(spec)
        };
        for (slot_id, slot) in self.slots.iter_mut().filter(|(_, slot)| shared(slot)) {
            let stock = |unit: &Unit| unit.phase == UnitPhase::Spare && unit.spec != *spec;
            if let Some((unit_id, unit)) = slot.units.iter_mut().find(|(_, unit)| stock(unit)) {
                unit.phase = UnitPhase::Ending;
                out.push(Action::Dispose { slot: *slot_id, unit: *unit_id });
                return true;
            }
        }
        false
    }

    /// Units that will be spares soon, on browsers that may still give leases.
    pub(super) fn coming(&self, profile: &LaunchProfile, spec: &UnitSpec) -> usize {
        let ready = |slot: &&Slot| slot.phase == Phase::Ready && *slot.profile == *profile;
        self.slots.values().filter(ready).map(|slot| slot.coming(spec)).sum()
    }

    /// Starts one unit on a running browser; `false` when none has room.
    pub(super) fn make(
        &mut self,
        profile: &LaunchProfile,
        spec: &UnitSpec,
        out: &mut Vec<Action>,
    ) -> bool {
        let fits = |slot: &Slot| {
            let room = || {
                slot.units.len() < self.config.max_contexts
                    && slot.pages() + spec.pages().max(1) <= self.config.max_pages
                    && self.config.max_leases.is_none_or(|max| slot.served < max)
            };
            slot.phase == Phase::Ready
                && *slot.profile == *profile
                && slot.can(spec)
                && if spec.is_browser() { slot.is_fresh() } else { !slot.exclusive && room() }
        };
        let fitting = self.slots.iter().filter(|(_, slot)| fits(slot));
        let Some(slot_id) = fitting.map(|(id, slot)| (slot.units.len(), *id)).min() else {
            return false;
        };
        let (slot_id, unit_id) = (slot_id.1, UnitId(self.number()));
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return false;
        };
        if spec.is_browser() {
            slot.exclusive = true;
            for (id, unit) in &mut slot.units {
                unit.phase = UnitPhase::Ending;
                out.push(Action::Dispose { slot: slot_id, unit: *id });
            }
        }
        let unit = Unit {
            spec: spec.clone(),
            phase: UnitPhase::Making,
            until: None,
            pages: spec.pages(),
            popups: BTreeSet::new(),
        };
        slot.units.insert(unit_id, unit);
        out.push(Action::Make { slot: slot_id, unit: unit_id, spec: spec.clone() });
        true
    }

    /// Whether too many others were served while the first in the line waited.
    fn is_overtaken(&self) -> bool {
        let (first, others) = self.overtaken;
        first == self.queue.first() && others >= OVERTAKES
    }

    pub(super) fn may_launch(&self, profile: &LaunchProfile, now: Instant) -> bool {
        let launching = |slot: &Slot| slot.phase == Phase::Launching && *slot.profile == *profile;
        self.circuits.allows(profile, now)
            && !(self.circuits.is_failing(profile) && self.slots.values().any(launching))
    }

    pub(super) fn launch(
        &mut self,
        profile: &Arc<LaunchProfile>,
        exclusive: bool,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let id = SlotId(self.number());
        self.slots.insert(id, Slot::new(profile.clone(), exclusive, now));
        self.counts.launches += 1;
        out.push(Action::Launch { slot: id, profile: profile.clone() });
    }

    /// Makes a place for a browser that runs already; its launch takes it in.
    #[cfg(feature = "chrome")]
    pub(crate) fn adopt(&mut self, now: Instant, out: &mut Vec<Action>) -> Option<SlotId> {
        if self.mode != super::Mode::Open || self.slots.len() >= self.config.max_browsers {
            return None;
        }
        let profile = self.default_profile.clone();
        self.launch(&profile, false, now, out);
        let (id, slot) = self.slots.iter_mut().next_back()?;
        slot.adopted = true;
        Some(*id)
    }

    /// At capacity: ends the browser that was used least recently, so that its place gets free.
    ///
    /// An idle one that cannot serve this kind goes first. A busy one is retired only for the first in the
    /// line, one at a time, when no browser at all can serve it, or when too many others were served
    /// meanwhile.
    fn make_place(
        &mut self,
        profile: &LaunchProfile,
        spec: &UnitSpec,
        is_first: bool,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> bool {
        let other = |slot: &Slot| {
            *slot.profile != *profile
                || slot.exclusive != spec.is_browser()
                || spec.is_browser()
                || !slot.can(spec)
        };
        let candidates = || {
            let ready = |slot: &&Slot| slot.phase == Phase::Ready && other(slot);
            self.slots.iter().filter(move |(_, slot)| ready(slot))
        };
        let oldest = |found: Option<(Instant, SlotId)>| found.map(|(_, id)| id);
        let idle = candidates().filter(|(_, slot)| !slot.is_busy());
        let idle = oldest(idle.map(|(id, slot)| (slot.last_used, *id)).min());
        let victim = idle.or_else(|| {
            let any = candidates().map(|(id, slot)| (slot.last_used, *id)).min();
            let waited = self.is_overtaken() || !self.serves(profile, spec);
            oldest(any).filter(|_| is_first && waited)
        });
        let Some(victim) = victim else {
            return false;
        };
        self.retire(victim, EndReason::Evicted, now, out);
        true
    }
}
