//! What came in and how it ended, and which tasks a flush waits for. Pure: no clock, no locks.
//!
//! Tasks belong to the epoch in which they were taken. A flush closes the current epoch and waits
//! for all up to it. Only epochs with a task that has not ended are kept, in order, so the end of a task
//! changes one count, and the first epoch that is left says which flushes have ended.
//!
//! A task that is given up is counted at once, and leaves its epoch when it is gone: a flush waits for that.
//!
//! A task is *held* while it waits itself. A flush from inside a task does not wait for held ones: two
//! tasks that flush would wait for each other.

use crate::stats::Stats;
use std::collections::{BTreeMap, BTreeSet};

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Completed,
    Failed,
    Panicked,
    TimedOut,
    Abandoned,
}

/// The epoch of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(u64);

/// All tasks of the epochs before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line(Epoch);

impl Line {
    /// Before which every task is, also those to come.
    pub(crate) const ALL: Self = Self(Epoch(u64::MAX));

    /// Short of "all", for when there may be a task that no epoch knows yet.
    pub(crate) fn short_of_all(self) -> Self {
        Self(Epoch(self.0.0.min(u64::MAX - 1)))
    }
}

/// Who looks: a caller outside waits for every task, one inside a task only for those that do not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Outside,
    Inside,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    live: u64,
    held: u64,
}

impl Count {
    fn of(self, view: View) -> u64 {
        match view {
            View::Outside => self.live,
            View::Inside => self.live - self.held,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Ledger {
    outcomes: Stats,
    /// The current epoch, and its tasks that have not ended.
    epoch: Epoch,
    current: Count,
    /// The earlier epochs with such tasks.
    earlier: BTreeMap<Epoch, Count>,
    /// Those of `earlier` with a task that is not held.
    free: BTreeSet<Epoch>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            outcomes: Stats::default(),
            epoch: Epoch(0),
            current: Count::default(),
            earlier: BTreeMap::new(),
            free: BTreeSet::new(),
        }
    }

    pub(crate) fn accept(&mut self) -> Epoch {
        self.outcomes.accepted += 1;
        self.current.live += 1;
        self.epoch
    }

    /// Counts how a task ended.
    pub(crate) fn count(&mut self, ended: Ended) {
        let outcomes = &mut self.outcomes;
        let outcome = match ended {
            Ended::Completed => &mut outcomes.completed,
            Ended::Failed => &mut outcomes.failed,
            Ended::Panicked => &mut outcomes.panicked,
            Ended::TimedOut => &mut outcomes.timed_out,
            Ended::Abandoned => &mut outcomes.abandoned,
        };
        *outcome += 1;
    }

    /// A task is gone, and its end was told; it is not held.
    pub(crate) fn leave(&mut self, epoch: Epoch) {
        self.change(epoch, |count| count.live -= 1);
    }

    /// A task begins to wait.
    pub(crate) fn hold(&mut self, epoch: Epoch) {
        self.change(epoch, |count| count.held += 1);
    }

    /// A task waits no longer, or is about to end.
    pub(crate) fn let_go(&mut self, epoch: Epoch) {
        self.change(epoch, |count| count.held -= 1);
    }

    fn change(&mut self, epoch: Epoch, change: impl FnOnce(&mut Count)) {
        if epoch == self.epoch {
            return change(&mut self.current);
        }
        let Some(count) = self.earlier.get_mut(&epoch) else {
            return debug_assert!(false, "a task that has not ended keeps its epoch");
        };
        let was_free = count.of(View::Inside) > 0;
        change(count);
        let is_free = count.of(View::Inside) > 0;
        if count.live == 0 {
            self.earlier.remove(&epoch);
        }
        if is_free && !was_free {
            self.free.insert(epoch);
        } else if was_free && !is_free {
            self.free.remove(&epoch);
        }
    }

    /// Closes the current epoch: what is accepted from now on is behind the line.
    pub(crate) fn draw(&mut self) -> Line {
        if self.current.live > 0 {
            let count = std::mem::take(&mut self.current);
            self.earlier.insert(self.epoch, count);
            if count.of(View::Inside) > 0 {
                self.free.insert(self.epoch);
            }
            self.epoch.0 += 1;
        }
        Line(self.epoch)
    }

    /// The last line that is reached: no task before it is left in that view.
    pub(crate) fn reached(&self, view: View) -> Line {
        let first = match view {
            View::Outside => self.earlier.first_key_value().map(|(epoch, _)| *epoch),
            View::Inside => self.free.first().copied(),
        };
        let current = || (self.current.of(view) > 0).then_some(self.epoch);
        first.or_else(current).map_or(Line::ALL, Line)
    }

    /// How many tasks are left before the line.
    pub(crate) fn pending(&self, line: Line, view: View) -> u64 {
        let earlier = self.earlier.range(..line.0);
        let current = if self.epoch < line.0 { self.current.of(view) } else { 0 };
        earlier.map(|(_, count)| count.of(view)).sum::<u64>() + current
    }

    /// The six counters; the rest of the snapshot is for others to fill.
    pub(crate) fn outcomes(&self) -> Stats {
        self.outcomes
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
        Turn(prop::sample::Index),
        Draw,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Accept),
            2 => any::<prop::sample::Index>().prop_map(Step::End),
            1 => any::<prop::sample::Index>().prop_map(Step::Turn),
            1 => Just(Step::Draw),
        ]
    }

    /// A task of the model: its number, its epoch, and whether it waits itself.
    type Task = (u64, Epoch, bool);

    proptest! {
        /// Against the obvious model: each line remembers the very tasks that were live.
        #[test]
        fn a_line_waits_for_exactly_the_tasks_before_it(steps in prop::collection::vec(step(), 0..200)) {
            let mut ledger = Ledger::new();
            let mut live: Vec<Task> = Vec::new();
            let mut lines: Vec<(Line, Vec<u64>)> = vec![(Line::ALL, (0..200).collect())];
            let mut ended = 0;
            for (id, step) in (0u64..).zip(steps) {
                match step {
                    Step::Accept => live.push((id, ledger.accept(), false)),
                    Step::Draw => {
                        let tasks = live.iter().map(|(id, ..)| *id).collect();
                        lines.push((ledger.draw(), tasks));
                    }
                    _ if live.is_empty() => {}
                    Step::Turn(index) => {
                        let index = index.index(live.len());
                        let (_, epoch, held) = &mut live[index];
                        if *held { ledger.let_go(*epoch) } else { ledger.hold(*epoch) }
                        *held = !*held;
                    }
                    Step::End(index) => {
                        let (_, epoch, held) = live.swap_remove(index.index(live.len()));
                        if held {
                            ledger.let_go(epoch);
                        }
                        ledger.count(Ended::Completed);
                        ledger.leave(epoch);
                        ended += 1;
                    }
                }
                for (line, tasks) in &lines {
                    let before = || live.iter().filter(|(id, ..)| tasks.contains(id));
                    let outside = before().count() as u64;
                    let inside = before().filter(|(.., held)| !held).count() as u64;
                    prop_assert_eq!(ledger.pending(*line, View::Outside), outside);
                    prop_assert_eq!(ledger.pending(*line, View::Inside), inside);
                    prop_assert_eq!(ledger.reached(View::Outside) >= *line, outside == 0);
                    prop_assert_eq!(ledger.reached(View::Inside) >= *line, inside == 0);
                }
                prop_assert_eq!(ledger.outcomes().accepted, ended + live.len() as u64);
                prop_assert_eq!(ledger.outcomes().ended(), ended);
            }
        }
    }
}
