//! Whether a worker runs, and in which process.

use super::{STOPPED, Shared};
use crate::fork;
use crate::side::Side;
use crate::sync::{Arc, yield_now};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

impl Shared {
    /// Starts a driver if there is none, and lets the next call try again if that fails.
    #[cold]
    pub(crate) fn ensure_running(this: &Arc<Self>) {
        // ORDERING: one caller wins and starts; nothing else is published by it.
        let start = (STOPPED, this.generation());
        let won = this.live.compare_exchange(start.0, start.1, AcqRel, Relaxed);
        if won.is_err() {
            return;
        }
        if this.state().is_sealed() {
            this.set_stopped();
        } else if crate::launch::launch(this).is_ok() {
            this.starts.fetch_add(1, Relaxed);
        } else {
            this.start_failures.fetch_add(1, Relaxed);
            this.set_stopped();
        }
    }

    pub(crate) fn set_stopped(&self) {
        // ORDERING: pairs with the exchange in `ensure_running`.
        self.live.store(STOPPED, Release);
    }

    pub(crate) fn is_running(&self) -> bool {
        // ORDERING: pairs with `set_stopped`.
        self.live.load(Acquire) != STOPPED
    }

    /// Whether this is the process it was, and a driver runs: then a push needs nothing more. In a
    /// forked child the mark is another one, and without a driver there is no such process.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        fork::is_marked(self.live.load(Relaxed))
    }

    /// In a forked child, once: leaves everything of the parent's alone and begins anew.
    #[inline]
    pub(crate) fn check_process(&self) {
        if !fork::is_generation(self.generation()) {
            self.begin_anew();
        }
    }

    #[cold]
    fn begin_anew(&self) {
        let now = fork::generation();
        let before = self.beginning.load(Relaxed);
        let turn = self.beginning.compare_exchange(before, now, Relaxed, Relaxed);
        if before == now || turn.is_err() {
            // Another thread of this child is at it: a few stores and two allocations.
            while self.generation() != now {
                yield_now();
            }
            return;
        }
        self.inbox.abandon_inherited();
        self.gate.reset();
        self.sides.add(Side::new(&self.config));
        for counter in [&self.refused, &self.starts, &self.start_failures] {
            counter.store(0, Relaxed);
        }
        self.live.store(STOPPED, Relaxed);
        // ORDERING: publishes the new side to threads of this child that read the generation.
        self.generation.store(now, Release);
    }

    /// Whether this is the process that the worker was built in, and not a forked child of it.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_first_process(&self) -> bool {
        self.generation() == self.built_in
    }

    /// What a thread is told apart by that runs a task of this worker.
    pub(crate) fn address(this: &Arc<Self>) -> usize {
        Arc::as_ptr(this).addr()
    }

    pub(super) fn generation(&self) -> u32 {
        // ORDERING: pairs with the store in `begin_anew`.
        self.generation.load(Acquire)
    }
}
