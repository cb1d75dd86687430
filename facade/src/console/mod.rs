#![doc = include_str!("mod.md")]

mod body;
mod builder;
mod events;
mod form;
mod guard;
mod html;
#[cfg(feature = "work-runner")]
mod jobs;
#[cfg(feature = "work-runner")]
mod orders;
mod overview;
mod page;
mod panel;
#[cfg(feature = "work-runner")]
mod plots;
mod reader;
mod route;
mod server;
mod source;
#[cfg(feature = "work-runner")]
mod store;

use crate::supervisor::{Handle, Stats};
use guard::Guard;
use html::Html;
use hyper::{Request, Response};
use source::Source;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::ToSocketAddrs;
use tokio::sync::{Mutex, Semaphore, watch};

pub use body::Body;
pub use builder::{BuildError, Builder};
pub use panel::{Look, Panel};
pub use server::{ListenError, Server};

/// A page that shows what a program does. Clones are the same console.
#[derive(Debug, Clone)]
pub struct Console {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    /// The path before all paths of the console; empty, or `/console`.
    base: String,
    every: Duration,
    guard: Guard,
    parts: Vec<Part>,
    supervisor: std::sync::Mutex<Option<Handle>>,
    members: Source<Stats>,
    /// Held while a snapshot is taken, so that all pages share one.
    latest: Mutex<Option<Arc<Snapshot>>>,
    watchers: Arc<Semaphore>,
    closed: watch::Sender<bool>,
    #[cfg(feature = "work-runner")]
    store: Option<store::Store>,
}

/// Something that is shown under a name.
struct Part {
    name: String,
    look: Arc<dyn Fn() -> Panel + Send + Sync>,
    source: Source<Panel>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The sections of the overview at one moment.
#[derive(Debug)]
struct Snapshot {
    taken: Instant,
    sections: Vec<(&'static str, Html)>,
}

impl Console {
    /// A console with this name on its pages.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    /// Shows the members of a supervisor. It may be one that the console itself is a member of; of several,
    /// the last one is shown.
    pub fn watch(&self, supervisor: Handle) {
        *self.shared.supervisor.lock().unwrap_or_else(PoisonError::into_inner) = Some(supervisor);
    }

    /// Listens on this address. It must be a loopback address, unless the console asks for a token.
    ///
    /// # Errors
    ///
    /// [`ListenError`] when others could reach it without a token, or the system refuses the address.
    ///
    /// # Cancel safety
    ///
    /// Nothing listens when it is dropped.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its time and input/output on.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> Result<Server, ListenError> {
        Server::bind(self.clone(), address).await
    }

    /// Answers a request that came in through your own server, under [`base`](Builder::base), which may be
    /// in the path or not. Every check is made here: the name of the host, the token, where an order comes from.
    ///
    /// # Cancel safety
    ///
    /// An order whose answer is dropped may have been carried out.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its time on.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: hyper::body::Body,
    {
        self.respond(request, self.shared.closed.subscribe()).await
    }

    /// Ends the streams of events of a console that your own server serves: call it before that server waits
    /// for its connections. What is asked for afterwards is answered once.
    pub fn close(&self) {
        self.shared.closed.send_replace(true);
    }

    fn has_token(&self) -> bool {
        self.shared.guard.token.is_some()
    }
}

impl Shared {
    /// What there is to see, looked at not longer ago than pages are fed. Of several who ask at once, one looks.
    async fn snapshot(&self) -> Arc<Snapshot> {
        let mut latest = self.latest.lock().await;
        if let Some(snapshot) = latest.as_ref().filter(|one| one.taken.elapsed() < self.every) {
            return Arc::clone(snapshot);
        }
        let snapshot = Arc::new(self.take().await);
        *latest = Some(Arc::clone(&snapshot));
        snapshot
    }

    /// Forgets the last snapshot: an order has changed what it shows.
    #[cfg(feature = "work-runner")]
    async fn look_again(&self) {
        *self.latest.lock().await = None;
    }
}
