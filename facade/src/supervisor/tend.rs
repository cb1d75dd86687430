//! Starts services, watches all members, starts services again that have ended.
//!
//! ```text
//!   waiting ── turn ──► starting ── started ──► running
//!                          ▲  └─ error ─┐          │ ended
//!                          │            ▼          ▼
//!                     backing off ◄── policy ◄── failing (what is left of it is forced)
//!                                      │  └──► gave up: everything is ended
//!                                      └──► done: the others go on
//! ```

use crate::supervisor::Shared;
use crate::supervisor::apart::apart;
use crate::supervisor::clock::Clock;
use crate::supervisor::contain::{Boxed, Either, contained, first_of, race};
use crate::supervisor::drain::{Drain, Failure};
use crate::supervisor::end;
use crate::supervisor::error::say;
use crate::supervisor::member::{Member, Service};
use crate::supervisor::report::Cause;
use crate::supervisor::restart::{Decision, History, Restart};
use crate::supervisor::stats::Phase;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Instant;

/// Tends all members until one is given up, or all are done; why it ended.
pub(crate) async fn all(shared: &Arc<Shared>, clock: &Clock) -> Cause {
    // How many of the members were started once, and how many are not done. Only this task touches
    // them, and it polls the members in their order, so that the next one sees its turn in the same round.
    let started = AtomicUsize::new(0);
    let at_work = shared.members.iter().filter(|member| !member.is_last).count();
    let at_work = AtomicUsize::new(at_work);
    let mut tended: Vec<Boxed<'_, Cause>> = Vec::with_capacity(shared.members.len());
    for place in 0..shared.members.len() {
        let turn = Turn { started: &started, at_work: &at_work, place };
        tended.push(Box::pin(one(shared, clock, turn)));
    }
    first_of(tended).await
}

/// The place of a member in the order of the starts.
struct Turn<'a> {
    started: &'a AtomicUsize,
    at_work: &'a AtomicUsize,
    place: usize,
}

impl Turn<'_> {
    async fn come(&self) {
        poll_fn(|_| match self.started.load(Ordering::Relaxed) >= self.place {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// The next one may start.
    fn pass(&self) {
        self.started.fetch_max(self.place + 1, Ordering::Relaxed);
    }

    /// This member is done; whether it was the last one at work.
    fn done(&self, member: &Member) -> bool {
        !member.is_last && self.at_work.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// Tends one member until it is given up, or is the last one that is done.
async fn one(shared: &Arc<Shared>, clock: &Clock, turn: Turn<'_>) -> Cause {
    let member = &shared.members[turn.place];
    let policy = member.service.as_ref().map_or_else(Restart::never, |s| s.policy.clone());
    let mut history = History::new(policy);
    let mut again = false;
    loop {
        let end = match instance(shared, clock, &turn, again).await {
            Ok(instance) => {
                again = true;
                watch(&*instance, &turn).await
            }
            Err(failure) => Err(failure),
        };
        let failed = end.is_err();
        if let Err(failure) = end {
            trace(&member.name, &failure);
            member.note(failure);
        }
        if member.is_there() {
            member.enter(Phase::Failing);
            end::rest(shared, turn.place, clock).await;
        }
        match history.ended(failed, Instant::now()) {
            Decision::After(pause) => {
                member.enter(Phase::BackingOff);
                clock.at(end::after(Instant::now(), pause)).await;
            }
            Decision::GiveUp => {
                member.fails_for_good();
                member.enter(Phase::GaveUp);
                return Cause::Failed(member.name.clone());
            }
            Decision::Done => {
                if failed {
                    member.fails_for_good();
                }
                member.enter(Phase::Done);
                if turn.done(member) {
                    return Cause::Done;
                }
                // It holds up no later start.
                turn.come().await;
                turn.pass();
                return pending().await;
            }
        }
    }
}

/// The instance that runs; a service is started for it, when its turn has come.
async fn instance(
    shared: &Arc<Shared>,
    clock: &Clock,
    turn: &Turn<'_>,
    again: bool,
) -> Result<Arc<dyn Drain>, String> {
    let member = &shared.members[turn.place];
    let Some(Service { start_within, .. }) = &member.service else {
        // A member that ran when it was added: there is one instance, and no other.
        return member.instance().ok_or_else(|| "it has ended".to_owned());
    };
    turn.come().await;
    member.enter(Phase::Starting);
    let (theirs, place) = (Arc::clone(shared), turn.place);
    let guard = member.starting();
    let start = apart(&member.name, clock, move || {
        Box::pin(async move {
            let _guard = guard;
            let member = &theirs.members[place];
            let service = member.service.as_ref().expect("a service stays one");
            // What has started is there to be ended, even if nobody waits for the start any more.
            member.started((service.start)().await?, again);
            Ok(())
        })
    });
    let late = clock.at(end::after(Instant::now(), *start_within));
    let started: Result<(), Failure> = match race(start, late).await {
        Either::First(Some(Ok(started))) => started,
        Either::First(Some(Err(panic))) => return Err(format!("start: it panicked: {panic}")),
        Either::First(None) => return Err("start: it was cancelled".to_owned()),
        Either::Second(()) => return Err(format!("start: deadline of {start_within:?} passed")),
    };
    started.map_err(|error| format!("start: {}", say(error)))?;
    member.instance().ok_or_else(|| "it has ended".to_owned())
}

/// Waits until it ends by itself. What ran from the start on is watched before its turn, which comes
/// all the same.
async fn watch(instance: &dyn Drain, turn: &Turn<'_>) -> Result<(), String> {
    let ended = contained(|| instance.ended());
    let pass = async {
        turn.come().await;
        turn.pass();
        pending::<Infallible>().await
    };
    match race(ended, pass).await {
        Either::First(Ok(Ok(()))) => Ok(()),
        Either::First(Ok(Err(error))) => Err(say(error)),
        Either::First(Err(panic)) => Err(format!("its watch panicked: {panic}")),
        Either::Second(never) => match never {},
    }
}

#[cfg(feature = "tracing")]
fn trace(member: &str, failure: &str) {
    tracing::warn!(target: "lastout", member, failure, "a member failed");
}

#[cfg(not(feature = "tracing"))]
fn trace(_member: &str, _failure: &str) {}
