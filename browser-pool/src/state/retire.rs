//! When a browser ends: its limits, its idleness, the pool's end, or its own.

use super::{
    Action, LaunchError, Loss, Mode, OpError, Phase, Refusal, Slot, SlotId, State, UnitPhase,
};
use crate::report::EndReason;
use std::sync::Arc;
use std::time::Instant;

/// A browser leased as a whole closes with its lease and needs no retirement.
fn closes_with_its_lease(slot: &Slot) -> bool {
    slot.exclusive && slot.leases() == 1
}

impl State {
    /// Gives the browser no new leases from now on; it closes after its last one.
    pub(super) fn retire(
        &mut self,
        id: SlotId,
        reason: EndReason,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        match slot.phase {
            Phase::Ready => {
                slot.phase = Phase::Retiring { reason: reason.clone(), since: now };
                out.push(Action::Retired { slot: id, reason });
            }
            Phase::Launching => self.close(id, reason, out),
            Phase::Retiring { .. } | Phase::Closing { .. } => {}
        }
    }

    /// Orders the end of a browser; leases that are still out are revoked.
    pub(super) fn close(&mut self, id: SlotId, reason: EndReason, out: &mut Vec<Action>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let reason = match &slot.phase {
            Phase::Closing { .. } => return,
            Phase::Retiring { reason, .. } => reason.clone(),
            Phase::Launching | Phase::Ready => reason,
        };
        self.counts.revoked += slot.leases() as u64;
        slot.units.clear();
        slot.phase = Phase::Closing { reason: reason.clone() };
        out.push(Action::Close { slot: id, reason });
    }

    /// The browser ended by itself: its supervisor is already tearing it down.
    pub(super) fn lost(&mut self, id: SlotId, loss: Loss, now: Instant, out: &mut Vec<Action>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if matches!(slot.phase, Phase::Closing { .. }) {
            return;
        }
        self.counts.revoked += slot.leases() as u64;
        slot.units.clear();
        slot.phase = Phase::Closing { reason: EndReason::Lost(loss.clone()) };
        let fruitless = slot.made == 0;
        if fruitless || !slot.has_lived(now) {
            // Without a pause this would launch and lose for ever.
            let profile = slot.profile.clone();
            let source = Arc::new(OpError::Lost(loss));
            let error = Arc::new(LaunchError::FirstUnit { source });
            self.count_failure(&profile, error, fruitless, now, out);
        }
    }

    pub(super) fn closed(&mut self, id: SlotId, clean: bool) {
        let Some(slot) = self.slots.remove(&id) else {
            return;
        };
        self.counts.revoked += slot.leases() as u64;
        self.counts.quarantined += u64::from(!clean);
        let reason = match &slot.phase {
            Phase::Closing { reason } | Phase::Retiring { reason, .. } => reason.name(),
            Phase::Launching => EndReason::LaunchFailed.name(),
            Phase::Ready => EndReason::Lost(Loss::Disconnected).name(),
        };
        *self.counts.ended.entry(reason).or_default() += 1;
    }

    /// Stops giving leases, and with `Mode::Ending` ends those that are out.
    pub(super) fn end(&mut self, mode: Mode, now: Instant, out: &mut Vec<Action>) {
        if self.mode != Mode::Ending {
            self.mode = mode;
        }
        for waiter in self.queue.drain(|_| true) {
            self.refuse(waiter, Refusal::Closed, out);
        }
        let ids: Vec<_> = self.slots.keys().copied().collect();
        for id in ids {
            if self.mode == Mode::Ending {
                self.close(id, EndReason::PoolEnded, out);
            } else {
                self.retire(id, EndReason::PoolEnded, now, out);
            }
        }
    }

    /// Revokes every lease that is out for too long, and ends what it stands on.
    pub(super) fn revoke_due(&mut self, now: Instant, out: &mut Vec<Action>) {
        let mut whole = Vec::new();
        for (slot_id, slot) in &mut self.slots {
            for (unit_id, unit) in &mut slot.units {
                let leased = matches!(unit.phase, UnitPhase::Leased(_));
                if !leased || unit.until.is_none_or(|until| now < until) {
                    continue;
                }
                let (slot, unit_id) = (*slot_id, *unit_id);
                out.push(Action::Revoke { unit: unit_id });
                if unit.spec.is_browser() {
                    // Its lease is counted when it closes.
                    whole.push(slot);
                    continue;
                }
                self.counts.revoked += 1;
                unit.phase = UnitPhase::Ending;
                out.push(Action::Dispose { slot, unit: unit_id });
            }
        }
        for slot in whole {
            self.close(slot, EndReason::LeaseEnded, out);
        }
    }

