//! The end of a worker as its owner sees it: close, wait, give up the rest, say what was left behind.
//! What happens inside meanwhile is in [`state::ending`](crate::state).

use crate::contain::{Inside, inside};
use crate::driver::{self, ensure_running};
use crate::report::{LeftBehind, LeftReason, Report};
use crate::shared::Shared;
use crate::state::Sweeper;
use crate::sweep;
use crate::sync::Arc;
use crate::waiting::{Goal, Wait};
use std::time::{Duration, Instant};

/// How long past the deadline the worker gets to drop what was given up, and to see that all is over.
const GRACE: Duration = Duration::from_millis(200);

/// Whether what was accepted gets the time to finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    Drain,
    Kill,
}

pub(crate) struct Shutdown {
    shared: Arc<Shared>,
    patience: Patience,
    deadline: Instant,
    left: Vec<LeftBehind>,
    /// Where the caller is, if that is in code that the worker runs.
    inside: Option<Inside>,
    /// The tasks that were being polled when they were given up, and where `left` names them.
    polled: Vec<(u64, usize)>,
    /// Whether a producer holds the driver for as long as it likes.
    stalled: bool,
}

impl Shutdown {
    /// Closes: from here on every submit is refused.
    pub(crate) fn begin(shared: &Arc<Shared>, patience: Patience, deadline: Duration) -> Self {
        shared.check_process();
        shared.gate().close();
        let unended = {
            let now = shared.config.clock.now();
            let mut state = shared.state();
            state.paused = false;
            state.look(shared.intake(), now);
            state.unended()
        };
        if unended > 0 || shared.gate().snapshot().submitted() > 0 {
            ensure_running(shared);
        }
        shared.side().ready.kick.wake();
        Self {
            shared: Arc::clone(shared),
            patience,
            deadline: crate::clock::after(Instant::now(), deadline),
            left: Vec::new(),
            inside: inside(Shared::identity(shared)),
            polled: Vec::new(),
            stalled: false,
        }
    }

    /// Runs as a future: the waits give way.
    pub(crate) async fn run(mut self) -> Report {
        while self.patience == Patience::Drain && !self.is_sealed() {
            let drained = Wait::new(&self.shared, Goal::Drained, self.deadline);
            if drained.await.is_err() || self.is_late() {
                break;
            }
            if self.inside.is_some() {
                // All others have ended. The worker seals itself once the caller's own task has.
                return self.leave_unattended();
            }
        }
        self.give_up();
        let last = self.last_moment();
        for goal in self.goals(false) {
            if Wait::new(&self.shared, goal, last).await.is_err() {
                self.missed(goal);
            }
        }
        // This thread belongs to a runtime: it is not blocked for longer than it takes a thread to end.
        self.report(Instant::now() + GRACE)
    }

    /// Runs on this thread, or leaves the worker to itself where that would be a deadlock.
    pub(crate) fn run_blocking(mut self) -> Report {
        if self.would_deadlock() {
            return self.leave_unattended();
        }
        while self.patience == Patience::Drain && !self.is_sealed() {
            let drained = Wait::new(&self.shared, Goal::Drained, self.deadline);
            match self.block(drained) {
                Some(true) if !self.is_late() => {}
                Some(_) => break,
                None => return self.leave_unattended(),
            }
        }
        self.give_up();
        let last = self.last_moment();
        for goal in self.goals(true) {
            if self.block(Wait::new(&self.shared, goal, last)) != Some(true) {
                self.missed(goal);
            }
        }
        self.report(last)
    }

    /// Waits on this thread, and says whether the goal was reached; `None` where blocking is impossible.
    fn block(&self, wait: Wait) -> Option<bool> {
        driver::block(&self.shared, move || wait.block()).map(|ended| ended.is_ok())
    }

    fn is_sealed(&self) -> bool {
        let shared = &self.shared;
        let now = shared.config.clock.now();
        let (sealed, nudge) = shared.state().try_seal(shared.intake(), now);
        nudge.wake();
        sealed
    }

    /// A guard that is dropped between the wait and the seal calls for another wait, until the deadline.
    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    fn would_deadlock(&self) -> bool {
        let pending = !self.shared.gate().snapshot().is_drained();
        let needed = driver::is_needed(&self.shared) && self.shared.is_running();
        self.inside.is_some() || (pending && needed)
    }

