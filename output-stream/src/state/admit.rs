//! Whether the pump may go on: eviction, waiting for readers, and stall limits.

use super::{Fate, State, Wakes};
use crate::policy::{OnStall, Policy};
use crate::sync::on;
use std::time::Instant;

/// The answer to a pump that wants to read more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admit {
    /// Read on.
    Go,
    /// Give lossy readers one turn, then ask again with `yielded`: a reader that is not slow, only
    /// not scheduled yet, shall not lose anything.
    Yield,
    /// Wait until a reader makes room, or until this time, when a stall limit runs out.
    Blocked { until: Option<Instant> },
}

impl State {
    /// Makes room for one more read if that is possible without breaking a policy.
    pub(crate) fn admit(&mut self, now: Instant, yielded: bool) -> (Admit, Wakes) {
        let mut wakes = Wakes::default();
        while self.log.is_over_window() {
            let Some(front_end) = self.log.front_end() else {
                break;
            };
            if self.live().any(|cursor| cursor.holds(front_end)) && on("i5.hold") {
                self.blocked_since.get_or_insert(now);
                if self.expire_stalls(front_end, now, &mut wakes) {
                    continue;
                }
                return (Admit::Blocked { until: self.next_stall(front_end) }, wakes);
            }
            if !yielded && self.live().any(|cursor| cursor.wants_before(front_end)) {
                self.unblock(now);
                return (Admit::Yield, wakes);
            }
            self.evict();
        }
        self.unblock(now);
        (Admit::Go, wakes)
    }

    /// Lets go of the front pieces that nobody wants.
    pub(super) fn trim(&mut self) {
        while let Some(front_end) = self.log.front_end() {
            if self.live().any(|cursor| cursor.wants_before(front_end)) {
                break;
            }
            self.evict();
        }
        if let Some(marks) = &mut self.marks {
            marks.trim(self.log.first());
        }
    }

    /// A cursor moved or left: what only it wanted may go, and the pump may go on.
    pub(super) fn after_progress(&mut self) -> Wakes {
        self.trim();
        let mut wakes = Wakes::default();
        if self.blocked_since.is_some() && self.may_resume() && on("i3.wake") {
            wakes.add(self.pump_waker.take());
        }
        wakes
    }

    /// Books the time that the source had to wait, when it does no longer.
    pub(super) fn unblock(&mut self, now: Instant) {
        if let Some(since) = self.blocked_since.take() {
            self.blocked += now.saturating_duration_since(since);
        }
    }

    /// Half of the window free makes the switch to the pump worth it; so does a front that no
    /// blocking reader wants.
    fn may_resume(&self) -> bool {
        self.log.is_half_free()
            || self
                .log
                .front_end()
                .is_none_or(|front_end| !self.live().any(|cursor| cursor.holds(front_end)))
    }

    fn evict(&mut self) {
        let Some(evicted) = self.log.evict() else {
            return;
        };
        if self.drop_newest > 0 {
            for cursor in self.cursors.iter_mut().flatten() {
                cursor.on_eviction(&evicted, &mut self.held);
            }
            self.note_memory();
        }
    }

    /// Applies the stall limits that ran out; whether any did.
    fn expire_stalls(&mut self, front_end: u64, now: Instant, wakes: &mut Wakes) -> bool {
        let at = self.log.end();
        let mut expired = false;
        for cursor in self.cursors.iter_mut().flatten() {
            let Policy::BlockFor { stall, then } = cursor.policy else {
                continue;
            };
            if !cursor.holds(front_end) {
                continue;
            }
            let since = *cursor.holding_since.get_or_insert(now);
            if now.saturating_duration_since(since) < stall {
                continue;
            }
            expired = true;
            cursor.holding_since = None;
            match then {
                OnStall::Lossy => cursor.policy = Policy::DropOldest,
                OnStall::Detach => {
                    cursor.fate = Fate::Detached { at };
                    wakes.add(cursor.waker.take());
                }
            }
        }
        expired
    }

    fn next_stall(&self, front_end: u64) -> Option<Instant> {
        let limits = self.live().filter(|cursor| cursor.holds(front_end)).filter_map(|cursor| {
            let Policy::BlockFor { stall, .. } = cursor.policy else {
                return None;
            };
            cursor.holding_since?.checked_add(stall)
        });
        limits.min()
    }
}
