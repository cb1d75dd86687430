//! What a caller asks for: the launch profile, the unit, and how to wait for it.

use std::sync::Arc;
use std::time::Duration;

/// What every browser of one kind is started with. Two leases share a browser only when their
/// profiles are equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LaunchProfile {
    pub(crate) proxy: Option<String>,
    pub(crate) user_agent: Option<String>,
    pub(crate) args: Vec<String>,
}

impl LaunchProfile {
    /// The profile without proxy, user agent or arguments of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends all traffic of the browser through this proxy, such as `socks5://127.0.0.1:1080`.
    #[must_use]
    pub fn proxy(mut self, proxy: impl Into<String>) -> Self {
        self.proxy = Some(proxy.into());
        self
    }

    /// Replaces the user agent of every page of the browser.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Adds a command line argument. Arguments that the pool owns, such as `--user-data-dir`, are
    /// refused when the browser is launched.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }
}

/// How far one lease is from the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isolation {
    /// A fresh browser context for each lease: own cookies, storage and cache, thrown away when
    /// the lease ends.
    #[default]
    Context,
    /// A page with a context of its own that is reset and used again: between leases its cookies,
    /// cache and the storage of the sites that it visited are cleared, but not every trace that a
    /// hostile page can leave in its renderer. Several times cheaper; for work that trusts its pages.
    Page,
    /// A browser process for each lease, closed when the lease ends.
    Browser,
}

/// The unit that stands behind a lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnitSpec {
    /// A fresh browser context with one page in it.
    Page(ContextOptions),
    /// A page in a context of its own that outlives the lease, reset between leases.
    SharedPage,
    /// A fresh browser context without a page.
    Context(ContextOptions),
    /// A whole browser that no lease has used before, with one page when `with_page`.
    Browser {
        /// Whether a page is made before the lease is handed out.
        with_page: bool,
    },
}

impl UnitSpec {
    /// Whether the unit takes a browser for itself.
    pub fn is_browser(&self) -> bool {
        matches!(self, Self::Browser { .. })
    }

    /// Pages that exist from the moment the unit is made.
    pub(crate) fn pages(&self) -> usize {
        match self {
            Self::Page(_) | Self::SharedPage | Self::Browser { with_page: true } => 1,
            Self::Context(_) | Self::Browser { with_page: false } => 0,
        }
    }
}

/// What a fresh browser context is made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ContextOptions {
    pub(crate) proxy: Option<String>,
    pub(crate) proxy_bypass: Option<String>,
    pub(crate) downloads: bool,
}

impl ContextOptions {
    /// The proxy of this context alone.
    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// The hosts that go past the proxy of this context.
    pub fn proxy_bypass(&self) -> Option<&str> {
        self.proxy_bypass.as_deref()
    }

    /// Whether downloads are kept, in a directory of the lease's own.
    pub fn downloads(&self) -> bool {
        self.downloads
    }
}

/// How a lease is asked for: everything is optional.
#[derive(Debug, Clone, Default)]
pub struct LeaseOptions {
    pub(crate) tenant: Arc<str>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) profile: Option<LaunchProfile>,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) context: ContextOptions,
}

impl LeaseOptions {
    /// The options of `pool.page()`: no tenant, and what the pool's configuration says.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits in the line of this tenant: free units go to the waiting tenants in turn.
    #[must_use]
    pub fn tenant(mut self, tenant: impl AsRef<str>) -> Self {
        self.tenant = tenant.as_ref().into();
        self
    }

    /// Bounds queueing, launch and creation together.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Asks for a browser that was started with this profile.
    #[must_use]
    pub fn profile(mut self, profile: LaunchProfile) -> Self {
        self.profile = Some(profile);
        self
    }

    /// Overrides the isolation of the pool.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = Some(isolation);
        self
    }

    /// Gives the context of this lease a proxy of its own. Such a context is never taken from stock.
    #[must_use]
    pub fn proxy(mut self, proxy: impl Into<String>) -> Self {
        self.context.proxy = Some(proxy.into());
        self
    }

    /// The hosts that go past the context's proxy, separated by semicolons.
    #[must_use]
    pub fn proxy_bypass(mut self, hosts: impl Into<String>) -> Self {
        self.context.proxy_bypass = Some(hosts.into());
        self
    }

    /// Keeps downloads, in a directory that ends with the lease. Without this they are refused.
    #[must_use]
    pub fn downloads(mut self) -> Self {
        self.context.downloads = true;
        self
    }
}
