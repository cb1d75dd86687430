//! The walk down from the members, and from the supervisor, to their children.

use super::admit::Claim;
use super::table::{Listing, Table};
use super::{Engine, Hold};
use crate::id::Pid;

/// From this many members on, one scan of the table may be cheaper than a walk from each.
const MANY: usize = 64;

/// A walk from one process costs about as much as the scan of this many others.
const SCAN_SHARE: usize = 5;

impl<T: Table> Engine<T> {
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

    pub(super) fn list_children(&mut self, pid: Pid, children: &mut Vec<Pid>) -> Listing {
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
        if place % MANY != 0 {
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
}
