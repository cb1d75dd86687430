//! Counts that read a bounded number of rows, however many jobs there are: each by an index of its own, and
//! what has no index (the jobs that succeeded) among the newest rows.

use crate::lifecycle::State;
use crate::registry::QueueCount;
use std::collections::BTreeMap;

/// Jobs of one queue in one state that are counted at most, and the newest rows that are looked at.
pub(crate) const MOST: i64 = 10_000;
/// Running jobs that are counted at most, over all queues: no fleet runs as many.
pub(crate) const MOST_RUNNING: i64 = 100_000;

/// A bound as a statement takes it: it has no name for more than this.
pub(crate) fn bound_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Counts of parts of the table.
#[derive(Default)]
pub(crate) struct Counting(BTreeMap<(String, State), (u64, bool)>);

impl Counting {
    /// Adds the jobs of one queue.
    pub(crate) fn add(&mut self, queue: String, state: State, jobs: i64, capped: bool) {
        let count = self.0.entry((queue, state)).or_default();
        count.0 += jobs.unsigned_abs();
        count.1 |= capped;
    }

    pub(crate) fn finish(self) -> Vec<QueueCount> {
        let each =
            |((queue, state), (jobs, capped))| QueueCount::new(queue, state, jobs).capped(capped);
        self.0.into_iter().map(each).collect()
    }
}

/// Ready jobs of a queue whose age is looked at: the first that will be claimed.
pub(crate) const FIRST: i64 = 1000;

/// One row for each queue that has a job where `$rows` says so, with a value that may name the queue.
macro_rules! by_queue {
    ($rows:expr, $value:expr) => {
        concat!(
            "WITH RECURSIVE named (queue) AS (SELECT (SELECT queue FROM ", $rows,
            " ORDER BY queue LIMIT 1) UNION ALL SELECT (SELECT queue FROM ", $rows,
            " AND queue > named.queue ORDER BY queue LIMIT 1) FROM named WHERE named.queue IS NOT NULL) ",
            "SELECT queue, ", $value, " FROM named WHERE queue IS NOT NULL"
        )
    };
}
pub(crate) use by_queue;

/// How many jobs of the queue there are where `$rows` says so, at most `$most`.
macro_rules! count_of {
    ($rows:expr, $most:literal) => {
        concat!(
            "(SELECT count(*) FROM (SELECT 1 FROM ",
            $rows,
            " AND queue = named.queue LIMIT ",
            $most,
            ") AS counted)"
        )
    };
}
pub(crate) use count_of;

/// The earliest due time of the ready jobs of the queue, among the first `$most`.
macro_rules! oldest_of {
    ($rows:expr, $most:literal) => {
        concat!(
            "(SELECT min(run_at) FROM (SELECT run_at FROM ",
            $rows,
            " AND queue = named.queue ORDER BY rank LIMIT ",
            $most,
            ") AS first)"
        )
    };
}
pub(crate) use oldest_of;
