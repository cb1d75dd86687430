//! What the errors of the client's own calls mean for a lease.

use super::config::Chrome;
use super::live::driver;
use crate::error::{Loss, OpError};
use crate::lease::{BrowserLease, ContextPage, PageLease};
use chromiumoxide::error::CdpError;
use std::time::Duration;
use tokio::time::timeout;

/// The reason of a loss comes a moment after the calls have failed.
const MOMENT: Duration = Duration::from_secs(1);

impl PageLease<Chrome> {
    /// Says what an error of one of the page's own calls means: [`OpError::Lost`] with the reason when the page or its
    /// browser is gone, which the client tells as a closed channel; [`OpError::TimedOut`]; or the error itself.
    ///
    /// ```no_run
    /// # use lastout_browser_pool::{Chrome, OpError, PageLease};
    /// # async fn title(page: &PageLease<Chrome>) -> Result<Option<String>, OpError> {
    /// match page.get_title().await {
    ///     Ok(title) => Ok(title),
    ///     Err(error) => Err(page.explain(error).await),
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// The error is lost with the future.
    pub async fn explain(&self, error: CdpError) -> OpError {
        explain(error, self.loss(), self.lost()).await
    }
}

impl ContextPage<'_, Chrome> {
    /// Says what an error of one of the page's own calls means, as [`PageLease::explain`] does.
    ///
    /// # Cancel safety
    ///
    /// The error is lost with the future.
    pub async fn explain(&self, error: CdpError) -> OpError {
        explain(error, self.loss(), self.lost()).await
    }
}

impl BrowserLease<Chrome> {
    /// Says what an error of one of the browser's own calls, or of its pages', means, as [`PageLease::explain`] does.
    ///
    /// # Cancel safety
    ///
    /// The error is lost with the future.
    pub async fn explain(&self, error: CdpError) -> OpError {
        explain(error, self.loss(), self.lost()).await
    }
}

async fn explain(error: CdpError, loss: Option<Loss>, lost: impl Future<Output = Loss>) -> OpError {
    let is_gone = match &error {
        CdpError::ChannelSendError(_) | CdpError::NoResponse | CdpError::Ws(_) => true,
        CdpError::Chrome(error) => {
            ["the page crashed", "the page is gone"].contains(&&*error.message)
        }
        _ => false,
    };
    match loss {
        Some(loss) => OpError::Lost(loss),
        // A page that its holder closed is gone as well, and the lease is not lost.
        None if is_gone => match timeout(MOMENT, lost).await {
            Ok(loss) => OpError::Lost(loss),
            Err(_) => driver(error),
        },
        None => driver(error),
    }
}
