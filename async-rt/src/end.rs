//! How a runtime ends: its tasks get until a deadline, the rest is dropped, and a report says what is
//! left. Dropping a runtime is the same without the time.
//!
//! Everything foreign that runs here (destructors of futures and worlds, wakers of timers and
//! sockets, event subscribers) is contained: the end goes on to its last step.

use crate::contain;
use crate::owner::Owner;
use crate::report::{LeftBehind, Report};
use crate::runtime::Runtime;
use crate::stats::ShutdownCounts;
use crate::time::clock::{Nanos, whole_nanos};
use crate::trace;
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

/// How long a runtime that is dropped goes on dropping what destructors spawn.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The deadline of a wait without a bound.
const AGES: Duration = Duration::from_secs(3600 * 24 * 365);

/// [`Runtime::shutdown_quiesce`] ran out of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuiesceTimeout {
    /// Tasks that have not ended.
    pub remaining_tasks: usize,
    /// Foreign wakes that had not been looked at.
    pub remaining_cross_queue: usize,
    /// Tasks that have ended and to which a waker or a handle is still held.
    pub remaining_outstanding_refs: usize,
    /// How long it took.
    pub elapsed: Duration,
}

impl fmt::Display for QuiesceTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remaining_tasks, elapsed, .. } = self;
        write!(f, "{remaining_tasks} tasks of the runtime had not ended after {elapsed:?}")
    }
}

impl Error for QuiesceTimeout {}

/// Runs the tasks until none is left and nothing `else_is_left`, or until `end`; whether nothing is.
fn run_down(
    owner: &Owner,
    end: Nanos,
    else_is_left: impl Fn() -> bool,
    mut after_each_cycle: impl FnMut(),
) -> bool {
    let (never, is_left) = (Cell::new(false), || owner.live() > 0 || else_is_left());
    while is_left() || owner.has_work() {
        if owner.clock.now() >= end {
            return false;
        }
        owner.cycle(&never, false);
        after_each_cycle();
        // The last task may just have ended: then there is nothing to sleep for.
        if is_left() && !owner.has_work() {
            owner.idle(Some(end));
        }
    }
    true
}

impl Runtime {
    /// Ends the runtime: triggers the [`shutdown_handle`](Self::shutdown_handle), runs the tasks until
    /// each has ended or `deadline` has passed, drops those that are left, and says what became of
    /// all. Closures on the blocking pool have the same time: those that still wait for a thread are
    /// dropped then, and those that still run are left behind.
    ///
    /// # Panics
    /// As [`block_on`](Self::block_on). A panic of a task goes to its handle or into the count, under
    /// every [`PanicPolicy`](crate::PanicPolicy).
    pub fn shutdown_blocking(mut self, deadline: Duration) -> Report {
        let owner = std::rc::Rc::clone(&self.owner);
        owner.assert_may_run("shutdown_blocking");
        let (began, start) = (Instant::now(), owner.clock.now());
        let last = began.checked_add(deadline).unwrap_or(began + AGES);
        let end = start.saturating_add(whole_nanos(deadline));
        let ended = || owner.engine.counts().ended() + owner.blocking.stats().ended();
        let ended_before = ended();
        owner.shutdown.trigger();
        // The pool unparks the runtime when no closure is left.
        let closures_are_left = || owner.blocking.is_busy();
        // A panic that would leave `block_on` has no way out of here.
        let discard = || contain::discard(owner.engine.take_escaped());
        owner.enter(|| run_down(&owner, end, closures_are_left, discard));
        let finished = ended() - ended_before;
        let mut report = Report { finished, ..Report::default() };
        let counts = self.end(&mut report, || owner.clock.now() >= end);
        name_tasks(&counts, &mut report.left_behind);
        name_threads(&owner, last, &mut report.left_behind);
        report.elapsed = began.elapsed();
        owner.shutdown.end_with(report.clone());
        report
    }

    /// Runs until no task is left, timers and sockets included. It asks no task to end: trigger the
    /// [`shutdown_handle`](Self::shutdown_handle), or whatever your tasks listen to, before.
    /// [`shutdown_blocking`](Self::shutdown_blocking) asks, and ends the runtime.
    ///
    /// # Errors
    /// [`QuiesceTimeout`] when tasks are left after `timeout`. They are still there, and the call
    /// may be repeated.
    ///
    /// # Panics
    /// As [`block_on`](Self::block_on).
    pub fn shutdown_quiesce(&self, timeout: Duration) -> Result<(), QuiesceTimeout> {
        let owner = &self.owner;
        owner.assert_may_run("shutdown_quiesce");
        let start = owner.clock.now();
        let end = start.saturating_add(whole_nanos(timeout));
        if owner.enter(|| run_down(owner, end, || false, || owner.raise_escaped())) {
            return Ok(());
        }
        Err(QuiesceTimeout {
            remaining_tasks: owner.live(),
            remaining_cross_queue: owner.enter(|| owner.engine.drain(usize::MAX)),
            remaining_outstanding_refs: owner.engine.outstanding(),
            elapsed: Duration::from_nanos(owner.clock.now() - start),
        })
    }

    /// The last steps, once.
    fn end(&mut self, report: &mut Report, time_is_up: impl FnMut() -> bool) -> ShutdownCounts {
        let owner = &self.owner;
        self.root.end();
        let counts = owner.enter(|| {
            let counts = owner.engine.shutdown(time_is_up);
            report.forced = counts.cancelled as u64 + owner.blocking.close();
            contain::discard_all(owner.worlds.take().into_values());
            owner.ended.set(true);
            owner.reactor.end();
            owner.end_timers();
            counts
        });
        trace::runtime_ended(&counts);
        #[cfg(feature = "tokio-compat")]
        if let Some(tokio) = owner.tokio.take() {
            tokio.shutdown_background();
        }
        owner.stats.note(&counts);
        counts
    }
}

/// Names the tasks that the end could not take.
fn name_tasks(counts: &ShutdownCounts, left: &mut Vec<LeftBehind>) {
    let kinds = [
        (counts.running, "it is inside its own poll, which does not return"),
        (counts.spawning, "destructors were still spawning tasks when the time was up"),
    ];
    for (count, reason) in kinds {
        left.extend((0..count).map(|_| LeftBehind::new("task", None, reason)));
    }
}

/// Waits for the threads of the runtime until `last`, and names those that go on.
fn name_threads(owner: &Owner, last: Instant, left: &mut Vec<LeftBehind>) {
    if !owner.blocking.wait_until_quiet(last) {
        left.extend(owner.blocking.running().into_iter().map(|closure| {
            let name = closure.spawned_at.to_string();
            let reason = format!("it has run for {:?}", closure.running_for);
            LeftBehind::new("blocking closure", Some(name), reason)
        }));
    } else {
        // Threads without work end by themselves; to wait for them is a courtesy.
        owner.blocking.wait_until_gone(last);
    }
    #[cfg(feature = "insight")]
    let watchdog = owner.insight.as_ref().and_then(|probe| probe.watchdog.as_ref());
    #[cfg(feature = "insight")]
    if watchdog.is_some_and(|watchdog| !watchdog.end(last)) {
        left.push(LeftBehind::new("stall watchdog", None, "its callback does not return"));
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.owner.ended.get() {
            return;
        }
        let begun = Instant::now();
        let mut report = Report::default();
        let counts = self.end(&mut report, || begun.elapsed() >= LAST_CALL);
        name_tasks(&counts, &mut report.left_behind);
        name_threads(&self.owner, begun, &mut report.left_behind);
        report.elapsed = begun.elapsed();
        self.owner.shutdown.end_with(report);
    }
}
