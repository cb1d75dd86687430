//! Turns: complete what has ended and claim what comes next, in one call, as long as it pays.
//!
//! Several turns may be on their way at once, up to what the store asks for, so that it need not wait
//! while the engine starts lanes.

use super::engine::Engine;
use super::flight::Flight;
use crate::error::StoreError;
use crate::event::Event;
use crate::lifecycle::{Outcome, State};
use crate::registry::{Applied, Claimed, Report, StoreFuture, Turn, TurnRequest};
use crate::stats::Counter;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A turn beside another one must carry at least this share of a full one.
const WORTH: usize = 4;

struct Sent<'a> {
    answer: StoreFuture<'a, Turn>,
    flight: &'a Flight,
    /// Taken out when the answer is there.
    reports: Vec<Report>,
    /// How many were asked for, for each queue.
    asked: Vec<usize>,
}

impl Drop for Sent<'_> {
    /// Nobody waited for the answer: the reports go again, and the store says if they were applied.
    fn drop(&mut self) {
        if !self.reports.is_empty() {
            self.flight.put_back(std::mem::take(&mut self.reports));
        }
    }
}

impl Engine {
    /// Takes turns until there is nothing to report and nothing to claim, or somebody waits for a look.
    pub(super) async fn turns(&mut self) -> Result<(), StoreError> {
        let registry = Arc::clone(&self.shared.registry);
        let shared = Arc::clone(&self.shared);
        let mut sent: VecDeque<Sent<'_>> = VecDeque::new();
        let mut failed = None;
        loop {
            while failed.is_none()
                && sent.len() < registry.parallel_turns()
                && let Some((turn, asked)) = self.next_turn(&sent)
            {
                let reports = turn.reports.clone();
                shared.counters.turns.add(1);
                let answer = registry.turn(turn);
                let flight = &*shared.flight;
                sent.push_back(Sent { answer, flight, reports, asked });
            }
            let more = failed.is_none() && sent.len() < registry.parallel_turns();
            let Some(first) = sent.front_mut() else {
                return failed.map_or(Ok(()), Err);
            };
            let answer = tokio::select! {
                biased;
                answer = &mut first.answer => answer,
                () = shared.flight.wake.notified(), if more => continue,
            };
            let Some(mut done) = sent.pop_front() else {
                continue;
            };
            match answer {
                Ok(turn) => self.absorb(turn, std::mem::take(&mut done.reports), &done.asked),
                Err(error) => {
                    // Whether it was applied is unknown. Its reports go again; what it may have
                    // claimed is found by the reconciliation that comes first.
                    self.doubtful = true;
                    failed = Some(error);
                }
            }
        }
    }

    /// The next turn worth taking.
    fn next_turn(&mut self, sent: &VecDeque<Sent<'_>>) -> Option<(TurnRequest, Vec<usize>)> {
        let worker = self.shared.guard.worker().filter(|live| Some(*live) == self.worker)?;
        let size = self.shared.registry.turn_size();
        let least = if sent.is_empty() { 1 } else { size / WORTH };
        let flight = &self.shared.flight;
        // Somebody waits for a look: what is under way ends, and reports go first.
        let claims = !self.is_driven() || sent.is_empty();
        let mut left = size;
        let mut turn = TurnRequest::new(worker);
        let mut asked = vec![0; self.hungry.len()];
        for (line, queue) in self.shared.queues.iter().enumerate() {
            let under_way: usize = sent.iter().map(|sent| sent.asked[line]).sum();
            let places = queue.places + self.shared.config.prefetch;
            // A job in isolation takes a place of every queue: it came from one of them.
            let taken = flight.load(line) + flight.load(self.hungry.len()) + under_way;
            let room = places.saturating_sub(taken).min(left);
            if claims && self.hungry[line] && room > 0 {
                left -= room;
                asked[line] = room;
                turn = turn.claim(Arc::clone(&queue.name), room);
            }
        }
        let wanted: usize = asked.iter().sum();
        if wanted < least && flight.reports() < least {
            return None;
        }
        turn.promote = wanted > 0 && std::mem::take(&mut self.promote);
        turn.reports = flight.take_reports(size);
        Some((turn, asked))
    }

    fn absorb(&mut self, turn: Turn, reports: Vec<Report>, asked: &[usize]) {
        for (applied, report) in turn.applied.iter().zip(&reports) {
            self.count(*applied, report);
        }
        self.shared.flight.settle_written(&reports);
        let queues = &self.shared.queues;
        let mut got = vec![0; asked.len()];
        let line_of = |claimed: &Claimed| {
            let line = queues.iter().position(|queue| queue.name == claimed.queue);
            line.unwrap_or_default()
        };
        for claimed in &turn.claimed {
            got[line_of(claimed)] += 1;
        }
        for (line, asked) in asked.iter().enumerate() {
            if *asked > 0 {
                self.hungry[line] = turn.live && got[line] == *asked;
            }
        }
        if !turn.claimed.is_empty() {
            let suspects = queues.len();
            self.shared.counters.claimed.add(turn.claimed.len() as u64);
            let flight = &self.shared.flight;
            flight.board(turn.claimed, |claimed| {
                if claimed.is_isolated() { suspects } else { line_of(claimed) }
            });
            self.start_lanes();
        }
        if !turn.live
            && let Some(worker) = self.worker
        {
            let shared = &self.shared;
            shared.guard.fence(worker, &shared.flight, &shared.counters);
        }
        // Jobs claimed under a lease that was fenced meanwhile are not ours to run.
        if let Some(worker) = self.worker
            && self.shared.guard.worker() != Some(worker)
        {
            self.shared.counters.lost.add(self.shared.flight.lose_all(worker));
        }
    }

    fn count(&mut self, applied: Applied, report: &Report) {
        let counters = &self.shared.counters;
        let state = match applied {
            Applied::Lost(lost) => {
                counters.lost.add(1);
                self.shared.hook.tell(&Event::Refused(lost));
                return;
            }
            Applied::Now(state) => state,
            Applied::Before => expected(&report.outcome),
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
            let at = Instant::now() + delay;
            self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
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
