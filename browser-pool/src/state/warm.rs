//! What is made before anybody asks: browsers that are kept up, and units in stock.

use super::{Action, Mode, Phase, Slot, State, UnitPhase};
use crate::request::UnitSpec;
use std::time::Instant;

impl State {
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
                let coming = [UnitPhase::Making, UnitPhase::Spare, UnitPhase::Resetting];
                let counted = coming.contains(&unit.phase);
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
