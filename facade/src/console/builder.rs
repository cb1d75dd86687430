//! Sets a console up, and refuses what cannot work.

use super::guard::{Guard, Token};
use super::panel::{Look, Panel};
use super::source::Source;
use super::{Console, Part, Shared};
use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore, watch};

/// How many pages are fed with events at once.
const WATCHERS: usize = 32;

/// Sets up a [`Console`].
#[must_use = "nothing is built before `build`"]
pub struct Builder {
    name: String,
    base: String,
    every: Duration,
    token: Option<String>,
    hosts: Vec<String>,
    may_order: bool,
    parts: Vec<Part>,
    #[cfg(feature = "work-runner")]
    store: Option<Arc<dyn lastout_work_runner::Registry>>,
    #[cfg(feature = "work-runner")]
    payloads: Option<Arc<super::store::Payloads>>,
}

impl Builder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            base: String::new(),
            every: Duration::from_secs(2),
            token: None,
            hosts: Vec::new(),
            may_order: false,
            parts: Vec::new(),
            #[cfg(feature = "work-runner")]
            store: None,
            #[cfg(feature = "work-runner")]
            payloads: None,
        }
    }

    /// Shows the queues, workers and jobs of this store.
    #[cfg(feature = "work-runner")]
    pub fn store(mut self, store: Arc<dyn lastout_work_runner::Registry>) -> Self {
        self.store = Some(store);
        self
    }

    /// Shows what this returns of the payload of a job, on the page of that job. Without it only the size of
    /// a payload is shown, because there may be personal data in it.
    #[cfg(feature = "work-runner")]
    pub fn payloads(
        mut self,
        show: impl Fn(&lastout_work_runner::JobRecord) -> String + Send + Sync + 'static,
    ) -> Self {
        self.payloads = Some(Arc::new(show));
        self
    }

    /// Shows something under this name: a browser pool, a process tree, a stream, the handle of a cleanup
    /// worker, or a closure that returns a [`Panel`].
    pub fn panel(mut self, name: impl Into<String>, look: impl Look) -> Self {
        let look = Arc::new(look);
        let look: Arc<dyn Fn() -> Panel + Send + Sync> = Arc::new(move || look.look());
        self.parts.push(Part { name: name.into(), look, source: Source::default() });
        self
    }

    /// Takes orders: pause and resume of queues, cancel, retry, run now and delete of jobs. Without this the
    /// console is read-only.
    pub fn allow_orders(mut self) -> Self {
        self.may_order = true;
        self
    }

    /// Asks for this token: 16 to 1 024 letters, digits or `-._~+/=`.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Answers to this name as well, besides `localhost` and every address. A name that the console was not
    /// told of is refused, because a page of a stranger may have bound it to this address.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// The path under which the console stands in your own server, such as `/console`. It must not begin as a
    /// path of the console itself does: `/jobs`, `/events`, `/confirm`, `/order`, `/login`, `/console.css`,
    /// `/console.js`. No part of it is `.` or `..`, which a browser takes away.
    pub fn base(mut self, path: impl Into<String>) -> Self {
        self.base = path.into();
        self
    }

    /// How often an open page is fed; the default is two seconds. All pages share one look.
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Builds it.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when a name, a token, a path or a time cannot work.
    pub fn build(mut self) -> Result<Console, BuildError> {
        let token = match self.token.take() {
            Some(text) => Some(Token::new(text).ok_or(BuildError::Token)?),
            None => None,
        };
        for host in &mut self.hosts {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            if host.is_empty() || !host.chars().all(is_name) || host.parse::<IpAddr>().is_ok() {
                return Err(BuildError::Host(host.clone()));
            }
            host.make_ascii_lowercase();
        }
        let base = self.base.strip_suffix('/').unwrap_or(&self.base).to_owned();
        let is_path = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        let is_rooted = base.is_empty() || base.starts_with('/');
        let first = base.split('/').nth(1).unwrap_or_default();
        let is_ours = PAGES.contains(&first);
        let is_walk = base.split('/').any(|part| part == "." || part == "..");
        if !is_rooted || is_ours || is_walk || base.contains("//") || !base.chars().all(is_path) {
            return Err(BuildError::Base(self.base));
        }
        if !(SHORTEST..=LONGEST).contains(&self.every) {
            return Err(BuildError::Every(self.every));
        }
        let cookie = format!("lastout-{:08x}", fnv(format!("{}\n{base}", self.name).as_bytes()));
        let guard = Guard { hosts: self.hosts, token, may_order: self.may_order, cookie };
        Ok(Console {
            shared: Arc::new(Shared {
                name: self.name,
                base,
                every: self.every,
                guard,
                parts: self.parts,
                supervisor: std::sync::Mutex::new(None),
                members: Source::default(),
                latest: Mutex::new(None),
                watchers: Arc::new(Semaphore::new(WATCHERS)),
                closed: watch::Sender::new(false),
                #[cfg(feature = "work-runner")]
                store: self.store.map(|store| super::store::Store::new(store, self.payloads)),
            }),
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The least and the most of [`Builder::every`]: a look has a cost, and a page without events looks dead.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// First parts of paths of the console. A server that nests it may strip the base or not, and `/jobs/jobs`
/// would be two pages.
const PAGES: [&str; 7] =
    ["jobs", "events", "confirm", "order", "login", "console.css", "console.js"];

/// Tells the cookies of several consoles on one machine apart: browsers do not, by their ports.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Why a console cannot be built.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The token has fewer than 16 or more than 1 024 characters, or one that a cookie cannot carry.
    Token,
    /// This is not the name of a host.
    Host(String),
    /// This is not a path such as `/console`, or it is one of the console's own.
    Base(String),
    /// Pages are fed between every 100 ms and every minute.
    Every(Duration),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("build a console: ")?;
        match self {
            Self::Token => f.write_str("its token needs 16 to 1024 letters, digits or -._~+/="),
            Self::Host(host) => write!(f, "{host:?} is not the name of a host"),
            Self::Base(base) => write!(f, "{base:?} is not a path such as /console"),
            Self::Every(every) => write!(f, "{every:?} is not between 100 ms and 60 s"),
        }
    }
}

impl Error for BuildError {}
