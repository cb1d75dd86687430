//! Who becomes a member: a process is held, judged by what is read while it is held, and stopped.

use super::table::{Opened, Sent, Stat, Table};
use super::{Engine, Hold, Member};
use crate::id::{Pid, ProcId};
use crate::signal::Signal;

/// Why a process may be a member. It is checked after the process is held.
#[derive(Debug, Clone, Copy)]
pub(super) enum Claim {
    /// It is the root, if it is this very process.
    Root(ProcId),
    /// Its parent is the member at this place.
    ChildOf(usize),
    /// Its parent is the supervisor.
    Kept,
    /// It carries evidence.
    Evidence,
}

impl<T: Table> Engine<T> {
    /// Admits the root, which the held pidfd names and not its number; returns whether it is new.
    pub(super) fn admit_root(&mut self) -> bool {
        let Some(root) = self.evidence.root.filter(|root| root.is_of(self.table.boot())) else {
            return false;
        };
        if self.refusal.of_pid(root.pid()) || self.is_known_alive(root.pid()) {
            return false;
        }
        let Some(handle) = self.root.clone() else {
            let Opened::Held(handle) = self.open_sparing(root.pid()) else {
                return false;
            };
            return self.admit_held(root.pid(), handle, Claim::Root(root));
        };
        // Who it is, was asked when it was taken hold of: not even a look at it is needed.
        let was_stopped = self.table.stat(root.pid()).is_some_and(|stat| stat.state.is_stopped());
        if !self.table.is_dead(&handle) {
            return self.add(root, handle, was_stopped);
        }
        let is_known = self.index.contains_key(&root.pid());
        if !is_known && !self.follows_strike && self.table.has_its_pid(&handle) {
            self.note_dead(root);
        }
        false
    }

    pub(super) fn is_known_alive(&self, pid: Pid) -> bool {
        let is_keeper = self.keeper.as_ref().is_some_and(|(keeper, _)| *keeper == pid);
        if is_keeper || self.known.contains(&pid) {
            return true;
        }
        let place = self.index.get(&pid);
        place.is_some_and(|place| self.members[*place].hold != Hold::Dead)
    }

    /// Takes hold of the process that has `pid`, judges it, and stops it when it is a member.
    pub(super) fn admit(&mut self, pid: Pid, claim: Claim) -> bool {
        if self.refusal.of_pid(pid) || self.is_known_alive(pid) {
            return false;
        }
        match self.open_sparing(pid) {
            Opened::Held(handle) => self.admit_held(pid, handle, claim),
            _ => false,
        }
    }

    fn admit_held(&mut self, pid: Pid, handle: T::Handle, claim: Claim) -> bool {
        // Zombies carry the mark as well, and there may be thousands that nobody waits for.
        if matches!(claim, Claim::Evidence) && self.table.is_dead(&handle) {
            return false;
        }
        let inode = self.table.inode(&handle);
        let Some(stat) = self.stat_sparing(pid) else {
            // It is hidden. The mark and the lists of children are read by number; which process that was, the
            // pidfd tells.
            let is_proven = match claim {
                Claim::Evidence => self.carries_mark(pid),
                Claim::Kept => self.is_listed_by_keeper(pid),
                Claim::ChildOf(place) => self.is_listed_by_member(pid, place),
                Claim::Root(_) => false,
            };
            let is_ours = is_proven && self.table.has_its_pid(&handle);
            let id = ProcId::from_parts(self.table.boot(), pid, 0, inode);
            return is_ours && self.add(id, handle, false);
        };
        let id = ProcId::from_parts(self.table.boot(), pid, stat.start, inode);
        if self.refusal.of_process(&stat) || self.is_same_as_dead(&id) {
            return false;
        }
        let proven = match claim {
            Claim::Root(root) => id.is_same(&root),
            Claim::ChildOf(place) => self.is_child_of(&stat, place),
            Claim::Kept => self.is_kept(&stat),
            Claim::Evidence => self.is_of_age(&stat) && self.has_evidence(&stat),
        };
        // The proof was read while the handle was held: it is of this process unless it died, and
        // then its pid may have been reused in between, and nothing is signalled.
        if !proven || !self.table.has_its_pid(&handle) || self.table.is_dead(&handle) {
            if proven && !self.follows_strike && stat.state.is_zombie() {
                self.note_dead(id);
            }
            return false;
        }
        self.add(id, handle, stat.state.is_stopped())
    }

    /// Makes a process a member: marks it and stops it, as far as the engine does that.
    fn add(&mut self, id: ProcId, handle: T::Handle, was_stopped: bool) -> bool {
        let asked = self.stops.then(|| self.table.signal(&handle, Signal::STOP));
        let hold = match asked {
            None => Hold::Seen,
            Some(Sent::Delivered) => Hold::Stopping,
            Some(Sent::Denied) => Hold::Denied,
            Some(Sent::Gone | Sent::Unheld) => return false,
        };
        if let Some(mark) = self.marks {
            self.unmarked += usize::from(!self.table.mark(&handle, id.pid(), mark));
        }
        self.index.insert(id.pid(), self.members.len());
        self.members.push(Member {
            id,
            handle: Some(handle),
            hold,
            was_stopped: was_stopped && !self.group_is_stopped,
            walked: false,
            watched: false,
            struck: self.follows_strike,
        });
        true
    }

