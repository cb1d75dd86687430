//! One attempt of one job: start the handler, watch it, turn its end into an outcome.

use super::calls::within;
use super::flight::{Control, Flight, Waiting};
use super::handler::{Answer, Handler, JobError, StopCause, Work};
use super::shared::{Shared, from_now};
use super::task::around;
use crate::contain::{Panicked, contain, drop_contained};
use crate::error::WriteError;
use crate::job::Recovery;
use crate::lifecycle::{LeaseLost, Outcome};
use crate::registry::{Claimed, Registry};
use crate::stats::Counters;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What a handler's [`Job`](super::handler::Job) can reach.
pub(super) struct Attempt {
    pub(super) claimed: Claimed,
    pub(super) control: Arc<Control>,
    registry: Arc<dyn Registry>,
    flight: Arc<Flight>,
    counters: Arc<Counters>,
}

impl Attempt {
    pub(super) async fn save(&self, progress: Vec<u8>) -> Result<(), WriteError> {
        let (bytes, limit) = (progress.len(), self.registry.max_bytes());
        if bytes > limit {
            return Err(WriteError::TooLarge { bytes, limit });
        }
        let written = self.registry.save(self.claimed.lease, progress).await?;
        written.map_err(|lost| self.lose(lost))
    }

    pub(super) async fn beat(&self) -> Result<(), WriteError> {
        match self.registry.renew(vec![self.claimed.lease]).await?.pop() {
            Some(Err(lost)) => Err(self.lose(lost)),
            _ => Ok(()),
        }
    }

    /// The store says that somebody else answers for the job: nothing more is written about it.
    fn lose(&self, lost: LeaseLost) -> WriteError {
        if self.flight.lose(&self.control) {
            self.counters.lost.add(1);
        }
        WriteError::LeaseLost(lost)
    }
}

/// How long a job waits that a store gave out although its kind was not asked for.
const UNKNOWN_KIND_MS: i64 = 10_000;

/// How the future of a handler ended.
enum End {
    Answer(Answer),
    Panic(String),
    /// It did not return within the grace after it was asked to stop, and was dropped.
    Dropped,
}

/// Runs one claimed job and reports its outcome; says nothing when the lease was lost.
pub(super) async fn run(shared: &Shared, (mut claimed, control): Waiting) {
    let flight = &shared.flight;
    let Some(handler) = shared.handlers.get(&*claimed.kind) else {
        // A store that heeds the kinds of a turn never gives this one out: give it back, not at once.
        flight.report(&control, Outcome::Snooze { delay_ms: UNKNOWN_KIND_MS });
        shared.counters.unknown_kind.add(1);
        return;
    };
    if (claimed.crashes > 0 || claimed.recovery == Recovery::NeverRerun)
        && !record_start(shared, &control).await
    {
        return;
    }
    let payload = std::mem::take(&mut claimed.payload);
    let attempt_number = claimed.attempt - claimed.crashes;
    let attempt = Arc::new(Attempt {
        claimed,
        control: Arc::clone(&control),
        registry: Arc::clone(&shared.registry),
        flight: Arc::clone(flight),
        counters: Arc::clone(&shared.counters),
    });
    control.start();
    let started = contain(|| {
        let work = handler.run.start(&payload, Arc::clone(&attempt))?;
        Ok::<_, serde_json::Error>(around(&shared.layers, work, &attempt))
    });
    drop(attempt);
    let droppable = !handler.run.blocks();
    let end = match started {
        Ok(Ok(work)) => watch(work, &control, shared.config.grace, droppable).await,
        Ok(Err(undecodable)) => {
            let error = format!("the payload does not decode: {undecodable}");
            flight.report(&control, Outcome::Reject { error });
            shared.counters.rejected.add(1);
            return;
        }
        Err(Panicked(text)) => End::Panic(text),
    };
    settle(shared, handler, &control, end, attempt_number);
}

/// Records that the job starts, for jobs whose crash would be charged or final.
async fn record_start(shared: &Shared, control: &Control) -> bool {
    let mark = || shared.registry.mark_started(vec![control.lease]);
    let marked = within(shared.config.store_timeout, mark).await;
    match marked.as_deref() {
        Ok([Ok(())]) => true,
        Ok(_) => {
            shared.counters.lost.add(u64::from(shared.flight.lose(control)));
            false
        }
        // Whether the start was recorded is unknown, but nothing was started: give it back.
        Err(_) => {
            shared.flight.report(control, Outcome::Release);
            false
        }
    }
}