    fn leave_unattended(mut self) -> Report {
        let pending = {
            let mut state = self.shared.state();
            state.unattended = true;
            state.unended()
        };
        self.shared.side().ready.kick.wake();
        self.note(LeftReason::Unattended { pending });
        self.name_the_rest()
    }

    /// Gives up what is left, if there is anything, and sees that some thread drops it.
    fn give_up(&mut self) {
        if self.is_sealed() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let now = shared.config.clock.now();
        let given_up = shared.state().condemn(shared.intake(), now);
        given_up.nudge.wake();
        for (info, reason) in &given_up.left {
            if *reason == LeftReason::StillPolled {
                self.polled.push((info.id, self.left.len()));
            }
            let age = now.saturating_duration_since(info.since);
            self.left.push(LeftBehind { name: info.label, age, reason: *reason });
        }
        if given_up.stalled {
            self.stalled = true;
            self.note(LeftReason::StalledProducer);
        }
        match given_up.sweeper {
            Sweeper::Driver => shared.side().ready.kick.wake(),
            Sweeper::Other => driver::sweep_elsewhere(&shared),
            Sweeper::Caller => sweep::sweep(&shared, usize::MAX),
        }
    }

    /// What is still waited for after everything was counted: not the caller itself, and no producer. A wait
    /// that blocks the one thread of the driver would keep it from getting there.
    fn goals(&self, blocks: bool) -> Vec<Goal> {
        let shared = &self.shared;
        shared.side().ready.kick.wake();
        let swept = self.inside.is_none() && !(blocks && driver::is_needed(shared));
        let finished = swept && shared.is_running() && !self.stalled;
        let goals = [(Goal::Finished, finished), (Goal::Swept, swept)];
        goals.into_iter().filter_map(|(goal, wanted)| wanted.then_some(goal)).collect()
    }

    /// The time ran out before a goal was reached. A task that holds the driver is named in its place.
    fn missed(&mut self, goal: Goal) {
        if goal == Goal::Swept && self.shared.state().must_sweep() {
            // The driver gets no turns: its runtime is not driven.
            driver::sweep_elsewhere(&self.shared);
        }
        let held = goal == Goal::Finished && !self.shared.state().held().is_empty();
        if !held {
            self.note_thread();
        }
    }

    /// Names threads that go on, once.
    fn note_thread(&mut self) {
        if self.left.iter().all(|left| left.reason != LeftReason::Thread) {
            self.note(LeftReason::Thread);
        }
    }

    /// Names the tasks that the driver still has, and takes back what was said of those it has no more.
    fn name_held(&mut self) {
        let held = self.shared.state().held();
        for (id, index) in std::mem::take(&mut self.polled) {
            if held.iter().all(|(info, _)| info.id != id) {
                self.left[index].reason = LeftReason::Abandoned;
            }
        }
        for (info, reason) in held {
            if reason == LeftReason::InEventHook {
                let age = self.shared.age(info.since);
                self.left.push(LeftBehind { name: info.label, age, reason });
            }
        }
    }

    fn last_moment(&self) -> Instant {
        self.deadline.max(Instant::now() + GRACE)
    }

    fn note(&mut self, reason: LeftReason) {
        self.left.push(LeftBehind { name: "", age: Duration::ZERO, reason });
    }

    /// Joins the threads until the last moment, and names what is left.
    fn report(mut self, last: Instant) -> Report {
        self.name_held();
        let shared = Arc::clone(&self.shared);
        shared.state().end_closures();
        if !driver::join(&shared, last) {
            self.note_thread();
        }
        self.name_the_rest()
    }

    /// Names what no end waits for.
    fn name_the_rest(mut self) -> Report {
        let shared = Arc::clone(&self.shared);
        let stats = sweep::stats(&shared);
        if stats.stuck_blocking > 0 {
            self.note(LeftReason::BlockingClosures { count: stats.stuck_blocking });
        }
        if stats.armed > 0 {
            self.note(LeftReason::Armed { weight: stats.armed });
        }
        if shared.inherited() > 0 {
            self.note(LeftReason::Inherited { weight: shared.inherited() });
        }
        Report { stats, left_behind: self.left }
    }
}
