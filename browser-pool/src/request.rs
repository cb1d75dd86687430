//! What a caller asks for: the launch profile, the unit, and how to wait for it.

use crate::proxy::{Credentials, check_proxy};
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

    /// Sends all traffic of the browser through this proxy, such as `socks5://127.0.0.1:1080`. What is
    /// not one proxy in this form is refused, because a browser ignores it and connects directly.
    #[must_use]
    pub fn proxy(mut self, proxy: impl Into<String>) -> Self {
        self.proxy = Some(proxy.into());
        self
    }

    /// Replaces the user agent of every page of the browser. It must hold printable ASCII
    /// characters only, and not only spaces.
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
    /// hostile page can leave in its renderer. For work that trusts its pages.
    /// A lease that asks for a proxy or downloads gets a fresh context instead.
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
    /// A whole browser that no lease has used before.
    Browser {
        /// The context of the page that is made before the lease is handed out, if there is one.
        page: Option<ContextOptions>,
    },
}

impl UnitSpec {
    /// Whether the unit takes a browser for itself.
    pub fn is_browser(&self) -> bool {
        matches!(self, Self::Browser { .. })
    }

    /// What its context is made with, if it has one of its own.
    fn context(&self) -> Option<&ContextOptions> {
        match self {
            Self::Page(options) | Self::Context(options) => Some(options),
            Self::Browser { page } => page.as_ref(),
            Self::SharedPage => None,
        }
    }

    /// Whether only a browser that the pool launched can have it.
    pub(crate) fn needs_own_browser(&self) -> bool {
        // A browser that another program launched may let traffic go past a proxy.
        let needs = |options: &ContextOptions| options.downloads || options.proxy.is_some();
        self.context().is_some_and(needs)
    }

    /// Whether it was asked for something of its own, which may be what the browser refuses.
    pub(crate) fn is_special(&self) -> bool {
        self.context().is_some_and(|options| *options != ContextOptions::default())
    }

    /// Pages that exist from the moment the unit is made.
    pub(crate) fn pages(&self) -> usize {
        match self {
            Self::Page(_) | Self::SharedPage | Self::Browser { page: Some(_) } => 1,
            Self::Context(_) | Self::Browser { page: None } => 0,
        }
    }
}

/// What a fresh browser context is made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ContextOptions {
    pub(crate) proxy: Option<String>,
    pub(crate) proxy_bypass: Option<String>,
    pub(crate) proxy_credentials: Option<Credentials>,
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

    /// The name and the password that the proxy of this context is answered.
    pub fn proxy_credentials(&self) -> Option<(&str, &str)> {
        let Credentials { user, password } = self.proxy_credentials.as_ref()?;
        Some((user, password))
    }

    /// Whether downloads are kept, in a directory of the lease's own.
    pub fn downloads(&self) -> bool {
        self.downloads
    }
}

impl LaunchProfile {
    /// Why a browser cannot be started as this says, if it cannot.
    pub(crate) fn check(&self) -> Result<(), BadOption> {
        let proxy = self.proxy.as_deref().map_or(Ok(()), check_proxy);
        proxy.map_err(|reason| BadOption { option: "profile.proxy", reason })?;
        let is_plain = |agent: &str| {
            !agent.trim().is_empty() && agent.chars().all(|c| c == ' ' || c.is_ascii_graphic())
        };
        match self.user_agent.as_deref() {
            // A browser ignores it, and tells its own.
            Some(agent) if !is_plain(agent) => {
                let reason = "it is empty, or has other characters than those of printable ASCII";
                Err(BadOption { option: "profile.user_agent", reason })
            }
            _ => Ok(()),
        }
    }
}

/// An option that cannot be honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadOption {
    pub(crate) option: &'static str,
    pub(crate) reason: &'static str,
}

impl ContextOptions {
    fn check(&self) -> Result<(), BadOption> {
        if let Some(proxy) = &self.proxy {
            check_proxy(proxy).map_err(|reason| BadOption { option: "proxy", reason })?;
        }
        if self.proxy_credentials.is_some() {
            let reason = match self.proxy.as_deref() {
                None => Some("there is no proxy to answer"),
                Some(proxy) if proxy.starts_with("socks") || proxy.starts_with("direct") => {
                    Some("browsers answer http and https proxies alone")
                }
                Some(_) => None,
            };
            reason
                .map_or(Ok(()), |reason| Err(BadOption { option: "proxy_credentials", reason }))?;
        }
        match &self.proxy_bypass {
            Some(_) if self.proxy.is_none() => {
                Err(BadOption { option: "proxy_bypass", reason: "there is no proxy to go past" })
            }
            Some(hosts) if hosts.chars().any(char::is_control) => {
                Err(BadOption { option: "proxy_bypass", reason: "it has control characters" })
            }
            _ => Ok(()),
        }
    }

