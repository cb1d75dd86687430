//! Ends all members, stage after stage, each by its deadline and whatever the others do.
//!
//! Nothing of a member runs on this thread: its drain, its last counts and its destructor run
//! [apart](crate::supervisor::apart), and are left behind when they do not return in time. The bound on
//! all deadlines together is hard: from [`Bounds::soft`] on nobody is asked any more, and at
//! [`Bounds::hard`] nothing is waited for.

use crate::supervisor::Shared;
use crate::supervisor::apart::{Apart, apart};
use crate::supervisor::clock::Clock;
use crate::supervisor::contain::{Boxed, Either, all_of, call, contained, discard, race};
use crate::supervisor::drain::{Drain, Drained, Until};
use crate::supervisor::member::{Member, Starting};
use crate::supervisor::report::{Cause, Ending, MemberReport, Report};
use crate::supervisor::stats::{Counters, Phase};
use crate::supervisor::stop::Level;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longer than anybody waits; short enough to be added to any clock.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// `now + pause`, or a time that never comes.
pub(crate) fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause).unwrap_or(now + FOR_EVER)
}

/// When the end of all members is forced, and when it is over.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    soft: Instant,
    hard: Instant,
}

impl Bounds {
    /// A quarter of the whole, and at most two graces, is kept for force.
    fn new(now: Instant, total: Duration, grace: Duration) -> Self {
        let kept = (total / 4).min(grace.saturating_mul(2));
        Self { soft: after(now, total - kept), hard: after(now, total) }
    }
}

/// How one member is ended.
#[derive(Debug, Clone, Copy)]
struct Terms {
    /// Until then it is asked. `None`: it is forced at once.
    gentle: Option<Instant>,
    /// How long a forced end is waited for.
    forced: Duration,
    /// Nothing is waited for longer.
    hard: Instant,
}

/// Ends all in the reverse of their order; those that are last after the others.
pub(crate) async fn all(
    shared: &Arc<Shared>,
    clock: &Clock,
    cause: Cause,
    lame_duck: Duration,
) -> Report {
    let began = Instant::now();
    let until = *shared.until.lock().unwrap_or_else(PoisonError::into_inner);
    let rest = until.map_or(Duration::MAX, |until| until.saturating_duration_since(began));
    let bounds = Bounds::new(began, shared.limits.total.min(rest), shared.limits.grace);
    let still = clock.at(after(began, lame_duck).min(bounds.soft));
    race(shared.stop.reached(Level::Force), still).await;
    let mut left = shared.members.len();
    let mut reports = Vec::with_capacity(left);
    for stage in shared.stages() {
        let terms = |member: &Member| terms(shared, member, bounds, left);
        let ends = stage.iter().map(|at| -> Boxed<'_, MemberReport> {
            let terms = terms(&shared.members[*at]);
            Box::pin(one(shared, *at, clock, terms))
        });
        let ended = all_of(ends.collect()).await;
        left -= ended.len();
        reports.extend(ended);
    }
    Report::new(cause, reports, began.elapsed())
}

/// Once the time of all is over, those that are left share what was kept for force.
fn terms(shared: &Shared, member: &Member, bounds: Bounds, left: usize) -> Terms {
    let now = Instant::now();
    let until = after(now, member.deadline).min(bounds.soft);
    let share = u32::try_from(left.max(1)).unwrap_or(u32::MAX);
    let rest = bounds.hard.saturating_duration_since(now);
    let forced = match now < bounds.soft {
        true => shared.limits.grace,
        false => shared.limits.grace.min(rest / share),
    };
    Terms { gentle: (until > now).then_some(until), forced, hard: bounds.hard }
}

async fn one(shared: &Arc<Shared>, at: usize, clock: &Clock, terms: Terms) -> MemberReport {
    let began = Instant::now();
    let member = &shared.members[at];
    let mut ending = Ending::Absent;
    let late = clock.at(after(began, terms.forced).min(terms.hard));
    let abandoned = shared.stop.reached(Level::Abandon);
    race(member.start_is_over(), race(abandoned, late)).await;
    if member.give_up_start() {
        member.left("its start does not return");
        ending = Ending::Stuck;
    }
    if member.is_there() {
        member.enter(Phase::Draining);
        ending = End { shared, at, clock, terms }.instance().await;
        member.enter(Phase::Ended);
    }
    if !retired(shared, at, clock, terms).await {
        member.left("the destructor of its start does not return");
        ending = Ending::Stuck;
    }
    let stats = member.past();
    let report = MemberReport {
        name: stats.name,
        ending,
        drained: member.drained(),
        counters: stats.counters,
        restarts: stats.restarts,
        failures: member.failures(),
        failed_for_good: member.failed_for_good(),
        elapsed: began.elapsed(),
    };
    trace(&report);
    report
}

