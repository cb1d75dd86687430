//! The seam between the pool and what it pools: everything the pool asks of a browser.
//!
//! The pool knows no protocol and no process. A [`Driver`] launches; a [`LiveBrowser`] is one launched
//! browser with its process tree and its directory. The real one lives in `chrome/`, a scripted one
//! in `testing/`.

use crate::error::{LaunchError, Loss, OpError};
use crate::report::{BrowserReport, LeftBehind};
use crate::request::{ContextOptions, LaunchProfile};
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Bound of an end in a destructor, which waits for processes that were killed. They are gone in
/// milliseconds; on a machine that is busy with much else it takes longer, and a drop that returned
/// before would leave them to be seen.
pub(crate) const IN_A_DROP: Duration = Duration::from_secs(2);

/// Launches browsers of one kind.
pub trait Driver: Send + Sync + 'static {
    /// A launched browser.
    type Browser: LiveBrowser;

    /// Launches a browser and connects to it.
    ///
    /// The future may be dropped at any time: what it had started must then end with it.
    ///
    /// # Errors
    ///
    /// Why there is no browser; nothing of the attempt is left behind.
    fn launch(
        &self,
        launch: Launch,
    ) -> impl Future<Output = Result<Launched<Self::Browser>, LaunchError>> + Send;

    /// Whether browsers can be started with this profile: asked before a caller is queued, so that a profile that
    /// cannot be launched costs the other callers nothing.
    ///
    /// # Errors
    ///
    /// Why not.
    fn check(&self, profile: &LaunchProfile) -> Result<(), LaunchError> {
        let _ = profile;
        Ok(())
    }

    /// Whether all traffic of a lease that has a proxy goes through the proxy. If not, leases with a proxy of their
    /// own are refused.
    fn keeps_to_proxies(&self) -> bool {
        true
    }

    /// What browsers of this pool left behind and is still there, those included whose launches came to nothing;
    /// `reported` is what the reports of its browsers named. A driver that can end it now tries to.
    fn left_behind(
        &self,
        pool: u64,
        reported: Vec<LeftBehind>,
    ) -> impl Future<Output = Vec<LeftBehind>> + Send {
        let _ = pool;
        std::future::ready(reported)
    }

    /// There is no browser of this number and will be none: its launch failed, or was called off, maybe
    /// before [`launch`](Self::launch) was called. What was set aside for it must end now.
    fn called_off(&self, pool: u64, browser: u64) {
        let _ = (pool, browser);
    }
}

/// What a driver needs to know to launch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Launch {
    /// The number of the pool, unique in this process.
    pub pool: u64,
    /// The number that the pool gave this browser.
    pub browser: u64,
    /// What to start it with.
    pub profile: Arc<LaunchProfile>,
    /// Bound of the launch.
    pub timeout: Duration,
    /// Bound of each command on the connection.
    pub op_timeout: Duration,
}

impl Launch {
    /// A launch with the pool's default limits, for tests of drivers.
    pub fn new(browser: u64, profile: LaunchProfile) -> Self {
        Self {
            pool: 0,
            browser,
            profile: Arc::new(profile),
            timeout: Duration::from_secs(20),
            op_timeout: Duration::from_secs(30),
        }
    }
}

/// A launched browser, and what must be polled for it to live.
#[expect(
    clippy::exhaustive_structs,
    reason = "drivers outside this crate build it, and must give all"
)]
pub struct Launched<B> {
    /// The browser.
    pub browser: B,
    /// Drives the connection; resolves when the browser is lost, with the reason. Dropping it must
    /// fail every call that is pending on the browser and on its pages.
    pub drive: Pin<Box<dyn Future<Output = Loss> + Send>>,
    /// What pages do by themselves.
    pub news: mpsc::UnboundedReceiver<News>,
}

