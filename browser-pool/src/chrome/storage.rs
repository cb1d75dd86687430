//! Cookies and local storage, saved from one lease and restored in another.

use super::config::Chrome;
use super::live::{ChromeBrowser, ChromeContext, driver};
use super::navigate::{Until, navigate};
use crate::error::OpError;
use crate::lease::{ContextPage, PageLease};
use chromiumoxide::Page;
use chromiumoxide::cdp::browser_protocol::fetch::{
    DisableParams, EnableParams, EventRequestPaused, FailRequestParams, FulfillRequestParams,
    HeaderEntry,
};
use chromiumoxide::cdp::browser_protocol::network::{Cookie, CookieParam, ErrorReason};
use chromiumoxide::cdp::browser_protocol::page::NavigateParams;
use chromiumoxide::cdp::browser_protocol::storage::{GetCookiesParams, SetCookiesParams};
use chromiumoxide::cdp::js_protocol::runtime::EvaluateParams;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The cookies of a context, and the local storage of an origin or more: what keeps a user signed in.
///
/// It can be written and read with serde; its JSON is that of Playwright's `storageState`. It signs its holder in as
/// that user, so keep it like a password; `Debug` shows how much there is, and no value.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StorageState {
    #[serde(default)]
    cookies: Vec<StoredCookie>,
    #[serde(default)]
    origins: Vec<StoredOrigin>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredCookie {
    name: String,
    value: String,
    domain: String,
    path: String,
    /// Seconds since 1970; negative when the cookie ends with its session.
    expires: f64,
    http_only: bool,
    secure: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    same_site: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition_key: Option<serde_json::Value>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredOrigin {
    origin: String,
    local_storage: Vec<StoredItem>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct StoredItem {
    name: String,
    value: String,
}

impl StorageState {
    /// Adds what another state has: where both have the same cookie or item, that of `other` is restored.
    pub fn extend(&mut self, other: Self) {
        self.cookies.extend(other.cookies);
        self.origins.extend(other.origins);
    }
}

impl fmt::Debug for StorageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageState")
            .field("cookies", &self.cookies.len())
            .field("origins", &self.origins.len())
            .finish()
    }
}

impl PageLease<Chrome> {
    /// Saves all cookies of the lease, and the local storage of the origin that the page shows.
    ///
    /// ```no_run
    /// # use lastout_browser_pool::{BrowserPool, Chrome, PageLease};
    /// # use std::time::Duration;
    /// # async fn again(pool: &BrowserPool, page: PageLease<Chrome>) -> Result<(), Box<dyn std::error::Error>> {
    /// let limit = Duration::from_secs(20);
    /// let state = page.save_storage(limit).await?; // after the page has signed in
    /// page.release();
    /// let other = pool.page().await?;
    /// other.restore_storage(&state, limit).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpError::TimedOut`] after `limit`, [`OpError::Lost`], or what the browser said.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn save_storage(&self, limit: Duration) -> Result<StorageState, OpError> {
        let Some(context) = self.context() else {
            return Err(OpError::driver("the lease has no context of its own"));
        };
        self.run_as("save the storage", limit, save(self.live(), context, self, limit)).await?
    }

    /// Sets the cookies of the lease and the local storage of each origin of the state, beside those that are there.
    /// The page goes to an empty document of each origin, for which nothing is asked of the network, and ends at
    /// `about:blank`.
    ///
    /// # Errors
    ///
    /// [`OpError::TimedOut`] after `limit`, [`OpError::Lost`], or what the browser said. A part may be restored then.
    ///
    /// # Cancel safety
    ///
    /// A part may be restored, and requests of the page may wait for ever: let the lease go then.
    pub async fn restore_storage(
        &self,
        state: &StorageState,
        limit: Duration,
    ) -> Result<(), OpError> {
        let Some(context) = self.context() else {
            return Err(OpError::driver("the lease has no context of its own"));
        };
        let restored = restore(self.live(), context, self, state, limit);
        self.run_as("restore the storage", limit, restored).await?
    }
}

impl ContextPage<'_, Chrome> {
    /// Saves all cookies of the context, and the local storage of the origin that the page shows.
    ///
    /// # Errors
    ///
    /// As [`PageLease::save_storage`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn save_storage(&self, limit: Duration) -> Result<StorageState, OpError> {
        self.run(limit, save(self.live(), self.context(), self, limit)).await?
    }

    /// Restores cookies and local storage in the context, as [`PageLease::restore_storage`] does.
    ///
    /// # Errors
    ///
    /// As [`PageLease::restore_storage`].
    ///
    /// # Cancel safety
    ///
    /// As [`PageLease::restore_storage`].
    pub async fn restore_storage(
        &self,
        state: &StorageState,
        limit: Duration,
    ) -> Result<(), OpError> {
        self.run(limit, restore(self.live(), self.context(), self, state, limit)).await?
    }
}

async fn save(
    live: &ChromeBrowser,
    context: &ChromeContext,
    page: &Page,
    limit: Duration,
) -> Result<StorageState, OpError> {
    let mut cookies = Vec::new();
    for cookie in live.cookies(context).await? {
        let cookie = serde_json::to_value(cookie).map_err(OpError::driver)?;
        cookies.push(serde_json::from_value(cookie).map_err(OpError::driver)?);
    }
    // A document without an origin of the network has no local storage.
    let script = "location.protocol.startsWith('http') ? [{ origin: location.origin, localStorage:
        Object.entries(localStorage).map(([name, value]) => ({ name, value })) }] : []";
    let origins = evaluate(live, page, script.into(), limit).await?;
    let mut origins: Vec<StoredOrigin> =
        serde_json::from_value(origins).map_err(OpError::driver)?;
    origins.retain(|origin| !origin.local_storage.is_empty());
    Ok(StorageState { cookies, origins })
}

