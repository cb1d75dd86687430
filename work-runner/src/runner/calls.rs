//! The calls to the store that are under way for a worker, each with a deadline of its own.

use super::action::{Action, Asked, Chore};
use super::flight::Flight;
use super::shared::Shared;
use crate::clock::boot_ms;
use crate::contain::{contain, drop_contained, text_of};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::Identity;
use crate::lease::WorkerId;
use crate::periodic::runs_due;
use crate::registry::{Keep, Peek, Report, StoreFuture, Turn, TurnRequest, WorkerProfile};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Jobs taken back, and ended jobs deleted, by one call.
pub(super) const SWEEP_LIMIT: usize = 1000;

/// What became of a call, with what was asked.
pub(super) struct Answered {
    pub(super) action: Action,
    pub(super) answer: Result<Answer, StoreError>,
    /// The reports of a turn; they go again when it failed.
    pub(super) sent: Sent,
}

pub(super) enum Answer {
    /// Registered by a call sent at this time of the boot clock.
    Enlisted(WorkerId, i64),
    Reconciled(usize),
    Looked(Peek),
    /// How many jobs came of a chore or were deleted by it, and of a sweep the details.
    Swept(crate::registry::Swept),
    Fired(bool),
    /// A periodic job cannot be enqueued, and was disabled.
    Disabled(String),
    Pruned(usize),
    Turned(Turn),
}

/// Reports on their way. Dropped without an answer, they go again, and the store says whether they had
/// been applied.
pub(super) struct Sent {
    pub(super) worker: WorkerId,
    pub(super) reports: Vec<Report>,
    flight: Arc<Flight>,
}

impl Drop for Sent {
    fn drop(&mut self) {
        if !self.reports.is_empty() {
            self.flight.put_back(std::mem::take(&mut self.reports));
        }
    }
}

type Call = Pin<Box<dyn Future<Output = Answered> + Send>>;

#[derive(Default)]
pub(super) struct Calls(Vec<Call>);

impl Calls {
    pub(super) fn send(&mut self, shared: &Arc<Shared>, worker: WorkerId, action: Action) {
        let reports = match &action {
            Action::Turn(_) => shared.flight.take_reports(shared.registry.turn_size()),
            _ => Vec::new(),
        };
        let sent = Sent { worker, reports, flight: Arc::clone(&shared.flight) };
        let shared = Arc::clone(shared);
        self.0.push(Box::pin(async move {
            let answer = call(&shared, &sent, &action).await;
            Answered { action, answer, sent }
        }));
    }

    /// The next answer; waits for ever while no call is under way.
    pub(super) async fn next(&mut self) -> Answered {
        poll_fn(|cx| {
            for at in 0..self.0.len() {
                if let Poll::Ready(answered) = self.0[at].as_mut().poll(cx) {
                    drop(self.0.swap_remove(at));
                    return Poll::Ready(answered);
                }
            }
            Poll::Pending
        })
        .await
    }
}

async fn call(shared: &Shared, sent: &Sent, action: &Action) -> Result<Answer, StoreError> {
    let Shared { registry, config, .. } = shared;
    let limit = config.store_timeout;
    let worker = sent.worker;
    match action {
        Action::Enlist => {
            let at = boot_ms();
            let ttl = config.lease.ttl();
            let profile = WorkerProfile::new(Identity::current(), shared.about());
            within(limit, || registry.register(worker, profile, ttl)).await?;
            Ok(Answer::Enlisted(worker, at))
        }
        Action::Reconcile => {
            let held = shared.flight.jobs();
            Ok(Answer::Reconciled(within(limit, || registry.reconcile(worker, held)).await?))
        }
        Action::Look => {
            let queues = shared.queues.iter().map(|queue| Arc::clone(&queue.name)).collect();
            let kinds = Some(Arc::clone(&shared.kinds));
            Ok(Answer::Looked(within(limit, || registry.peek(worker, queues, kinds)).await?))
        }
        Action::Chore(chore) => keep_house(shared, chore).await,
        Action::Turn(asked) => {
            let turn = request(shared, sent, asked);
            Ok(Answer::Turned(within(limit, || registry.turn(turn)).await?))
        }
    }
}

fn request(shared: &Shared, sent: &Sent, asked: &Asked) -> TurnRequest {
    let mut turn = TurnRequest::new(sent.worker).kinds(Arc::clone(&shared.kinds));
    turn.promote = asked.promote;
    turn.reports = sent.reports.clone();
    for (queue, count) in shared.queues.iter().zip(&asked.claims) {
        if *count > 0 {
            turn = turn.claim(Arc::clone(&queue.name), *count);
        }
    }
    turn
}

async fn keep_house(shared: &Shared, chore: &Chore) -> Result<Answer, StoreError> {
    let Shared { registry, config, .. } = shared;
    let limit = config.store_timeout;
    match chore {
        Chore::Sweep(dead) => {
            let dead = dead.clone();
            Ok(Answer::Swept(within(limit, || registry.sweep(dead, SWEEP_LIMIT)).await?))
        }
        Chore::Prune => {
            let keep = Keep { done: config.keep, unhappy: config.keep_unhappy };
            Ok(Answer::Pruned(within(limit, || registry.prune(keep, SWEEP_LIMIT)).await?))
        }
        Chore::Fire(periodic, now_ms) => {
            let (name, at_ms) = (periodic.name.clone(), periodic.at_ms);
            let fired = match crate::cron::Cron::parse(&periodic.cron) {
                Ok(cron) => {
                    let next_ms = cron.next_after(*now_ms).unwrap_or(i64::MAX);
                    let runs = runs_due(&cron, at_ms, *now_ms, periodic.catch_up);
                    within(limit, || registry.fire_periodic(name, at_ms, next_ms, runs)).await
                }
                // Another worker may know it.
                Err(error) if error.is_about_the_zone() => return Ok(Answer::Fired(false)),
                Err(error) => {
                    let kind = StoreErrorKind::Invalid;
                    Err(StoreError::new(kind, "fire a periodic job").with_source(error))
                }
            };
            match fired {
                Ok(fired) => Ok(Answer::Fired(fired)),
                // The store is well and refuses this job alone: so it will the next time.
                Err(error) if error.is_about_the_request() => {
                    let (name, why) = (periodic.name.clone(), text_of(&error));
                    let disable = || registry.disable_periodic(name, at_ms, why.clone());
                    within(limit, disable).await?;
                    Ok(Answer::Disabled(format!("periodic job {:?}: {why}", periodic.name)))
                }
                Err(error) => Err(error),
            }
        }
    }
}

/// Waits for a call at most `limit`; a panic of the store is its failure.
pub(super) async fn within<'a, T>(
    limit: Duration,
    call: impl FnOnce() -> StoreFuture<'a, T>,
) -> Result<T, StoreError> {
    let mut work = contain(call).map_err(StoreError::from)?;
    let answer = tokio::time::timeout(
        limit,
        poll_fn(|cx| match contain(|| work.as_mut().poll(cx)) {
            Ok(polled) => polled,
            Err(panicked) => Poll::Ready(Err(panicked.into())),
        }),
    )
    .await;
    // A panic of its destructor changes nothing about its answer.
    let _ = drop_contained(work);
    answer.unwrap_or_else(|_| {
        let why = format!("no answer within {limit:?}");
        Err(StoreError::new(StoreErrorKind::Unknown, "call the job store").with_source(why))
    })
}
