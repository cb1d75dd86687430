//! Rows in memory with the indexes that make each question cheap. Invariant: every index names
//! exactly the rows whose state it is for; only [`Rows::put`] changes rows.

use super::super::table::Table;
use super::periodic::Kept;
use crate::error::StoreError;
use crate::job::{JobId, JobRecord};
use crate::lease::WorkerId;
use crate::lifecycle::State;
use crate::registry::{
    Bucket, Keep, MOST_LOOKED, Overview, Page, Pause, Peek, Query, QueueCount, RateOf,
    WorkerProfile, WorkerRecord,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) profile: WorkerProfile,
    pub(super) lease_until: i64,
    pub(super) since_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) now_ms: i64,
    pub(super) boot_ms: i64,
    last_id: i64,
    jobs: BTreeMap<JobId, JobRecord>,
    ready: HashMap<Arc<str>, BTreeSet<(i64, JobId)>>,
    scheduled: BTreeSet<(i64, JobId)>,
    held: BTreeMap<Arc<str>, BTreeSet<(i64, JobId)>>,
    running: BTreeSet<(WorkerId, JobId)>,
    ended: BTreeSet<(i64, JobId)>,
    keys: HashMap<String, JobId>,
    slots: HashMap<Arc<str>, i32>,
    signals: BTreeSet<(WorkerId, JobId)>,
    pub(super) workers: BTreeMap<WorkerId, Member>,
    pub(super) limits: HashMap<Arc<str>, usize>,
    pub(super) pauses: HashMap<Arc<str>, Pause>,
    pub(super) rates: BTreeMap<RateOf, Bucket>,
    pub(super) periodic: BTreeMap<String, Kept>,
}

impl Rows {
    pub(super) fn set_clock(&mut self, now_ms: i64, boot_ms: i64) {
        self.now_ms = now_ms;
        self.boot_ms = boot_ms;
    }

    pub(super) fn job(&self, id: JobId) -> &JobRecord {
        &self.jobs[&id]
    }

    fn put(&mut self, row: JobRecord) {
        self.take(row.id);
        let id = row.id;
        match row.state {
            State::Scheduled => drop(self.scheduled.insert((row.run_at, id))),
            State::Held => {
                let key = row.limit_key.clone().unwrap_or_default();
                self.held.entry(key).or_default().insert((row.rank, id));
            }
            State::Ready => {
                let queue = self.ready.entry(Arc::clone(&row.queue)).or_default();
                queue.insert((row.rank, id));
            }
            State::Running => drop(self.running.insert((row.owner, id))),
            _ => drop(self.ended.insert((row.ended_at, id))),
        }
        if row.holds_key() {
            self.keys.insert(row.unique_key.clone().unwrap_or_default(), id);
        }
        self.jobs.insert(id, row);
    }

    fn take(&mut self, id: JobId) -> Option<JobRecord> {
        let row = self.jobs.remove(&id)?;
        match row.state {
            State::Scheduled => drop(self.scheduled.remove(&(row.run_at, id))),
            State::Held => {
                let key = row.limit_key.clone().unwrap_or_default();
                if let Some(of_key) = self.held.get_mut(&key) {
                    of_key.remove(&(row.rank, id));
                    if of_key.is_empty() {
                        self.held.remove(&key);
                    }
                }
            }
            State::Ready => {
                if let Some(queue) = self.ready.get_mut(&row.queue) {
                    queue.remove(&(row.rank, id));
                }
            }
            State::Running => drop(self.running.remove(&(row.owner, id))),
            _ => drop(self.ended.remove(&(row.ended_at, id))),
        }
        if let Some(key) = row.unique_key.as_ref().filter(|_| row.holds_key()) {
            self.keys.remove(key);
        }
        Some(row)
    }

