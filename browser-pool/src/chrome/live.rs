//! What the pool asks of a running browser.

use super::bridge::{Router, limit_of_unanswered};
use super::process::{KILL_BOUND, Process};
use crate::config::FOREVER;
use crate::contain::said;
use crate::driver::{Allowed, Ending, LiveBrowser};
use crate::error::{Loss, OpError};
use crate::report::BrowserReport;
use crate::request::ContextOptions;
use crate::supervisor;
use chromiumoxide::cdp::browser_protocol::browser::{
    BrowserContextId, CloseParams, GetVersionParams, SetDownloadBehaviorBehavior,
    SetDownloadBehaviorParams,
};
use chromiumoxide::cdp::browser_protocol::network::{
    ClearBrowserCacheParams, ClearBrowserCookiesParams,
};
use chromiumoxide::cdp::browser_protocol::storage::ClearDataForOriginParams;
use chromiumoxide::cdp::browser_protocol::target::{
    CloseTargetParams, CreateBrowserContextParams, CreateTargetParams, DisposeBrowserContextParams,
    GetTargetsParams, TargetId, TargetInfo,
};
use chromiumoxide::error::CdpError;
use chromiumoxide::types::Command;
use chromiumoxide::{Browser, Handler, Page};
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Means the whole storage of a context, session storage included. A list of the origins that were
/// visited would not do: frames, redirects and replaced history entries are in none.
const EVERY_ORIGIN: &str = "*";

/// What the client calls a time-out, unless the bridge was first.
const CLIENT: Duration = Duration::from_secs(30);

/// The pause between two looks at what still runs in a context.
const LOOK: Duration = Duration::from_millis(2);

/// A running browser.
#[derive(Debug)]
pub struct ChromeBrowser {
    pub(super) client: Browser,
    /// `None` for an adopted browser, whose connection is not bridged.
    pub(super) router: Option<Router>,
    process: Arc<Process>,
}

/// A browser context, and where its downloads go.
#[derive(Debug, Clone)]
pub struct ChromeContext {
    id: BrowserContextId,
    downloads: Option<PathBuf>,
}

impl ChromeContext {
    /// The identifier in the protocol, for commands that take one.
    pub fn id(&self) -> &BrowserContextId {
        &self.id
    }
}

pub(super) fn driver(error: CdpError) -> OpError {
    let limit = match &error {
        CdpError::Chrome(error) => limit_of_unanswered(error.code, &error.message),
        _ => None,
    };
    if let Some(after) = limit {
        return OpError::TimedOut { what: "ask the browser", after };
    }
    match error {
        CdpError::Timeout => OpError::TimedOut { what: "ask the browser", after: CLIENT },
        error => OpError::driver(error),
    }
}

impl ChromeBrowser {
    pub(super) fn new(client: Browser, router: Option<Router>, process: Arc<Process>) -> Self {
        Self { client, router, process }
    }

