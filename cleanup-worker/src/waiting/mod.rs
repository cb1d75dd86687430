//! Flushes, quiesces and ends that wait, as entries under the lock of the worker.
//!
//! ```text
//!   Unlined ── draw ──► Line ── the ledger reaches it ──► reached   (found by its line, not by a walk)
//!   Drained, Swept, Finished ── asked after each transition ──► reached   (the end of a worker: a few)
//! ```
//!
//! An entry that was reached stays so until its owner removes it. A walk gives wakers back in a
//! [`Nudge`], and the caller wakes them after the lock.

mod flush;
mod ledger;

pub(crate) use flush::Wait;
pub use flush::{Flush, FlushGuard};
pub(crate) use ledger::{Ended, Epoch, Ledger, Line, View};

use crate::contain::{TaskRef, contain};
use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

/// What a waiter waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// All tasks that came before the wait have ended. It has no line while a producer stands in the
    /// middle of its push; the line is drawn as soon as that is over.
    Unlined,
    /// All tasks before the line have ended; [`Line::ALL`] is "nothing is queued or in flight".
    Line(Line),
    /// The gate is closed, and nothing is on its way in, queued or in flight.
    Drained,
    /// What was given up has been dropped.
    Swept,
    /// The driver has gone.
    Finished,
}

/// Wakers to be woken after the lock.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct Nudge(Vec<Waker>);

impl Nudge {
    pub(crate) fn of(wakers: Vec<Waker>) -> Self {
        Self(wakers)
    }

    pub(crate) fn add(&mut self, waker: Waker) {
        self.0.push(waker);
    }

    /// Wakes all; a waker that panics keeps none of the others from it.
    pub(crate) fn wake(self) {
        // Wakers of other runtimes are not ours to trust.
        self.0.into_iter().for_each(|waker| drop(contain(move || waker.wake())));
    }
}

#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) goal: Goal,
    /// The task that the waiter runs in, while that has not ended.
    pub(crate) inside: Option<TaskRef>,
    waker: Option<Waker>,
    reached: bool,
}

impl Waiter {
    pub(crate) fn view(&self) -> View {
        if self.inside.is_some() { View::Inside } else { View::Outside }
    }

    pub(crate) fn into_waker(self) -> Option<Waker> {
        self.waker
    }
}

#[derive(Debug)]
pub(crate) struct Waiters {
    entries: BTreeMap<u64, Waiter>,
    issued: u64,
    /// Those with a line, not reached, in the order of their lines, for each view.
    outside: BTreeSet<(Line, u64)>,
    inside: BTreeSet<(Line, u64)>,
    unlined: BTreeSet<u64>,
    /// Those that wait for an end.
    ends: BTreeSet<u64>,
    /// Those inside a task, behind the number of that task.
    within: BTreeSet<(u64, u64)>,
}

