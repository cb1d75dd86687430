//! The whole pool as one plain value: which browsers there are, what they hold, who waits.
//!
//! ```text
//!             launched            retire              close
//!   Launching ────────► Ready ─────────► Retiring ─────────► Closing ──closed──► (gone)
//!       │ launch_failed   │ lost, close      │ lost              ▲                 or counted
//!       └──► (gone)       └──────────────────┴───────────────────┘                as quarantined
//!
//!   unit:  make ──made──► Spare ──grant──► Leased ──release──► Ending ──disposed──► (gone)
//!                          ▲ ▲                │ │                                     ▲
//!                          │ └─────unused─────┘ └─release──► Resetting ──disposed─────┘
//!                          └────────────────reset───────────────┘
//! ```
//!
//! Nothing here waits, locks, reads a clock or knows a driver: [`State::step`] takes what happened
//! and the time, and returns what to do. The invariants that the property tests hold against it:
//!
//! - I1: at most `max_browsers` slots, and in each at most `max_contexts` units and `max_pages` pages.
//! - I2: granted = returned + revoked + out. A lease is counted once, whatever happens to it.
//! - I3: no waiter waits while a spare that fits is there; callers of one tenant and kind are first in,
//!   first out, and tenants and kinds take turns as one queue: who comes later never stands before the
//!   first in the line.
//! - I4: a waiter that waits has something coming to it: a unit being made, a launch, a slot that
//!   ends, a lease that is out, a pause that passes, or memory that must get free.
//! - I5: a slot that is not `Ready` gives no leases.
//!
//! What a permit would count is always computed from the slots, so it cannot drift from them.

mod circuit;
mod event;
mod outcome;
mod queue;
mod retire;
mod slot;
mod supply;
#[cfg(test)]
mod tests;
mod warm;

pub(crate) use self::event::{
    Action, Condition, Event, LeaseId, PageRefusal, Place, Refusal, SlotId, UnitId, WaiterId,
};
pub(crate) use self::slot::{Phase, Slot, Unit, UnitPhase};

use self::circuit::Circuits;
use self::queue::Queue;
use crate::config::PoolConfig;
use crate::error::{LaunchError, Loss, OpError, Waiting};
use crate::request::{Isolation, LaunchProfile, UnitSpec};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Whether leases are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Open,
    /// No new leases; those that are out end by themselves.
    Draining,
    /// Everything ends now.
    Ending,
}

/// What has happened so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) asked: u64,
    pub(crate) granted: u64,
    pub(crate) returned: u64,
    pub(crate) revoked: u64,
    pub(crate) refused: u64,
    pub(crate) cancelled: u64,
    pub(crate) launches: u64,
    pub(crate) launch_failures: u64,
    pub(crate) made: u64,
    pub(crate) make_failures: u64,
    pub(crate) from_stock: u64,
    pub(crate) quarantined: u64,
    pub(crate) ended: BTreeMap<&'static str, u64>,
}

/// The pool.
#[derive(Debug)]
pub(crate) struct State {
    config: Arc<PoolConfig>,
    default_profile: Arc<LaunchProfile>,
    mode: Mode,
    pressure: bool,
    slots: BTreeMap<SlotId, Slot>,
    queue: Queue,
    circuits: Circuits,
    /// The first in the line when a lease was last given, and how many others have got since it became that.
    overtaken: (Option<WaiterId>, u64),
    next_id: u64,
    counts: Counts,
}

impl State {
    /// A pool without browsers.
    pub(crate) fn new(config: Arc<PoolConfig>) -> Self {
        Self {
            default_profile: Arc::new(config.profile.clone()),
            circuits: Circuits::new(
                config.backoff_first,
                config.backoff_most,
                config.circuit_after,
            ),
            config,
            mode: Mode::Open,
            pressure: false,
            slots: BTreeMap::new(),
            queue: Queue::default(),
            overtaken: (None, 0),
            next_id: 0,
            counts: Counts::default(),
        }
    }

