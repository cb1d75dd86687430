//! A leased browser context, and the pages that its holder opens in it.

use super::{Granted, bounded, lost};
use crate::cell::PageFate;
use crate::driver::{Driver, LiveBrowser};
use crate::error::{Loss, OpError};
use crate::shell::Core;
use crate::state::{Condition, Place};
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A fresh browser context: own cookies, storage and cache. All its pages end with the lease.
#[must_use = "a context that is dropped at once was leased for nothing"]
pub struct ContextLease<D: Driver> {
    granted: Granted<D>,
}

impl<D: Driver> ContextLease<D> {
    pub(crate) fn new(granted: Granted<D>) -> Self {
        Self { granted }
    }

    /// Opens a page in the context.
    ///
    /// # Errors
    ///
    /// [`OpError::PageLimit`] when the browser has `max_pages` already, [`OpError::Lost`] when the
    /// context is gone, [`OpError::TimedOut`] after the pool's `op_timeout`, or what the browser said.
    ///
    /// # Cancel safety
    ///
    /// A page that is made for a dropped future is closed again.
    pub async fn new_page(&self) -> Result<ContextPage<'_, D>, OpError> {
        let granted = &self.granted;
        let opened = granted.core.open_page(granted.place);
        let after = granted.core.config.op_timeout;
        let page = match bounded("open a page", after, granted.lost(), opened).await? {
            Ok(page) => page?,
            Err(_) => return Err(OpError::Lost(granted.loss().unwrap_or(Loss::Closed))),
        };
        Ok(ContextPage { granted, ticket: page })
    }

    /// Ends the lease.
    pub fn release(mut self) {
        self.granted.note(Condition::Clean);
    }

    /// Ends the lease and counts a failure against the browser.
    pub fn discard(mut self) {
        self.granted.note(Condition::Broken);
    }

    /// The number of this lease in statistics, hooks and traces.
    pub fn id(&self) -> u64 {
        self.granted.place.lease.0
    }

    /// The number of the browser that the context is in.
    pub fn browser(&self) -> u64 {
        self.granted.place.slot.0
    }

    /// Why the context is gone, if it is.
    pub fn loss(&self) -> Option<Loss> {
        self.granted.loss()
    }

    /// Resolves when the context is gone with its browser.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn lost(&self) -> Loss {
        self.granted.lost().await
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
        self.granted.run("run an operation on a context", limit.into(), operation).await
    }

    #[cfg(feature = "chrome")]
    pub(crate) fn live(&self) -> &D::Browser {
        &self.granted.cell().live
    }

    /// Where the downloads of this lease are, when it was asked for with
    /// [`LeaseOptions::downloads`](crate::LeaseOptions::downloads). The directory ends with the lease.
    pub fn downloads(&self) -> Option<&Path> {
        self.granted.cell().live.downloads(self)
    }
}

impl<D: Driver> Deref for ContextLease<D> {
    type Target = <D::Browser as LiveBrowser>::Context;

    fn deref(&self) -> &Self::Target {
        self.granted.cell().context.as_ref().expect("a context lease is granted on a context")
    }
}

impl<D: Driver> fmt::Debug for ContextLease<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ContextLease").field(&self.granted).finish()
    }
}

/// A page in a leased context. Dropping it closes it.
#[must_use = "a page that is dropped is closed"]
pub struct ContextPage<'a, D: Driver> {
    granted: &'a Granted<D>,
    ticket: PageTicket<D>,
}

impl<D: Driver> ContextPage<'_, D> {
    /// Why the page is gone, if it is: its own crash, or the end of its browser.
    pub fn loss(&self) -> Option<Loss> {
        self.ticket.page.fate.borrow().clone().or_else(|| self.granted.loss())
    }

    /// Resolves when the page, or its browser, is gone.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn lost(&self) -> Loss {
        tokio::select! {
            loss = lost(self.ticket.page.fate.subscribe()) => loss,
            loss = self.granted.lost() => loss,
        }
    }

    #[cfg(feature = "chrome")]
    pub(crate) fn live(&self) -> &D::Browser {
        &self.granted.cell().live
    }

    #[cfg(feature = "chrome")]
    pub(crate) fn context(&self) -> &<D::Browser as LiveBrowser>::Context {
        self.granted.cell().context.as_ref().expect("a context lease is granted on a context")
    }

    /// Runs any future against this page, as [`PageLease::run`](crate::PageLease::run) does.
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
        let after = limit.into().unwrap_or(self.granted.core.config.op_timeout);
        let _allowed = self.granted.allow(after);
        bounded("run an operation on a page", after, self.lost(), operation).await
    }
}

impl<D: Driver> Deref for ContextPage<'_, D> {
    type Target = <D::Browser as LiveBrowser>::Page;

    fn deref(&self) -> &Self::Target {
        &self.ticket.page.page
    }
}

impl<D: Driver> fmt::Debug for ContextPage<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextPage").field("loss", &self.loss()).finish_non_exhaustive()
    }
}

/// An opened page on its way to its holder, and then the holder's. Dropping it closes the page.
pub(crate) struct PageTicket<D: Driver> {
    core: Arc<Core<D>>,
    place: Place,
    page: Arc<PageFate<D::Browser>>,
}

impl<D: Driver> PageTicket<D> {
    pub(crate) fn new(core: Arc<Core<D>>, place: Place, page: Arc<PageFate<D::Browser>>) -> Self {
        Self { core, place, page }
    }
}

impl<D: Driver> Drop for PageTicket<D> {
    fn drop(&mut self) {
        self.core.order_page_end(self.place, self.page.clone());
    }
}
