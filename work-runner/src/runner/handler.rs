//! What a handler is, what it gets, and what it may answer.

use super::attempt::Attempt;
use crate::contain::{drop_contained, text_of};
use crate::error::WriteError;
use crate::job::JobId;
use crate::lease::Lease;
use crate::lifecycle::Outcome;
use crate::retry::{Backoff, random};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a handler did not finish its job, and what shall happen next. Any error turns into a retry
/// with the backoff of the handler, so `?` works: on errors, on boxed ones and on those of `anyhow`.
///
/// ```
/// use lastout_work_runner::{Job, JobError};
///
/// async fn resize(job: Job<String>) -> Result<u64, JobError> {
///     if job.is_empty() {
///         return Err(JobError::discard("no path"));
///     }
///     Ok(read(&job)?) // tried again after a while
/// }
///
/// fn read(path: &str) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
///     Ok(std::fs::metadata(path)?.len())
/// }
/// ```
#[derive(Debug)]
pub struct JobError(Kind);

#[derive(Debug)]
enum Kind {
    Retry(Cause, Option<Duration>),
    Discard(Cause),
    Snooze(Duration),
}

impl JobError {
    /// Try again after the backoff of the handler.
    pub fn retry(cause: impl Into<Cause>) -> Self {
        Self(Kind::Retry(cause.into(), None))
    }

    /// Try again after `wait`.
    pub fn retry_after(cause: impl Into<Cause>, wait: Duration) -> Self {
        Self(Kind::Retry(cause.into(), Some(wait)))
    }

    /// Trying again is useless: the job fails.
    pub fn discard(cause: impl Into<Cause>) -> Self {
        Self(Kind::Discard(cause.into()))
    }

    /// Not yet: run it after `wait`; this attempt does not count.
    pub fn snooze(wait: Duration) -> Self {
        Self(Kind::Snooze(wait))
    }

    pub(super) fn into_outcome(self, attempt: i32, backoff: Backoff) -> Outcome {
        match self.0 {
            Kind::Retry(cause, wait) => Outcome::Retry {
                error: tell(cause),
                delay_ms: wait
                    .map_or_else(|| backoff.wait_ms(attempt, random()), crate::job::millis),
            },
            Kind::Discard(cause) => Outcome::Fail { error: tell(cause) },
            Kind::Snooze(wait) => Outcome::Snooze { delay_ms: crate::job::millis(wait) },
        }
    }

    pub(super) fn text(self) -> String {
        match self.0 {
            Kind::Retry(cause, _) | Kind::Discard(cause) => tell(cause),
            Kind::Snooze(wait) => format!("snoozed for {wait:?}"),
        }
    }
}

/// Every error, `Box<dyn Error + Send + Sync>`, `anyhow::Error`, and a text.
impl<E: Into<Cause>> From<E> for JobError {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

/// Writes an error of a handler in one line, and drops it.
fn tell(cause: Cause) -> String {
    let text = text_of(&*cause);
    match drop_contained(cause) {
        Ok(()) => text,
        Err(_) => format!("{text} (its destructor panicked)"),
    }
}

/// Why a running job is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopCause {
    /// Somebody cancelled it. An error it returns now ends it as cancelled.
    Cancelled,
    /// It ran longer than it may. An error it returns now counts as a failed attempt.
    TimedOut,
    /// The worker stops. An error it returns now gives the job back uncharged.
    Shutdown,
    /// The lease is lost or about to lapse: another worker may run the job already. Nothing that is
    /// returned now counts; stop every effect at once.
    LeaseLost,
}

/// A running job: its payload, and what its handler may ask and write.
///
/// Dereferences to the payload.
pub struct Job<P> {
    /// What was enqueued.
    pub payload: P,
    pub(super) attempt: Arc<Attempt>,
}

impl<P> Job<P> {
    /// Its id: a stable key for systems that take an idempotency key.
    pub fn id(&self) -> JobId {
        self.lease().job
    }

    /// The kind it was enqueued under.
    pub fn kind(&self) -> &str {
        &self.attempt.claimed.kind
    }

