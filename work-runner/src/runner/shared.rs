//! What the worker, its engine, its jobs and its guard share, and the requests to the engine.

use super::Drive;
use super::flight::{Flight, lock};
use super::guard::Guard;
use super::handler::Handler;
use super::task::Layer;
use crate::config::Config;
use crate::error::DriveError;
use crate::event::Hook;
use crate::poke::Poke;
use crate::registry::{Registry, WorkerAbout, WorkerQueue};
use crate::report::{LeftBehind, StopReport};
use crate::signal::Signal;
use crate::stats::{Counters, Stats};
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A queue that a worker claims from.
#[derive(Debug, Clone)]
pub(super) struct QueueConfig {
    pub(super) name: Arc<str>,
    /// How many of its jobs run at once in this worker.
    pub(super) places: usize,
}

/// What the engine, its lanes and the guard share.
pub(super) struct Shared {
    pub(super) registry: Arc<dyn Registry>,
    pub(super) handlers: HashMap<String, Handler>,
    /// What runs around each of them, the outermost first.
    pub(super) layers: Vec<Layer>,
    /// The kinds of the handlers: nothing else is claimed.
    pub(super) kinds: Arc<[Arc<str>]>,
    pub(super) queues: Vec<QueueConfig>,
    pub(super) config: Config,
    /// What people are shown as its version.
    pub(super) version: String,
    /// The longest result that the store takes.
    pub(super) max_bytes: usize,
    pub(super) flight: Arc<Flight>,
    pub(super) guard: Arc<Guard>,
    pub(super) counters: Arc<Counters>,
    pub(super) hook: Hook,
    /// Wakes the engine, and is what callers poke.
    pub(super) wake: Poke,
    pub(super) mail: Mutex<Mail>,
}

/// What others want of the engine. Written first, then signalled: whoever takes the signal finds it.
#[derive(Debug, Default)]
pub(super) struct Mail {
    pub(super) drives: Vec<DriveRequest>,
    pub(super) attend: Option<Attend>,
    pub(super) stop: Option<StopRequest>,
    /// The engine takes nothing more.
    pub(super) closed: bool,
    /// A stop or a drain has begun, and waits for the engine to end.
    pub(super) stopping: bool,
    /// What the engine could not end, once it has stopped.
    pub(super) left: Vec<LeftBehind>,
}

/// Somebody wants to know when what is due has been claimed.
#[derive(Debug)]
pub(super) struct DriveRequest {
    pub(super) answer: oneshot::Sender<Result<Drive, DriveError>>,
    /// Answer only when nothing runs any more.
    pub(super) until_idle: bool,
}

/// A runner begins or ends to attend to the worker.
#[derive(Debug)]
pub(super) struct Attend {
    /// How often to look for work that nobody poked for; `None` for never.
    pub(super) poll: Option<Duration>,
    pub(super) counts: Arc<Counts>,
}

/// What a runner counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) drives: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// How a worker is to stop.
#[derive(Debug)]
pub(super) struct StopRequest {
    pub(super) deadline: Instant,
    /// Ask every handler to end at once, instead of near the deadline.
    pub(super) at_once: bool,
    pub(super) answer: oneshot::Sender<StopReport>,
}

impl Shared {
    /// Puts something into the mail of the engine and wakes it. False when the engine takes nothing more.
    pub(super) fn post(&self, write: impl FnOnce(&mut Mail)) -> bool {
        {
            let mut mail = lock(&self.mail);
            if mail.closed {
                return false;
            }
            write(&mut mail);
        }
        self.wake.signals().raise(Signal::CHANGED);
        true
    }

    /// What the worker says of itself when it comes.
    pub(super) fn about(&self) -> WorkerAbout {
        let queue = |queue: &QueueConfig| WorkerQueue::new(queue.name.to_string(), queue.places);
        let mut kinds: Vec<String> = self.handlers.keys().cloned().collect();
        kinds.sort_unstable();
        WorkerAbout {
            version: self.version.clone(),
            hostname: crate::identity::hostname(),
            queues: self.queues.iter().map(queue).collect(),
            kinds,
        }
    }

    pub(super) fn stats(&self) -> Stats {
        let claimed = self.counters.claimed.count();
        let mut stats = self.counters.snapshot(0);
        // The ends are read after the claims, so that a job in between counts as in flight, never as lost.
        stats.claimed = claimed.max(stats.ended());
        stats.in_flight = stats.claimed - stats.ended();
        stats
    }
}

/// `after` from now, or as far ahead as a clock can show.
pub(super) fn from_now(after: Duration) -> Instant {
    /// Longer than any program; short enough to be added to any clock.
    const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    Instant::now() + after.min(FOR_EVER)
}
