//! The answers to turns: what was written down is counted, what was claimed gets a lane.

use super::action::Asked;
use super::engine::Engine;
use crate::event::Event;
use crate::lease::WorkerId;
use crate::lifecycle::{Outcome, State};
use crate::registry::{Applied, Report, Turn};
use crate::stats::Counter;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Engine {
    pub(super) fn turned(
        &mut self,
        turn: Turn,
        asked: &Asked,
        worker: WorkerId,
        reports: Vec<Report>,
    ) {
        for (applied, report) in turn.applied.iter().zip(&reports) {
            self.count(*applied, report);
        }
        let shared = Arc::clone(&self.shared);
        shared.flight.settle_written(&reports);
        let queue_of = |name: &str| {
            let queue = shared.queues.iter().position(|queue| *queue.name == *name);
            queue.unwrap_or_default()
        };
        let mut got = vec![0; shared.queues.len()];
        for claimed in &turn.claimed {
            got[queue_of(&claimed.queue)] += 1;
        }
        let claimed_anything = !turn.claimed.is_empty();
        shared.counters.unreadable.add(turn.set_aside as u64);
        self.plan.turned(asked, &got, turn.live);
        if let Some(ms) = turn.next_due_ms {
            self.plan.due_in(ms, Instant::now());
        }
        if claimed_anything {
            shared.counters.claimed.add(turn.claimed.len() as u64);
            shared.flight.board(turn.claimed, |claimed| queue_of(&claimed.queue));
            if self.plan.is_closing() {
                self.give_back();
            } else {
                self.start_lanes();
            }
        }
        if !turn.live && self.worker == Some(worker) {
            shared.guard.fence(worker, &shared.flight, &shared.counters);
        }
        // Jobs claimed under a lease that was fenced meanwhile are not ours to run.
        if shared.guard.worker() != Some(worker) {
            shared.counters.lost.add(shared.flight.lose_all(worker));
        }
    }

    fn count(&mut self, applied: Applied, report: &Report) {
        let counters = &self.shared.counters;
        let state = match applied {
            Applied::Now(state) => state,
            Applied::Before => expected(&report.outcome),
            Applied::Lost(lost) => {
                counters.lost.add(1);
                self.shared.hook.tell(&Event::Refused(lost));
                return;
            }
        };
        let counter: &Counter = match (state, &report.outcome) {
            (State::Succeeded, _) => &counters.succeeded,
            (State::Failed, _) => &counters.failed,
            (State::Cancelled, _) => &counters.cancelled,
            (State::Dead, _) => &counters.dead,
            (State::Abandoned, _) => &counters.abandoned,
            (_, Outcome::Snooze { .. }) => &counters.snoozed,
            (_, Outcome::Release) => &counters.released,
            _ => &counters.retried,
        };
        counter.add(1);
        if let Outcome::Retry { delay_ms, .. } | Outcome::Snooze { delay_ms } = report.outcome {
            let delay = Duration::from_millis(delay_ms.clamp(0, 3_600_000).unsigned_abs());
            self.plan.due(Instant::now() + delay);
        }
        if self.shared.hook.listens() {
            let lease = report.lease;
            self.shared.hook.tell(&Event::Written { lease, state });
        }
    }
}

/// Where an outcome leads when nothing stands in its way.
fn expected(outcome: &Outcome) -> State {
    match outcome {
        Outcome::Done { .. } | Outcome::Confirm => State::Succeeded,
        Outcome::Fail { .. } => State::Failed,
        Outcome::Reject { .. } => State::Dead,
        Outcome::Stopped { .. } => State::Cancelled,
        Outcome::Retry { .. } | Outcome::Snooze { .. } => State::Scheduled,
        Outcome::Release => State::Ready,
    }
}
