//! Starts services, watches all members, starts failed services again.
//!
//! ```text
//!   waiting ── turn ──► starting ── started ──► running
//!                          ▲  └─ error ─┐          │ failed
//!                          │            ▼          ▼
//!                     backing off ◄── policy ◄── failing (what is left of it is forced)
//!                                        └──► gave up: everything is ended
//! ```

use crate::supervisor::Shared;
use crate::supervisor::clock::Clock;
use crate::supervisor::contain::{Boxed, contained, first_of};
use crate::supervisor::drain::Drain;
use crate::supervisor::end::{self, Gentle};
use crate::supervisor::error::chain;
use crate::supervisor::member::{Member, Service};
use crate::supervisor::restart::{Decision, History, Restart};
use crate::supervisor::stats::Phase;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Instant;

/// Tends all members until one is given up; its name.
pub(crate) async fn all(shared: &Shared, clock: &Clock) -> String {
    // How many of the members were started once. Only this task touches it, and it polls the members
    // in their order, so that the next one sees its turn in the same round.
    let started = AtomicUsize::new(0);
    let mut tended: Vec<Boxed<'_, String>> = Vec::with_capacity(shared.members.len());
    for (place, member) in shared.members.iter().enumerate() {
        let turn = Turn { started: &started, place };
        tended.push(Box::pin(one(shared, member, clock, turn)));
    }
    first_of(tended).await
}

/// The place of a member in the order of the starts.
struct Turn<'a> {
    started: &'a AtomicUsize,
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

    fn pass(&self) {
        self.started.fetch_max(self.place + 1, Ordering::Relaxed);
    }
}

/// Tends one member until it is given up; its name.
async fn one(shared: &Shared, member: &Member, clock: &Clock, turn: Turn<'_>) -> String {
    turn.come().await;
    let policy = member.service.as_ref().map_or_else(Restart::never, |s| s.policy.clone());
    let mut history = History::new(policy);
    let mut again = false;
    loop {
        let failure = match running(member, again).await {
            Ok(instance) => {
                again = true;
                turn.pass();
                failed(&*instance).await
            }
            Err(failure) => failure,
        };
        trace(&member.name, &failure);
        member.note(failure);
        if member.instance().is_some() {
            member.enter(Phase::Failing);
            let (drained, _) = end::instance(shared, member, clock, Gentle::No).await;
            member.ended(drained);
        }
        match history.failed(Instant::now()) {
            Decision::After(pause) => {
                member.enter(Phase::BackingOff);
                clock.at(end::after(Instant::now(), pause)).await;
            }
            Decision::GiveUp => {
                member.enter(Phase::GaveUp);
                return member.name.clone();
            }
        }
    }
}

/// The instance that runs; a service is started for it.
async fn running(member: &Member, again: bool) -> Result<Arc<dyn Drain>, String> {
    let Some(Service { start, .. }) = &member.service else {
        // A member that ran when it was added: there is one instance, and no other.
        return member.instance().ok_or_else(|| "it has ended".to_owned());
    };
    member.enter(Phase::Starting);
    let instance = match contained(|| start()).await {
        Ok(Ok(instance)) => instance,
        Ok(Err(error)) => return Err(format!("start: {}", chain(&*error))),
        Err(panic) => return Err(format!("start: it panicked: {panic}")),
    };
    member.started(Arc::clone(&instance), again);
    Ok(instance)
}

async fn failed(instance: &dyn Drain) -> String {
    match contained(|| instance.failed()).await {
        Ok(error) => chain(&*error),
        Err(panic) => format!("its watch panicked: {panic}"),
    }
}

#[cfg(feature = "tracing")]
fn trace(member: &str, failure: &str) {
    tracing::warn!(target: "lastout", member, failure, "a member failed");
}

#[cfg(not(feature = "tracing"))]
fn trace(_member: &str, _failure: &str) {}
