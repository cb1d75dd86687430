//! Where units come from: stock, running browsers, new browsers, in this order.

use super::queue::Group;
use super::{Action, LeaseId, Mode, Phase, Place, Slot, SlotId, State, Unit, UnitId, UnitPhase};
use crate::report::EndReason;
use crate::request::{LaunchProfile, UnitSpec};
use std::sync::Arc;
use std::time::Instant;

/// One kind of unit, and how many wait for it.
struct Wanted {
    profile: Arc<LaunchProfile>,
    spec: UnitSpec,
    waiting: usize,
}

impl State {
    /// Whether a running browser, or one on its way, can serve this kind.
    pub(super) fn serves(&self, profile: &LaunchProfile, spec: &UnitSpec) -> bool {
        self.slots.values().any(|slot| {
            *slot.profile == *profile
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

    pub(super) fn grant_spares(&mut self, now: Instant, out: &mut Vec<Action>) {
        let before = self.queue.len();
        for index in 0..self.queue.groups().len() {
            while let Some((slot_id, unit_id)) = self.spare_for(index) {
                let Some(waiter) = self.queue.pop(index) else {
                    break;
                };
                let lease = LeaseId(self.number());
                let Some(slot) = self.slots.get_mut(&slot_id) else {
                    break;
                };
                let Some(unit) = slot.units.get_mut(&unit_id) else {
                    break;
                };
                unit.phase = UnitPhase::Leased(lease);
                slot.served += 1;
                slot.last_used = now;
                self.counts.granted += 1;
                let place = Place { slot: slot_id, unit: unit_id, lease };
                out.push(Action::Grant { waiter, place });
            }
        }
        if self.queue.len() < before {
            self.queue.sweep();
            self.retire_due(now, out);
        }
    }

    /// A spare for the group, on the browser with the fewest leases.
    fn spare_for(&self, index: usize) -> Option<(SlotId, UnitId)> {
        let group = self.queue.groups().get(index).filter(|group| group.len() > 0)?;
        let ready = self.slots.iter().filter(|(_, slot)| {
            slot.phase == Phase::Ready
                && *slot.profile == *group.profile
                && self.config.max_leases.is_none_or(|max| slot.served < max)
        });
        ready
            .filter_map(|(id, slot)| Some((slot.leases(), *id, slot.spare(&group.spec)?)))
            .min()
            .map(|(_, slot, unit)| (slot, unit))
    }

    pub(super) fn make_for_waiters(&mut self, out: &mut Vec<Action>) {
        for Wanted { profile, spec, waiting } in self.wanted() {
            let coming = self.coming(&profile, &spec);
            for _ in coming..waiting {
                if self.is_gated() {
                    break;
                }
                if !self.make(&profile, &spec, out) {
                    self.make_room(&profile, &spec, out);
                    break;
                }
            }
        }
    }

    /// What is waited for, the kind with the longest waiting caller first.
    fn wanted(&self) -> Vec<Wanted> {
        if self.queue.len() == 0 {
            return Vec::new();
        }
        let wanted = |group: &Group| Wanted {
            profile: group.profile.clone(),
            spec: group.spec.clone(),
            waiting: group.len(),
        };
        self.queue.by_age().map(wanted).collect()
    }

    /// A browser that is full of stock of another kind throws one piece away, one at a time.
    fn make_room(&mut self, profile: &LaunchProfile, spec: &UnitSpec, out: &mut Vec<Action>) {
        if spec.is_browser() {
            return;
        }
        let shared = |slot: &Slot| {
            slot.phase == Phase::Ready && *slot.profile == *profile && !slot.exclusive
        };
        let ending = |slot: &Slot| slot.units.values().any(|u| u.phase == UnitPhase::Ending);
        if self.slots.values().any(|slot| shared(slot) && ending(slot)) {
            return;
        }
        for (slot_id, slot) in self.slots.iter_mut().filter(|(_, slot)| shared(slot)) {
            let stock = |unit: &Unit| unit.phase == UnitPhase::Spare && unit.spec != *spec;
            if let Some((unit_id, unit)) = slot.units.iter_mut().find(|(_, unit)| stock(unit)) {
                unit.phase = UnitPhase::Ending;
                out.push(Action::Dispose { slot: *slot_id, unit: *unit_id });
                return;
            }
        }
    }

    /// Units that will be spares soon, on browsers that may still give leases.
    pub(super) fn coming(&self, profile: &LaunchProfile, spec: &UnitSpec) -> usize {
        let ready = |slot: &&Slot| slot.phase == Phase::Ready && *slot.profile == *profile;
        self.slots.values().filter(ready).map(|slot| slot.coming(spec)).sum()
    }

    /// Starts one unit on a running browser; `false` when none has room.
    fn make(&mut self, profile: &LaunchProfile, spec: &UnitSpec, out: &mut Vec<Action>) -> bool {
        let fits = |slot: &Slot| {
            let room = || {
                slot.units.len() < self.config.max_contexts
                    && slot.pages() + spec.pages().max(1) <= self.config.max_pages
                    && self.config.max_leases.is_none_or(|max| slot.served < max)
            };
            slot.phase == Phase::Ready
                && *slot.profile == *profile
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
        let unit = Unit { spec: spec.clone(), phase: UnitPhase::Making, pages: spec.pages() };
        slot.units.insert(unit_id, unit);
        out.push(Action::Make { slot: slot_id, unit: unit_id, spec: spec.clone() });
        true
    }

    pub(super) fn launch_for_waiters(&mut self, now: Instant, out: &mut Vec<Action>) {
        for (place, wanted) in self.wanted().into_iter().enumerate() {
            let Wanted { profile, spec, waiting } = wanted;
            let each = if spec.is_browser() { 1 } else { self.config.max_contexts };
            let launching = self.slots.values().filter(|slot| {
                slot.phase == Phase::Launching
                    && *slot.profile == *profile
                    && slot.exclusive == spec.is_browser()
            });
            let mut coming = self.coming(&profile, &spec) + launching.count() * each;
            while coming < waiting && !self.is_gated() && self.may_launch(&profile, now) {
                if self.slots.len() >= self.config.max_browsers {
                    self.make_place(&profile, &spec, place == 0, now, out);
                    break;
                }
                self.launch(&profile, spec.is_browser(), now, out);
                coming += each;
            }
        }
    }

    fn may_launch(&self, profile: &LaunchProfile, now: Instant) -> bool {
        let launching = |slot: &Slot| slot.phase == Phase::Launching && *slot.profile == *profile;
        self.circuits.allows(profile, now)
            && !(self.circuits.is_failing(profile) && self.slots.values().any(launching))
    }

    fn launch(
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
        if self.mode != Mode::Open || self.slots.len() >= self.config.max_browsers {
            return None;
        }
        let profile = self.default_profile.clone();
        self.launch(&profile, false, now, out);
        self.slots.keys().next_back().copied()
    }

    /// At capacity: ends the browser that was used least recently, so that its place gets free.
    ///
    /// An idle one that cannot serve this kind goes first. A busy one is retired only for the caller
    /// who waits longest, when no browser at all can serve it, and one at a time.
    fn make_place(
        &mut self,
        profile: &LaunchProfile,
        spec: &UnitSpec,
        is_oldest: bool,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let ending =
            |slot: &Slot| matches!(slot.phase, Phase::Closing { .. } | Phase::Retiring { .. });
        if self.slots.values().any(ending) {
            return;
        }
        let other = |slot: &Slot| {
            *slot.profile != *profile || slot.exclusive != spec.is_browser() || spec.is_browser()
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
            oldest(any).filter(|_| is_oldest && !self.serves(profile, spec))
        });
        if let Some(victim) = victim {
            self.retire(victim, EndReason::Evicted, now, out);
        }
    }

    pub(super) fn keep_warm(&mut self, now: Instant, out: &mut Vec<Action>) {
        let profile = self.default_profile.clone();
        while self.mode == Mode::Open
            && self.warm() < self.config.warm_browsers
            && self.slots.len() < self.config.max_browsers
            && !self.is_gated()
            && self.may_launch(&profile, now)
        {
            self.launch(&profile, false, now, out);
        }
    }

    /// Browsers of the default profile that run, or will soon.
    pub(super) fn warm(&self) -> usize {
        let counts = |slot: &&Slot| {
            matches!(slot.phase, Phase::Launching | Phase::Ready)
                && *slot.profile == *self.default_profile
        };
        self.slots.values().filter(counts).count()
    }

    /// Makes units of the default kind ahead while nobody waits, and throws away what is too much.
    pub(super) fn restock(&mut self, out: &mut Vec<Action>) {
        let (profile, spec) = (self.default_profile.clone(), self.default_spec());
        let mut stock = 0;
        for (slot_id, slot) in &mut self.slots {
            let is_default = *slot.profile == *profile && slot.phase == Phase::Ready;
            for (unit_id, unit) in &mut slot.units {
                let counted = !matches!(unit.phase, UnitPhase::Leased(_) | UnitPhase::Ending);
                if !counted {
                    continue;
                }
                let wanted = is_default && unit.spec == spec && stock < self.config.spares;
                stock += usize::from(is_default && unit.spec == spec);
                let reused = unit.spec == UnitSpec::SharedPage || unit.spec.is_browser();
                if unit.phase == UnitPhase::Spare && !wanted && !reused {
                    unit.phase = UnitPhase::Ending;
                    out.push(Action::Dispose { slot: *slot_id, unit: *unit_id });
                }
            }
        }
        if self.mode == Mode::Open && self.queue.len() == 0 && !self.pressure {
            while stock < self.config.spares && self.make(&profile, &spec, out) {
                stock += 1;
            }
        }
    }
}