async fn restore(
    live: &ChromeBrowser,
    context: &ChromeContext,
    page: &Page,
    state: &StorageState,
    limit: Duration,
) -> Result<(), OpError> {
    let mut cookies = Vec::new();
    for cookie in &state.cookies {
        let mut cookie = serde_json::to_value(cookie).map_err(OpError::driver)?;
        let ends = cookie.get("expires").and_then(serde_json::Value::as_f64);
        if let Some(fields) = cookie.as_object_mut().filter(|_| ends.is_none_or(|at| at < 0.0)) {
            fields.remove("expires");
        }
        cookies.push(serde_json::from_value::<CookieParam>(cookie).map_err(OpError::driver)?);
    }
    live.set_cookies(context, cookies).await?;
    if state.origins.is_empty() {
        return Ok(());
    }
    for StoredOrigin { origin, .. } in &state.origins {
        if !origin.starts_with("http://") && !origin.starts_with("https://") {
            return Err(OpError::driver(format!("{origin:?} is no origin of the network")));
        }
    }
    let mut paused = page.event_listener::<EventRequestPaused>().await.map_err(OpError::driver)?;
    live.take_requests(page);
    live.call_page(page, EnableParams::default(), limit).await?;
    let mut restored = Ok(());
    for origin in &state.origins {
        restored = restored.and(fill(live, page, origin, &mut paused, limit).await);
    }
    live.give_requests_back(page).await;
    // Until the client knows of it: the next call is for the new document.
    let left = navigate(live, page, "about:blank".into(), Until::default(), limit).await;
    restored.and(left.map(drop))
}

/// Sets the local storage of one origin, in an empty document of it.
async fn fill(
    live: &ChromeBrowser,
    page: &Page,
    StoredOrigin { origin, local_storage }: &StoredOrigin,
    paused: &mut chromiumoxide::listeners::EventStream<EventRequestPaused>,
    limit: Duration,
) -> Result<(), OpError> {
    let url = format!("{origin}/");
    let answers = async {
        while let Some(asked) = paused.next().await {
            let id = asked.request_id.clone();
            // Nothing else is asked for by an empty document.
            let answered = if asked.request.url == url {
                let html = HeaderEntry::new("Content-Type", "text/html");
                let mut params = FulfillRequestParams::new(id, 200);
                params.response_headers = Some(vec![html]);
                live.call_page(page, params, limit).await.map(drop)
            } else {
                let params = FailRequestParams::new(id, ErrorReason::BlockedByClient);
                live.call_page(page, params, limit).await.map(drop)
            };
            if let Err(error) = answered {
                return error;
            }
        }
        OpError::driver("the page is gone")
    };
    let filled = async {
        live.call_page(page, NavigateParams::new(url.clone()), limit).await?;
        let items = serde_json::to_string(local_storage).map_err(OpError::driver)?;
        let wanted = serde_json::json!(origin);
        let script = format!(
            "location.origin === {wanted} && ({items}.forEach(item => localStorage.setItem(item.name, item.value)), true)"
        );
        let done = evaluate(live, page, script, limit).await?;
        match done.as_bool() {
            Some(true) => Ok(()),
            _ => Err(OpError::driver(format!("no document of {origin} could be shown"))),
        }
    };
    tokio::select! {
        filled = filled => filled,
        error = answers => Err(error),
    }
}

impl ChromeBrowser {
    /// Every cookie of the context.
    async fn cookies(&self, context: &ChromeContext) -> Result<Vec<Cookie>, OpError> {
        let params = GetCookiesParams { browser_context_id: Some(context.id().clone()) };
        Ok(self.client.execute(params).await.map_err(driver)?.result.cookies)
    }

    async fn set_cookies(
        &self,
        context: &ChromeContext,
        cookies: Vec<CookieParam>,
    ) -> Result<(), OpError> {
        // The client leaves an empty list out, and the browser refuses a command without one.
        if cookies.is_empty() {
            return Ok(());
        }
        let mut params = SetCookiesParams::new(cookies);
        params.browser_context_id = Some(context.id().clone());
        self.client.execute(params).await.map(drop).map_err(driver)
    }

    /// Lets the caller answer the requests of the page, until they are given back.
    fn take_requests(&self, page: &Page) {
        let session = page.session_id().as_ref();
        self.router.iter().for_each(|router| router.take_requests(session));
    }

    async fn give_requests_back(&self, page: &Page) {
        match &self.router {
            Some(router) => router.give_requests_back(page.session_id().as_ref()),
            None => drop(page.execute(DisableParams::default()).await),
        }
    }
}

async fn evaluate(
    live: &ChromeBrowser,
    page: &Page,
    script: String,
    limit: Duration,
) -> Result<serde_json::Value, OpError> {
    let params = EvaluateParams { return_by_value: Some(true), ..EvaluateParams::new(script) };
    let answer = live.call_page(page, params, limit).await?;
    match answer.exception_details {
        None => Ok(answer.result.value.unwrap_or_default()),
        Some(details) => Err(OpError::driver(details.text)),
    }
}
