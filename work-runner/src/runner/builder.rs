//! Building a worker: handlers, queues and knobs, checked at the end.

use super::flight::Flight;
use super::guard::Guard;
use super::handler::{Handler, Job, JobError, Typed};
use super::shared::{Mail, QueueConfig, Shared};
use super::task::Layer;
use super::worker::DurableWorker;
use crate::config::{Config, MOST_PLACES};
use crate::error::BuildError;
use crate::event::{Event, Hook};
use crate::job::{NewJob, fault_of_name};
use crate::lease::LeaseTimings;
use crate::poke::Poke;
use crate::registry::Registry;
use crate::retry::Backoff;
use crate::stats::Counters;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Collects what a [`DurableWorker`] is to do.
#[must_use]
pub struct WorkerBuilder {
    registry: Arc<dyn Registry>,
    handlers: HashMap<String, Handler>,
    pub(super) layers: Vec<Layer>,
    queues: Vec<QueueConfig>,
    config: Config,
    version: String,
    hook: Hook,
    error: Option<BuildError>,
}

/// Places of the default queue when no queue is named.
const DEFAULT_PLACES: usize = 16;

impl DurableWorker {
    /// A worker on `registry`, to be given handlers and queues.
    pub fn builder(registry: Arc<dyn Registry>) -> WorkerBuilder {
        WorkerBuilder {
            registry,
            handlers: HashMap::new(),
            layers: Vec::new(),
            queues: Vec::new(),
            config: Config::default(),
            version: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            hook: Hook::default(),
            error: None,
        }
    }
}

impl WorkerBuilder {
    /// Runs jobs of `kind` by `handler`, with the default backoff between attempts.
    pub fn handle<P, F, U, R>(self, kind: &str, handler: F) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        F: Fn(Job<P>) -> U + Send + Sync + 'static,
        U: Future<Output = Result<R, JobError>> + Send + 'static,
        R: Serialize + 'static,
    {
        self.handle_with_backoff(kind, Backoff::default(), handler)
    }

    /// Runs jobs of `kind` by `handler`, with `backoff` between attempts.
    pub fn handle_with_backoff<P, F, U, R>(self, kind: &str, backoff: Backoff, handler: F) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        F: Fn(Job<P>) -> U + Send + Sync + 'static,
        U: Future<Output = Result<R, JobError>> + Send + 'static,
        R: Serialize + 'static,
    {
        let run = Box::new(Typed::new(handler));
        self.add(kind, Handler { run, backoff })
    }

    pub(super) fn add(mut self, kind: &str, handler: Handler) -> Self {
        self.check_name("a kind", kind);
        let old = self.handlers.insert(kind.to_owned(), handler);
        if old.is_some() {
            self.error.get_or_insert(BuildError::DuplicateKind(kind.to_owned()));
        }
        self
    }

    /// A worker that asks for a name that no store can keep would fail at every look.
    fn check_name(&mut self, what: &str, name: &str) {
        if let Some(why) = fault_of_name(what, name) {
            self.error.get_or_insert(BuildError::BadName(why));
        }
    }

    /// Claims from `queue`, running at most `places` of its jobs at once. Without any queue the
    /// worker serves [`NewJob::DEFAULT_QUEUE`] with 16 places. Queues named first are filled first.
    pub fn queue(mut self, queue: impl Into<Arc<str>>, places: usize) -> Self {
        let name = queue.into();
        self.check_name("the name of a queue", &name);
        if places == 0 {
            self.error.get_or_insert(BuildError::NoQueue);
        }
        if places > MOST_PLACES {
            let what = format!("the number of places of queue {name}");
            self.error.get_or_insert(BuildError::TooMany {
                what,
                count: places,
                most: MOST_PLACES,
            });
        }
        // Each of two lines of one queue would take what belongs to the other.
        if self.queues.iter().any(|queue| queue.name == name) {
            self.error.get_or_insert(BuildError::DuplicateQueue(name.to_string()));
        }
        self.queues.push(QueueConfig { name, places });
        self
    }

