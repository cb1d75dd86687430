//! The end of a worker: close, drain, give up the rest, say what was left behind.
//!
//! ```text
//!   open ── close ──► draining ── all ended ──► sealed ── driver gone ──► ended
//!                         └─── deadline: condemn ───┘
//! ```

use crate::flush::Wait;
use crate::launch;
use crate::report::{LeftBehind, LeftReason, ShutdownReport};
use crate::shared::Shared;
use crate::state::Doomed;
use crate::sync::Arc;
use crate::wait::{Goal, inside};
use std::time::{Duration, Instant};

/// How long past the deadline the driver gets to see that all is over. It has nothing left to do.
const GRACE: Duration = Duration::from_millis(200);

pub(crate) struct Shutdown {
    shared: Arc<Shared>,
    deadline: Instant,
    left: Vec<LeftBehind>,
}

impl Shutdown {
    /// Closes: from here on every submit is refused.
    pub(crate) fn begin(shared: &Arc<Shared>, deadline: Duration) -> Self {
        shared.check_process();
        shared.gate().close();
        shared.state().paused = false;
        if shared.gate().snapshot().submitted() > 0 {
            Shared::ensure_running(shared);
        }
        shared.side().ready.kick.wake();
        Self {
            shared: Arc::clone(shared),
            deadline: crate::clock::after(Instant::now(), deadline),
            left: Vec::new(),
        }
    }

    /// Runs on a future: the waits give way.
    pub(crate) async fn run(mut self) -> ShutdownReport {
        while !self.is_sealed() {
            let drained = Wait::new(&self.shared, Goal::Drained, self.deadline);
            if drained.await.is_err() {
                self.condemn();
                break;
            }
        }
        if let Some(wait) = self.wait_for_driver()
            && wait.await.is_err()
        {
            self.driver_remains();
        }
        self.report()
    }

    /// Runs on this thread, or leaves the worker to itself where that would be a deadlock.
    pub(crate) fn run_blocking(mut self) -> ShutdownReport {
        if self.would_deadlock() {
            return self.leave_unattended();
        }
        while !self.is_sealed() {
            let drained = Wait::new(&self.shared, Goal::Drained, self.deadline);
            if self.block(drained).is_err() {
                self.condemn();
                break;
            }
        }
        if let Some(wait) = self.wait_for_driver()
            && self.block(wait).is_err()
        {
            self.driver_remains();
        }
        self.report()
    }

    /// Waits on this thread; at once in vain where that cannot be.
    fn block(&self, wait: Wait) -> Result<(), u64> {
        let pending = wait.pending();
        launch::block(&self.shared, move || wait.block()).unwrap_or(Err(pending))
    }

    fn is_sealed(&self) -> bool {
        let shared = &self.shared;
        let now = shared.config.clock.now();
        let mut state = shared.state();
        state.try_seal(shared.intake(), now)
    }

    fn would_deadlock(&self) -> bool {
        let inside = inside(Shared::address(&self.shared));
        let pending = !self.shared.gate().snapshot().is_drained();
        let needed = launch::is_needed(&self.shared) && self.shared.is_running();
        inside.is_some() || (pending && needed)
    }

    fn leave_unattended(mut self) -> ShutdownReport {
        let pending = {
            let now = self.shared.config.clock.now();
            let mut state = self.shared.state();
            state.collect(self.shared.intake(), false, now);
            state.unattended = true;
            state.unended()
        };
        self.shared.side().ready.kick.wake();
        self.note("", Duration::ZERO, LeftReason::Unattended { pending });
        ShutdownReport { stats: self.shared.stats(), left_behind: self.left }
    }

    /// The time is up: gives up what is left.
    fn condemn(&mut self) {
        let shared = Arc::clone(&self.shared);
        let now = shared.config.clock.now();
        let (doomed, stalled) = {
            let mut state = shared.state();
            (state.condemn(shared.intake(), now), state.is_stalled())
        };
        for Doomed { node, info } in &doomed {
            let age = now.saturating_duration_since(info.since);
            let reason = match node {
                Some(_) => LeftReason::Abandoned,
                None => LeftReason::StillPolled,
            };
            self.note(info.label, age, reason);
        }
        if stalled {
            self.note("", Duration::ZERO, LeftReason::StalledProducer);
        }
        // A destructor that blocks must not hold up the one who ends the worker.
        let held = stalled || doomed.iter().any(|doomed| doomed.node.is_none());
        if held || !self.has_other_driver() {
            return shared.doom(doomed);
        }
        shared.state().leave_to_driver(doomed);
        shared.side().ready.kick.wake();
    }

    /// Whether there is a driver that goes on while this thread waits.
    fn has_other_driver(&self) -> bool {
        let shared = &self.shared;
        let own = launch::is_own_runtime(shared) || inside(Shared::address(shared)).is_some();
        !own && shared.is_running()
    }

    /// The driver sees that all is over and ends; `None` when there is none, or it cannot.
    fn wait_for_driver(&self) -> Option<Wait> {
        let shared = &self.shared;
        shared.side().ready.kick.wake();
        let held = self.left.iter().any(|left| {
            matches!(left.reason, LeftReason::StillPolled | LeftReason::StalledProducer)
        });
        if held || !self.has_other_driver() {
            return None;
        }
        let grace = Instant::now() + GRACE;
        let deadline = self.deadline.max(grace);
        Some(Wait::new(shared, Goal::Finished, deadline))
    }

    fn driver_remains(&mut self) {
        self.note("", Duration::ZERO, LeftReason::Thread);
    }

    fn note(&mut self, label: &'static str, age: Duration, reason: LeftReason) {
        self.left.push(LeftBehind { label, age, reason });
    }

    fn report(mut self) -> ShutdownReport {
        let shared = Arc::clone(&self.shared);
        let side = shared.side();
        if shared.state().waiters.finished {
            launch::join(&shared);
        }
        side.pool.stop();
        side.alarm.stop();
        let stats = shared.stats();
        if stats.stuck_blocking > 0 {
            let count = stats.stuck_blocking;
            self.note("", Duration::ZERO, LeftReason::BlockingClosures { count });
        }
        if stats.armed > 0 {
            let weight = stats.armed;
            self.note("", Duration::ZERO, LeftReason::Armed { weight });
        }
        ShutdownReport { stats, left_behind: self.left }
    }
}