    /// The ready jobs of a queue, in the order of claiming.
    pub(super) fn ready_in<'a>(
        &'a self,
        queue: &str,
        kinds: Option<&'a [Arc<str>]>,
    ) -> impl Iterator<Item = &'a JobRecord> {
        let ready = self.ready.get(queue).into_iter().flatten().map(|(_, id)| &self.jobs[id]);
        ready.filter(move |row| kinds.is_none_or(|kinds| kinds.contains(&row.kind)))
    }

    pub(super) fn running_in(&self, queue: &str) -> usize {
        let in_queue = |(_, id): &&(WorkerId, JobId)| *self.jobs[id].queue == *queue;
        self.running.iter().filter(in_queue).count()
    }

    pub(super) fn peek(
        &self,
        worker: WorkerId,
        queues: &[Arc<str>],
        kinds: Option<&[Arc<str>]>,
    ) -> Peek {
        let live = |id: WorkerId| {
            self.workers.get(&id).is_some_and(|member| member.lease_until > self.boot_ms)
        };
        let mut peek = Peek {
            now_ms: self.now_ms,
            live: live(worker),
            ready: queues.iter().any(|queue| self.can_start(queue, kinds)),
            expired: self.workers.values().any(|member| member.lease_until <= self.boot_ms),
            peers: self.peers(),
            ..Peek::default()
        };
        peek.peers.retain(|peer| peer.id != worker);
        let first = self.scheduled.first().map(|(run_at, _)| *run_at);
        peek.promotable = first.is_some_and(|run_at| run_at <= self.now_ms);
        let later = (self.now_ms.saturating_add(1), JobId(i64::MIN));
        let later = self.scheduled.range(later..).next();
        let later = later.map(|(run_at, _)| *run_at);
        let mut enabled = self.periodic();
        enabled.retain(|periodic| periodic.error.is_none() && periodic.paused.is_none());
        let (due, ahead): (Vec<_>, Vec<_>) =
            enabled.into_iter().partition(|periodic| periodic.at_ms <= self.now_ms);
        let next = later.into_iter().chain(ahead.iter().map(|p| p.at_ms));
        let next = next.chain(self.next_token(queues)).min();
        peek.next_due_ms = next.map(|at| at.saturating_sub(self.now_ms));
        peek.periodic = due;
        let mine = self.signals.range((worker, JobId(i64::MIN))..=(worker, JobId(i64::MAX)));
        peek.cancels = mine.map(|(_, job)| *job).collect();
        peek
    }

    /// Like the other stores, it looks at a bounded number of rows: all of them wait for the end of a call.
    pub(super) fn page(&self, query: &Query) -> Page {
        let after = query.after;
        if query.newest_first {
            let before = self.jobs.range(..after.unwrap_or(JobId(i64::MAX)));
            page_of(query, before.rev().map(|(_, row)| row))
        } else {
            let after = (Bound::Excluded(after.unwrap_or(JobId(i64::MIN))), Bound::Unbounded);
            page_of(query, self.jobs.range(after).map(|(_, row)| row))
        }
    }

    pub(super) fn counts(&self) -> Vec<QueueCount> {
        let mut counts = BTreeMap::new();
        for row in self.jobs.values() {
            *counts.entry((row.queue.to_string(), row.state)).or_default() += 1;
        }
        let each = |((queue, state), jobs)| QueueCount::new(queue, state, jobs);
        counts.into_iter().map(each).collect()
    }

    pub(super) fn overview(&self) -> Overview {
        let oldest = |(queue, ready): (&Arc<str>, &BTreeSet<(i64, JobId)>)| {
            let first = ready.iter().take(1000).map(|(_, id)| self.jobs[id].run_at).min()?;
            Some((queue.to_string(), first))
        };
        let mut running = BTreeMap::<String, i64>::new();
        for (_, id) in &self.running {
            let row = &self.jobs[id];
            let first = running.entry(row.queue.to_string()).or_insert(row.claimed_at);
            *first = row.claimed_at.min(*first);
        }
        let next = self.scheduled.first().map(|(run_at, _)| *run_at);
        let live = self.workers.values().filter(|member| member.lease_until > self.boot_ms);
        let ready = self.ready.iter().filter_map(oldest);
        Overview::new(self.now_ms, ready, running).next_due(next).workers(live.count())
    }

    /// Every worker, without what it says of itself.
    fn peers(&self) -> Vec<WorkerRecord> {
        let record = |(id, member): (&WorkerId, &Member)| {
            let left = member.lease_until - self.boot_ms;
            WorkerRecord::new(*id, member.profile.identity.clone(), left)
        };
        self.workers.iter().map(record).collect()
    }

    pub(super) fn workers(&self) -> Vec<WorkerRecord> {
        let mut workers = self.peers();
        for (record, member) in workers.iter_mut().zip(self.workers.values()) {
            record.since_ms = member.since_ms;
            record.about.clone_from(&member.profile.about);
        }
        workers
    }

    pub(super) fn prune(&mut self, keep: Keep, limit: usize) -> usize {
        let (done, unhappy) = keep.newest(self.now_ms);
        let old = |(ended_at, id): &&(i64, JobId)| match self.jobs[id].state {
            State::Succeeded | State::Cancelled => *ended_at < done,
            State::Failed | State::Dead | State::Abandoned => *ended_at < unhappy,
            _ => false,
        };
        let most = (done.max(unhappy), JobId(i64::MIN));
        let old = self.ended.range(..most).filter(old).take(limit);
        let ids: Vec<_> = old.map(|(_, id)| *id).collect();
        ids.into_iter().filter_map(|id| self.take(id)).count()
    }
}

impl Table for Rows {
    fn now_ms(&self) -> i64 {
        self.now_ms
    }

    fn lease_now_ms(&self) -> i64 {
        self.boot_ms
    }

    async fn load(&mut self, jobs: &[JobId]) -> Result<Vec<JobRecord>, StoreError> {
        Ok(jobs.iter().filter_map(|id| self.jobs.get(id)).cloned().collect())
    }

    async fn save(&mut self, row: &JobRecord) -> Result<(), StoreError> {
        self.put(row.clone());
        Ok(())
    }

    async fn set_aside(&mut self, row: &JobRecord) -> Result<bool, StoreError> {
        // Rows in memory are always readable: nothing comes here.
        self.put(row.clone());
        Ok(false)
    }

