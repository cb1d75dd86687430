//! What came of an order: browsers that started or did not, units that were made, given back, ended.

use super::{
    Action, Condition, LaunchError, OpError, Phase, Place, Refusal, SlotId, State, Unit, UnitId,
    UnitPhase,
};
use crate::report::EndReason;
use crate::request::{LaunchProfile, UnitSpec};
use std::sync::Arc;
use std::time::Instant;

impl State {
    pub(super) fn launched(&mut self, id: SlotId, now: Instant) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.phase == Phase::Launching)
        else {
            return;
        };
        slot.phase = Phase::Ready;
        slot.ready = Some(now);
        slot.last_used = now;
        // Nobody waits for a whole browser any more: everybody may share it.
        slot.exclusive = slot.exclusive
            && self
                .queue
                .kinds()
                .any(|group| group.spec.is_browser() && *group.profile == *slot.profile);
    }

    pub(super) fn launch_failed(
        &mut self,
        id: SlotId,
        error: Arc<LaunchError>,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slots.remove(&id) else {
            return;
        };
        let called_off = matches!(slot.phase, Phase::Closing { .. });
        let reason = match slot.phase {
            Phase::Closing { reason } => reason,
            _ => EndReason::LaunchFailed,
        };
        *self.counts.ended.entry(reason.name()).or_default() += 1;
        if !called_off {
            self.counts.launch_failures += 1;
            self.count_failure(&slot.profile, error, true, now, out);
        }
    }

    pub(super) fn count_failure(
        &mut self,
        profile: &Arc<LaunchProfile>,
        error: Arc<LaunchError>,
        is_fruitless: bool,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        if !self.circuits.failed(profile, error.clone(), is_fruitless, now) {
            return;
        }
        let serves = |spec: &UnitSpec| self.serves(profile, spec);
        let (shared, whole) =
            (serves(&UnitSpec::SharedPage), serves(&UnitSpec::Browser { page: None }));
        let hopeless = self.queue.drain(|group| {
            *group.profile == **profile && !if group.spec.is_browser() { whole } else { shared }
        });
        for waiter in hopeless {
            self.refuse(waiter, Refusal::Launch(error.clone()), out);
        }
    }

    /// Forgets the failures of profiles of which a browser works, and has for a while.
    pub(super) fn note_successes(&mut self, now: Instant) {
        if self.circuits.is_empty() {
            return;
        }
        for slot in self.slots.values() {
            if slot.phase == Phase::Ready && slot.made > 0 && slot.has_lived(now) {
                self.circuits.succeeded(&slot.profile);
            }
        }
    }

    pub(super) fn made(&mut self, slot_id: SlotId, unit_id: UnitId, out: &mut Vec<Action>) {
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return;
        };
        let Some(unit) = slot.units.get_mut(&unit_id) else {
            return;
        };
        slot.made += 1;
        self.counts.made += 1;
        if slot.phase == Phase::Ready {
            unit.phase = UnitPhase::Spare;
        } else {
            unit.phase = UnitPhase::Ending;
            out.push(Action::Dispose { slot: slot_id, unit: unit_id });
        }
    }

    pub(super) fn make_failed(
        &mut self,
        slot_id: SlotId,
        unit_id: UnitId,
        error: Arc<OpError>,
        hung: bool,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return;
        };
        let Some(Unit { spec, .. }) = slot.units.remove(&unit_id) else {
            return;
        };
        self.counts.make_failures += 1;
        let said_no = !hung && matches!(*error, OpError::Driver(_));
        if said_no && spec.is_special() {
            // The request asked for what this browser refuses: nobody else has to do with it.
            let profile = slot.profile.clone();
            if let Some(waiter) = self.queue.pop_of(&profile, &spec) {
                self.refuse(waiter, Refusal::Make(error), out);
            }
            return;
        }
        slot.errors = slot.errors.saturating_add(1);
        let (unproven, profile) = (slot.made == 0, slot.profile.clone());
        if hung || unproven {
            self.retire(slot_id, EndReason::Errors, now, out);
        }
        if unproven {
            let error = Arc::new(LaunchError::FirstUnit { source: error });
            self.count_failure(&profile, error, true, now, out);
        }
    }

    pub(super) fn release(
        &mut self,
        place: Place,
        condition: Condition,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slots.get_mut(&place.slot) else {
            return;
        };
        let Some(unit) = slot.leased(place) else {
            return;
        };
        self.counts.returned += 1;
        let spec = unit.spec.clone();
        unit.until = None;
        let reusable = spec == UnitSpec::SharedPage && condition == Condition::Clean;
        unit.phase = if reusable { UnitPhase::Resetting } else { UnitPhase::Ending };
        match condition {
            Condition::Unused => {
                unit.phase = UnitPhase::Spare;
                slot.served = slot.served.saturating_sub(1);
                return;
            }
            Condition::Clean => slot.errors = 0,
            Condition::Discarded => {}
            Condition::Broken => slot.errors = slot.errors.saturating_add(1),
        }
        slot.last_used = now;
        let (slot, unit) = (place.slot, place.unit);
        if spec.is_browser() {
            self.close(slot, EndReason::LeaseEnded, out);
        } else if reusable {
            out.push(Action::ResetUnit { slot, unit });
        } else {
            out.push(Action::Dispose { slot, unit });
        }
    }

    pub(super) fn reset(&mut self, slot: SlotId, unit: UnitId) {
        let slot = self.slots.get_mut(&slot).filter(|slot| slot.phase == Phase::Ready);
        if let Some(unit) = slot.and_then(|slot| slot.units.get_mut(&unit)) {
            unit.phase = UnitPhase::Spare;
            unit.pages = unit.spec.pages();
            unit.popups.clear();
        }
    }

    pub(super) fn disposed(&mut self, slot: SlotId, unit: UnitId, well: bool) {
        let Some(slot) = self.slots.get_mut(&slot) else {
            return;
        };
        if well {
            slot.units.remove(&unit);
        } else if let Some(unit) = slot.units.get_mut(&unit) {
            unit.phase = UnitPhase::Stuck;
        }
    }

    /// A page opened another: it counts like any, and where there is no place for it, it is closed.
    pub(super) fn popup_opened(
        &mut self,
        slot_id: SlotId,
        unit_id: UnitId,
        page: String,
        out: &mut Vec<Action>,
    ) {
        let max = self.config.max_pages;
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return;
        };
        let full = slot.pages() >= max;
        let Some(unit) = slot.units.get_mut(&unit_id) else {
            return;
        };
        if full || !matches!(unit.phase, UnitPhase::Leased(_)) {
            out.push(Action::ClosePopup { slot: slot_id, page });
        } else if unit.popups.insert(page) {
            unit.pages += 1;
        }
    }

    /// A page is gone; if it was one that another had opened, its place is free.
    pub(super) fn page_gone(&mut self, slot: SlotId, page: &str) {
        let units = self.slots.get_mut(&slot).into_iter().flat_map(|slot| slot.units.values_mut());
        for unit in units {
            if unit.popups.remove(page) {
                unit.pages = unit.pages.saturating_sub(1);
            }
        }
    }

    /// The page of a unit crashed: nobody gets it.
    pub(super) fn crashed(&mut self, slot_id: SlotId, unit_id: UnitId, out: &mut Vec<Action>) {
        let slot = self.slots.get_mut(&slot_id);
        let unit = slot.and_then(|slot| slot.units.get_mut(&unit_id));
        if let Some(unit) = unit.filter(|unit| unit.phase == UnitPhase::Spare) {
            unit.phase = UnitPhase::Ending;
            out.push(Action::Dispose { slot: slot_id, unit: unit_id });
        }
    }
}