/// Polls the handler until it ends, or until its grace after a stop is over. One that is not `droppable` is
/// waited for, and counts as stuck meanwhile.
async fn watch(mut work: Work, control: &Control, grace: Duration, droppable: bool) -> End {
    // Most handlers of short work end at the first poll: they need no timer and no stop signal.
    let first = poll_fn(|cx| Poll::Ready(poll_contained(&mut work, cx))).await;
    if let Poll::Ready(end) = first {
        return over(work, end);
    }
    let limit: Option<Instant> = match control.timeout_ms {
        0 => None,
        ms => Some(from_now(Duration::from_millis(ms.unsigned_abs())).into()),
    };
    loop {
        let mut asked = std::pin::pin!(control.asked());
        // Before the look, so that what is asked after it is heard.
        asked.as_mut().enable();
        let drop_at = control.drop_at(grace).map(Instant::from);
        let asleep = async {
            match drop_at.or(limit) {
                Some(at) if droppable || drop_at.is_none() => sleep_until(at).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            end = poll_fn(|cx| poll_contained(&mut work, cx)) => return over(work, end),
            () = asked => {}
            () = asleep => match drop_at {
                None => control.ask_to_stop(StopCause::TimedOut),
                Some(_) => {
                    // A destructor of the handler may panic like the handler itself.
                    let dropped = drop_contained(work);
                    return dropped.map_or_else(|Panicked(text)| End::Panic(text), |()| End::Dropped);
                }
            },
        }
    }
}

/// What is left of a future that has ended is dropped; a panic of that does not change how it ended.
fn over(work: Work, end: End) -> End {
    let _ = drop_contained(work);
    end
}

fn poll_contained(work: &mut Work, cx: &mut std::task::Context<'_>) -> Poll<End> {
    match contain(|| work.as_mut().poll(cx)) {
        Ok(Poll::Ready(answer)) => Poll::Ready(End::Answer(answer)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(Panicked(text)) => Poll::Ready(End::Panic(text)),
    }
}

fn settle(shared: &Shared, handler: &Handler, control: &Control, end: End, attempt: i32) {
    let retry = |error: String| JobError::retry(error).into_outcome(attempt, handler.backoff);
    let cause = control.cause();
    if cause == Some(StopCause::LeaseLost) {
        shared.counters.lost.add(u64::from(shared.flight.lose(control)));
        // The destructor of an error is the handler's.
        let _ = drop_contained(end);
        return;
    }
    let most = shared.max_bytes;
    let outcome = match end {
        End::Answer(Ok(_)) if control.is_completed() => Outcome::Confirm,
        End::Answer(Ok(Some(result))) if result.len() > most => Outcome::Fail {
            error: format!("its result has {} bytes, over the limit of {most}", result.len()),
        },
        End::Answer(Ok(result)) => Outcome::Done { result },
        End::Answer(Err(error)) => match cause {
            Some(StopCause::Cancelled) => Outcome::Stopped { error: Some(error.text()) },
            Some(StopCause::TimedOut) => retry(format!("timed out: {}", error.text())),
            Some(StopCause::Shutdown) => {
                let _ = drop_contained(error);
                Outcome::Release
            }
            _ => error.into_outcome(attempt, handler.backoff),
        },
        End::Panic(text) => {
            let text = format!("the handler panicked: {text}");
            shared.counters.panicked.add(1);
            match cause {
                Some(StopCause::Cancelled) => Outcome::Stopped { error: Some(text) },
                _ => retry(text),
            }
        }
        End::Dropped => match cause {
            Some(StopCause::Cancelled) => Outcome::Stopped {
                error: Some("it did not stop within its grace and was dropped".into()),
            },
            Some(StopCause::Shutdown) => Outcome::Release,
            _ => retry("timed out, and did not stop within its grace".into()),
        },
    };
    shared.flight.report(control, outcome);
}

/// What is written about a job whose handler neither returns nor yields after it was asked to stop.
pub(super) fn outcome_of_stuck(shared: &Shared, control: &Control) -> Outcome {
    let error = "it blocks its thread and could not be stopped".to_owned();
    let backoff = shared.config.stuck_backoff;
    match control.cause() {
        Some(StopCause::Cancelled) => Outcome::Stopped { error: Some(error) },
        Some(StopCause::Shutdown) => Outcome::Release,
        _ => JobError::retry(error).into_outcome(1, backoff),
    }
}
