//! Ends all members, one after the other, each by its deadline and whatever the others do.

use crate::supervisor::Shared;
use crate::supervisor::clock::Clock;
use crate::supervisor::contain::{Either, contained, race};
use crate::supervisor::drain::{Drained, Until};
use crate::supervisor::member::Member;
use crate::supervisor::report::{Cause, Ending, MemberReport, Report};
use crate::supervisor::stats::Phase;
use crate::supervisor::stop::Level;
use std::time::{Duration, Instant};

/// Whether a member is asked before it is forced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gentle {
    /// It has until this time.
    Until(Instant),
    No,
}

/// Longer than anybody waits; short enough to be added to any clock.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// `now + pause`, or a time that never comes.
pub(crate) fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause).unwrap_or(now + FOR_EVER)
}

/// Ends all in the reverse of their order; those that are last after the others.
pub(crate) async fn all(shared: &Shared, clock: &Clock, cause: Cause) -> Report {
    let began = Instant::now();
    let total = after(began, shared.limits.total);
    let (last, others): (Vec<_>, Vec<_>) =
        shared.members.iter().rev().partition(|member| member.is_last);
    let mut reports = Vec::with_capacity(shared.members.len());
    for member in others.into_iter().chain(last) {
        reports.push(one(shared, member, clock, total).await);
    }
    Report::new(cause, reports, began.elapsed())
}

async fn one(shared: &Shared, member: &Member, clock: &Clock, total: Instant) -> MemberReport {
    let began = Instant::now();
    let mut ending = Ending::Absent;
    if member.instance().is_some() {
        member.enter(Phase::Draining);
        let until = after(began, member.deadline).min(total);
        let gentle = match until > began {
            true => Gentle::Until(until),
            false => Gentle::No,
        };
        let (drained, how) = instance(shared, member, clock, gentle).await;
        ending = how;
        member.ended(drained);
        member.enter(Phase::Ended);
    }
    let stats = member.stats();
    let report = MemberReport {
        name: stats.name,
        ending,
        drained: member.drained(),
        counters: stats.counters,
        restarts: stats.restarts,
        failures: member.failures(),
        elapsed: began.elapsed(),
    };
    trace(&report);
    report
}

/// Ends the present instance of a member: asked first, then forced.
pub(crate) async fn instance(
    shared: &Shared,
    member: &Member,
    clock: &Clock,
    gentle: Gentle,
) -> (Drained, Ending) {
    let Some(instance) = member.instance() else {
        return (Drained::new(), Ending::Absent);
    };
    if let Gentle::Until(deadline) = gentle
        && shared.stop.level() < Level::Force
    {
        let asked = contained(|| instance.drain(Until::new(deadline, clock.may_block())));
        let late = clock.at(after(deadline, shared.limits.grace));
        match race(asked, race(shared.stop.reached(Level::Force), late)).await {
            Either::First(Ok(drained)) => return (drained, Ending::Drained),
            Either::First(Err(panic)) => member.note(format!("drain: it panicked: {panic}")),
            Either::Second(Either::First(())) => {}
            Either::Second(Either::Second(())) => {
                member.note("drain: it overran its deadline".to_owned());
            }
        }
    }
    let deadline = after(Instant::now(), shared.limits.grace);
    let forced = contained(|| instance.force(Until::new(deadline, clock.may_block())));
    let late = clock.at(after(deadline, shared.limits.grace));
    match race(forced, late).await {
        Either::First(Ok(drained)) => (drained, Ending::Forced),
        Either::First(Err(panic)) => {
            let reason = format!("it panicked while it was forced to end: {panic}");
            (Drained::new().left(&member.name, reason), Ending::Stuck)
        }
        Either::Second(()) => {
            let reason = "it did not end in time, though forced";
            (Drained::new().left(&member.name, reason), Ending::Stuck)
        }
    }
}

#[cfg(feature = "tracing")]
fn trace(report: &MemberReport) {
    let left = report.drained.left_behind.len();
    let (member, ending) = (&report.name, report.ending);
    if left == 0 {
        tracing::info!(target: "lastout", %member, %ending, "a member has ended");
    } else {
        tracing::error!(target: "lastout", %member, %ending, left, "a member left something behind");
    }
}

#[cfg(not(feature = "tracing"))]
fn trace(_report: &MemberReport) {}
