//! Navigation with a limit of the caller's own, shorter or longer than the client's 30 seconds.

use super::config::Chrome;
use super::live::ChromeBrowser;
use crate::error::OpError;
use crate::lease::{BrowserLease, ContextPage, PageLease};
use chromiumoxide::Page;
use chromiumoxide::cdp::browser_protocol::network::{
    EventResponseReceived, LoaderId, ResourceType,
};
use chromiumoxide::cdp::browser_protocol::page::{
    EventLifecycleEvent, NavigateParams, NavigateReturns,
};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::timeout;

/// How far a page must be for a navigation to be over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Until {
    /// The document is parsed; images and frames may still be on their way.
    DomContentLoaded,
    /// The document and what it refers to are loaded.
    #[default]
    Loaded,
    /// It is loaded, and for half a second there was no request.
    NetworkIdle,
}

impl Until {
    /// The name of the event in the protocol.
    fn event(self) -> &'static str {
        match self {
            Self::DomContentLoaded => "DOMContentLoaded",
            Self::Loaded => "load",
            Self::NetworkIdle => "networkIdle",
        }
    }
}

/// Where a navigation led.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Navigation {
    status: Option<u16>,
    url: Option<String>,
}

/// How long after the page is there its answer is waited for, at most.
const MOMENT: Duration = Duration::from_secs(1);

impl Navigation {
    /// Takes in an answer, if it is that of the document which this loader loads.
    fn note(&mut self, answer: &EventResponseReceived, loader: &LoaderId) {
        if answer.r#type == ResourceType::Document && answer.loader_id == *loader {
            let response = &answer.response;
            self.status = u16::try_from(response.status).ok().filter(|code| *code > 0);
            self.url = Some(response.url.clone());
        }
    }

    /// The status that the server answered for the document, after redirections; `None` when there was no
    /// answer to see, as for a `data:` URL, or for another place in the same document.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The URL that the document came from, after redirections, when an answer was seen.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }
}

impl PageLease<Chrome> {
    /// Goes to a URL and waits until the page has loaded, for at most `limit`.
    ///
    /// Unlike the page's own `goto`, which always gives up after 30 seconds and not before, this ends
    /// when it says, and at once when the page or its browser is lost. A status such as 404 is no error.
    ///
    /// # Errors
    ///
    /// [`OpError::TimedOut`] after `limit`, [`OpError::Lost`], or what the browser said.
    ///
    /// # Cancel safety
    ///
    /// The browser goes on loading; the page can be sent elsewhere.
    pub async fn navigate(
        &self,
        url: impl Into<String>,
        limit: Duration,
    ) -> Result<Navigation, OpError> {
        self.navigate_until(url, Until::default(), limit).await
    }

    /// Goes to a URL and waits until the page is as far as `until` says, for at most `limit`.
    ///
    /// # Errors
    ///
    /// As [`navigate`](Self::navigate).
    ///
    /// # Cancel safety
    ///
    /// As [`navigate`](Self::navigate).
    pub async fn navigate_until(
        &self,
        url: impl Into<String>,
        until: Until,
        limit: Duration,
    ) -> Result<Navigation, OpError> {
        let going = navigate(self.live(), self, url.into(), until, limit);
        self.run_as("navigate a page", limit, going).await?
    }
}

impl ContextPage<'_, Chrome> {
    /// Goes to a URL and waits until the page is as far as `until` says, for at most `limit`.
    ///
    /// # Errors
    ///
    /// As [`PageLease::navigate`].
    ///
    /// # Cancel safety
    ///
    /// As [`PageLease::navigate`].
    pub async fn navigate_until(
        &self,
        url: impl Into<String>,
        until: Until,
        limit: Duration,
    ) -> Result<Navigation, OpError> {
        let going = navigate(self.live(), self, url.into(), until, limit);
        self.run(limit, going).await?
    }
}

impl BrowserLease<Chrome> {
    /// Sends a page of this browser to a URL and waits until it is as far as `until` says, for at most
    /// `limit`.
    ///
    /// # Errors
    ///
    /// As [`PageLease::navigate`].
    ///
    /// # Cancel safety
    ///
    /// As [`PageLease::navigate`].
    pub async fn navigate_until(
        &self,
        page: &Page,
        url: impl Into<String>,
        until: Until,
        limit: Duration,
    ) -> Result<Navigation, OpError> {
        let going = navigate(self.live(), page, url.into(), until, limit);
        self.run(limit, going).await?
    }
}

pub(super) async fn navigate(
    live: &ChromeBrowser,
    page: &Page,
    url: String,
    until: Until,
    limit: Duration,
) -> Result<Navigation, OpError> {
    let stages = page.event_listener::<EventLifecycleEvent>().await.map_err(OpError::driver)?;
    let answers = page.event_listener::<EventResponseReceived>().await.map_err(OpError::driver)?;
    // The client answers what it was sent in turn: when it answers this, it listens.
    page.mainframe().await.map_err(OpError::driver)?;
    let has_answer = url.starts_with("http:") || url.starts_with("https:");
    let going = live.call_page(page, NavigateParams::new(url), limit).await?;
    let NavigateReturns { frame_id, loader_id, error_text, .. } = going;
    if let Some(text) = error_text {
        return Err(OpError::driver(text));
    }
    // Without a loader the document is the one that was there.
    let Some(loader) = loader_id else {
        return Ok(Navigation::default());
    };
    let mut stages = stages.fuse();
    let mut answers = answers.fuse();
    let mut navigation = Navigation::default();
    loop {
        tokio::select! {
            biased;
            Some(answer) = answers.next() => navigation.note(&answer, &loader),
            stage = stages.next() => match stage {
                Some(stage) if stage.frame_id == frame_id && stage.loader_id == loader => {
                    if stage.name == until.event() {
                        break;
                    }
                }
                Some(_) => {}
                None => return Err(OpError::driver("the page is gone")),
            },
        }
    }
    // The client hands on each kind of event by itself, so the answer may come after the stage.
    let late = async {
        while navigation.url.is_none() {
            let Some(answer) = answers.next().await else { return };
            navigation.note(&answer, &loader);
        }
    };
    if has_answer {
        drop(timeout(MOMENT, late).await);
    }
    Ok(navigation)
}
