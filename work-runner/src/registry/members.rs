//! What a worker tells the store about itself when it registers, and how a store shows it.

use crate::error::{StoreError, StoreErrorKind};
use crate::identity::Identity;
use crate::lease::WorkerId;
use serde::{Deserialize, Serialize};

/// What a worker tells the store about itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WorkerProfile {
    /// Its process.
    pub identity: Identity,
    /// What it does, for people: nothing is decided by it.
    pub about: WorkerAbout,
}

impl WorkerProfile {
    /// A worker in the process `identity` that does what `about` says.
    pub fn new(identity: Identity, about: WorkerAbout) -> Self {
        Self { identity, about }
    }
}

impl From<Identity> for WorkerProfile {
    fn from(identity: Identity) -> Self {
        Self { identity, ..Self::default() }
    }
}

/// The error of a store that knows the worker already: its lease must not be given to another one.
pub(crate) fn known(worker: WorkerId) -> StoreError {
    let why = format!("the worker {worker} is known already");
    StoreError::new(StoreErrorKind::Invalid, "register a worker").with_source(why)
}

/// What a worker does, as it said when it came.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WorkerAbout {
    /// The version of the program, as [`WorkerBuilder::version`](crate::WorkerBuilder::version) says, or the name and
    /// version of this crate; empty when it did not say.
    pub version: String,
    /// The name of its machine; empty where this crate cannot read it, as on macOS.
    pub hostname: String,
    /// The queues that it claims from, in its order.
    pub queues: Vec<WorkerQueue>,
    /// The kinds of jobs that it runs, by name.
    pub kinds: Vec<String>,
}

/// A queue that a worker claims from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerQueue {
    /// Its name.
    pub queue: String,
    /// How many of its jobs run at once in this worker.
    pub places: usize,
}

impl WorkerQueue {
    /// `places` places for the jobs of `queue`.
    pub fn new(queue: String, places: usize) -> Self {
        Self { queue, places }
    }
}

/// A worker that the store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerRecord {
    /// The incarnation.
    pub id: WorkerId,
    /// Its process.
    pub identity: Identity,
    /// What is left of its lease; negative when it has run out.
    pub lease_ms: i64,
    /// When it registered, in milliseconds since the epoch on the clock of the store; 0 when that is not known.
    pub since_ms: i64,
    /// What it does; empty in a [`Peek`](crate::Peek).
    pub about: WorkerAbout,
}

impl WorkerRecord {
    /// The worker `id` in the process `identity`, whose lease lasts `lease_ms` more.
    pub fn new(id: WorkerId, identity: Identity, lease_ms: i64) -> Self {
        Self { id, identity, lease_ms, since_ms: 0, about: WorkerAbout::default() }
    }

    /// Adds when it came, and what it said it does.
    #[must_use]
    pub fn about(mut self, since_ms: i64, about: WorkerAbout) -> Self {
        (self.since_ms, self.about) = (since_ms, about);
        self
    }
}

/// As the stores keep it. What cannot be read says nothing: it must not hide the worker.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl WorkerAbout {
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn read(json: Option<&str>) -> Self {
        json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }
}
