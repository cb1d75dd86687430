//! Leases: what a caller holds, and what happens when it lets go.
//!
//! A lease is counted exactly once, when its [`Granted`] is dropped: as returned, or, if the browser
//! went first, it had been counted as revoked and the drop changes nothing.

mod browser;
mod context;
mod page;

pub use self::browser::BrowserLease;
pub use self::context::{ContextLease, ContextPage};
pub use self::page::PageLease;

pub(crate) use self::context::PageTicket;

use crate::cell::UnitCell;
use crate::config::FOREVER;
use crate::driver::{Allowed, Driver, LiveBrowser};
use crate::error::{Loss, OpError};
use crate::hooks::LeaseInfo;
use crate::shell::Core;
use crate::state::{Condition, Place};
use crate::trace::LeaseSpan;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A granted unit. Dropping it gives it back in the condition that was noted last.
pub(crate) struct Granted<D: Driver> {
    pub(crate) core: Arc<Core<D>>,
    pub(crate) place: Place,
    /// `None` only within the drop.
    cell: Option<Arc<UnitCell<D::Browser>>>,
    condition: Condition,
    waited: Duration,
    span: LeaseSpan,
}

impl<D: Driver> Granted<D> {
    pub(crate) fn new(core: Arc<Core<D>>, place: Place, cell: Arc<UnitCell<D::Browser>>) -> Self {
        Self {
            span: LeaseSpan::new(place.lease.0, place.slot.0),
            core,
            place,
            cell: Some(cell),
            condition: Condition::Unused,
            waited: Duration::ZERO,
        }
    }

    /// The caller has it: from now on it counts as used.
    pub(crate) fn accept(&mut self, waited: Duration) {
        // Until its holder says that all went well, nobody knows that it did.
        self.condition = Condition::Discarded;
        self.waited = waited;
        self.core.waited(waited);
        let info = self.info();
        self.core.hooks.call(|hooks| hooks.on_lease(&info));
    }

    pub(crate) fn cell(&self) -> &Arc<UnitCell<D::Browser>> {
        self.cell.as_ref().expect("taken only within the drop")
    }

    pub(crate) fn note(&mut self, condition: Condition) {
        self.condition = condition;
    }

    fn info(&self) -> LeaseInfo {
        LeaseInfo {
            lease: self.place.lease.0,
            browser: self.place.slot.0,
            unit: self.cell().spec.clone(),
            waited: self.waited,
        }
    }

    pub(crate) fn loss(&self) -> Option<Loss> {
        self.cell().fate.borrow().clone()
    }

    pub(crate) async fn lost(&self) -> Loss {
        lost(self.cell().fate.subscribe()).await
    }

    /// Bounds an operation, and ends it when the lease is lost.
    pub(crate) async fn run<T>(
        &self,
        what: &'static str,
        limit: Option<Duration>,
        operation: impl Future<Output = T>,
    ) -> Result<T, OpError> {
        let after = limit.unwrap_or(self.core.config.op_timeout);
        let _allowed = self.allow(after);
        bounded(what, after, self.lost(), operation).await
    }

    /// Lets the calls on what is leased take that long, also when others of this pool may not.
    fn allow(&self, limit: Duration) -> Option<Allowed> {
        let cell = self.cell();
        let of_all = self.core.config.op_timeout;
        let limit = limit.min(FOREVER);
        // A lease without a context has the whole browser.
        (limit > of_all).then(|| cell.live.allow(cell.context.as_ref(), limit)).flatten()
    }
}

impl<D: Driver> Drop for Granted<D> {
    fn drop(&mut self) {
        let loss = self.loss();
        let condition = match (self.condition, &loss) {
            (Condition::Unused, _) => Condition::Unused,
            (_, Some(Loss::PageCrashed)) => Condition::Broken,
            (_, Some(Loss::PageFlooded)) => Condition::Discarded,
            (Condition::Clean, _) if std::thread::panicking() => Condition::Discarded,
            (condition, _) => condition,
        };
        let info = (condition != Condition::Unused).then(|| self.info());
        // The supervisor may reset the unit only when nobody looks at it any more.
        self.cell = None;
        self.span.ended(match condition {
            Condition::Unused => "unused",
            Condition::Clean => "clean",
            Condition::Discarded => "discarded",
            Condition::Broken => "broken",
        });
        self.core.release(self.place, condition);
        if let Some(info) = info {
            self.core.hooks.call(|hooks| hooks.on_release(&info, loss.as_ref()));
        }
    }
}

impl<D: Driver> fmt::Debug for Granted<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted")
            .field("lease", &self.place.lease.0)
            .field("browser", &self.place.slot.0)
            .field("loss", &self.loss())
            .finish_non_exhaustive()
    }
}

/// Resolves when the watched fate is sealed.
async fn lost(mut fate: watch::Receiver<Option<Loss>>) -> Loss {
    match fate.wait_for(Option::is_some).await {
        Ok(loss) => loss.clone().unwrap_or(Loss::Closed),
        Err(_) => Loss::Closed,
    }
}

/// Runs an operation until it is done, its time is over, or what it stands on is lost.
async fn bounded<T>(
    what: &'static str,
    after: Duration,
    lost: impl Future<Output = Loss>,
    operation: impl Future<Output = T>,
) -> Result<T, OpError> {
    tokio::select! {
        biased;
        result = operation => Ok(result),
        loss = lost => Err(OpError::Lost(loss)),
        () = tokio::time::sleep(after) => Err(OpError::TimedOut { what, after }),
    }
}