/// Drops what starts a service, apart; whether that returned in time, if there is time to wait.
async fn retired(shared: &Arc<Shared>, at: usize, clock: &Clock, terms: Terms) -> bool {
    let Some(make) = shared.members[at].retire() else { return true };
    let is_too_late = Instant::now() >= terms.hard;
    let gone = apart(&shared.members[at].name, clock, move || Box::pin(async move { drop(make) }));
    let late = clock.at(after(Instant::now(), terms.forced).min(terms.hard));
    let abandoned = shared.stop.reached(Level::Abandon);
    match race(gone, race(abandoned, late)).await {
        Either::Second(Either::Second(())) => is_too_late,
        _ => true,
    }
}

/// Ends what is left of an instance that has ended or failed by itself.
pub(crate) async fn rest(shared: &Arc<Shared>, at: usize, clock: &Clock) {
    let forced = shared.limits.grace;
    let terms = Terms { gentle: None, forced, hard: after(Instant::now(), FOR_EVER) };
    let _ = End { shared, at, clock, terms }.instance().await;
}

/// Ends an instance that runs, by the deadline of its member.
pub(crate) async fn by_deadline(shared: &Arc<Shared>, at: usize, clock: &Clock) {
    let now = Instant::now();
    let gentle = Some(after(now, shared.members[at].deadline));
    let terms = Terms { gentle, forced: shared.limits.grace, hard: after(now, FOR_EVER) };
    let _ = End { shared, at, clock, terms }.instance().await;
}

/// Forces an instance to end whose start was given up, apart. The start is over when this is.
pub(crate) fn late(
    shared: &Arc<Shared>,
    at: usize,
    clock: &Clock,
    instance: Arc<dyn Drain>,
    starting: Starting,
) {
    let shared = Arc::clone(shared);
    let name = shared.members[at].name.clone();
    let end = apart(&name, clock, move || {
        Box::pin(async move {
            let _starting = starting;
            let until = Until::new(after(Instant::now(), shared.limits.grace));
            let drained = contained(|| instance.force(until)).await;
            let counters = call(|| instance.stats()).unwrap_or_default();
            let member = &shared.members[at];
            member.ended(drained.unwrap_or_default(), counters);
            discard(instance);
        })
    });
    end.detach();
}

/// The end of one instance.
struct End<'a> {
    shared: &'a Arc<Shared>,
    at: usize,
    clock: &'a Clock,
    terms: Terms,
}

/// What an instance said at its end. It is known before the instance is dropped, which may take longer.
type Said = Arc<Mutex<Option<(Drained, Counters)>>>;