    /// How long the lease lasts and how often it is renewed; 30 s and 10 s unless set.
    pub fn lease(mut self, timings: LeaseTimings) -> Self {
        self.config.lease = timings;
        self
    }

    /// How long a handler has to return after it was asked to stop, before its future is dropped;
    /// 5 s unless set.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.config.grace = grace;
        self
    }

    /// Claims this many jobs of each queue ahead of a free place; 0 unless set. More makes short
    /// jobs faster; a stop gives them back, and a crash is charged to them once.
    pub fn prefetch(mut self, jobs: usize) -> Self {
        self.config.prefetch = jobs;
        self
    }

    /// Deletes jobs that succeeded or were cancelled after this time, or never; after 24 h unless set.
    pub fn keep_ended(mut self, keep: Option<Duration>) -> Self {
        self.config.keep = keep;
        self
    }

    /// Deletes jobs that failed, are dead letters or were abandoned after this time, or never; after 30
    /// days unless set.
    pub fn keep_unhappy(mut self, keep: Option<Duration>) -> Self {
        self.config.keep_unhappy = keep;
        self
    }

    /// The longest that a call of the worker to its store may take, before it counts as failed and is
    /// made again; 10 s unless set.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.config.store_timeout = timeout;
        self
    }

    /// A runtime that does not run any task for this long, because handlers block all its threads,
    /// loses its lease; 30 s unless set.
    pub fn wedged_after(mut self, wedged: Duration) -> Self {
        self.config.wedged_after = wedged;
        self
    }

    /// The version that people are shown beside this worker, such as that of the program; the name and version
    /// of this crate unless set.
    ///
    /// ```
    /// use lastout_work_runner::{DurableWorker, Job, MemoryRegistry};
    /// use std::sync::Arc;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let worker = DurableWorker::builder(Arc::new(MemoryRegistry::new()))
    ///     .version("shop 4.2")
    ///     .queue("mail", 3)
    ///     .handle("greet", |_: Job<String>| async { Ok(()) })
    ///     .build()?;
    /// worker.run_until_idle().await?;
    /// for found in worker.registry().workers().await? {
    ///     assert_eq!((&*found.about.version, found.about.queues[0].places), ("shop 4.2", 3));
    ///     println!("{} runs {:?}", found.about.hostname, found.about.kinds);
    /// }
    /// # worker.stop(std::time::Duration::from_secs(1)).await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Calls `hook` for every event, from the task it happens in, outside all locks. A panic in it
    /// is contained.
    pub fn on_event(mut self, hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.hook = Hook::new(hook);
        self
    }

    /// The worker; it starts with its first drive.
    ///
    /// # Errors
    ///
    /// [`BuildError`] for the first knob that is out of its range.
    pub fn build(mut self) -> Result<DurableWorker, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.config.check()?;
        if self.queues.is_empty() {
            let name = NewJob::DEFAULT_QUEUE.into();
            self.queues.push(QueueConfig { name, places: DEFAULT_PLACES });
        }
        let places = self.queues.iter().map(|queue| queue.places);
        let wake = Poke::new();
        let kinds = self.handlers.keys().map(|kind| Arc::from(&**kind)).collect();
        Ok(DurableWorker::from_shared(Shared {
            flight: Arc::new(Flight::new(places, wake.clone())),
            guard: Arc::new(Guard::new(self.config.lease, self.config.wedged_after)),
            counters: Arc::new(Counters::default()),
            max_bytes: self.registry.max_bytes(),
            registry: self.registry,
            handlers: self.handlers,
            layers: self.layers,
            kinds,
            queues: self.queues,
            config: self.config,
            version: self.version,
            hook: self.hook,
            wake,
            mail: Mutex::new(Mail::default()),
        }))
    }
}

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder")
            .field("queues", &self.queues)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
