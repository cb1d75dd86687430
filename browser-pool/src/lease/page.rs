//! A leased page.

use super::Granted;
use crate::driver::{Driver, LiveBrowser};
use crate::error::{Loss, OpError};
use crate::state::Condition;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

/// A page that is this caller's alone until the lease ends.
///
/// It derefs to the page of the driver. [`release`](Self::release) says that the work went well;
/// a lease that is dropped without it, because the work failed or was cancelled, is never used again.
/// Either way what must be closed is closed by the pool, and the drop neither waits nor needs a
/// runtime.
#[must_use = "a page that is dropped at once was leased for nothing"]
pub struct PageLease<D: Driver> {
    granted: Granted<D>,
}

impl<D: Driver> PageLease<D> {
    pub(crate) fn new(granted: Granted<D>) -> Self {
        Self { granted }
    }

    /// Ends the lease; with [`Isolation::Page`](crate::Isolation::Page) the page may serve again.
    pub fn release(mut self) {
        self.granted.note(Condition::Clean);
    }

    /// Ends the lease and counts a failure against the browser: for a page that behaved as if its
    /// browser were ill. After `max_errors` of them the browser is replaced.
    pub fn discard(mut self) {
        self.granted.note(Condition::Broken);
    }

    /// The number of this lease in statistics, hooks and traces.
    pub fn id(&self) -> u64 {
        self.granted.place.lease.0
    }

    /// The number of the browser that the page is on.
    pub fn browser(&self) -> u64 {
        self.granted.place.slot.0
    }

    /// Why the page is gone, if it is.
    pub fn loss(&self) -> Option<Loss> {
        self.granted.loss()
    }

    /// Resolves when the page, or its browser, is gone.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn lost(&self) -> Loss {
        self.granted.lost().await
    }

    /// Runs any future against this lease: it ends early when the page is lost, and after `limit`, or
    /// without one after the pool's `op_timeout`.
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
        self.granted.run("run an operation on a page", limit.into(), operation).await
    }

    #[cfg(feature = "chrome")]
    pub(crate) fn context(&self) -> Option<&<D::Browser as LiveBrowser>::Context> {
        self.granted.cell().context.as_ref()
    }

    #[cfg(feature = "chrome")]
    pub(crate) fn live(&self) -> &D::Browser {
        &self.granted.cell().live
    }

    /// The same under another name, for operations that the crate itself offers.
    #[cfg(feature = "chrome")]
    pub(crate) async fn run_as<T>(
        &self,
        what: &'static str,
        limit: Duration,
        operation: impl Future<Output = T>,
    ) -> Result<T, OpError> {
        self.granted.run(what, Some(limit), operation).await
    }

    /// Where the downloads of this lease are, when it was asked for with
    /// [`LeaseOptions::downloads`](crate::LeaseOptions::downloads). The directory ends with the lease.
    pub fn downloads(&self) -> Option<&Path> {
        let cell = self.granted.cell();
        cell.live.downloads(cell.context.as_ref()?)
    }
}

impl<D: Driver> Deref for PageLease<D> {
    type Target = <D::Browser as LiveBrowser>::Page;

    fn deref(&self) -> &Self::Target {
        self.granted.cell().page.as_ref().expect("a page lease is granted on units with a page")
    }
}

impl<D: Driver> fmt::Debug for PageLease<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PageLease").field(&self.granted).finish()
    }
}