    /// Remembers a member that was found as a zombie, so that it is counted once.
    fn note_dead(&mut self, id: ProcId) {
        self.already_gone += 1;
        self.index.insert(id.pid(), self.members.len());
        self.members.push(Member {
            id,
            handle: None,
            hold: Hold::Dead,
            was_stopped: false,
            walked: true,
            watched: false,
            struck: false,
        });
    }

    fn is_same_as_dead(&self, id: &ProcId) -> bool {
        let place = self.index.get(&id.pid());
        place.is_some_and(|place| self.members[*place].id.is_same(id))
    }

    /// Whether the parent named in `stat` is that very member: it still was when `stat` was read,
    /// because it is alive afterwards.
    fn is_child_of(&mut self, stat: &Stat, place: usize) -> bool {
        stat.parent == self.members[place].id.pid()
            && self.members[place].hold != Hold::Dead
            && !self.member_is_dead(place)
    }

    /// Whether the parent named in `stat` is the supervisor, which still is alive.
    fn is_kept(&mut self, stat: &Stat) -> bool {
        let keeper = self.keeper.as_ref().filter(|(pid, _)| stat.parent == *pid);
        keeper.is_some_and(|(_, keeper)| !self.table.is_dead(keeper))
    }

    /// Whether the supervisor lists a process as its child, and still is alive.
    fn is_listed_by_keeper(&mut self, pid: Pid) -> bool {
        let Some(keeper) = self.keeper.as_ref().map(|(keeper, _)| *keeper) else { return false };
        let mut children = Vec::new();
        self.list_children(keeper, &mut children);
        let keeper = self.keeper.as_ref();
        children.contains(&pid) && keeper.is_some_and(|(_, keeper)| !self.table.is_dead(keeper))
    }

    /// Whether that very member lists a process as its child, and still is alive.
    fn is_listed_by_member(&mut self, pid: Pid, place: usize) -> bool {
        let mut children = Vec::new();
        self.list_children(self.members[place].id.pid(), &mut children);
        children.contains(&pid)
            && self.members[place].hold != Hold::Dead
            && !self.member_is_dead(place)
    }

    fn is_of_age(&self, stat: &Stat) -> bool {
        let root = self.evidence.root;
        root.is_none_or(|root| stat.start >= root.start())
    }

    fn has_evidence(&mut self, stat: &Stat) -> bool {
        self.carries_mark(stat.pid)
            || self.table.carries(stat.pid, &self.evidence)
            || self.stat_is_evidence(stat)
    }

    pub(super) fn carries_mark(&mut self, pid: Pid) -> bool {
        let mark = self.evidence.mark;
        mark.is_some_and(|mark| self.table.is_marked(pid, mark, true))
    }

    /// Opens a process, giving up handles of members when descriptors run short, and taking one that is
    /// kept for this when there are no more handles to give up.
    pub(super) fn open_sparing(&mut self, pid: Pid) -> Opened<T::Handle> {
        let mut opened = self.table.open(pid, false);
        while matches!(opened, Opened::Exhausted) && self.give_up_handles() {
            opened = self.table.open(pid, false);
        }
        if matches!(opened, Opened::Exhausted) {
            opened = self.table.open(pid, true);
        }
        self.ran_short |= matches!(opened, Opened::Exhausted);
        self.is_blind |= matches!(opened, Opened::Refused);
        opened
    }

    /// Looks at a process that is held: the handle may have taken the last descriptor, and the look needs one,
    /// too.
    fn stat_sparing(&mut self, pid: Pid) -> Option<Stat> {
        loop {
            // What fell short before this look is not forgotten by asking about it.
            self.ran_short |= self.table.ran_short();
            let stat = self.table.stat(pid);
            if stat.is_some() || !self.table.ran_short() {
                return stat;
            }
            if !self.give_up_handles() {
                self.ran_short = true;
                return None;
            }
        }
    }

    /// Whether somebody may have been missed since the last call because no descriptor was free: others
    /// in this process have them, and may give them back.
    pub(super) fn fell_short(&mut self) -> bool {
        let table_did = self.table.ran_short();
        self.is_blind |= self.table.was_hidden();
        std::mem::take(&mut self.ran_short) || table_did
    }

    /// Drops every second handle; whether any was left to drop.
    pub(super) fn give_up_handles(&mut self) -> bool {
        let mut given = false;
        let mut keep = true;
        for member in &mut self.members {
            if member.handle.is_some() {
                keep = !keep;
                if !keep {
                    member.handle = None;
                    member.watched = false;
                    given = true;
                }
            }
        }
        given
    }
}
