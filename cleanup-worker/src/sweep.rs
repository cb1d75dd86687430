//! Drops what was given up: one thread at a time for each worker, and each thread in one loop.
//!
//! A destructor may drop a late guard, of this worker or of another one that has ended. Neither adds to the
//! stack: a task of this worker goes to the end of its queue, and another worker to the end of `LATE`.

use crate::contain::{Inside, drop_quietly, run_inside};
use crate::event::Event;
use crate::fork;
use crate::shared::Shared;
use crate::state::Doomed;
use crate::stats::Stats;
use crate::sync::{Arc, on};
use std::cell::RefCell;

crate::sync::thread_local! {
    /// While this thread sweeps: the workers that it has still to sweep.
    static LATE: RefCell<Option<Vec<Arc<Shared>>>> = const { RefCell::new(None) };
}

/// Drops what was given up and tells about it, unless a thread is at it: then that one does. `most` bounds how
/// many, for a caller that comes back.
pub(crate) fn sweep(shared: &Arc<Shared>, most: usize) {
    let begin = |late: &RefCell<Option<Vec<_>>>| {
        let mut late = late.borrow_mut();
        let outermost = late.is_none();
        late.get_or_insert_default();
        outermost
    };
    let outermost = LATE.try_with(begin).unwrap_or_default();
    sweep_one(shared, most);
    if !outermost {
        return;
    }
    while let Some(next) = next_late() {
        sweep_one(&next, usize::MAX);
        // It may be the last of that worker.
        drop_quietly(next);
    }
}

/// Takes what came in after the end, on the thread that brought it. `true` when another producer stands in the
/// way and there is no driver to stay for it.
#[cold]
pub(crate) fn sweep_late(shared: &Arc<Shared>) -> bool {
    let reopened = {
        let mut state = shared.state();
        state.look(shared.intake(), shared.config.clock.now());
        state.reopen()
    };
    let leave = |late: &RefCell<Option<Vec<_>>>| {
        late.borrow_mut().as_mut().map(|late| late.push(Arc::clone(shared)))
    };
    if LATE.try_with(leave).ok().flatten().is_none() {
        sweep(shared, usize::MAX);
    }
    reopened
}

/// The numbers of a worker. A caller that finds something to drop, and no thread for it, drops it.
pub(crate) fn stats(shared: &Arc<Shared>) -> Stats {
    let (stats, left) = shared.stats();
    if left {
        sweep(shared, usize::MAX);
    }
    stats
}

/// The next worker of this thread's list; after the last one this thread sweeps no more.
fn next_late() -> Option<Arc<Shared>> {
    let next = |late: &RefCell<Option<Vec<_>>>| {
        let mut late = late.borrow_mut();
        let next = late.as_mut().and_then(Vec::pop);
        if next.is_none() {
            *late = None;
        }
        next
    };
    LATE.try_with(next).ok().flatten()
}

fn sweep_one(shared: &Arc<Shared>, most: usize) {
    if !shared.state().begin_sweep() {
        return;
    }
    // What runs here would wait for itself if it blocked for this worker.
    let around = Inside { worker: Shared::identity(shared), on_driver: true, task: None };
    run_inside(around, || drop_doomed(shared, most));
}

fn drop_doomed(shared: &Arc<Shared>, most: usize) {
    let generation = shared.generation();
    let mut before = None;
    for _ in 0..most {
        let (next, nudge) = shared.state().next_doomed(before.take(), shared.intake());
        nudge.wake();
        let Some(Doomed { node, gone }) = next else {
            if !on("i7.hand_over") {
                shared.state().end_sweep(None, shared.intake()).wake();
            }
            return;
        };
        drop_quietly(node);
        if !fork::is_generation(generation) {
            return;
        }
        let age = shared.age(gone.info.since);
        shared.report(&Event::Abandoned { label: gone.info.label, age });
        if !fork::is_generation(generation) {
            // A destructor or the hook forked, and this is the child: the sweep is the parent's.
            return;
        }
        before = Some(gone);
    }
    let nudge = shared.state().end_sweep(before, shared.intake());
    nudge.wake();
}