    /// Resolves when the browser has answered for the first time.
    pub(super) async fn first_answer(&self) -> Result<(), OpError> {
        match supervisor::answered(self).await {
            Ok(()) | Err(OpError::Driver(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks a page, for at most `limit`; the client of an adopted browser gives up after its own limit.
    pub(super) async fn call_page<C: Command>(
        &self,
        page: &Page,
        command: C,
        limit: Duration,
    ) -> Result<C::Response, OpError> {
        let Some(router) = &self.router else {
            return page.execute(command).await.map(|answer| answer.result).map_err(driver);
        };
        let (method, session) = (command.identifier(), Some(page.session_id().as_ref()));
        let params = serde_json::to_value(command).map_err(OpError::driver)?;
        let result = router.call(session, &method, &params, limit).await?;
        C::response_from_value(result).map_err(OpError::driver)
    }

    /// The pages that others opened in the context.
    pub(super) fn popups(&self, context: &ChromeContext) -> Vec<TargetId> {
        let known = self.router.as_ref().map(|router| router.popups(context.id.as_ref()));
        known.unwrap_or_default().into_iter().map(TargetId::new).collect()
    }

    /// The page with this number, if the client knows it.
    pub(super) async fn page(&self, target: TargetId) -> Result<Option<Page>, OpError> {
        match self.client.get_page(target).await {
            Ok(page) => Ok(Some(page)),
            Err(CdpError::NotFound) => Ok(None),
            Err(error) => Err(driver(error)),
        }
    }

    /// Messages of the page that the client did not get.
    pub(super) fn shed_of(&self, page: &Page) -> u64 {
        self.router.as_ref().map_or(0, |router| router.shed_of(page.session_id().as_ref()))
    }

    async fn close_target(&self, target: TargetId) -> Result<(), OpError> {
        self.client.execute(CloseTargetParams::new(target)).await.map(drop).map_err(driver)
    }

    /// Everything that runs in the context: pages, what they opened, workers.
    async fn targets_of(&self, context: &ChromeContext) -> Result<Vec<TargetInfo>, OpError> {
        let all = self.client.execute(GetTargetsParams::default()).await.map_err(driver)?;
        let mut targets = all.result.target_infos;
        targets.retain(|target| target.browser_context_id.as_ref() == Some(&context.id));
        Ok(targets)
    }

    /// Closes what the page opened.
    async fn close_popups(&self, page: &Page) -> Result<(), OpError> {
        let pages = self.client.pages().await.map_err(driver)?;
        let popups =
            pages.iter().filter(|other| other.opener_id().as_ref() == Some(page.target_id()));
        for popup in popups {
            self.close_target(popup.target_id().clone()).await?;
        }
        Ok(())
    }

    /// Asks the browser to close its pages and then itself.
    async fn ask_to_close(&self) {
        // The pages first, as nobody works with them any more; the commands are in one line, so there
        // is nothing to wait for in between.
        let pages = self.client.pages().await.unwrap_or_default();
        let pages = join_all(pages.iter().map(|page| self.close_target(page.target_id().clone())));
        let itself = self.client.execute(CloseParams::default());
        drop(tokio::join!(pages, itself));
    }
}

impl LiveBrowser for ChromeBrowser {
    type Handle = Browser;
    type Page = Page;
    type Context = ChromeContext;

    fn handle(&self) -> &Browser {
        &self.client
    }

    fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    fn page_key(&self, page: &Page) -> String {
        page.target_id().as_ref().to_owned()
    }

    fn context_key(&self, context: &ChromeContext) -> String {
        context.id.as_ref().to_owned()
    }

    fn downloads<'a>(&self, context: &'a ChromeContext) -> Option<&'a Path> {
        context.downloads.as_deref()
    }

    async fn ping(&self) -> Result<(), OpError> {
        if let Some(router) = &self.router {
            // Not through the client: what it has to work off is no fault of the browser.
            let nothing = serde_json::json!({});
            return router.call(None, "Browser.getVersion", &nothing, FOREVER).await.map(drop);
        }
        match self.client.execute(GetVersionParams::default()).await {
            Ok(_) => Ok(()),
            Err(error @ (CdpError::Chrome(_) | CdpError::Serde(_))) => Err(driver(error)),
            Err(CdpError::Timeout) => Err(driver(CdpError::Timeout)),
            Err(_) => Err(OpError::Lost(Loss::Disconnected)),
        }
    }

    fn allow(&self, context: Option<&ChromeContext>, limit: Duration) -> Option<Allowed> {
        let context = context.map(|context| context.id.as_ref());
        let router = self.router.as_ref()?;
        Some(Box::new(router.allow(context, limit)))
    }

    async fn new_context(&self, options: &ContextOptions) -> Result<ChromeContext, OpError> {
        if options.downloads && !self.process.keeps_downloads() {
            return Err(OpError::driver(
                "a browser without a directory of the pool keeps no downloads",
            ));
        }
        let params = CreateBrowserContextParams {
            dispose_on_detach: Some(true),
            proxy_server: options.proxy.clone(),
            proxy_bypass_list: options.proxy_bypass.clone(),
            ..CreateBrowserContextParams::default()
        };
        let answers = match (&options.proxy_credentials, &self.router) {
            (Some(_), None) => {
                return Err(OpError::driver("an adopted browser answers no proxy's question"));
            }
            (Some(credentials), Some(router)) => Some((credentials, router)),
            (None, _) => None,
        };
        let id = self.client.create_browser_context(params).await.map_err(driver)?;
        if let Some(router) = &self.router {
            router.lend(id.as_ref());
        }
        if let Some((credentials, router)) = answers {
            router.authenticate(id.as_ref(), credentials);
        }
        let mut context = ChromeContext { id, downloads: None };
        let mut behaviour = SetDownloadBehaviorParams::new(SetDownloadBehaviorBehavior::Deny);
        behaviour.browser_context_id = Some(context.id.clone());
        // The last call decides for all contexts.
        behaviour.events_enabled = Some(true);
        if options.downloads {
            let folder = self.process.downloads(context.id.as_ref());
            let folder = match folder {
                Ok(folder) => folder,
                Err(error) => {
                    self.dispose_context(&context).await?;
                    return Err(OpError::driver(error));
                }
            };
            behaviour.behavior = SetDownloadBehaviorBehavior::AllowAndName;
            behaviour.download_path = Some(folder.to_string_lossy().into_owned());
            context.downloads = Some(folder);
        }
        match self.client.execute(behaviour).await {
            Ok(_) => Ok(context),
            Err(error) => {
                self.dispose_context(&context).await?;
                Err(driver(error))
            }
        }
    }

    async fn dispose_context(&self, context: &ChromeContext) -> Result<(), OpError> {
        let params = DisposeBrowserContextParams::new(context.id.clone());
        self.client.execute(params).await.map_err(driver)?;
        if let Some(router) = &self.router {
            router.forget_context(context.id.as_ref());
        }
        if let Some(folder) = &context.downloads {
            let folder = folder.clone();
            let limit = std::time::Instant::now() + KILL_BOUND;
            let removed =
                crate::tasks::blocking(move || super::remove::remove(&folder, None, limit)).await;
            removed.unwrap_or(Ok(())).map_err(OpError::driver)?;
        }
        Ok(())
    }

    async fn new_page(&self, context: &ChromeContext) -> Result<Page, OpError> {
        let mut params = CreateTargetParams::new("about:blank");
        params.browser_context_id = Some(context.id.clone());
        let page = self.client.new_page(params).await.map_err(driver)?;
        if let Some(router) = &self.router {
            router.settle(page.session_id().as_ref());
        }
        Ok(page)
    }

    async fn close_page(&self, page: &Page) -> Result<(), OpError> {
        let popups = self.close_popups(page).await;
        self.close_target(page.target_id().clone()).await?;
        popups
    }

    async fn close_popup(&self, page: &str) -> Result<(), OpError> {
        self.close_target(TargetId::new(page)).await
    }

    async fn reset_page(&self, context: &ChromeContext, used: &Page) -> Result<Page, OpError> {
        let session = used.session_id().as_ref();
        let clean = self.router.as_ref().is_some_and(|known| !known.is_tainted(session));
        if !clean {
            return Err(OpError::driver("the page was changed in ways that a reset cannot undo"));
        }
        let mut old = self.targets_of(context).await?;
        for target in old.drain(..).filter(|target| target.r#type == "page") {
            self.close_target(target.target_id).await?;
        }
        // Before the last of them is gone it may still write, or open another.
        while self.targets_of(context).await?.iter().any(|target| target.r#type == "page") {
            tokio::time::sleep(LOOK).await;
        }
        let page = self.new_page(context).await?;
        page.execute(ClearDataForOriginParams::new(EVERY_ORIGIN, "all")).await.map_err(driver)?;
        page.execute(ClearBrowserCookiesParams::default()).await.map_err(driver)?;
        page.execute(ClearBrowserCacheParams::default()).await.map_err(driver)?;
        if let Some(router) = &self.router {
            router.settle(page.session_id().as_ref());
        }
        let alone = |target: &TargetInfo| target.target_id == *page.target_id();
        // Workers that were unregistered end a moment later.
        while !self.targets_of(context).await?.iter().all(alone) {
            tokio::time::sleep(LOOK).await;
        }
        Ok(page)
    }

    fn memory(&self) -> Option<u64> {
        self.process.memory()
    }

    async fn end(&self, how: Ending) -> BrowserReport {
        if let Ending::Graceful(bound) = how {
            let closing = async {
                self.ask_to_close().await;
                self.process.gone(bound).await
            };
            drop(timeout(bound, closing).await);
        }
        self.process.end(KILL_BOUND).await
    }

    fn end_now(&self, bound: Duration) -> BrowserReport {
        self.process.end_now(bound)
    }
}

/// Polls the handler and what carries its messages until one of them ends. A panic of the handler is
/// an end like any other.
pub(super) async fn drive(
    mut handler: Handler,
    carried: impl Future<Output = Loss> + Send,
) -> Loss {
    let handled = async {
        loop {
            match handler.next().await {
                Some(Ok(())) => {}
                Some(Err(CdpError::Ws(_) | CdpError::Io(_))) | None => return Loss::Disconnected,
                // An error of one message is none of the connection.
                Some(Err(_)) => {}
            }
        }
    };
    let handled = AssertUnwindSafe(handled).catch_unwind();
    let handled = handled.map(|ended| ended.unwrap_or_else(|panic| Loss::Client(said(panic))));
    // Each is polled when it was woken itself, and not with the other: a poll of the handler goes through
    // all its pages.
    let mut both = FuturesUnordered::from_iter([handled.boxed(), carried.boxed()]);
    both.next().await.unwrap_or(Loss::Disconnected)
}
