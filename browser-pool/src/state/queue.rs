//! Who waits for what: first in, first out in each line, and the tenants take turns.

use super::WaiterId;
use crate::request::{LaunchProfile, UnitSpec};
use std::collections::VecDeque;
use std::sync::Arc;

/// All waiters, grouped by what they want.
#[derive(Debug, Default)]
pub(super) struct Queue {
    groups: Vec<Group>,
    len: usize,
    arrivals: u64,
}

/// The waiters for one kind of unit, one line for each tenant. The line whose turn it is stands in
/// front.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) profile: Arc<LaunchProfile>,
    pub(super) spec: UnitSpec,
    lines: VecDeque<Line>,
}

#[derive(Debug)]
struct Line {
    tenant: Arc<str>,
    waiters: VecDeque<(WaiterId, u64)>,
}

impl Group {
    pub(super) fn len(&self) -> usize {
        self.lines.iter().map(|line| line.waiters.len()).sum()
    }

    /// When the longest waiting caller of this group came, as a number that only grows.
    fn oldest(&self) -> u64 {
        let heads = self.lines.iter().filter_map(|line| line.waiters.front());
        heads.map(|(_, arrival)| *arrival).min().unwrap_or(u64::MAX)
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(
        &mut self,
        waiter: WaiterId,
        tenant: Arc<str>,
        profile: Arc<LaunchProfile>,
        spec: UnitSpec,
    ) {
        self.arrivals += 1;
        self.len += 1;
        let entry = (waiter, self.arrivals);
        let found = self.groups.iter_mut().find(|g| g.spec == spec && *g.profile == *profile);
        let Some(group) = found else {
            let lines = VecDeque::from([Line { tenant, waiters: VecDeque::from([entry]) }]);
            self.groups.push(Group { profile, spec, lines });
            return;
        };
        match group.lines.iter_mut().find(|line| line.tenant == tenant) {
            Some(line) => line.waiters.push_back(entry),
            None => group.lines.push_back(Line { tenant, waiters: VecDeque::from([entry]) }),
        }
    }

    /// The groups, the one with the longest waiting caller first.
    pub(super) fn by_age(&self) -> impl Iterator<Item = &Group> {
        let mut order: Vec<_> = self.groups.iter().collect();
        order.sort_by_key(|group| group.oldest());
        order.into_iter()
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Takes the caller whose turn it is from the group at `index`; its tenant goes to the end.
    pub(super) fn pop(&mut self, index: usize) -> Option<WaiterId> {
        let group = self.groups.get_mut(index)?;
        let mut line = group.lines.pop_front()?;
        let (waiter, _) = line.waiters.pop_front()?;
        if !line.waiters.is_empty() {
            group.lines.push_back(line);
        }
        self.len -= 1;
        Some(waiter)
    }

    /// Removes groups that nobody waits in. Indices change.
    pub(super) fn sweep(&mut self) {
        self.groups.retain(|group| !group.lines.is_empty());
    }

    /// Takes a caller out, wherever it stands; `false` when it does not wait.
    pub(super) fn remove(&mut self, waiter: WaiterId) -> bool {
        let before = self.len;
        for group in &mut self.groups {
            for line in &mut group.lines {
                let long = line.waiters.len();
                line.waiters.retain(|(id, _)| *id != waiter);
                self.len -= long - line.waiters.len();
            }
            group.lines.retain(|line| !line.waiters.is_empty());
        }
        self.sweep();
        self.len < before
    }

    /// Takes out everybody whose profile satisfies `which`, in the order in which they came.
    pub(super) fn drain(&mut self, which: impl Fn(&Group) -> bool) -> Vec<WaiterId> {
        let mut out = Vec::new();
        for group in self.groups.iter_mut().filter(|group| which(group)) {
            out.extend(group.lines.drain(..).flat_map(|line| line.waiters));
        }
        self.sweep();
        self.len -= out.len();
        out.sort_by_key(|(_, arrival)| *arrival);
        out.into_iter().map(|(waiter, _)| waiter).collect()
    }

    pub(super) fn wants(&self, waiter: WaiterId) -> Option<(&Arc<LaunchProfile>, &UnitSpec)> {
        let stands = |line: &Line| line.waiters.iter().any(|(id, _)| *id == waiter);
        let group = self.groups.iter().find(|group| group.lines.iter().any(stands))?;
        Some((&group.profile, &group.spec))
    }
}
