//! What came in and how it ended, and which tasks a flush waits for. Pure: no clock, no locks.
//!
//! Tasks belong to the epoch in which they were taken. A flush closes the current epoch and waits
//! for all up to it, so it costs one counter for each flush that waits, not one for each task.

use crate::stats::Stats;
use std::collections::VecDeque;

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Completed,
    Failed,
    Panicked,
    TimedOut,
    Abandoned,
}

/// All tasks of the epochs before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Barrier(u64);

/// The epoch of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(u64);

impl Epoch {
    pub(crate) fn is_before(self, barrier: Barrier) -> bool {
        self.0 < barrier.0
    }
}

#[derive(Debug)]
pub(crate) struct Ledger {
    counts: Stats,
    /// Number of the epoch at the front of `live`.
    first: u64,
    /// Tasks not ended, for each epoch; the last is the current one, so it is never empty.
    live: VecDeque<u64>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self { counts: Stats::default(), first: 0, live: VecDeque::from([0]) }
    }

    pub(crate) fn accept(&mut self) -> Epoch {
        self.counts.accepted += 1;
        if let Some(current) = self.live.back_mut() {
            *current += 1;
        }
        self.current()
    }

    pub(crate) fn end(&mut self, epoch: Epoch, ended: Ended) {
        let count = match ended {
            Ended::Completed => &mut self.counts.completed,
            Ended::Failed => &mut self.counts.failed,
            Ended::Panicked => &mut self.counts.panicked,
            Ended::TimedOut => &mut self.counts.timed_out,
            Ended::Abandoned => &mut self.counts.abandoned,
        };
        *count += 1;
        self.live[(epoch.0 - self.first) as usize] -= 1;
        while self.live.len() > 1 && self.live[0] == 0 {
            self.live.pop_front();
            self.first += 1;
        }
    }

    /// Closes the current epoch: what is accepted from now on does not belong to the barrier.
    pub(crate) fn barrier(&mut self) -> Barrier {
        if self.live.back() != Some(&0) {
            self.live.push_back(0);
        }
        Barrier(self.current().0)
    }

    /// How many tasks of the barrier have not ended.
    pub(crate) fn pending(&self, barrier: Barrier) -> u64 {
        let epochs = barrier.0.saturating_sub(self.first) as usize;
        self.live.iter().take(epochs).sum()
    }

    /// The six counters; the rest of the snapshot is for others to fill.
    pub(crate) fn counts(&self) -> Stats {
        self.counts
    }

    fn current(&self) -> Epoch {
        Epoch(self.first + self.live.len() as u64 - 1)
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Accept,
        End(prop::sample::Index),
        Barrier,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Accept),
            any::<prop::sample::Index>().prop_map(Step::End),
            Just(Step::Barrier),
        ]
    }

    proptest! {
        /// Against the obvious model: each barrier remembers the very tasks that were live.
        #[test]
        fn a_barrier_waits_for_exactly_the_tasks_before_it(steps in prop::collection::vec(step(), 0..200)) {
            let mut ledger = Ledger::new();
            let mut live: Vec<(u64, Epoch)> = Vec::new();
            let mut barriers: Vec<(Barrier, Vec<u64>)> = Vec::new();
            let mut ended = 0;
            for (id, step) in (0u64..).zip(steps) {
                match step {
                    Step::Accept => live.push((id, ledger.accept())),
                    Step::End(_) if live.is_empty() => {}
                    Step::End(index) => {
                        let (_, epoch) = live.swap_remove(index.index(live.len()));
                        ledger.end(epoch, Ended::Completed);
                        ended += 1;
                    }
                    Step::Barrier => {
                        let tasks = live.iter().map(|(id, _)| *id).collect();
                        barriers.push((ledger.barrier(), tasks));
                    }
                }
                for (barrier, tasks) in &barriers {
                    let expected = live.iter().filter(|(id, _)| tasks.contains(id)).count();
                    prop_assert_eq!(ledger.pending(*barrier), expected as u64);
                    for (id, epoch) in &live {
                        prop_assert_eq!(epoch.is_before(*barrier), tasks.contains(id));
                    }
                }
                prop_assert_eq!(ledger.counts().accepted, ended + live.len() as u64);
                prop_assert_eq!(ledger.counts().ended(), ended);
            }
        }
    }
}