    /// What is asked for beyond what every context has, if anything.
    fn beyond(&self) -> Option<&'static str> {
        if self.proxy.is_some() {
            Some("proxy")
        } else if self.downloads {
            Some("downloads")
        } else {
            None
        }
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

    /// Gives the context of this lease a proxy of its own, such as `socks5://127.0.0.1:1080`. Such a
    /// context is never taken from stock, nor used again. Requests to the loopback go past every proxy,
    /// unless the bypass list has `<-loopback>`.
    ///
    /// For a whole browser use [`LaunchProfile::proxy`]; there this option is refused.
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

    /// Answers the context's proxy, when it asks, with this name and password; a site that asks gets neither. For
    /// `http` and `https` proxies: browsers answer no others.
    #[must_use]
    pub fn proxy_credentials(
        mut self,
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        let (user, password) = (user.into(), password.into());
        self.context.proxy_credentials = Some(Credentials { user, password });
        self
    }

    /// Keeps downloads, in a directory that ends with the lease. Without this they are refused. A whole
    /// browser has no directory of that kind; there this option is refused.
    #[must_use]
    pub fn downloads(mut self) -> Self {
        self.context.downloads = true;
        self
    }
}

/// What is leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Page(Isolation),
    Context,
    Browser,
}

impl LeaseOptions {
    /// The unit that has everything which is asked for, or the option that no unit of this kind has.
    pub(crate) fn unit(&self, kind: Kind) -> Result<UnitSpec, BadOption> {
        self.profile.as_ref().map_or(Ok(()), LaunchProfile::check)?;
        self.context.check()?;
        let context = self.context.clone();
        Ok(match (kind, context.beyond()) {
            (Kind::Browser, Some(option)) => {
                let reason = "a whole browser has no context of the lease's own; say it in the \
                              launch profile or to the browser itself";
                return Err(BadOption { option, reason });
            }
            (Kind::Browser, None) => UnitSpec::Browser { page: None },
            (Kind::Context, _) => UnitSpec::Context(context),
            (Kind::Page(Isolation::Browser), _) => UnitSpec::Browser { page: Some(context) },
            (Kind::Page(Isolation::Page), None) => UnitSpec::SharedPage,
            // A context with options of its own serves this lease alone, so there is nothing to use again.
            (Kind::Page(Isolation::Page | Isolation::Context), _) => UnitSpec::Page(context),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_what_was_asked_for_or_says_which_option_it_has_not() {
        let kinds = [
            Kind::Page(Isolation::Context),
            Kind::Page(Isolation::Page),
            Kind::Page(Isolation::Browser),
            Kind::Context,
            Kind::Browser,
        ];
        let asked = LeaseOptions::new().proxy("socks5://a").downloads();
        for kind in kinds {
            match asked.unit(kind) {
                Ok(UnitSpec::Page(has) | UnitSpec::Context(has)) => assert_eq!(has, asked.context),
                Ok(UnitSpec::Browser { page }) => assert_eq!(page.as_ref(), Some(&asked.context)),
                Ok(UnitSpec::SharedPage) => panic!("{kind:?} drops the options"),
                Err(bad) => assert_eq!((kind, bad.option), (Kind::Browser, "proxy")),
            }
            for wrong in [
                LeaseOptions::new().proxy(""),
                LeaseOptions::new().proxy_bypass("*"),
                LeaseOptions::new().proxy_credentials("u", "p"),
                LeaseOptions::new().proxy("socks5://a").proxy_credentials("u", "p"),
                LeaseOptions::new().profile(LaunchProfile::new().proxy("")),
                LeaseOptions::new().profile(LaunchProfile::new().user_agent("")),
                LeaseOptions::new().profile(LaunchProfile::new().user_agent("a\r\nb")),
                LeaseOptions::new().profile(LaunchProfile::new().user_agent("caf\u{e9}")),
            ] {
                assert!(wrong.unit(kind).is_err(), "{kind:?} {wrong:?}");
            }
        }
    }
}
