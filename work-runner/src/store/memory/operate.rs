//! What people do to queues in memory: limits, pauses and rates, and what these let start.

use super::rows::Rows;
use crate::job::{JobId, JobRecord};
use crate::registry::{Bucket, QueueRecord, Rate, RateOf, RateRecord, with_rates};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Rows {
    /// The same rate again changes nothing; another one begins with a full bucket.
    pub(super) fn limit_rate(&mut self, of: RateOf, rate: Option<Rate>) {
        let Some(rate) = rate else {
            self.rates.remove(&of);
            return;
        };
        let full = Bucket::full(rate, self.now_ms);
        let bucket = self.rates.entry(of).or_insert(full);
        if bucket.rate() != rate {
            *bucket = full;
        }
    }

    pub(super) fn rates(&self) -> Vec<RateRecord> {
        let record = |(of, bucket): (&RateOf, &Bucket)| RateRecord::new(of.clone(), bucket.rate());
        self.rates.iter().map(record).collect()
    }

    pub(super) fn queues(&self) -> Vec<QueueRecord> {
        let names: BTreeSet<&Arc<str>> = self.limits.keys().chain(self.pauses.keys()).collect();
        let record = |name: &Arc<str>| {
            let most = self.limits.get(name).map(|max| u32::try_from(*max).unwrap_or(u32::MAX));
            QueueRecord::new(name.to_string(), most, self.pauses.get(name).cloned())
        };
        with_rates(names.into_iter().map(record).collect(), self.rates())
    }

    /// How many of `count` jobs the limit of the queue allows to claim now.
    fn room(&self, queue: &str, count: usize) -> usize {
        if self.pauses.contains_key(queue) {
            return 0;
        }
        self.limits
            .get(queue)
            .map_or(count, |max| count.min(max.saturating_sub(self.running_in(queue))))
    }

    /// The first ready jobs, up to `count`, that limit, pause and rates let start; their tokens are taken. And the
    /// time until a rate that kept some back lets the next one start.
    pub(super) fn let_through(
        &mut self,
        queue: &str,
        kinds: Option<&[Arc<str>]>,
        count: usize,
    ) -> (Vec<JobId>, Option<i64>) {
        let count = self.room(queue, count);
        let now_ms = self.now_ms;
        let of_queue = RateOf::Queue(queue.to_owned());
        let free = self.rates.get(&of_queue).map_or(count, |bucket| bucket.free(now_ms).min(count));
        let mut through = Vec::new();
        let mut waits = BTreeSet::new();
        let mut keys = BTreeMap::<RateOf, Bucket>::new();
        let mut ready = self.ready_in(queue, kinds);
        while through.len() < free {
            let Some(row) = ready.next() else { break };
            let key = row.limit_key.as_ref().filter(|_| !self.rates.is_empty());
            let key = key.map(|key| RateOf::Key(key.to_string()));
            if let Some((key, bucket)) = key.and_then(|key| self.rates.get_key_value(&key)) {
                let bucket = keys.entry(key.clone()).or_insert(*bucket);
                if bucket.free(now_ms) == 0 {
                    waits.insert(bucket.wait_ms(now_ms));
                    continue;
                }
                bucket.take(1, now_ms);
            }
            through.push(row.id);
        }
        drop(ready);
        waits.extend(keys.values().filter(|b| b.free(now_ms) == 0).map(|b| b.wait_ms(now_ms)));
        self.rates.extend(keys);
        if let Some(bucket) = self.rates.get_mut(&of_queue) {
            bucket.take(through.len(), now_ms);
            if free < count {
                waits.insert(bucket.wait_ms(now_ms));
            }
        }
        (through, waits.pop_first())
    }

    /// Whether pause and rates let a job of the queue start.
    pub(super) fn can_start(&self, queue: &str, kinds: Option<&[Arc<str>]>) -> bool {
        let free = |of: RateOf| self.rates.get(&of).is_none_or(|b| b.free(self.now_ms) > 0);
        let passes = |row: &JobRecord| {
            let key = row.limit_key.as_deref().filter(|_| !self.rates.is_empty());
            key.is_none_or(|key| free(RateOf::Key(key.to_owned())))
        };
        if self.pauses.contains_key(queue) || !free(RateOf::Queue(queue.to_owned())) {
            return false;
        }
        self.ready_in(queue, kinds).any(passes)
    }

    /// When the first rate lets a job start again, of those of these queues and of keys that let none start now.
    pub(super) fn next_token(&self, queues: &[Arc<str>]) -> Option<i64> {
        let is_wanted = |of: &RateOf| match of {
            RateOf::Queue(name) => queues.iter().any(|queue| **queue == **name),
            RateOf::Key(_) => true,
        };
        let wanted = self.rates.iter().filter(|(of, _)| is_wanted(of)).map(|(_, bucket)| bucket);
        let exhausted = wanted.filter(|bucket| bucket.free(self.now_ms) == 0);
        exhausted.map(|bucket| self.now_ms.saturating_add(bucket.wait_ms(self.now_ms))).min()
    }
}
