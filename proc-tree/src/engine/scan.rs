//! The scan of the whole table for processes that carry evidence.

use super::admit::Claim;
use super::table::{Opened, Stat, Table};
use super::{Engine, GroupSent};
use crate::id::Pid;
use std::collections::HashSet;
use std::time::Duration;

/// How long nobody has to be looked at again who carried nothing. The pids of a machine do not come round
/// in that time, so a number that was looked at does not mean a younger process.
const CLEARED: Duration = Duration::from_millis(100);

/// How often the mark is looked for while what is written is read.
const CATCH: Duration = Duration::from_millis(5);

impl<T: Table> Engine<T> {
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
        let begin = self.table.now();
        let mut is_first = true;
        loop {
            let mut fresh = self.strangers();
            if let Some(mark) = self.evidence.mark.filter(|_| thorough) {
                let whole = self.table.hidden(mark, self.limit, &mut fresh);
                self.is_cut_short |= !whole;
                fresh.retain(|pid| !self.refusal.of_pid(*pid) && !self.is_known_alive(*pid));
            }
            fresh.retain(|pid| seen.insert(*pid) && !self.has_died(*pid));
            if fresh.is_empty() {
                // Who has come by the number of one that was looked at is found by the mark.
                let is_long = self.table.now() >= begin + CLEARED;
                return if is_long { self.catch_marked() } else { 0 };
            }
            if !is_first && self.table.now() >= self.limit {
                self.is_cut_short = true;
                return 0;
            }
            is_first = false;
            let mut found = self.catch_marked_of(&fresh, thorough);
            if found == 0 && (written || numbers) {
                found = self.read_all_of(fresh, written, numbers);
            }
            if found > 0 {
                return found;
            }
        }
    }

    /// Looks at what is written in the memory of each, and at its numbers; returns how many were found.
    ///
    /// The memory of a process cannot be read while it maps some, and on a machine that is busy with a storm
    /// that takes seconds. A member that nobody has stopped would have filled the machine by then, so the
    /// mark is looked for in between.
    fn read_all_of(&mut self, pids: Vec<Pid>, written: bool, numbers: bool) -> usize {
        let mut found = 0;
        let mut caught_at = self.table.now();
        for pid in pids {
            let now = self.table.now();
            if now >= self.limit {
                self.is_cut_short = true;
                break;
            }
            if now >= caught_at + CATCH {
                found += self.catch_marked();
                if found > 0 {
                    break;
                }
                caught_at = self.table.now();
            }
            // The number may mean a member by now, whose memory is the busiest of all.
            let claims = !self.is_elder(pid)
                && (self.carries_mark(pid)
                    || (written && self.table.carries(pid, &self.evidence))
                    || (numbers && self.has_number(pid)));
            found += usize::from(claims && self.admit(pid, Claim::Evidence));
        }
        self.table.remember_elders();
        found
    }

    /// Whether the process that has `pid` now is certainly older than the root: it is no member, whatever
    /// it carries.
    fn is_elder(&mut self, pid: Pid) -> bool {
        let root = self.evidence.root;
        root.is_some_and(|root| self.table.is_older(pid, root.start()))
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
            let claims = members.contains(&pid)
                || (!self.is_elder(pid)
                    && (self.carries_mark(pid)
                        || (written && self.table.carries(pid, &self.evidence))
                        || (numbers && self.has_number(pid))));
            if !claims {
                cleared.insert(pid);
            }
        }
        self.table.remember_elders();
        self.dying = members.clone();
        // Who could not be looked at was not cleared, and is looked at again.
        self.fell_short();
        self.cleared = Some((at, cleared));
    }

    /// The layer before this one counts these, dead or alive.
    pub(crate) fn leave_to_others(&mut self, members: &HashSet<Pid>) {
        self.dying.clone_from(members);
    }

    /// Whether this is a member that another layer has killed, as a zombie that nobody has waited for yet.
    /// There may be thousands, and what each carries takes longer to read.
    fn has_died(&mut self, pid: Pid) -> bool {
        self.dying.contains(&pid)
            && match self.table.open(pid, false) {
                Opened::Held(held) => self.table.is_dead(&held),
                _ => false,
            }
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

    /// Every process that may be a member and is not known as a living one, youngest first, because young
    /// processes live the shortest.
    ///
    /// A process older than the root is no member, whatever it carries. While the root is young, pids tell which
    /// processes are older, so the end of a short command need not look at all processes.
    fn strangers(&mut self) -> Vec<Pid> {
        let mut pids = Vec::new();
        self.table.all(&mut pids);
        pids.reverse();
        // Asked after the list: whoever is in it has its number by now.
        let root = self.evidence.root.filter(|root| root.is_of(self.table.boot()));
        if let Some((root, newest)) =
            root.and_then(|r| Some((r.pid(), self.table.newest_since(r)?)))
        {
            pids.retain(|pid| is_between(root, *pid, newest));
        }
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
    pub(super) fn stat_is_evidence(&mut self, stat: &Stat) -> bool {
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
}

/// Whether a number was given from `first` on and up to `last`. They begin anew at the end.
fn is_between(first: Pid, pid: Pid, last: Pid) -> bool {
    if first <= last { (first..=last).contains(&pid) } else { pid >= first || pid <= last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_behind_the_root_are_those_of_whoever_is_younger_also_around_the_end() {
        let of = |first, last| move |pid: &Pid| is_between(first, *pid, last);
        let all = [1, 9, 10, 11, 12, 32_767];
        let younger = |first, last| all.into_iter().filter(of(first, last)).collect::<Vec<_>>();
        assert_eq!(younger(10, 10), [10]);
        assert_eq!(younger(10, 11), [10, 11]);
        assert_eq!(younger(12, 9), [1, 9, 12, 32_767]);
    }
}