impl Waiters {
    pub(crate) fn new(first: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            issued: first,
            outside: BTreeSet::new(),
            inside: BTreeSet::new(),
            unlined: BTreeSet::new(),
            ends: BTreeSet::new(),
            within: BTreeSet::new(),
        }
    }

    pub(crate) fn add(&mut self, goal: Goal, inside: Option<TaskRef>) -> u64 {
        self.issued += 1;
        let id = self.issued;
        self.entries.insert(id, Waiter { goal, inside, waker: None, reached: false });
        self.index(id, true);
        id
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Waiter> {
        self.index(id, false);
        self.entries.remove(&id)
    }

    pub(crate) fn find(&self, id: u64) -> Option<&Waiter> {
        self.entries.get(&id)
    }

    pub(crate) fn is_reached(&self, id: u64) -> bool {
        self.entries.get(&id).is_none_or(|waiter| waiter.reached)
    }

    /// Gives the old waker back, to be dropped after the lock.
    pub(crate) fn set_waker(&mut self, id: u64, waker: Waker) -> Option<Waker> {
        self.entries.get_mut(&id)?.waker.replace(waker)
    }

    /// Enters the waiter where its goal is looked for, or takes it out there.
    fn index(&mut self, id: u64, enter: bool) {
        let Some(waiter) = self.entries.get(&id) else { return };
        if let Some(task) = waiter.inside {
            set(&mut self.within, (task.id, id), enter);
        }
        match waiter.goal {
            Goal::Unlined => set(&mut self.unlined, id, enter),
            Goal::Line(line) => {
                let lines = match waiter.view() {
                    View::Outside => &mut self.outside,
                    View::Inside => &mut self.inside,
                };
                set(lines, (line, id), enter && !waiter.reached);
            }
            Goal::Drained | Goal::Swept | Goal::Finished => set(&mut self.ends, id, enter),
        }
    }

    fn reindex(&mut self, id: u64, change: impl FnOnce(&mut Waiter)) {
        self.index(id, false);
        if let Some(waiter) = self.entries.get_mut(&id) {
            change(waiter);
        }
        self.index(id, true);
    }

    pub(crate) fn wait_for_line(&self) -> bool {
        !self.unlined.is_empty()
    }

    /// Draws the line for all that have none.
    pub(crate) fn draw(&mut self, line: Line) {
        while let Some(id) = self.unlined.first().copied() {
            self.reindex(id, |waiter| waiter.goal = Goal::Line(line));
        }
    }

    /// The task has ended, though something that it started may still wait: from outside, from here on.
    pub(crate) fn ended(&mut self, task: TaskRef) {
        let own = self.within.range((task.id, 0)..=(task.id, u64::MAX));
        for (_, id) in own.copied().collect::<Vec<_>>() {
            self.reindex(id, |waiter| waiter.inside = None);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Marks the waiters whose line is reached in that view, and takes their wakers.
    pub(crate) fn reach(&mut self, reached: Line, view: View, wakers: &mut Vec<Waker>) {
        let lines = match view {
            View::Outside => &mut self.outside,
            View::Inside => &mut self.inside,
        };
        while let Some((_, id)) = lines.first().copied().filter(|(line, _)| *line <= reached) {
            lines.pop_first();
            if let Some(waiter) = self.entries.get_mut(&id) {
                waiter.reached = true;
                wakers.extend(waiter.waker.take());
            }
        }
    }

    /// Marks the waiters whose end has come, and takes their wakers.
    pub(crate) fn reach_ends(&mut self, is_so: impl Fn(&Waiter) -> bool, wakers: &mut Vec<Waker>) {
        for id in &self.ends {
            let waiter = self.entries.get_mut(id);
            if let Some(waiter) = waiter.filter(|waiter| !waiter.reached && is_so(waiter)) {
                waiter.reached = true;
                wakers.extend(waiter.waker.take());
            }
        }
    }
}

fn set<T: Ord>(items: &mut BTreeSet<T>, item: T, enter: bool) {
    if enter {
        items.insert(item);
    } else {
        items.remove(&item);
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_task_moves_its_own_waiters_alone() {
        let mut waiters = Waiters::new(0);
        let task = |id| Some(TaskRef { slot: 0, id });
        let line = Goal::Line(Line::ALL);
        let own = [waiters.add(line, task(1)), waiters.add(Goal::Unlined, task(1))];
        let other = waiters.add(line, task(2));
        waiters.ended(TaskRef { slot: 0, id: 1 });
        let view = |waiters: &Waiters, id| waiters.find(id).map(Waiter::view);
        for id in own {
            assert_eq!(view(&waiters, id), Some(View::Outside));
        }
        assert_eq!(view(&waiters, other), Some(View::Inside));
        assert_eq!(waiters.within.iter().copied().collect::<Vec<_>>(), [(2, other)]);
        waiters.remove(other);
        for id in own {
            waiters.remove(id);
        }
        assert!(waiters.is_empty() && waiters.within.is_empty());
    }
}
