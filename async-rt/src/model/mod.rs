//! Loom models, each named after the invariant whose loss it would see.

mod cancel;
mod channel;
mod inbox;
mod task;

use crate::sys::Unpark;
use loom::sync::{Condvar, Mutex};
use std::sync::Arc;

/// The sleep of an owner: what epoll and eventfd are to the runtime.
pub(crate) struct Sleeper {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Sleeper {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { woken: Mutex::new(false), changed: Condvar::new() })
    }

    /// Sleeps until it is unparked. A wake that is lost is a deadlock, which loom reports.
    pub(crate) fn sleep(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !*woken {
            woken = self.changed.wait(woken).unwrap();
        }
        *woken = false;
    }
}

impl Unpark for Sleeper {
    fn unpark(&self) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

/// A model with at most `preemptions`, or fewer if the environment says so.
pub(crate) fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    let asked = builder.preemption_bound.unwrap_or(preemptions);
    builder.preemption_bound = Some(asked.min(preemptions));
    builder.max_branches = 20_000;
    builder.check(run);
}