    /// Takes in what happened and appends what to do.
    pub(crate) fn step(&mut self, event: Event, now: Instant, out: &mut Vec<Action>) {
        match event {
            Event::Ask { waiter, tenant, profile, spec } => {
                self.ask(waiter, tenant, profile, spec, now, out);
                return;
            }
            Event::Try { waiter, profile, spec } => {
                self.counts.asked += 1;
                if self.mode != Mode::Open {
                    self.refuse(waiter, Refusal::Closed, out);
                } else if !self.give_from_stock(waiter, &profile, &spec, now, out) {
                    self.refuse(waiter, Refusal::NoStock, out);
                }
            }
            Event::Cancel { waiter } => {
                if self.queue.remove(waiter) {
                    self.counts.cancelled += 1;
                }
            }
            Event::Launched { slot } => self.launched(slot, now),
            Event::LaunchFailed { slot, error } => self.launch_failed(slot, error, now, out),
            Event::Made { slot, unit } => self.made(slot, unit, out),
            Event::MakeFailed { slot, unit, error, hung } => {
                self.make_failed(slot, unit, error, hung, now, out);
            }
            Event::Release { place, condition } => self.release(place, condition, now, out),
            Event::Reset { slot, unit } => self.reset(slot, unit),
            Event::Crashed { slot, unit } => self.crashed(slot, unit, out),
            Event::OpenPage { waiter, place } => self.open_page(waiter, place, out),
            Event::PageClosed { place } => self.page_closed(place),
            Event::PopupOpened { slot, unit, page } => self.popup_opened(slot, unit, page, out),
            Event::PageGone { slot, page } => self.page_gone(slot, &page),
            Event::Disposed { slot, unit, well } => self.disposed(slot, unit, well),
            Event::Measured { slot, memory } => {
                if let Some(slot) = self.slots.get_mut(&slot) {
                    slot.memory = Some(memory);
                }
            }
            Event::Retire { slot, reason } => self.retire(slot, reason, now, out),
            Event::Lost { slot, loss } => self.lost(slot, loss, now, out),
            Event::Closed { slot, clean } => self.closed(slot, clean),
            Event::Pressure { high } => self.pressure = high,
            Event::Tick => {}
            Event::Drain => self.end(Mode::Draining, now, out),
            Event::Destroy => self.end(Mode::Ending, now, out),
        }
        self.settle(now, out);
    }

    /// Everything that follows from the state alone.
    fn settle(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.note_successes(now);
        self.revoke_due(now, out);
        self.retire_due(now, out);
        self.serve(now, out);
        self.keep_warm(now, out);
        self.restock(out);
        self.close_due(now, out);
    }

    fn ask(
        &mut self,
        waiter: WaiterId,
        tenant: Arc<str>,
        profile: Arc<LaunchProfile>,
        spec: UnitSpec,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        self.counts.asked += 1;
        let refusal = if self.mode != Mode::Open {
            Some(Refusal::Closed)
        } else if self.serves(&profile, &spec) {
            None
        } else {
            self.circuits.open(&profile, now).map(Refusal::Launch)
        };
        if let Some(refusal) = refusal {
            self.refuse(waiter, refusal, out);
            return;
        }
        self.queue.push(waiter, tenant, profile, spec);
        let before = self.counts.granted;
        self.settle(now, out);
        self.counts.from_stock += self.counts.granted - before;
        if self.queue.len() > self.config.max_queue && self.queue.remove(waiter) {
            let waiting = self.queue.len();
            self.refuse(waiter, Refusal::QueueFull { waiting }, out);
        }
    }

    fn refuse(&mut self, waiter: WaiterId, refusal: Refusal, out: &mut Vec<Action>) {
        self.counts.refused += 1;
        out.push(Action::Refuse { waiter, refusal });
    }

    /// Takes the place of one more page in a leased context.
    fn open_page(&mut self, waiter: WaiterId, place: Place, out: &mut Vec<Action>) {
        let max = self.config.max_pages;
        let slot = self.slots.get_mut(&place.slot);
        let is_full = slot.as_ref().is_some_and(|slot| slot.pages() >= max);
        let refusal = match slot.and_then(|slot| slot.leased(place)) {
            None => PageRefusal::Gone,
            Some(_) if is_full => PageRefusal::Full { max },
            Some(unit) => {
                unit.pages += 1;
                out.push(Action::OpenPage { waiter, place });
                return;
            }
        };
        out.push(Action::RefusePage { waiter, refusal });
    }

    /// The place of a page is free; the lease may be gone by now.
    fn page_closed(&mut self, place: Place) {
        let slot = self.slots.get_mut(&place.slot);
        if let Some(unit) = slot.and_then(|slot| slot.leased(place)) {
            unit.pages = unit.pages.saturating_sub(1);
        }
    }

    /// What a waiter is waiting for now.
    pub(crate) fn waiting_for(&self, waiter: WaiterId, now: Instant) -> Waiting {
        let Some((profile, spec)) = self.queue.wants(waiter) else {
            return Waiting::Creation;
        };
        let live = || self.slots.values().filter(|slot| *slot.profile == **profile);
        if self.is_gated() {
            Waiting::Memory
        } else if self.coming(profile, spec) > 0 {
            Waiting::Creation
        } else if live().any(|slot| slot.phase == Phase::Launching) {
            Waiting::Launch
        } else if !self.circuits.allows(profile, now) {
            Waiting::Backoff
        } else {
            Waiting::Capacity
        }
    }

    /// The unit of a lease that asks for nothing special.
    pub(crate) fn default_spec(&self) -> UnitSpec {
        match self.config.isolation {
            Isolation::Context => UnitSpec::Page(Default::default()),
            Isolation::Page => UnitSpec::SharedPage,
            Isolation::Browser => UnitSpec::Browser { page: Some(Default::default()) },
        }
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        self.slots.iter().map(|(id, slot)| (*id, slot))
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn default_profile(&self) -> &Arc<LaunchProfile> {
        &self.default_profile
    }

    /// A fresh number for a slot, unit, lease or waiter: one sequence for all, never used twice.
    pub(crate) fn number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
