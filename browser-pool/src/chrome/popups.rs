//! The pages that leased pages opened.

use super::config::Chrome;
use super::live::{ChromeBrowser, ChromeContext};
use crate::error::OpError;
use crate::lease::{ContextLease, PageLease};
use chromiumoxide::Page;

impl PageLease<Chrome> {
    /// The pages that this one, or those that it opened, have opened: they belong to the lease, count as
    /// pages, and end with it. None on an adopted browser.
    ///
    /// # Errors
    ///
    /// [`OpError::Lost`], or what the client said.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn popups(&self) -> Result<Vec<Page>, OpError> {
        match self.context() {
            Some(context) => self.run(None, popups(self.live(), context)).await?,
            None => Ok(Vec::new()),
        }
    }

    /// Messages of the page that were kept from the client: console, bindings, DOM, network and the like above 1000,
    /// or 4 MiB, in a second, and changes of its title or address that a later one replaced (above 20 in a second).
    /// None is counted on an adopted browser.
    pub fn shed_messages(&self) -> u64 {
        self.live().shed_of(self)
    }
}

impl ContextLease<Chrome> {
    /// The pages that pages of this context have opened: they belong to the lease, count as pages, and end
    /// with it. None on an adopted browser.
    ///
    /// # Errors
    ///
    /// [`OpError::Lost`], or what the client said.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn popups(&self) -> Result<Vec<Page>, OpError> {
        self.run(None, popups(self.live(), self)).await?
    }
}

async fn popups(live: &ChromeBrowser, context: &ChromeContext) -> Result<Vec<Page>, OpError> {
    let mut pages = Vec::new();
    for popup in live.popups(context) {
        // One that is gone by now, or just comes up, is none.
        pages.extend(live.page(popup).await?);
    }
    Ok(pages)
}
