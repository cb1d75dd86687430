//! What is under the lock, and how an action becomes an effect that owns what it needs.

use super::{Answer, Core, Tally};
use crate::cell::UnitCell;
use crate::driver::{Driver, LiveBrowser};
use crate::error::{Loss, OpError};
use crate::jobs::{Command, PageReply};
use crate::lease::{Granted, PageTicket};
use crate::report::EndReason;
use crate::request::LaunchProfile;
use crate::state::{Action, Event, PageRefusal, SlotId, State, UnitId, WaiterId};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

pub(super) struct Inner<D: Driver> {
    pub(super) state: State,
    pub(super) actions: Vec<Action>,
    pub(super) waiters: HashMap<WaiterId, oneshot::Sender<Answer<D>>>,
    /// Holders of contexts that wait for a page.
    pub(super) openers: HashMap<WaiterId, Opener<D>>,
    pub(super) browsers: HashMap<SlotId, Entry<D::Browser>>,
    pub(super) units: HashMap<UnitId, Arc<UnitCell<D::Browser>>>,
    pub(super) armed: Option<Instant>,
    pub(super) tally: Tally,
    /// The last crashes of pages that were in no unit.
    pub(super) crashed: VecDeque<(SlotId, String)>,
}

/// Crashes of pages that were in no unit, that are remembered: more than units can be made at a time.
const CRASHES: usize = 1024;

pub(super) struct Entry<B: LiveBrowser> {
    pub(super) commands: mpsc::UnboundedSender<Command<B>>,
    pub(super) live: Option<Arc<B>>,
}

/// Takes the page that the holder of a context asked for. Dropped, it says that the lease is over.
pub(super) type Opener<D> = oneshot::Sender<Result<PageTicket<D>, OpError>>;

/// Something to do once the lock is free.
pub(super) enum Effect<D: Driver> {
    Launch(SlotId, Arc<LaunchProfile>, mpsc::UnboundedReceiver<Command<D::Browser>>),
    Command(mpsc::UnboundedSender<Command<D::Browser>>, Command<D::Browser>),
    Answer(oneshot::Sender<Answer<D>>, Answer<D>),
    RefusePage(Opener<D>, PageRefusal),
    Doom(Vec<Arc<UnitCell<D::Browser>>>, Loss),
    Retired(SlotId, EndReason),
    /// A payload whose destructor must not run under the lock.
    Drop(Arc<UnitCell<D::Browser>>),
}

impl<D: Driver> Inner<D> {
    pub(super) fn step(&mut self, event: Event, now: Instant) {
        self.state.step(event, now, &mut self.actions);
    }

    /// Turns an action into an effect that owns what it needs.
    pub(super) fn prepare(
        &mut self,
        core: &Arc<Core<D>>,
        action: Action,
        effects: &mut Vec<Effect<D>>,
    ) {
        match action {
            Action::Launch { slot, profile } => {
                let (sender, receiver) = mpsc::unbounded_channel();
                self.browsers.insert(slot, Entry { commands: sender, live: None });
                effects.push(Effect::Launch(slot, profile, receiver));
            }
            Action::Make { slot, unit, spec } => {
                self.command(slot, Command::Make { unit, spec }, effects);
            }
            Action::Grant { waiter, place } => {
                let Some(cell) = self.units.get(&place.unit).cloned() else {
                    return;
                };
                let Some(sender) = self.waiters.remove(&waiter) else {
                    return;
                };
                let granted = Granted::new(core.clone(), place, cell);
                effects.push(Effect::Answer(sender, Ok(granted)));
            }
            Action::Refuse { waiter, refusal } => {
                if let Some(sender) = self.waiters.remove(&waiter) {
                    effects.push(Effect::Answer(sender, Err(refusal)));
                }
            }
            Action::Revoke { unit } => {
                let cell = self.units.get(&unit).cloned();
                effects.push(Effect::Doom(cell.into_iter().collect(), Loss::Expired));
            }
            Action::ResetUnit { slot, unit } => {
                if let Some(cell) = self.units.remove(&unit) {
                    self.command(slot, Command::Reset { unit, cell }, effects);
                }
            }
            Action::Dispose { slot, unit } => {
                if let Some(cell) = self.units.remove(&unit) {
                    self.command(slot, Command::Dispose { unit, cell }, effects);
                }
            }
            Action::OpenPage { waiter, place } => {
                let Some(opener) = self.openers.remove(&waiter) else {
                    return;
                };
                let Some(cell) = self.units.get(&place.unit).cloned() else {
                    effects.push(Effect::RefusePage(opener, PageRefusal::Gone));
                    return;
                };
                let core = core.clone();
                let reply: PageReply<D::Browser> = Box::new(move |page| {
                    // A holder that has gone drops the ticket, whose destructor closes the page.
                    drop(opener.send(page.map(|page| PageTicket::new(core, place, page))));
                });
                self.command(place.slot, Command::OpenPage { place, cell, reply }, effects);
            }
            Action::RefusePage { waiter, refusal } => {
                let opener = self.openers.remove(&waiter);
                effects.extend(opener.map(|opener| Effect::RefusePage(opener, refusal)));
            }
            Action::ClosePopup { slot, page } => {
                self.command(slot, Command::ClosePopup { page }, effects);
            }
            Action::Retired { slot, reason } => effects.push(Effect::Retired(slot, reason)),
            Action::Close { slot, reason } => {
                let cells = self.take_units(slot);
                effects.push(Effect::Doom(cells.clone(), Loss::Closed));
                self.command(slot, Command::Close { reason }, effects);
                effects.extend(cells.into_iter().map(Effect::Drop));
            }
        }
    }

    pub(super) fn note_crash(&mut self, slot: SlotId, key: &str) {
        self.crashed.push_back((slot, key.to_owned()));
        if self.crashed.len() > CRASHES {
            self.crashed.pop_front();
        }
    }

    /// Whether the page of this unit crashed before the unit was known.
    pub(super) fn has_crashed(&self, cell: &UnitCell<D::Browser>) -> bool {
        self.crashed.iter().any(|(slot, key)| *slot == cell.slot && cell.has(key))
    }

    fn command(&self, slot: SlotId, command: Command<D::Browser>, effects: &mut Vec<Effect<D>>) {
        if let Some(entry) = self.browsers.get(&slot) {
            effects.push(Effect::Command(entry.commands.clone(), command));
        }
    }

    pub(super) fn take_units(&mut self, slot: SlotId) -> Vec<Arc<UnitCell<D::Browser>>> {
        let on_it: Vec<_> =
            self.units.iter().filter(|(_, cell)| cell.slot == slot).map(|(id, _)| *id).collect();
        on_it.iter().filter_map(|id| self.units.remove(id)).collect()
    }

    /// Whether the ticker must look again earlier than it meant to.
    pub(super) fn rearm(&mut self, now: Instant) -> bool {
        let next = self.state.next_wake(now);
        let earlier = match (next, self.armed) {
            (Some(next), Some(armed)) => next < armed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if earlier {
            self.armed = next;
        }
        earlier
    }
}
