//! The end of a round: everybody who is known is killed and waited for, and the table is looked at again.

use super::table::{GroupSent, Sent, Table};
use super::{Engine, Hold, Outcome, PAUSES, Phase, Step};
use crate::id::ProcId;
use crate::report::{Survivor, SurvivorReason};
use crate::signal::Signal;
use std::time::Instant;

impl<T: Table> Engine<T> {
    /// Kills everybody who is known, children before their parents: a parent whose end leaves a group
    /// with stopped members to nobody makes the kernel send SIGHUP to that whole group, and strangers
    /// may be in it. A member that is killed counts as stopped no more.
    pub(super) fn strike(&mut self) {
        let sent = self.signal_group(Some(Signal::KILL));
        let group_is_struck = sent == Some(GroupSent::Delivered);
        self.group_is_stopped &= sent.is_none();
        for place in (0..self.members.len()).rev() {
            if self.members[place].hold == Hold::Dead {
                continue;
            }
            let sent = self.signal_member(place, Signal::KILL);
            let member = &mut self.members[place];
            member.struck |= sent == Sent::Delivered;
            member.hold = match sent {
                Sent::Delivered => Hold::Killed,
                Sent::Denied => Hold::Denied,
                Sent::Gone => {
                    // Whoever was told to stop did not end by itself.
                    let is_told = matches!(member.hold, Hold::Stopping | Hold::Stopped);
                    member.struck |= group_is_struck && is_told;
                    self.already_gone += usize::from(!member.struck);
                    Hold::Dead
                }
                Sent::Unheld => member.hold,
            };
            if let Some(handle) = member.handle.as_ref().filter(|_| !member.watched) {
                member.watched = self.table.watch(handle, place);
            }
        }
    }

    pub(super) fn reap(&mut self, now: Instant) -> Step {
        let mut ended = Vec::new();
        self.table.ended(&mut ended);
        for place in ended {
            self.members[place].hold = Hold::Dead;
        }
        let mut unwatched = false;
        let mut alive = 0;
        for place in 0..self.members.len() {
            if self.members[place].hold != Hold::Killed {
                continue;
            }
            if !self.members[place].watched {
                unwatched = true;
                if self.member_is_dead(place) {
                    self.members[place].hold = Hold::Dead;
                    continue;
                }
            }
            alive += 1;
        }
        if alive > 0 && now < self.deadline {
            let next = if unwatched { now + PAUSES[1] } else { self.deadline };
            return Step::Wait(next.min(self.deadline));
        }
        // Also a kill that is late ends with a look: whoever it finds is struck, and not overlooked.
        let is_late = now >= self.deadline;
        self.bound_loops(self.deadline);
        match is_late && std::mem::replace(&mut self.was_late, is_late) {
            // That look has found somebody: nobody has looked for whom they started since.
            true => self.is_cut_short = true,
            false if self.find_anybody() > 0 => {
                self.phase = Phase::Freeze { since: now, looks: 0 };
                return Step::Again;
            }
            false => {}
        }
        if self.fell_short() {
            self.is_cut_short = true;
            if !is_late {
                self.phase = Phase::Freeze { since: now, looks: 0 };
                return Step::Wait((now + PAUSES[1]).min(self.deadline));
            }
        }
        self.phase = Phase::Done;
        Step::Done
    }

    /// Looks for members by every means there is; returns how many were found.
    fn find_anybody(&mut self) -> usize {
        self.is_cut_short = false;
        let found = usize::from(self.admit_root());
        let found = if self.keeper.is_some() { found + self.walk() } else { found };
        if found > 0 { found } else { self.scan(true) }
    }

    /// Whether nobody is left, as far as it can be known.
    pub(crate) fn is_clear(&mut self) -> bool {
        !self.is_cut_short
            && !self.is_blind
            && (0..self.members.len()).all(|place| match self.members[place].hold {
                Hold::Dead => true,
                _ => self.member_is_dead(place),
            })
    }

    /// What was done. Meant for after [`Step::Done`]; before, everybody alive is a survivor.
    pub(crate) fn outcome(mut self) -> Outcome {
        let mut outcome = Outcome {
            already_gone: self.already_gone,
            rounds: self.rounds,
            is_open: self.is_cut_short || self.is_blind,
            ..Outcome::default()
        };
        for place in 0..self.members.len() {
            let member = &self.members[place];
            let (hold, struck) = (member.hold, member.struck);
            let id = member.id;
            match hold {
                _ if hold != Hold::Dead && !self.member_is_dead(place) => {
                    outcome.survivors.push(self.survivor(id, hold));
                }
                _ if struck => outcome.killed += usize::from(!self.dying.contains(&id.pid())),
                // Those that were dead were counted when that was seen.
                Hold::Dead => {}
                _ => outcome.already_gone += 1,
            }
        }
        outcome
    }

    fn survivor(&mut self, id: ProcId, hold: Hold) -> Survivor {
        let state = self.table.stat(id.pid()).map(|stat| stat.state);
        let reason = match (hold, state) {
            (Hold::Denied, _) => SurvivorReason::Permission,
            (Hold::Stopping | Hold::Stopped | Hold::Seen, _) => SurvivorReason::Descriptors,
            (_, Some(state)) if state.is_uninterruptible() => SurvivorReason::Uninterruptible,
            _ => SurvivorReason::Deadline,
        };
        let name = self.table.name(id.pid()).unwrap_or_default();
        Survivor::new(id, &name, state.map_or('?', |state| char::from(state.0)), reason)
    }
}