    /// The queue it came from.
    pub fn queue(&self) -> &str {
        &self.attempt.claimed.queue
    }

    /// This attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt.claimed.attempt.unsigned_abs()
    }

    /// The token under which everything about it is written: a true fencing token for systems that
    /// can compare one.
    pub fn lease(&self) -> Lease {
        self.attempt.claimed.lease
    }

    /// Why it is to stop, once it is.
    pub fn stop_cause(&self) -> Option<StopCause> {
        self.attempt.control.cause()
    }

    /// Resolves when the job is asked to stop. After that the handler has the grace of its worker
    /// to return; then its future is dropped.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again.
    pub async fn stopped(&self) -> StopCause {
        self.attempt.control.stopped().await
    }

    /// Saves a value that `get` and the next attempt see. Renews the job's own lease, if it has one.
    ///
    /// # Errors
    ///
    /// [`WriteError::LeaseLost`] when the job is no longer held: stop.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not be applied.
    pub async fn save<C: Serialize + Sync>(&self, progress: &C) -> Result<(), WriteError> {
        let bytes = serde_json::to_vec(progress).map_err(WriteError::Encode)?;
        self.attempt.save(bytes).await
    }

    /// Renews the job's own lease; see [`NewJob::own_lease`](crate::NewJob::own_lease).
    ///
    /// # Errors
    ///
    /// [`WriteError::LeaseLost`] when the job is no longer held: stop.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not be applied.
    pub async fn beat(&self) -> Result<(), WriteError> {
        self.attempt.beat().await
    }

    /// What an earlier attempt saved; `None` when there is none or it is of another type.
    pub fn checkpoint<C: DeserializeOwned>(&self) -> Option<C> {
        serde_json::from_slice(self.attempt.claimed.progress.as_deref()?).ok()
    }

    /// Says that the handler completed the job inside a transaction of its own, by the `complete_in`
    /// of its store. When the handler returns, the runner checks that the transaction was committed;
    /// if it was not, the job is tried again.
    pub fn completed_in_transaction(&self) {
        self.attempt.control.set_completed();
    }
}

impl<P> std::ops::Deref for Job<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.payload
    }
}

impl<P: fmt::Debug> fmt::Debug for Job<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("lease", &self.lease())
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}

/// What a handler's future ends with: the result as JSON, or why not.
pub(super) type Answer = Result<Option<Vec<u8>>, JobError>;

/// A handler at work on one job.
pub(super) type Work = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A handler without its types. `Err` from `start` means that the payload does not decode.
pub(super) trait Run: Send + Sync {
    fn start(&self, payload: &[u8], attempt: Arc<Attempt>) -> Result<Work, serde_json::Error>;

    /// Whether it goes on when its future is dropped.
    fn blocks(&self) -> bool {
        false
    }
}

/// A result as it is stored. Unit results are not: a result is there to be read.
pub(super) fn bytes_of<R: Serialize>(result: &R) -> Answer {
    let bytes = serde_json::to_vec(result).map_err(JobError::discard)?;
    Ok((bytes != b"null").then_some(bytes))
}

pub(super) struct Typed<P, F> {
    pub(super) function: F,
    payload: PhantomData<fn() -> P>,
}

impl<P, F> Typed<P, F> {
    pub(super) fn new(function: F) -> Self {
        Self { function, payload: PhantomData }
    }
}

impl<P, F, U, R> Run for Typed<P, F>
where
    P: DeserializeOwned + Send + 'static,
    F: Fn(Job<P>) -> U + Send + Sync,
    U: Future<Output = Result<R, JobError>> + Send + 'static,
    R: Serialize,
{
    fn start(&self, payload: &[u8], attempt: Arc<Attempt>) -> Result<Work, serde_json::Error> {
        let payload = serde_json::from_slice(payload)?;
        let work = (self.function)(Job { payload, attempt });
        Ok(Box::pin(async move { bytes_of(&work.await?) }))
    }
}

/// A handler with its knobs.
pub(super) struct Handler {
    pub(super) run: Box<dyn Run>,
    pub(super) backoff: Backoff,
}