    async fn insert(&mut self, row: &mut JobRecord) -> Result<Option<JobId>, StoreError> {
        self.last_id += 1;
        row.id = JobId(self.last_id);
        self.put(row.clone());
        Ok(None)
    }

    async fn delete(&mut self, job: JobId) -> Result<(), StoreError> {
        self.take(job);
        Ok(())
    }

    async fn key_holder(&mut self, row: &JobRecord) -> Result<Option<JobId>, StoreError> {
        let holder = row.unique_key.as_ref().and_then(|key| self.keys.get(key));
        Ok(holder.copied().filter(|holder| *holder != row.id))
    }

    async fn take_slot(&mut self, key: &str, max: i32) -> Result<bool, StoreError> {
        let taken = self.slots.entry(key.into()).or_default();
        let free = *taken < max;
        *taken += i32::from(free);
        Ok(free)
    }

    async fn give_slot(&mut self, key: &str) -> Result<(), StoreError> {
        if let Some(taken) = self.slots.get_mut(key) {
            *taken -= 1;
            if *taken <= 0 {
                self.slots.remove(key);
            }
        }
        Ok(())
    }

    async fn next_held(&mut self, key: Option<&str>) -> Result<Option<JobRecord>, StoreError> {
        let first = match key {
            Some(key) => self.held.get(key).and_then(BTreeSet::first),
            // Under one lock nobody is left behind.
            None => None,
        };
        Ok(first.map(|(_, id)| self.jobs[id].clone()))
    }

    async fn promote_plain(&mut self, limit: usize) -> Result<usize, StoreError> {
        let due = self.scheduled.range(..=(self.now_ms, JobId(i64::MAX)));
        let plain = due.filter(|(_, id)| self.jobs[id].limit_key.is_none());
        let ids: Vec<_> = plain.map(|(_, id)| *id).take(limit).collect();
        for id in &ids {
            let mut row = self.jobs[id].clone();
            row.state = State::Ready;
            self.put(row);
        }
        Ok(ids.len())
    }

    async fn due_with_key(&mut self, limit: usize) -> Result<Vec<JobRecord>, StoreError> {
        let due = self.scheduled.range(..=(self.now_ms, JobId(i64::MAX)));
        let rows = due.map(|(_, id)| &self.jobs[id]);
        Ok(rows.filter(|row| row.limit_key.is_some()).take(limit).cloned().collect())
    }

    async fn running_of(
        &mut self,
        owner: WorkerId,
        limit: usize,
    ) -> Result<Vec<JobRecord>, StoreError> {
        let of_owner = self.running.range((owner, JobId(i64::MIN))..=(owner, JobId(i64::MAX)));
        Ok(of_owner.take(limit).map(|(_, id)| self.jobs[id].clone()).collect())
    }

    async fn running_ids(&mut self, owner: WorkerId) -> Result<Vec<JobId>, StoreError> {
        let of_owner = self.running.range((owner, JobId(i64::MIN))..=(owner, JobId(i64::MAX)));
        Ok(of_owner.map(|(_, id)| *id).collect())
    }

    async fn adrift(&mut self, limit: usize) -> Result<Vec<JobRecord>, StoreError> {
        let adrift = |row: &&JobRecord| {
            let known = row.owner == WorkerId::EXTERNAL || self.workers.contains_key(&row.owner);
            !known || (row.lease_until != 0 && row.lease_until <= self.boot_ms)
        };
        let running = self.running.iter().map(|(_, id)| &self.jobs[id]);
        Ok(running.filter(adrift).take(limit).cloned().collect())
    }

    async fn expired_workers(&mut self) -> Result<Vec<WorkerId>, StoreError> {
        let expired = self.workers.iter().filter(|(_, m)| m.lease_until <= self.boot_ms);
        Ok(expired.map(|(id, _)| *id).collect())
    }

    async fn forget_worker(&mut self, worker: WorkerId) -> Result<bool, StoreError> {
        self.signals.retain(|(owner, _)| *owner != worker);
        Ok(self.workers.remove(&worker).is_some())
    }

    async fn signal(&mut self, owner: WorkerId, job: JobId) -> Result<(), StoreError> {
        if self.workers.contains_key(&owner) {
            self.signals.insert((owner, job));
        }
        Ok(())
    }

    async fn unsignal(&mut self, job: JobId) -> Result<(), StoreError> {
        self.signals.retain(|(_, signalled)| *signalled != job);
        Ok(())
    }
}

fn page_of<'a, I: Iterator<Item = &'a JobRecord>>(query: &Query, rows: I) -> Page {
    let most = query.page();
    let (mut jobs, mut looked, mut last) = (Vec::new(), 0, None);
    for row in rows.take(MOST_LOOKED) {
        (looked, last) = (looked + 1, Some(row.id));
        if query.matches(row) {
            jobs.push(row.clone());
        }
        if jobs.len() == most {
            break;
        }
    }
    let more = jobs.len() == most || looked == MOST_LOOKED;
    Page::new(jobs, last.filter(|_| more))
}
