//! What the state machine is told, and what it answers.

use crate::error::{LaunchError, Loss, OpError};
use crate::report::EndReason;
use crate::request::{LaunchProfile, UnitSpec};
use std::sync::Arc;

/// One browser of the pool, from its launch to the end of its last process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SlotId(pub(crate) u64);

/// One context, page or whole browser that can be leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UnitId(pub(crate) u64);

/// One lease of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LeaseId(pub(crate) u64);

/// One caller in the queue, or the holder of a context that waits for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WaiterId(pub(crate) u64);

/// Where a lease lives: what its holder shows when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: SlotId,
    pub(crate) unit: UnitId,
    pub(crate) lease: LeaseId,
}

/// In which condition a lease comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Its holder never saw it: the caller had given up.
    Unused,
    /// The work went well.
    Clean,
    /// The work failed, through no fault of the browser that is known: the unit is not used again.
    Discarded,
    /// The page crashed or did not answer: counts against the browser.
    Broken,
}

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Ask {
        waiter: WaiterId,
        tenant: Arc<str>,
        profile: Arc<LaunchProfile>,
        spec: UnitSpec,
    },
    /// Takes from stock, or is refused at once.
    Try {
        waiter: WaiterId,
        profile: Arc<LaunchProfile>,
        spec: UnitSpec,
    },
    Cancel {
        waiter: WaiterId,
    },
    Launched {
        slot: SlotId,
    },
    LaunchFailed {
        slot: SlotId,
        error: Arc<LaunchError>,
    },
    Made {
        slot: SlotId,
        unit: UnitId,
    },
    MakeFailed {
        slot: SlotId,
        unit: UnitId,
        error: Arc<OpError>,
        hung: bool,
    },
    Release {
        place: Place,
        condition: Condition,
    },
    Reset {
        slot: SlotId,
        unit: UnitId,
    },
    Crashed {
        slot: SlotId,
        unit: UnitId,
    },
    /// The holder of a context wants one more page in it.
    OpenPage {
        waiter: WaiterId,
        place: Place,
    },
    /// The holder of a context closed a page that it had opened, or it was not opened after all.
    PageClosed {
        place: Place,
    },
    PopupOpened {
        slot: SlotId,
        unit: UnitId,
        page: String,
    },
    PageGone {
        slot: SlotId,
        page: String,
    },
    Disposed {
        slot: SlotId,
        unit: UnitId,
        well: bool,
    },
    Measured {
        slot: SlotId,
        memory: u64,
    },
    Retire {
        slot: SlotId,
        reason: EndReason,
    },
    Lost {
        slot: SlotId,
        loss: Loss,
    },
    Closed {
        slot: SlotId,
        clean: bool,
    },
    Pressure {
        high: bool,
    },
    Tick,
    Drain,
    Destroy,
}

/// What to do, in this order, once the lock is free.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Launch {
        slot: SlotId,
        profile: Arc<LaunchProfile>,
    },
    Make {
        slot: SlotId,
        unit: UnitId,
        spec: UnitSpec,
    },
    Grant {
        waiter: WaiterId,
        place: Place,
    },
    Refuse {
        waiter: WaiterId,
        refusal: Refusal,
    },
    ResetUnit {
        slot: SlotId,
        unit: UnitId,
    },
    /// Its lease is over against the will of its holder; its end is ordered next.
    Revoke {
        unit: UnitId,
    },
    Dispose {
        slot: SlotId,
        unit: UnitId,
    },
    /// Its place is taken.
    OpenPage {
        waiter: WaiterId,
        place: Place,
    },
    RefusePage {
        waiter: WaiterId,
        refusal: PageRefusal,
    },
    ClosePopup {
        slot: SlotId,
        page: String,
    },
    Retired {
        slot: SlotId,
        reason: EndReason,
    },
    Close {
        slot: SlotId,
        reason: EndReason,
    },
}

/// Why a waiter gets nothing.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    Closed,
    QueueFull { waiting: usize },
    Launch(Arc<LaunchError>),
    Make(Arc<OpError>),
    NoStock,
}

/// Why a leased context cannot have another page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageRefusal {
    /// The lease is over.
    Gone,
    /// The browser has this many pages already.
    Full { max: usize },
}