impl End<'_> {
    fn member(&self) -> &Member {
        &self.shared.members[self.at]
    }

    /// Asked first, then forced, then left behind.
    async fn instance(&self) -> Ending {
        let mut stuck = None;
        let is_gentle = self.shared.stop.level() < Level::Force;
        if let Some(until) = self.terms.gentle.filter(|_| is_gentle) {
            match self.asked(until).await {
                Ok(ending) => return ending,
                Err(drain) => stuck = drain,
            }
        }
        let ending = self.forced().await;
        if stuck.is_some_and(|drain| !drain.is_over()) {
            self.member().left("its drain blocks its thread");
            return Ending::Stuck;
        }
        ending
    }

    /// `Err` when it did not end by being asked; with its drain, if that does not return.
    async fn asked(&self, until: Instant) -> Result<Ending, Option<Apart<()>>> {
        let said = Said::default();
        let mut drain =
            self.start(Until::new(until), &said, |instance, until| instance.drain(until));
        let late = after(until, self.part_of_the_rest(until, self.shared.limits.grace));
        let forced = self.shared.stop.reached(Level::Force);
        match race(&mut drain, race(forced, self.clock.at(late))).await {
            Either::First(Some(Ok(()))) => return Ok(self.ended(&said, Ending::Drained)),
            Either::First(Some(Err(panic))) => {
                self.member().note(format!("drain: it panicked: {panic}"));
                return Err(None);
            }
            Either::First(None) => return Err(None),
            Either::Second(Either::First(())) => {}
            Either::Second(Either::Second(())) => {
                self.member().note("drain: it overran its deadline".to_owned());
            }
        }
        if said_something(&said) {
            // It has drained; what does not return is its destructor.
            return Ok(self.ended(&said, Ending::Stuck));
        }
        drain.cancel();
        let now = Instant::now();
        let patience = after(now, self.part_of_the_rest(now, self.terms.forced / 4));
        match race(&mut drain, self.clock.at(patience)).await {
            Either::First(Some(Ok(()))) => Ok(self.ended(&said, Ending::Drained)),
            Either::First(_) => Err(None),
            Either::Second(()) => Err(Some(drain)),
        }
    }

    /// At most a quarter of what is left of the time of all: a step that takes all of it would leave none
    /// for the next one, and nothing would be forced.
    fn part_of_the_rest(&self, now: Instant, time: Duration) -> Duration {
        time.min(self.terms.hard.saturating_duration_since(now) / 4)
    }

    async fn forced(&self) -> Ending {
        let said = Said::default();
        let now = Instant::now();
        let deadline = after(now, self.part_of_the_rest(now, self.terms.forced));
        let force =
            self.start(Until::new(deadline), &said, |instance, until| instance.force(until));
        let late = after(deadline, self.terms.forced).min(self.terms.hard);
        let abandoned = self.shared.stop.reached(Level::Abandon);
        let reason = match race(force, race(abandoned, self.clock.at(late))).await {
            Either::First(Some(Ok(()))) => return self.ended(&said, Ending::Forced),
            Either::First(Some(Err(panic))) => {
                format!("it panicked while it was forced to end: {panic}")
            }
            Either::First(None) => "its end was cancelled".to_owned(),
            Either::Second(_) if said_something(&said) => return self.ended(&said, Ending::Stuck),
            Either::Second(Either::First(())) => "nothing was waited for any more".to_owned(),
            Either::Second(Either::Second(())) => {
                "it did not end in time, though forced".to_owned()
            }
        };
        self.member().left(reason);
        self.let_go().await;
        Ending::Stuck
    }

    /// Drops an instance that is given up, apart.
    async fn let_go(&self) {
        let (shared, at) = (Arc::clone(self.shared), self.at);
        let gone = apart(&self.member().name, self.clock, move || {
            Box::pin(async move { shared.members[at].release() })
        });
        let late = after(Instant::now(), self.terms.forced).min(self.terms.hard);
        let abandoned = self.shared.stop.reached(Level::Abandon);
        race(gone, race(abandoned, self.clock.at(late))).await;
    }

    /// Runs an end apart: what it did, its last counts, and then its destructor.
    fn start(
        &self,
        until: Until,
        said: &Said,
        end: impl for<'i> FnOnce(&'i dyn Drain, Until) -> Boxed<'i, Drained> + Send + 'static,
    ) -> Apart<()> {
        let (shared, at, said) = (Arc::clone(self.shared), self.at, Arc::clone(said));
        // Taken here: a member that is given up meanwhile is still told to end.
        let instance = self.member().instance();
        apart(&self.member().name, self.clock, move || {
            Box::pin(async move {
                let Some(instance) = instance else { return };
                let drained = end(&*instance, until).await;
                let counters = call(|| instance.stats()).unwrap_or_default();
                *said.lock().unwrap_or_else(PoisonError::into_inner) = Some((drained, counters));
                shared.members[at].release();
                drop(instance);
            })
        })
    }

    fn ended(&self, said: &Said, mut ending: Ending) -> Ending {
        let said = said.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (drained, counters) = said.unwrap_or_default();
        if ending == Ending::Drained && !drained.forced.is_empty() {
            ending = Ending::Forced;
        }
        self.member().ended(drained, counters);
        if ending == Ending::Stuck {
            self.member().left("its destructor does not return");
        }
        ending
    }
}

fn said_something(said: &Said) -> bool {
    said.lock().unwrap_or_else(PoisonError::into_inner).is_some()
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
