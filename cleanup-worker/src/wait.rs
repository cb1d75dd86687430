//! Who waits for what: flushes, quiesces and shutdowns, as entries under the lock of the worker.

use crate::ledger::{Barrier, Epoch};
use std::cell::Cell;
use std::task::Waker;

/// What a waiter waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// All tasks before a line have ended. No line yet while a producer stands in the middle of its
    /// push: it is drawn as soon as that is over.
    Line(Option<Barrier>),
    /// Nothing is queued or in flight.
    Quiet,
    /// The gate is closed, and nothing is on its way in, queued or in flight.
    Drained,
    /// The driver has gone.
    Finished,
}

/// The cleanup that the waiter itself runs in: nobody waits for himself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inside {
    /// Which worker, by its address.
    pub(crate) worker: usize,
    pub(crate) id: u64,
    pub(crate) epoch: Epoch,
    pub(crate) weight: u32,
    /// Whether this is the thread that polls, rather than one of the pool.
    pub(crate) on_driver: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) id: u64,
    pub(crate) goal: Goal,
    pub(crate) inside: Option<Inside>,
}

/// What cleanups that wait themselves hold of a worker.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) tasks: u64,
    pub(crate) weight: u64,
}

#[derive(Debug)]
pub(crate) struct Waiters {
    entries: Vec<(Waiter, Option<Waker>)>,
    issued: u64,
    pub(crate) finished: bool,
}

impl Waiters {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), issued: 0, finished: false }
    }

    pub(crate) fn add(&mut self, goal: Goal, inside: Option<Inside>) -> Waiter {
        self.issued += 1;
        let waiter = Waiter { id: self.issued, goal, inside };
        self.entries.push((waiter, None));
        waiter
    }

    pub(crate) fn find(&self, id: u64) -> Option<Waiter> {
        let mut entries = self.entries.iter();
        entries.find(|(w, _)| w.id == id).map(|(w, _)| *w)
    }

    /// Gives the old waker back, to be dropped after the lock.
    pub(crate) fn set_waker(&mut self, id: u64, waker: Waker) -> Option<Waker> {
        let mut entries = self.entries.iter_mut();
        let entry = entries.find(|(w, _)| w.id == id)?;
        entry.1.replace(waker)
    }

    pub(crate) fn take_waker(&mut self, id: u64) -> Option<Waker> {
        let mut entries = self.entries.iter_mut();
        entries.find(|(w, _)| w.id == id)?.1.take()
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Waker> {
        let index = self.entries.iter().position(|(w, _)| w.id == id)?;
        self.entries.swap_remove(index).1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn list(&self) -> Vec<Waiter> {
        self.entries.iter().map(|(waiter, _)| *waiter).collect()
    }

    /// The cleanup has ended, though something that it started may still wait: from outside, now.
    pub(crate) fn ended(&mut self, task: u64) {
        for (waiter, _) in &mut self.entries {
            if waiter.inside.is_some_and(|inside| inside.id == task) {
                waiter.inside = None;
            }
        }
    }

    /// Whether a line has to be drawn as soon as that is possible.
    pub(crate) fn wait_for_line(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|(waiter, _)| waiter.goal == Goal::Line(None))
    }

    /// Draws the line for all that wait for one.
    pub(crate) fn draw(&mut self, line: Barrier) {
        for (waiter, _) in &mut self.entries {
            if waiter.goal == Goal::Line(None) {
                waiter.goal = Goal::Line(Some(line));
            }
        }
    }

    /// What cleanups hold that are themselves waiting. A waiter outside waits for those too, a waiter
    /// inside does not: two cleanups that flush would wait for each other.
    pub(crate) fn held_inside(&self, waiter: &Waiter, line: Option<Barrier>) -> Held {
        let mut held = Held::default();
        if waiter.inside.is_none() {
            return held;
        }
        let inside = self.entries.iter().filter_map(|(w, _)| w.inside);
        let inside = inside.filter(|i| line.is_none_or(|line| i.epoch.is_before(line)));
        let mut inside: Vec<_> = inside.collect();
        inside.sort_unstable_by_key(|i| i.id);
        inside.dedup_by_key(|i| i.id);
        for task in inside {
            held.tasks += 1;
            held.weight += u64::from(task.weight);
        }
        held
    }
}

crate::sync::thread_local! {
    /// The cleanup that this thread runs just now. Never touched by a submit.
    static CURRENT: Cell<Option<Inside>> = const { Cell::new(None) };
}

/// The cleanup of that worker which the calling code runs in.
pub(crate) fn inside(worker: usize) -> Option<Inside> {
    let current = CURRENT.try_with(Cell::get).ok().flatten();
    current.filter(|inside| inside.worker == worker)
}

/// Runs a part of a cleanup, so that what it calls knows where it is.
pub(crate) fn run_inside<R>(inside: Inside, work: impl FnOnce() -> R) -> R {
    struct Restore(Option<Inside>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = CURRENT.try_with(|current| current.set(self.0));
        }
    }
    let before = CURRENT.try_with(|current| current.replace(Some(inside)));
    let _restore = Restore(before.ok().flatten());
    work()
}
