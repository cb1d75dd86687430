//! A leased browser.

use super::Granted;
use crate::driver::{Driver, LiveBrowser};
use crate::error::{Loss, OpError};
use crate::report::BrowserReport;
use crate::state::Condition;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::time::Duration;

/// A whole browser that no lease has used before and none will after: it ends with the lease.
#[must_use = "a browser that is dropped at once was launched for nothing"]
pub struct BrowserLease<D: Driver> {
    granted: Granted<D>,
}

impl<D: Driver> BrowserLease<D> {
    pub(crate) fn new(granted: Granted<D>) -> Self {
        Self { granted }
    }

    /// Ends the lease and the browser, and waits for it: pages, processes, directory.
    ///
    /// # Cancel safety
    ///
    /// The end goes on when the future is dropped; only the report is lost.
    pub async fn close(mut self) -> BrowserReport {
        self.granted.note(Condition::Clean);
        let (core, slot) = (self.granted.core.clone(), self.granted.place.slot);
        drop(self);
        core.report_of(slot).await
    }

    /// The number of this lease in statistics, hooks and traces.
    pub fn id(&self) -> u64 {
        self.granted.place.lease.0
    }

    /// The number of the browser.
    pub fn browser(&self) -> u64 {
        self.granted.place.slot.0
    }

    /// Why the browser is gone, if it is.
    pub fn loss(&self) -> Option<Loss> {
        self.granted.loss()
    }

    /// Resolves when the browser is gone.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn lost(&self) -> Loss {
        self.granted.lost().await
    }

    #[cfg(feature = "chrome")]
    pub(crate) fn live(&self) -> &D::Browser {
        &self.granted.cell().live
    }

    /// Runs any future against this lease, as [`PageLease::run`](crate::PageLease::run) does.
    ///
    /// # Errors
    ///
    /// [`OpError::Lost`] and [`OpError::TimedOut`]; in both cases the future is dropped.
    ///
    /// # Cancel safety
    ///
    /// As safe to drop as the future that it runs.
    pub async fn run<T>(
        &self,
        limit: impl Into<Option<Duration>>,
        operation: impl Future<Output = T>,
    ) -> Result<T, OpError> {
        self.granted.run("run an operation on a browser", limit.into(), operation).await
    }
}

impl<D: Driver> Deref for BrowserLease<D> {
    type Target = <D::Browser as LiveBrowser>::Handle;

    fn deref(&self) -> &Self::Target {
        self.granted.cell().live.handle()
    }
}

impl<D: Driver> fmt::Debug for BrowserLease<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BrowserLease").field(&self.granted).finish()
    }
}
