//! The request: everything that a caller can ask of a job, and nothing that it has become.

#[cfg(doc)]
use super::PRIORITY_STEP;
use super::{Recovery, Unique, UniqueWhile, millis, wall_millis};
use crate::error::{StoreError, StoreErrorKind};
#[cfg(doc)]
use crate::lifecycle::State;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A job to be enqueued: kind, payload and the promises asked for it.
///
/// ```
/// use lastout_work_runner::NewJob;
/// use std::time::Duration;
///
/// let job = NewJob::new("thumbnail", &"page-7.png")?
///     .queue("images")
///     .priority(3)
///     .delay(Duration::from_secs(30))
///     .unique("thumbnail:page-7")
///     .max_attempts(5);
/// # Ok::<(), lastout_work_runner::PayloadError>(())
/// ```
#[derive(Debug, Clone)]
pub struct NewJob {
    pub(crate) queue: Arc<str>,
    pub(crate) kind: Arc<str>,
    pub(crate) payload: Vec<u8>,
    pub(crate) priority: i16,
    pub(crate) due: Due,
    pub(crate) max_attempts: i32,
    pub(crate) max_crashes: i32,
    pub(crate) recovery: Recovery,
    pub(crate) unique: Option<Unique>,
    pub(crate) limit: Option<(Arc<str>, i32)>,
    pub(crate) timeout_ms: i64,
    pub(crate) own_lease_ms: i64,
}

/// When a job may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// After this many milliseconds on the clock of the store.
    In(i64),
    /// At this many milliseconds since the epoch.
    At(i64),
}

impl Due {
    /// The time on a clock that shows `now_ms`.
    pub(crate) fn at(self, now_ms: i64) -> i64 {
        match self {
            Self::In(delay) => now_ms.saturating_add(delay),
            Self::At(at) => at,
        }
    }
}

/// The longest name of a queue or kind, and the longest key, in bytes: each is part of an index.
pub(crate) const MOST_NAME_BYTES: usize = 1024;

/// Why no store can keep a name; `None` when every store can.
pub(crate) fn fault_of_name(what: &str, name: &str) -> Option<String> {
    if name.contains('\0') {
        return Some(format!("{what} holds a NUL byte"));
    }
    let over = name.len() > MOST_NAME_BYTES;
    over.then(|| format!("{what} has {} bytes, over the limit of {MOST_NAME_BYTES}", name.len()))
}

/// A name as every store can keep it.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), StoreError> {
    fault_of_name(what, name).map_or(Ok(()), |why| Err(invalid(why)))
}

/// Bytes as a store takes them whose limit is `most`.
pub(crate) fn check_bytes(what: &str, bytes: usize, most: usize) -> Result<(), StoreError> {
    if bytes <= most {
        return Ok(());
    }
    Err(invalid(format!("{what} has {bytes} bytes, over the limit of {most}")))
}

fn invalid(why: String) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, "check a request").with_source(why)
}

/// A pause of `what` as every store can keep it.
pub(crate) fn check_pause(what: &str, name: &str, by: &str) -> Result<(), StoreError> {
    check_name(what, name)?;
    check_name("the name of who pauses it", by)
}

/// Checks jobs before they are stored.
pub(crate) fn check_jobs(jobs: &[NewJob], max_bytes: usize) -> Result<(), StoreError> {
    jobs.iter().try_for_each(|job| job.check(max_bytes))
}

/// A payload could not be written as JSON.
#[derive(Debug)]
pub struct PayloadError {
    kind: String,
    source: serde_json::Error,
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "encode the payload of a {} job", self.kind)
    }
}

impl std::error::Error for PayloadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl NewJob {
    /// The queue of jobs that name none.
    pub const DEFAULT_QUEUE: &'static str = "default";
    /// How often a job is tried unless it says otherwise.
    pub const DEFAULT_MAX_ATTEMPTS: u16 = 20;
    /// How many workers a job may kill before it is set aside, unless it says otherwise.
    pub const DEFAULT_MAX_CRASHES: u16 = 3;

    /// A job of `kind` with `payload` written as JSON.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] when the payload has no JSON form, such as a map with keys that are no text.
    pub fn new<P: Serialize + ?Sized>(kind: &str, payload: &P) -> Result<Self, PayloadError> {
        match serde_json::to_vec(payload) {
            Ok(bytes) => Ok(Self::raw(kind, bytes)),
            Err(source) => Err(PayloadError { kind: kind.into(), source }),
        }
    }

    /// A job of `kind` whose payload is `bytes` as they are; a typed handler reads them as JSON.
    pub fn raw(kind: impl Into<Arc<str>>, payload: Vec<u8>) -> Self {
        Self {
            queue: Self::DEFAULT_QUEUE.into(),
            kind: kind.into(),
            payload,
            priority: 0,
            due: Due::In(0),
            max_attempts: i32::from(Self::DEFAULT_MAX_ATTEMPTS),
            max_crashes: i32::from(Self::DEFAULT_MAX_CRASHES),
            recovery: Recovery::Rerun,
            unique: None,
            limit: None,
            timeout_ms: 0,
            own_lease_ms: 0,
        }
    }

