//! The words of people who run a store: queues with their limits and pauses, and whether work keeps up.

use super::rate::{Rate, RateOf, RateRecord};
use std::collections::BTreeMap;
use std::fmt;

/// A queue that has a limit or a rate, or is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueRecord {
    /// Its name.
    pub queue: String,
    /// How many of its jobs run at once over all workers; `None` for no limit.
    pub max_running: Option<u32>,
    /// Who paused it, and when; `None` while it is not paused.
    pub paused: Option<Pause>,
    /// How often its jobs may start; `None` for no rate.
    pub rate: Option<Rate>,
}

impl QueueRecord {
    /// A queue with its limit and its pause.
    pub fn new(queue: String, max_running: Option<u32>, paused: Option<Pause>) -> Self {
        Self { queue, max_running, paused, rate: None }
    }

    /// Says how often its jobs may start.
    #[must_use]
    pub fn rate(mut self, rate: Option<Rate>) -> Self {
        self.rate = rate;
        self
    }
}

/// `queues` with their rates, and those that have nothing but a rate, by name.
pub(crate) fn with_rates(queues: Vec<QueueRecord>, rates: Vec<RateRecord>) -> Vec<QueueRecord> {
    let by_name = |record: QueueRecord| (record.queue.clone(), record);
    let mut queues: BTreeMap<String, QueueRecord> = queues.into_iter().map(by_name).collect();
    for record in rates {
        if let RateOf::Queue(name) = record.of {
            let queue = queues.entry(name.clone());
            let queue = queue.or_insert_with(|| QueueRecord::new(name, None, None));
            queue.rate = Some(record.rate);
        }
    }
    queues.into_values().collect()
}

/// The pause of a queue or of a periodic job.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pause {
    /// Who paused it, as they named themselves.
    pub by: String,
    /// When, in milliseconds since the epoch on the clock of the store.
    pub at_ms: i64,
}

impl Pause {
    /// A pause by `by` at `at_ms`.
    pub fn new(by: String, at_ms: i64) -> Self {
        Self { by, at_ms }
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "paused by {}", self.by)
    }
}

/// Whether work keeps up. Depth misleads after a bulk enqueue: the age of the oldest job that could run is
/// what to alert on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Overview {
    /// The wall clock of the store, in milliseconds since the epoch.
    pub now_ms: i64,
    /// Every queue in which a job is ready or runs, by name.
    pub queues: Vec<QueueOverview>,
    /// Time until the next scheduled job is due; 0 when it is due already.
    pub next_due_ms: Option<i64>,
    /// Workers whose lease lives.
    pub workers: usize,
}

/// How the work of one queue keeps up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct QueueOverview {
    /// Its name.
    pub queue: String,
    /// How long ago the oldest ready job became due, among the first thousand that will be claimed.
    pub oldest_ready_ms: Option<i64>,
    /// How long ago the job was claimed that has been running for the longest time.
    pub longest_running_ms: Option<i64>,
}

impl Overview {
    /// An overview at `now_ms`, from the due time of the oldest ready job and the time of the first claim of
    /// each queue.
    pub fn new(
        now_ms: i64,
        ready: impl IntoIterator<Item = (String, i64)>,
        running: impl IntoIterator<Item = (String, i64)>,
    ) -> Self {
        let mut queues = BTreeMap::<String, QueueOverview>::new();
        let age = |since: i64| Some(now_ms.saturating_sub(since).max(0));
        for (queue, since) in ready {
            queues.entry(queue).or_default().oldest_ready_ms = age(since);
        }
        for (queue, since) in running {
            queues.entry(queue).or_default().longest_running_ms = age(since);
        }
        let queues = queues.into_iter().map(|(queue, found)| QueueOverview { queue, ..found });
        Self { now_ms, queues: queues.collect(), ..Self::default() }
    }

    /// Adds the due time of the next scheduled job.
    #[must_use]
    pub fn next_due(mut self, run_at: Option<i64>) -> Self {
        self.next_due_ms = run_at.map(|run_at| run_at.saturating_sub(self.now_ms).max(0));
        self
    }

    /// Adds the number of workers whose lease lives.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }
}