    /// Retires every browser that reached a limit.
    pub(super) fn retire_due(&mut self, now: Instant, out: &mut Vec<Action>) {
        let ready = self.slots.iter().filter(|(_, slot)| slot.phase == Phase::Ready);
        let due: Vec<_> =
            ready.filter_map(|(id, slot)| Some((*id, self.limit_reached(slot, now)?))).collect();
        for (id, reason) in due {
            self.retire(id, reason, now, out);
        }
    }

    fn limit_reached(&self, slot: &Slot, now: Instant) -> Option<EndReason> {
        let config = &self.config;
        let age = now.saturating_duration_since(slot.born);
        if config.max_leases.is_some_and(|max| slot.served >= max) && !closes_with_its_lease(slot) {
            Some(EndReason::Leases)
        } else if config.max_age.is_some_and(|max| age >= max) {
            Some(EndReason::Age)
        } else if config.max_memory.zip(slot.memory).is_some_and(|(max, used)| used > max) {
            Some(EndReason::Memory)
        } else if slot.errors as usize + slot.stuck() >= config.max_errors as usize
            || slot.stuck() >= config.max_contexts
            || slot.stuck_pages() >= config.max_pages
        {
            Some(EndReason::Errors)
        } else {
            None
        }
    }

    /// Closes retired browsers whose last lease ended, or whose limit passed, and idle ones.
    pub(super) fn close_due(&mut self, now: Instant, out: &mut Vec<Action>) {
        let limit = self.config.retire_limit;
        let due = |slot: &Slot| match &slot.phase {
            Phase::Retiring { since, .. } => {
                !slot.is_busy()
                    || limit.is_some_and(|limit| now.saturating_duration_since(*since) >= limit)
            }
            _ => false,
        };
        let over: Vec<_> =
            self.slots.iter().filter(|(_, slot)| due(slot)).map(|(id, _)| *id).collect();
        for id in over {
            self.close(id, EndReason::PoolEnded, out);
        }
        self.close_idle(now, out);
    }

    fn close_idle(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Some(limit) = self.config.idle_timeout else {
            return;
        };
        let idle = |slot: &Slot| {
            slot.phase == Phase::Ready
                && !slot.is_busy()
                && now.saturating_duration_since(slot.last_used) >= limit
        };
        let due: Vec<_> =
            self.slots.iter().filter(|(_, slot)| idle(slot)).map(|(id, _)| *id).collect();
        for id in due {
            let is_default = self.slots.get(&id).is_some_and(|s| s.profile == self.default_profile);
            if !is_default || self.warm() > self.config.warm_browsers {
                self.close(id, EndReason::Idle, out);
            }
        }
    }

    /// The next moment at which time alone changes something.
    pub(crate) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let config = &self.config;
        let of_slot = |slot: &Slot| {
            let ready = slot.phase == Phase::Ready;
            let idle = config.idle_timeout.filter(|_| ready && !slot.is_busy());
            let retiring = match slot.phase {
                Phase::Retiring { since, .. } => config.retire_limit.map(|limit| since + limit),
                _ => None,
            };
            let age = config.max_age.filter(|_| ready).map(|limit| slot.born + limit);
            [idle.map(|limit| slot.last_used + limit), age, retiring].into_iter().flatten()
        };
        let units = self.slots.values().flat_map(|slot| slot.units.values());
        let moments =
            self.slots.values().flat_map(of_slot).chain(units.filter_map(|unit| unit.until));
        // What has passed and is still there, such as the idleness of a browser that is kept warm, hides nothing.
        moments.filter(|wake| *wake > now).chain(self.circuits.next_wake(now)).min()
    }

    /// Whether every lease that the state knows is on a slot, for the tests.
    #[cfg(test)]
    pub(super) fn out(&self) -> u64 {
        let leased = |phase| matches!(phase, UnitPhase::Leased(_));
        self.slots
            .values()
            .flat_map(|slot| slot.units.values())
            .filter(|unit| leased(unit.phase))
            .count() as u64
    }
}
