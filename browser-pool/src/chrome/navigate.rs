//! Navigation with a limit of the caller's own, shorter or longer than the client's 30 seconds.

use super::config::Chrome;
use crate::error::OpError;
use crate::lease::PageLease;
use chromiumoxide::cdp::browser_protocol::page::{EventLoadEventFired, NavigateParams};
use chromiumoxide::error::CdpError;
use futures_util::StreamExt;
use std::time::Duration;

impl PageLease<Chrome> {
    /// Goes to a URL and waits until the page has loaded, for at most `limit`.
    ///
    /// Unlike the page's own `goto`, which always gives up after 30 seconds and not before, this ends
    /// when it says, and at once when the page or its browser is lost.
    ///
    /// # Errors
    ///
    /// [`OpError::TimedOut`] after `limit`, [`OpError::Lost`], or what the browser said.
    ///
    /// # Cancel safety
    ///
    /// The browser goes on loading; the page can be sent elsewhere.
    pub async fn navigate(&self, url: impl Into<String>, limit: Duration) -> Result<(), OpError> {
        let url = url.into();
        self.run_as("navigate a page", limit, async {
            let mut loaded =
                self.event_listener::<EventLoadEventFired>().await.map_err(OpError::driver)?;
            match self.execute(NavigateParams::new(url)).await {
                Ok(answer) => match answer.result.error_text {
                    None => Ok(()),
                    Some(text) => Err(OpError::driver(text)),
                },
                // The client gave up; the browser did not.
                Err(CdpError::Timeout) => match loaded.next().await {
                    Some(_) => Ok(()),
                    None => Err(OpError::driver(CdpError::Timeout)),
                },
                Err(error) => Err(OpError::driver(error)),
            }
        })
        .await?
    }
}
