//! Looks without a kill: which processes are members, and when no member is left.

use super::table::{Sent, Table};
use super::{Engine, Hold, Member, Step};
use crate::id::{Pid, ProcId};
use crate::signal::Signal;
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// How often the tree is looked at while members are known to be alive: children that are seen before
/// their parents end are not lost when the chain breaks.
const LOOK: Duration = Duration::from_secs(1);

/// How long a look that has found nobody may go on beyond the deadline.
const WHOLE: Duration = Duration::from_secs(2);

impl<T: Table> Engine<T> {
    /// Makes it look only: nobody is stopped, and [`Engine::step`] is not to be called.
    pub(crate) fn looking_only(mut self) -> Self {
        self.stops = false;
        self
    }

    /// These are members that are known already: it looks for others.
    pub(crate) fn know(&mut self, members: &[Pid]) {
        self.known = members.iter().copied().collect();
    }

    /// Makes it mark whom it finds.
    pub(crate) fn marking(mut self, mark: u64) -> Self {
        self.marks = Some(mark);
        self
    }

    /// Finds everybody there is now, and whom they have started meanwhile, until nobody is new. Whether
    /// everybody was marked before the deadline.
    pub(crate) fn mark_all(&mut self) -> bool {
        loop {
            let before = self.members.len();
            self.look();
            if self.members.len() == before {
                let is_whole = !self.is_cut_short && !self.fell_short() && !self.is_blind;
                return is_whole && self.unmarked == 0;
            }
            if self.table.now() >= self.deadline {
                return false;
            }
        }
    }

    /// Why the looks so far may have missed somebody. In a storm they are cut short, and whom they have found
    /// is an answer; nobody is none.
    pub(crate) fn was_prevented(&mut self) -> Option<Errno> {
        if self.fell_short() || self.is_blind {
            return Some(Errno::MFILE);
        }
        let is_empty = self.members.iter().all(|member| member.hold == Hold::Dead);
        (is_empty && self.is_cut_short).then_some(Errno::TIMEDOUT)
    }

    /// Finds everybody there is now, and stops whom it finds unless it only looks; returns how many are alive.
    pub(crate) fn look(&mut self) -> usize {
        for member in &mut self.members {
            member.walked &= member.hold == Hold::Dead;
        }
        self.admit_root();
        self.is_cut_short = false;
        self.bound_loops(self.deadline);
        while self.walk() + self.scan(true) > 0 && self.table.now() < self.deadline {}
        let is_empty = self.members.iter().all(|member| member.hold == Hold::Dead);
        if self.is_cut_short && is_empty && self.marks.is_none() && self.known.is_empty() {
            // However late it is: who has seen nobody has to have seen everybody.
            self.is_cut_short = false;
            self.bound_loops(self.table.now() + WHOLE);
            let _ = self.walk() + self.scan(true);
        }
        for place in 0..self.members.len() {
            // Who is not watched is asked.
            if self.is_over_limit(place) {
                break;
            }
            let member = &mut self.members[place];
            if let Some(handle) = member.handle.as_ref().filter(|_| !member.watched) {
                member.watched = self.table.watch(handle, place);
            }
        }
        self.take_ended()
    }

    /// Notes who has ended, as far as there is time to ask; returns how many are alive.
    fn take_ended(&mut self) -> usize {
        let mut ended = Vec::new();
        self.table.ended(&mut ended);
        for place in ended {
            self.members[place].hold = Hold::Dead;
        }
        let mut alive = 0;
        let mut is_late = false;
        for place in 0..self.members.len() {
            is_late = is_late || self.is_over_limit(place);
            let member = &self.members[place];
            // Whoever is held is asked with one call.
            let is_cheap = member.handle.is_some() || !is_late;
            let is_asked = member.hold != Hold::Dead && !member.watched && is_cheap;
            if is_asked && self.member_is_dead(place) {
                self.members[place].hold = Hold::Dead;
            }
            alive += usize::from(self.members[place].hold != Hold::Dead);
        }
        alive
    }

    /// Waits for nobody to be left. `looked` is the time of the last look, kept by the caller.
    pub(crate) fn await_empty(&mut self, looked: &mut Option<Instant>, now: Instant) -> Step {
        // The tree is empty only when a look finds no process, dead or alive, after all known members had ended: a
        // member that ends during a look may have left a child behind.
        let all_ended = self.take_ended() == 0;
        if all_ended || looked.is_none_or(|looked| now >= looked + LOOK) {
            let is_first = looked.replace(now).is_none();
            let known = self.members.len();
            let alive = self.look();
            let is_quiet = self.members.len() == known;
            let is_certain = !self.fell_short() && !self.is_cut_short && !self.is_blind;
            match alive {
                0 if !is_certain => return Step::Wait(now + super::PAUSES[1]),
                0 if all_ended && is_quiet && !is_first => {
                    self.is_concluded = true;
                    return Step::Done;
                }
                0 => return Step::Again,
                _ => {}
            }
        }
        Step::Wait(now + if self.has_unwatched() { super::PAUSES[1] } else { LOOK })
    }

    fn has_unwatched(&self) -> bool {
        let mut alive = self.members.iter().filter(|member| member.hold != Hold::Dead);
        alive.any(|member| !member.watched)
    }

    /// Signals everybody who was alive at the last look; returns how many got it.
    pub(crate) fn signal_all(&mut self, signal: Signal) -> usize {
        let mut reached = 0;
        for place in 0..self.members.len() {
            let member = &self.members[place];
            if member.hold != Hold::Dead {
                reached += usize::from(self.signal_member(place, signal) == Sent::Delivered);
            }
        }
        reached
    }

    /// Whether a wait has seen that nobody is left.
    pub(crate) fn is_concluded(&self) -> bool {
        self.is_concluded
    }

    /// Whether the time was over before the last look had seen everybody.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.is_cut_short
    }

    /// How many members were found so far, dead or alive.
    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    /// The members that were alive at the last look.
    pub(crate) fn ids(&mut self) -> Vec<ProcId> {
        let Self { members, table, .. } = self;
        let alive = members.iter().filter(|member| member.hold != Hold::Dead);
        let complete = alive.map(|Member { id, handle, .. }| match handle {
            // The evidence may name the root without its inode.
            Some(handle) if id.inode().is_none() => {
                let inode = table.inode(handle);
                ProcId::from_parts(table.boot(), id.pid(), id.start(), inode)
            }
            _ => *id,
        });
        complete.collect()
    }

    /// Leaves everybody stopped whom it has stopped: the members that were alive at the last look, and
    /// whether each stood still before it was found.
    pub(crate) fn leave_stopped(mut self) -> Vec<(ProcId, bool)> {
        let ids = self.ids();
        let still = |engine: &Self, id: ProcId| {
            engine.index.get(&id.pid()).is_some_and(|place| engine.members[*place].was_stopped)
        };
        let stopped = ids.into_iter().map(|id| (id, still(&self, id))).collect();
        self.members.clear();
        stopped
    }

    /// The pids of the members that were alive at the last look.
    pub(crate) fn pids(&self) -> Vec<Pid> {
        let alive = self.members.iter().filter(|member| member.hold != Hold::Dead);
        alive.map(|member| member.id.pid()).collect()
    }
}
