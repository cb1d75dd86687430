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
//!
//! A service that another one takes along is ended by its deadline, and waits for its turn again.

use crate::supervisor::Shared;
use crate::supervisor::apart::apart;
use crate::supervisor::clock::Clock;
use crate::supervisor::contain::{Boxed, Either, contained, first_of, race};
use crate::supervisor::drain::Drain;
use crate::supervisor::end;
use crate::supervisor::error::say;
use crate::supervisor::member::Service;
use crate::supervisor::order::{Order, Turn, changed};
use crate::supervisor::report::Cause;
use crate::supervisor::restart::{Decision, History, Restart};
use crate::supervisor::stats::Phase;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

/// Tends all members until one is given up, or all are done; why it ended.
pub(crate) async fn all(shared: &Arc<Shared>, clock: &Clock) -> Cause {
    let order = Order::new(shared.strategy, &shared.members);
    let mut tended: Vec<Boxed<'_, Cause>> = Vec::with_capacity(shared.members.len());
    for place in 0..shared.members.len() {
        tended.push(Box::pin(one(shared, clock, order.turn(place))));
    }
    first_of(tended).await
}

/// Tends one member until it is given up, or is the last one that is done.
async fn one(shared: &Arc<Shared>, clock: &Clock, turn: Turn<'_>) -> Cause {
    let member = &shared.members[turn.place];
    let policy = member.service.as_ref().map_or_else(Restart::never, |s| s.policy.clone());
    let mut history = History::new(policy);
    let mut again = false;
    loop {
        let life = async {
            let instance = instance(shared, clock, &turn, again).await?;
            again = true;
            watch(&*instance, &turn).await
        };
        let end = match race(life, turn.told()).await {
            Either::First(end) => end,
            Either::Second(()) => {
                taken_along(shared, clock, &turn).await;
                continue;
            }
        };
        let failed = end.is_err();
        if let Err(failure) = end {
            trace(&member.name, &failure);
            member.note(failure);
        }
        if member.is_there() {
            member.enter(Phase::Failing);
            end::rest(shared, turn.place, clock).await;
            changed().await;
        }
        match history.ended(failed, Instant::now()) {
            Decision::After(pause) => {
                member.enter(Phase::BackingOff);
                turn.take_along(&shared.members).await;
                clock.at(end::after(Instant::now(), pause)).await;
                turn.release().await;
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
                turn.pass().await;
                return pending().await;
            }
        }
    }
}

/// Another member failed that takes this one along: it is ended by its deadline, after the later ones.
async fn taken_along(shared: &Arc<Shared>, clock: &Clock, turn: &Turn<'_>) {
    let member = &shared.members[turn.place];
    turn.later_ones_are_down(&shared.members).await;
    let late = clock.at(end::after(Instant::now(), shared.limits.grace));
    if let Either::Second(()) = race(member.start_is_over(), late).await {
        member.note("start: it did not return when it was cancelled".to_owned());
        member.give_up_start();
    }
    if member.is_there() {
        member.enter(Phase::Draining);
        end::by_deadline(shared, turn.place, clock).await;
    }
    member.enter(Phase::Waiting);
    turn.is_down().await;
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
    let deadline = end::after(Instant::now(), *start_within);
    if let Either::Second(()) = race(member.start_is_over(), clock.at(deadline)).await {
        return Err(format!("start: the one before did not return within {start_within:?}"));
    }
    let Some(make) = member.make() else { return Err("start: it has ended".to_owned()) };
    let (theirs, place, time) = (Arc::clone(shared), turn.place, clock.clone());
    let guard = member.starting();
    let start = apart(&member.name, clock, move || {
        Box::pin(async move {
            let started = make().await.map_err(say)?;
            if let Err(late) = theirs.members[place].started(started, again) {
                end::late(&theirs, place, &time, late, guard);
            }
            Ok(())
        })
    });
    let started: Result<(), String> = match race(start, clock.at(deadline)).await {
        Either::First(Some(Ok(started))) => started,
        Either::First(Some(Err(panic))) => return Err(format!("start: it panicked: {panic}")),
        Either::First(None) => return Err("start: it was cancelled".to_owned()),
        Either::Second(()) => {
            member.give_up_start();
            return Err(format!("start: deadline of {start_within:?} passed"));
        }
    };
    started.map_err(|error| format!("start: {error}"))?;
    member.instance().ok_or_else(|| "it has ended".to_owned())
}

/// Waits until it ends by itself. What ran from the start on is watched before its turn, which comes
/// all the same.
async fn watch(instance: &dyn Drain, turn: &Turn<'_>) -> Result<(), String> {
    let ended = contained(|| instance.ended());
    let pass = async {
        turn.come().await;
        turn.pass().await;
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
