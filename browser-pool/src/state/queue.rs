//! Who waits for what, in one order for all.
//!
//! Each caller gets a share when it comes: the share of the first in the line, or one more than that of the
//! caller of its tenant who came before it. The order is by share, then by arrival. So tenants take turns
//! whatever kinds they wait for, callers of one tenant are first in, first out, and nobody who comes later
//! ever stands before the first in the line.

use super::WaiterId;
use crate::request::{LaunchProfile, UnitSpec};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

/// A place in the order: the share, then the arrival.
pub(super) type Turn = (u64, u64);

/// The number of a kind.
pub(super) type KindId = u64;

/// All waiters.
#[derive(Debug, Default)]
pub(super) struct Queue {
    turns: BTreeMap<Turn, Entry>,
    /// The turns of each waiting tenant.
    tenants: HashMap<Arc<str>, BTreeSet<Turn>>,
    kinds: BTreeMap<KindId, Kind>,
    by_want: HashMap<(Arc<LaunchProfile>, UnitSpec), KindId>,
    waiters: HashMap<WaiterId, Turn>,
    arrivals: u64,
}

#[derive(Debug)]
struct Entry {
    waiter: WaiterId,
    tenant: Arc<str>,
    kind: KindId,
}

/// The waiters for one kind of unit.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) profile: Arc<LaunchProfile>,
    pub(super) spec: UnitSpec,
    turns: BTreeSet<Turn>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.turns.len()
    }

    pub(super) fn push(
        &mut self,
        waiter: WaiterId,
        tenant: Arc<str>,
        profile: Arc<LaunchProfile>,
        spec: UnitSpec,
    ) {
        self.arrivals += 1;
        let kind = *self.by_want.entry((profile.clone(), spec.clone())).or_insert(self.arrivals);
        let turns = BTreeSet::new();
        self.kinds.entry(kind).or_insert(Kind { profile, spec, turns });
        let first = self.turns.first_key_value().map_or(0, |(turn, _)| turn.0);
        let last = self.tenants.get(&tenant).and_then(BTreeSet::last);
        let share = last.map_or(first, |last| last.0 + 1);
        self.insert((share, self.arrivals), Entry { waiter, tenant, kind });
    }

    fn insert(&mut self, turn: Turn, entry: Entry) {
        self.waiters.insert(entry.waiter, turn);
        self.tenants.entry(entry.tenant.clone()).or_default().insert(turn);
        if let Some(kind) = self.kinds.get_mut(&entry.kind) {
            kind.turns.insert(turn);
        }
        self.turns.insert(turn, entry);
    }

    fn take(&mut self, turn: Turn) -> Option<Entry> {
        let entry = self.turns.remove(&turn)?;
        self.waiters.remove(&entry.waiter);
        if let Some(turns) = self.tenants.get_mut(&entry.tenant) {
            turns.remove(&turn);
            if turns.is_empty() {
                self.tenants.remove(&entry.tenant);
            }
        }
        if let Some(kind) = self.kinds.get_mut(&entry.kind) {
            kind.turns.remove(&turn);
        }
        Some(entry)
    }

    /// Forgets a kind that nobody waits for.
    fn sweep(&mut self, id: KindId) {
        if let Some(kind) = self.kinds.remove(&id) {
            if kind.turns.is_empty() {
                self.by_want.remove(&(kind.profile, kind.spec));
            } else {
                self.kinds.insert(id, kind);
            }
        }
    }

    /// What is waited for.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.values()
    }

    pub(super) fn kind(&self, id: KindId) -> Option<&Kind> {
        self.kinds.get(&id)
    }

    /// The first turn of each kind.
    pub(super) fn heads(&self) -> impl Iterator<Item = (Turn, KindId)> {
        self.kinds.iter().filter_map(|(id, kind)| Some((*kind.turns.first()?, *id)))
    }

    /// The turn of this kind that comes after this one.
    pub(super) fn after(&self, id: KindId, turn: Turn) -> Option<Turn> {
        let behind = (Bound::Excluded(turn), Bound::Unbounded);
        self.kinds.get(&id)?.turns.range(behind).next().copied()
    }

    /// Who stands first.
    pub(super) fn first(&self) -> Option<WaiterId> {
        self.turns.first_key_value().map(|(_, entry)| entry.waiter)
    }

    /// Whether this caller has this turn.
    pub(super) fn has(&self, waiter: WaiterId, turn: Turn) -> bool {
        self.waiters.get(&waiter) == Some(&turn)
    }

    /// Takes out the caller with this turn.
    pub(super) fn pop(&mut self, turn: Turn) -> Option<WaiterId> {
        let entry = self.take(turn)?;
        self.sweep(entry.kind);
        Some(entry.waiter)
    }

    /// Takes out the caller who stands first among those of this kind.
    pub(super) fn pop_of(
        &mut self,
        profile: &Arc<LaunchProfile>,
        spec: &UnitSpec,
    ) -> Option<WaiterId> {
        let kind = self.by_want.get(&(profile.clone(), spec.clone()))?;
        let turn = *self.kinds.get(kind)?.turns.first()?;
        self.pop(turn)
    }

    /// Takes a caller out, wherever it stands; `false` when it does not wait. Those of its tenant who stand
    /// behind it move up by one share each.
    pub(super) fn remove(&mut self, waiter: WaiterId) -> bool {
        let Some(turn) = self.waiters.get(&waiter).copied() else {
            return false;
        };
        let Some(entry) = self.take(turn) else {
            return false;
        };
        let mates = self.tenants.get(&entry.tenant);
        let behind: Vec<_> =
            mates.into_iter().flat_map(|turns| turns.range(turn..)).copied().collect();
        let mut share = turn.0;
        for turn in behind {
            if let Some(entry) = self.take(turn) {
                self.insert((share, turn.1), entry);
                share = turn.0;
            }
        }
        self.sweep(entry.kind);
        true
    }

    /// Takes out everybody of the kinds that satisfy `which`, in the order in which they came.
    pub(super) fn drain(&mut self, which: impl Fn(&Kind) -> bool) -> Vec<WaiterId> {
        let kinds = self.kinds.values().filter(|kind| which(kind));
        let mut turns: Vec<_> = kinds.flat_map(|kind| kind.turns.iter().copied()).collect();
        turns.sort_by_key(|(_, arrival)| *arrival);
        turns.into_iter().filter_map(|turn| self.pop(turn)).collect()
    }

    pub(super) fn wants(&self, waiter: WaiterId) -> Option<(&Arc<LaunchProfile>, &UnitSpec)> {
        let entry = self.turns.get(self.waiters.get(&waiter)?)?;
        self.kinds.get(&entry.kind).map(|kind| (&kind.profile, &kind.spec))
    }
}