    /// Puts the job into `queue` instead of [`DEFAULT_QUEUE`](Self::DEFAULT_QUEUE).
    #[must_use]
    pub fn queue(mut self, queue: impl Into<Arc<str>>) -> Self {
        self.queue = queue.into();
        self
    }

    /// Higher goes first; each step is worth [`PRIORITY_STEP`] of waiting.
    #[must_use]
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// Starts no earlier than `delay` after it was stored, by the clock of the store.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.due = Due::In(millis(delay));
        self
    }

    /// Starts no earlier than `at`. The store compares it with its own clock.
    #[must_use]
    pub fn run_at(mut self, at: SystemTime) -> Self {
        self.due = Due::At(wall_millis(at));
        self
    }

    /// Tries it at most this often (at least once). A crash of the worker is no try.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u16) -> Self {
        self.max_attempts = i32::from(attempts.max(1));
        self
    }

    /// Sets it aside as poisoned after it killed this many workers (at least one).
    #[must_use]
    pub fn max_crashes(mut self, crashes: u16) -> Self {
        self.max_crashes = i32::from(crashes.max(1));
        self
    }

    /// What happens when its worker dies.
    #[must_use]
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Refuses this job while a live one with the same key exists; the existing id is returned.
    #[must_use]
    pub fn unique(self, key: impl Into<String>) -> Self {
        self.unique_while(key, UniqueWhile::Live)
    }

    /// Like [`unique`](Self::unique), with the time for which the key is taken.
    #[must_use]
    pub fn unique_while(mut self, key: impl Into<String>, scope: UniqueWhile) -> Self {
        self.unique = Some(Unique::new(key.into(), scope));
        self
    }

    /// Refuses this job while a live one of the same kind with the same payload exists, byte for byte; the
    /// existing id is returned. Queue, priority and times do not count.
    #[must_use]
    pub fn unique_by_args(mut self) -> Self {
        self.unique = Some(Unique::by_args(&self.kind, &self.payload));
        self
    }

    /// Refuses this job if a job with the same unique key was stored in the current period, even if that job has
    /// ended; the existing id is returned. Without a unique key, kind and payload make the key, as in
    /// [`unique_by_args`](Self::unique_by_args). Its start takes up to 20 of the 1024 bytes of a key. Call it last: a later call that sets the key replaces it.
    ///
    /// Periods are counted from the epoch on the clock of the store: a period of one hour is an hour of UTC. The
    /// period is the one in which the transaction of the enqueue began. A job that is pruned before its period is over no longer refuses another.
    ///
    /// ```
    /// use lastout_work_runner::{MemoryRegistry, NewJob, WorkDriver};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let driver = WorkDriver::producer(std::sync::Arc::new(MemoryRegistry::new()));
    /// let year = Duration::from_secs(365 * 24 * 3600);
    /// let report = || NewJob::new("report", &"ann").map(|job| job.unique_per(year));
    /// let first = driver.enqueue(report()?).await?;
    /// driver.cancel(first.id()).await?;
    /// let again = driver.enqueue(report()?).await?;
    /// assert!(!again.is_new() && again.id() == first.id());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn unique_per(mut self, period: Duration) -> Self {
        let given = self.unique.take();
        let unique = given.unwrap_or_else(|| Unique::by_args(&self.kind, &self.payload));
        let (scope, period_ms) = (UniqueWhile::Kept, millis(period).max(1));
        self.unique = Some(Unique { scope, period_ms, ..unique });
        self
    }

    /// At most `max` jobs with this key are ready or running at once, over all queues and workers;
    /// the others are [`Held`](State::Held) and cost a claim nothing.
    #[must_use]
    pub fn limit(mut self, key: impl Into<Arc<str>>, max: u16) -> Self {
        self.limit = Some((key.into(), i32::from(max.max(1))));
        self
    }

    /// Cancels an attempt that runs longer than this.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = millis(timeout).max(1);
        self
    }

    /// Gives the job a lease of its own beside the lease of its worker: the handler must call
    /// [`Job::beat`](crate::Job::beat) within every `ttl`, or the job is taken from it.
    #[must_use]
    pub fn own_lease(mut self, ttl: Duration) -> Self {
        self.own_lease_ms = millis(ttl).max(1);
        self
    }

    /// Whether every store can keep it.
    pub(crate) fn check(&self, max_bytes: usize) -> Result<(), StoreError> {
        check_name("the name of the queue", &self.queue)?;
        check_name("the kind", &self.kind)?;
        if let Some(unique) = &self.unique {
            unique.check()?;
        }
        if let Some((key, _)) = &self.limit {
            check_name("the limit key", key)?;
        }
        check_bytes("the payload", self.payload.len(), max_bytes)
    }

    /// The kind it was made with.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}
