//! Who belongs to the tree: the walk down from the members, and the scan for the evidence.

use super::table::{Listing, Opened, Sent, Stat, Table};
use super::{Engine, GroupSent, Hold, Member};
use crate::id::{Pid, ProcId};
use crate::signal::Signal;
use std::collections::HashSet;
use std::time::Duration;

/// Why a process may be a member. It is checked after the process is held.
#[derive(Debug, Clone, Copy)]
enum Claim {
    /// It is the root, if it is this very process.
    Root(ProcId),
    /// Its parent is the member at this place.
    ChildOf(usize),
    /// Its parent is the supervisor.
    Kept,
    /// It carries evidence.
    Evidence,
}

/// From this many members on, one scan of the table may be cheaper than a walk from each.
const MANY: usize = 64;

/// How long nobody has to be looked at again who carried nothing. The pids of a machine do not come round
/// in that time, so a number that was looked at does not mean a younger process.
const CLEARED: Duration = Duration::from_millis(100);

/// A walk from one process costs about as much as the scan of this many others.
const SCAN_SHARE: usize = 5;

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
        if !is_known && self.counts_zombies && self.table.has_its_pid(&handle) {
            self.note_dead(root);
        }
        false
    }

    /// Lists the children of every member that was not walked in its present state, and of those
    /// that are found, and so on; returns how many were found.
    pub(super) fn walk(&mut self) -> usize {
        let before = self.members.len();
        let mut children = Vec::new();
        if let Some(keeper) = self.keeper.as_ref().map(|(pid, _)| *pid) {
            self.list_children(keeper, &mut children);
            self.admit_all(&mut children, Claim::Kept);
        }
        let mut place = 0;
        while place < self.members.len() {
            // Members that go on forking are not followed for ever.
            if self.is_over_limit(place) {
                self.is_cut_short = true;
                break;
            }
            if self.scans_for_children || self.is_large_share(place) {
                self.walk_by_scan();
                break;
            }
            let member = &mut self.members[place];
            if !member.walked && !matches!(member.hold, Hold::Dead) {
                member.walked = true;
                let pid = member.id.pid();
                children.clear();
                match self.list_children(pid, &mut children) {
                    Listing::Unsupported => self.scans_for_children = true,
                    Listing::Exhausted => self.members[place].walked = false,
                    Listing::Whole | Listing::Gone => {}
                }
                if !self.admit_all(&mut children, Claim::ChildOf(place)) {
                    self.members[place].walked = false;
                }
                if self.scans_for_children {
                    continue;
                }
            }
            place += 1;
        }
        self.members.len() - before
    }

    /// Admits a list of children, as far as the time goes; whether all were looked at.
    fn admit_all(&mut self, children: &mut Vec<Pid>, claim: Claim) -> bool {
        for (place, child) in children.drain(..).enumerate() {
            if self.is_over_limit(place) {
                self.is_cut_short = true;
                return false;
            }
            self.admit(child, claim);
        }
        true
    }

    fn list_children(&mut self, pid: Pid, children: &mut Vec<Pid>) -> Listing {
        match self.table.children(pid, children) {
            Listing::Exhausted if self.give_up_handles() => {
                children.clear();
                self.list_children(pid, children)
            }
            Listing::Exhausted => {
                self.ran_short = true;
                Listing::Exhausted
            }
            listing => listing,
        }
    }

    /// Whether so much is left to walk from `place` on that a scan is cheaper.
    fn is_large_share(&mut self, place: usize) -> bool {
        if !place.is_multiple_of(MANY) {
            return false;
        }
        let waiting = self.members[place..].iter();
        let waiting = waiting.filter(|m| !m.walked && m.hold != Hold::Dead).count();
        if waiting < MANY {
            return false;
        }
        let mut all = Vec::new();
        self.table.all(&mut all);
        waiting * SCAN_SHARE > all.len()
    }

    /// The same as a walk, by reading the parent of every process there is, until nothing is new.
    fn walk_by_scan(&mut self) {
        loop {
            let before = self.members.len();
            let mut all = Vec::new();
            self.table.all(&mut all);
            // Members whose present state is covered by this pass.
            let covered = before;
            for (place, pid) in all.into_iter().enumerate() {
                if self.is_over_limit(place) {
                    self.is_cut_short = true;
                    return;
                }
                let known = self.is_known_alive(pid);
                if known || self.refusal.of_pid(pid) {
                    continue;
                }
                let parent = self.table.stat(pid).map(|stat| stat.parent);
                if parent.is_some() && parent == self.keeper.as_ref().map(|(pid, _)| *pid) {
                    self.admit(pid, Claim::Kept);
                } else if let Some(place) =
                    parent.and_then(|parent| self.index.get(&parent).copied())
                {
                    self.admit(pid, Claim::ChildOf(place));
                }
            }
            for member in &mut self.members[..covered] {
                member.walked = true;
            }
            if self.members.len() == before {
                return;
            }
        }
    }

    fn is_known_alive(&self, pid: Pid) -> bool {
        let is_keeper = self.keeper.as_ref().is_some_and(|(keeper, _)| *keeper == pid);
        if is_keeper || self.known.contains(&pid) {
            return true;
        }
        let place = self.index.get(&pid);
        place.is_some_and(|place| self.members[*place].hold != Hold::Dead)
    }

    /// Looks at the whole table for processes that carry evidence; returns how many were found.
    ///
    /// A member may fork and end between the list and the look at it: its child is in the next list,
    /// so lists are made until one has nobody new. Who was alive at the start of that one was looked at.
    ///
    /// What is written in memory is looked for only by a `thorough` scan, of which every kill has one
    /// at its end: reading an environment takes as long as thirty looks at a mark.
    pub(super) fn scan(&mut self, thorough: bool) -> usize {
        self.is_cut_short = false;
        let numbers = self.numbers_can_match();
        let written = self.evidence.is_written() && (thorough || self.evidence.mark.is_none());
        if self.evidence.mark.is_none() && !written && !numbers {
            return 0;
        }
        // Kept only while nobody is found: in a storm of forks the pids come round.
        let cleared = self.cleared.take();
        let cleared = cleared.filter(|(at, _)| self.table.now() < *at + CLEARED);
        let mut seen = cleared.map(|(_, seen)| seen).unwrap_or_default();
        let mut is_first = true;
        loop {
            let mut fresh = self.strangers();
            if thorough && let Some(mark) = self.evidence.mark {
                let whole = self.table.hidden(mark, self.limit, &mut fresh);
                self.is_cut_short |= !whole;
                fresh.retain(|pid| !self.refusal.of_pid(*pid) && !self.is_known_alive(*pid));
            }
            fresh.retain(|pid| seen.insert(*pid));
            if fresh.is_empty() {
                return 0;
            }
            if !is_first && self.table.now() >= self.limit {
                self.is_cut_short = true;
                return 0;
            }
            is_first = false;
            let mut found = self.catch_marked_of(&fresh, thorough);
            if found == 0 && (written || numbers) {
                for (place, pid) in fresh.into_iter().enumerate() {
                    if self.is_over_limit(place) {
                        self.is_cut_short = true;
                        break;
                    }
                    let claims = (written && self.table.carries(pid, &self.evidence))
                        || (numbers && self.has_number(pid));
                    found += usize::from(claims && self.admit(pid, Claim::Evidence));
                }
            }
            if found > 0 {
                return found;
            }
        }
    }

    /// Looks at everybody but `members`, who are dying, and remembers who carries nothing: the next scan
    /// looks at the others alone. Whoever it finds is left to that scan.
    pub(crate) fn look_ahead(&mut self, members: &HashSet<Pid>) {
        let at = self.table.now();
        let (written, numbers) = (self.evidence.is_written(), self.numbers_can_match());
        let mut cleared = HashSet::new();
        self.bound_loops(at + CLEARED / 2);
        for (place, pid) in self.strangers().into_iter().enumerate() {
            if self.is_over_limit(place) {
                break;
            }
            let mark = self.evidence.mark;
            let claims = members.contains(&pid)
                || mark.is_some_and(|mark| self.table.is_marked(pid, mark, true))
                || (written && self.table.carries(pid, &self.evidence))
                || (numbers && self.has_number(pid));
            if !claims {
                cleared.insert(pid);
            }
        }
        // Who could not be looked at was not cleared, and is looked at again.
        self.fell_short();
        self.cleared = Some((at, cleared));
    }

    /// One quick look for the mark alone, which keeps up with a storm of forks.
    pub(super) fn catch_marked(&mut self) -> usize {
        if self.evidence.mark.is_none() {
            return 0;
        }
        let strangers = self.strangers();
        self.catch_marked_of(&strangers, false)
    }

    fn catch_marked_of(&mut self, pids: &[Pid], thorough: bool) -> usize {
        let Some(mark) = self.evidence.mark else {
            return 0;
        };
        let mut found = 0;
        for (place, pid) in pids.iter().enumerate() {
            if self.is_over_limit(place) {
                self.is_cut_short = true;
                break;
            }
            if self.table.is_marked(*pid, mark, thorough) {
                found += usize::from(self.admit(*pid, Claim::Evidence));
            }
        }
        found
    }

    /// Everybody who is no living member, the youngest first: they live the shortest.
    fn strangers(&mut self) -> Vec<Pid> {
        let mut pids = Vec::new();
        self.table.all(&mut pids);
        pids.reverse();
        pids.retain(|pid| !self.refusal.of_pid(*pid) && !self.is_known_alive(*pid));
        pids
    }

    /// Whether anybody can be in a group or session of the evidence: when the group that we hold is
    /// the only one, the kernel tells without a look at every process.
    fn numbers_can_match(&mut self) -> bool {
        let in_own = self.signal_group(None);
        let others = self.evidence.groups.len() > usize::from(in_own.is_some());
        others
            || !self.evidence.sessions.is_empty()
            || in_own.is_some_and(|in_own| in_own != GroupSent::Empty)
    }

    fn has_number(&mut self, pid: Pid) -> bool {
        let stat = self.table.stat(pid);
        stat.is_some_and(|stat| self.stat_is_evidence(&stat))
    }

    /// Whether the group or the session of a process is evidence, and its number can be trusted.
    fn stat_is_evidence(&mut self, stat: &Stat) -> bool {
        let group = self.evidence.groups.contains(&stat.group);
        let session = self.evidence.sessions.contains(&stat.session);
        (group && !self.refusal.of_group(stat.group) && self.number_is_ours(stat.group, stat))
            || (session
                && !self.refusal.of_session(stat.session)
                && self.number_is_ours(stat.session, stat))
    }

    /// Whether a group or session number still means what it meant when the tree was made.
    ///
    /// A number that a group or session uses is given to no new process. So it is ours while its
    /// leader exists with the start that we know, or while the group of the very leader that we hold
    /// has members: a group that was empty once never fills again. Of leaders that we do not know only
    /// processes that are older than the adoption tell.
    fn number_is_ours(&mut self, number: Pid, stat: &Stat) -> bool {
        let Some(root) = self.evidence.root.filter(|root| root.pid() == number) else {
            return stat.start <= self.evidence.adopted_at;
        };
        let Some(held) = &self.root else {
            return self.table.stat(number).is_some_and(|leader| leader.start == root.start());
        };
        self.table.has_its_pid(held) || self.table.signal_group(held, None) == GroupSent::Delivered
    }

    /// Takes hold of the process that has `pid`, judges it, and stops it when it is a member.
    fn admit(&mut self, pid: Pid, claim: Claim) -> bool {
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
        let Some(stat) = self.table.stat(pid) else {
            // It is hidden. The mark alone is read by number; which process that was, the pidfd tells.
            let is_ours = matches!(claim, Claim::Evidence)
                && self.carries_mark(pid)
                && self.table.has_its_pid(&handle);
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
            if proven && self.counts_zombies && stat.state.is_zombie() {
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
            struck: false,
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

    fn is_of_age(&self, stat: &Stat) -> bool {
        let root = self.evidence.root;
        root.is_none_or(|root| stat.start >= root.start())
    }

    fn has_evidence(&mut self, stat: &Stat) -> bool {
        self.carries_mark(stat.pid)
            || self.table.carries(stat.pid, &self.evidence)
            || self.stat_is_evidence(stat)
    }

    fn carries_mark(&mut self, pid: Pid) -> bool {
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

    /// Whether somebody may have been missed since the last call because no descriptor was free: others
    /// in this process have them, and may give them back.
    pub(super) fn fell_short(&mut self) -> bool {
        let table_did = self.table.ran_short();
        self.is_blind |= self.table.was_hidden();
        std::mem::take(&mut self.ran_short) || table_did
    }

    /// Drops every second handle; whether any was left to drop.
    fn give_up_handles(&mut self) -> bool {
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