/// What a page did by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// The renderer of the page with this key crashed.
    PageCrashed(String),
    /// The page with this key keeps the browser from its other pages; the driver is ending its renderer.
    PageFlooded(String),
    /// A page opened another one in its context.
    PopupOpened {
        /// The key of the context.
        context: String,
        /// The key of the new page.
        page: String,
    },
    /// The page with this key is gone: it was closed by the client, by itself or by the browser.
    PageGone(String),
}

impl<B: fmt::Debug> fmt::Debug for Launched<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launched").field("browser", &self.browser).finish_non_exhaustive()
    }
}

/// More time for calls, until it is dropped.
pub type Allowed = Box<dyn Send + Sync>;

/// How a browser is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Ask it first, and kill what is left after the bound.
    Graceful(Duration),
    /// Kill at once: it does not answer, or is gone already.
    Kill,
}

/// One launched browser. Every call may be made from any task, and more than one at a time.
pub trait LiveBrowser: fmt::Debug + Send + Sync + 'static {
    /// What a browser lease derefs to.
    type Handle: Send + Sync + 'static;
    /// What a page lease derefs to.
    type Page: Send + Sync + 'static;
    /// Names a browser context.
    type Context: Clone + fmt::Debug + Send + Sync + 'static;

    /// What a browser lease derefs to.
    fn handle(&self) -> &Self::Handle;

    /// The pid of its root process, for lists.
    fn pid(&self) -> Option<u32> {
        None
    }

    /// Names the page in [`News`].
    fn page_key(&self, page: &Self::Page) -> String;

    /// Names the context in [`News`].
    fn context_key(&self, context: &Self::Context) -> String;

    /// Where downloads of this context go, when they are kept.
    fn downloads<'a>(&self, context: &'a Self::Context) -> Option<&'a Path>;

    /// Resolves when the browser has answered anything. [`OpError::TimedOut`] and [`OpError::Lost`] are no
    /// answers; what the browser itself said, an error too, is one.
    fn ping(&self) -> impl Future<Output = Result<(), OpError>> + Send;

    /// Lets the calls in this context, or on the whole browser, take that long, until what this returns is
    /// dropped. A driver that bounds no call has nothing to do.
    fn allow(&self, context: Option<&Self::Context>, limit: Duration) -> Option<Allowed> {
        let _ = (context, limit);
        None
    }

    /// Makes a context that ends with the connection at the latest.
    fn new_context(
        &self,
        options: &ContextOptions,
    ) -> impl Future<Output = Result<Self::Context, OpError>> + Send;

    /// Ends a context with all its pages; resolves when they are gone.
    fn dispose_context(
        &self,
        context: &Self::Context,
    ) -> impl Future<Output = Result<(), OpError>> + Send;

    /// Opens an empty page in the context.
    fn new_page(
        &self,
        context: &Self::Context,
    ) -> impl Future<Output = Result<Self::Page, OpError>> + Send;

    /// Closes a page; resolves when it is gone.
    fn close_page(&self, page: &Self::Page) -> impl Future<Output = Result<(), OpError>> + Send;

    /// Closes a page that another one opened.
    fn close_popup(&self, page: &str) -> impl Future<Output = Result<(), OpError>> + Send;

    /// Makes a context like new, and gives a fresh page in it: closes every page of the context, those that
    /// pages opened included, and clears what the context keeps. A clone of the used page is dead then.
    ///
    /// # Errors
    ///
    /// When anything of the last lease may be left: the context is ended then.
    fn reset_page(
        &self,
        context: &Self::Context,
        used: &Self::Page,
    ) -> impl Future<Output = Result<Self::Page, OpError>> + Send;

    /// Bytes that the processes of the browser use together (PSS). May take milliseconds: called
    /// where blocking is allowed.
    fn memory(&self) -> Option<u64>;

    /// Ends the browser: all its processes and its directory. Later calls report the same again.
    fn end(&self, how: Ending) -> impl Future<Output = BrowserReport> + Send;

    /// Ends the browser without a runtime, within `bound`. What takes longer is handed over.
    fn end_now(&self, bound: Duration) -> BrowserReport;
}
