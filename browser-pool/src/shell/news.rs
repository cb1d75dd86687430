//! What supervisors and leases tell the pool.

use super::Core;
use crate::cell::{PageFate, UnitCell, doom};
use crate::driver::Driver;
use crate::error::{Loss, OpError};
use crate::jobs::Command;
use crate::lease::PageTicket;
use crate::report::BrowserReport;
use crate::state::{Event, Place, SlotId, UnitId, WaiterId};
use crate::trace;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Reports that are kept for those who ask later.
const REPORTS: usize = 1024;

impl<D: Driver> Core<D> {
    /// Asks for one more page in a leased context. Without an answer, the lease is over.
    pub(crate) fn open_page(
        self: &Arc<Self>,
        place: Place,
    ) -> oneshot::Receiver<Result<PageTicket<D>, OpError>> {
        let (opener, opened) = oneshot::channel();
        self.turn(|inner, now| {
            let waiter = WaiterId(inner.state.number());
            inner.openers.insert(waiter, opener);
            inner.step(Event::OpenPage { waiter, place }, now);
        });
        opened
    }

    /// Orders the end of a page that was opened in a leased context.
    pub(crate) fn order_page_end(&self, place: Place, page: Arc<PageFate<D::Browser>>) {
        let entry = self.lock().browsers.get(&place.slot).map(|entry| entry.commands.clone());
        if let Some(sender) = entry {
            drop(sender.send(Command::ClosePage { place, page }));
        }
    }

    /// The place of a page is free.
    pub(crate) fn page_closed(self: &Arc<Self>, place: Place) {
        self.apply(Event::PageClosed { place });
    }

    /// Waits for the end of a browser and reports it.
    pub(crate) async fn report_of(&self, slot: SlotId) -> BrowserReport {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let inner = self.lock();
                let found = inner.tally.reports.iter().find(|report| report.browser == slot.0);
                if let Some(report) = found {
                    return report.clone();
                }
                if !inner.browsers.contains_key(&slot) {
                    return BrowserReport::new();
                }
            }
            changed.await;
        }
    }

    /// Makes a launched browser known, so that it can be ended without its supervisor.
    pub(crate) fn launched(self: &Arc<Self>, slot: SlotId, live: &Arc<D::Browser>) {
        self.turn(|inner, now| {
            if let Some(entry) = inner.browsers.get_mut(&slot) {
                entry.live = Some(live.clone());
            }
            inner.step(Event::Launched { slot }, now);
        });
    }

    /// Keeps a made unit and offers it.
    pub(crate) fn made(self: &Arc<Self>, unit: UnitId, cell: UnitCell<D::Browser>) {
        let slot = cell.slot;
        self.turn(|inner, now| {
            let crashed = inner.has_crashed(&cell);
            inner.units.insert(unit, Arc::new(cell));
            inner.step(Event::Made { slot, unit }, now);
            if crashed {
                inner.step(Event::Crashed { slot, unit }, now);
            }
        });
    }

    /// Offers a unit again that was reset.
    pub(crate) fn was_reset(self: &Arc<Self>, unit: UnitId, cell: UnitCell<D::Browser>) {
        let slot = cell.slot;
        self.turn(|inner, now| {
            let crashed = inner.has_crashed(&cell);
            inner.units.insert(unit, Arc::new(cell));
            inner.step(Event::Reset { slot, unit }, now);
            if crashed {
                inner.step(Event::Crashed { slot, unit }, now);
            }
        });
    }

    /// The page with this key is lost, and its lease: its browser lives on. A spare is thrown away.
    pub(crate) fn page_lost(self: &Arc<Self>, slot: SlotId, key: &str, loss: &Loss) {
        trace::page_lost(slot.0, loss);
        let fate = self.turn(|inner, now| {
            // After a flood the renderer's crash is reported as well, and counted then.
            inner.tally.page_crashes += u64::from(*loss == Loss::PageCrashed);
            let mut on_it = inner.units.iter().filter(|(_, cell)| cell.slot == slot);
            let found = on_it.find_map(|(id, cell)| Some((*id, cell.has(key), cell.fate_of(key)?)));
            let Some((unit, is_own, fate)) = found else {
                // It may be that of a unit that was made a moment ago.
                inner.note_crash(slot, key);
                return None;
            };
            if is_own {
                inner.step(Event::Crashed { slot, unit }, now);
            }
            Some(fate)
        });
        fate.iter().for_each(|fate| doom(fate, loss));
    }

    /// A page in this context opened another.
    pub(crate) fn popup_opened(self: &Arc<Self>, slot: SlotId, context: &str, page: String) {
        self.turn(|inner, now| {
            let mut units = inner.units.iter().filter(|(_, cell)| cell.slot == slot);
            // What is in no unit is the own affair of whoever leased the whole browser.
            if let Some(unit) = units.find(|(_, cell)| cell.is_in(context)).map(|(id, _)| *id) {
                inner.step(Event::PopupOpened { slot, unit, page }, now);
            }
        });
    }

    /// A page is gone.
    pub(crate) fn page_gone(self: &Arc<Self>, slot: SlotId, page: String) {
        self.apply(Event::PageGone { slot, page });
    }

    /// The browser ended by itself: revokes its leases.
    pub(crate) fn lost(self: &Arc<Self>, slot: SlotId, loss: &Loss) {
        trace::lost(slot.0, loss);
        let cells = self.turn(|inner, now| {
            inner.tally.lost += 1;
            inner.step(Event::Lost { slot, loss: loss.clone() }, now);
            inner.take_units(slot)
        });
        cells.iter().for_each(|cell| doom(&cell.fate, loss));
    }

    /// The last of a browser: its slot is free.
    pub(crate) fn closed(self: &Arc<Self>, slot: SlotId, report: BrowserReport) {
        trace::ended(&report);
        self.hooks.call(|hooks| hooks.on_end(&report));
        let cells = self.turn(|inner, now| {
            let clean = report.is_clean();
            inner.tally.left.extend(report.left.iter().cloned());
            inner.tally.reports.push_back(report);
            if inner.tally.reports.len() > REPORTS {
                inner.tally.reports.pop_front();
            }
            inner.browsers.remove(&slot);
            inner.step(Event::Closed { slot, clean }, now);
            inner.take_units(slot)
        });
        cells.iter().for_each(|cell| doom(&cell.fate, &Loss::Closed));
        self.changed.notify_waiters();
    }

    pub(crate) fn launch_failed(self: &Arc<Self>, slot: SlotId, error: crate::LaunchError) {
        trace::launch_failed(slot.0, &error);
        self.hooks.call(|hooks| hooks.after_launch(slot.0, Some(&error)));
        self.turn(|inner, now| {
            inner.browsers.remove(&slot);
            inner.step(Event::LaunchFailed { slot, error: Arc::new(error) }, now);
        });
        self.changed.notify_waiters();
    }
}
