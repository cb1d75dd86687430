//! Building a worker: handlers, queues and knobs, checked at the end.

use super::flight::Flight;
use super::guard::Guard;
use super::handler::{Handler, Job, JobError, Typed};
use super::worker::{DurableWorker, Inbox, QueueConfig, Shared};
use crate::config::Config;
use crate::error::BuildError;
use crate::event::{Event, Hook};
use crate::job::NewJob;
use crate::lease::LeaseTimings;
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
    queues: Vec<QueueConfig>,
    config: Config,
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
            queues: Vec::new(),
            config: Config::default(),
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
    pub fn handle_with_backoff<P, F, U, R>(
        mut self,
        kind: &str,
        backoff: Backoff,
        handler: F,
    ) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        F: Fn(Job<P>) -> U + Send + Sync + 'static,
        U: Future<Output = Result<R, JobError>> + Send + 'static,
        R: Serialize + 'static,
    {
        let run = Box::new(Typed::new(handler));
        let old = self.handlers.insert(kind.to_owned(), Handler { run, backoff });
        if old.is_some() {
            self.error.get_or_insert(BuildError::DuplicateKind(kind.to_owned()));
        }
        self
    }

    /// Claims from `queue`, running at most `places` of its jobs at once. Without any queue the
    /// worker serves [`NewJob::DEFAULT_QUEUE`] with 16 places. Queues named first are filled first.
    pub fn queue(mut self, queue: impl Into<Arc<str>>, places: usize) -> Self {
        let name = queue.into();
        if places == 0 {
            self.error.get_or_insert(BuildError::NoQueue);
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

    /// Deletes ended jobs after this time, or never; after 24 h unless set.
    pub fn keep_ended(mut self, keep: Option<Duration>) -> Self {
        self.config.keep = keep;
        self
    }

    /// A runtime that does not run any task for this long, because handlers block all its threads,
    /// loses its lease; 30 s unless set.
    pub fn wedged_after(mut self, wedged: Duration) -> Self {
        self.config.wedged_after = wedged;
        self
    }

    /// How long a job of a kind without a handler here waits before any worker may take it; 10 s
    /// unless set.
    pub fn unknown_kind_delay(mut self, delay: Duration) -> Self {
        self.config.unknown_kind_delay = delay;
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
        // One line more, of one place, for jobs in isolation.
        let places = self.queues.iter().map(|queue| queue.places).chain([1]);
        Ok(DurableWorker::from_shared(Shared {
            flight: Arc::new(Flight::new(places)),
            guard: Arc::new(Guard::new(self.config.lease, self.config.wedged_after)),
            counters: Arc::new(Counters::default()),
            registry: self.registry,
            handlers: self.handlers,
            queues: self.queues,
            config: self.config,
            hook: self.hook,
            inbox: Mutex::new(Inbox::default()),
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
