//! The one who runs the tasks: takes, starts, polls, times out, counts.
//!
//! A driver is a value that makes turns; a thread or a runtime gives it the turns (see `launch`).
//! All that it works on is behind the lock of the worker, so another driver can go on where one was
//! torn down with its runtime.

use crate::contain::{Panicked, contain, drop_contained, drop_quietly};
use crate::context::CleanupContext;
use crate::event::Event;
use crate::gate::Quiet;
use crate::ledger::Ended;
use crate::node::Node;
use crate::shared::Shared;
use crate::slots::Info;
use crate::state::Work;
use crate::sync::Arc;
use crate::task::Outcome;
use crate::wait::{Inside, run_inside};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How much is done in one turn before others on the same runtime get theirs.
const BUDGET: usize = 64;

/// How long the driver rests after work before it says that it sleeps. Submits in that time wake
/// nobody, so a burst costs one wake; its tail starts this much later.
pub(crate) const NAP: Duration = Duration::from_micros(250);

/// What the driver wants after a turn.
pub(crate) enum Turn {
    /// Another turn at once.
    Again,
    /// Another turn soon, as the driver did not say that it sleeps.
    Nap,
    /// Another turn when it is woken, or at that time.
    Sleep(Option<Instant>),
    /// Nothing more.
    Finished,
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    /// Naps that are left before the driver sleeps, refilled by work.
    naps: u32,
    naps_after_work: u32,
    finished: bool,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, naps_after_work: u32) -> Self {
        Self { shared, naps: 0, naps_after_work, finished: false }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Drops a driver that was never given a turn.
    pub(crate) fn dismiss(mut self) {
        self.finished = true;
    }

    pub(crate) fn turn(&mut self, waker: &Waker) -> Turn {
        let shared = Arc::clone(&self.shared);
        let side = shared.side();
        side.ready.kick.register(waker);
        for _ in 0..BUDGET {
            let now = shared.config.clock.now();
            let mut state = shared.state();
            let work = state.next(shared.intake(), now, &side.ready, shared.config.timeout);
            if let Work::Rest(until) = work {
                if state.is_stalled() {
                    return Turn::Nap;
                }
                if self.naps > 0 {
                    self.naps -= 1;
                    return Turn::Nap;
                }
                if !state.doze(shared.inbox(), waker) {
                    return Turn::Again;
                }
                drop(state);
                return Turn::Sleep(self.until(until, now));
            }
            drop(state);
            self.naps = self.naps_after_work;
            if self.perform(work) {
                return Turn::Finished;
            }
        }
        Turn::Again
    }

    /// The real time of the next look, for the thread or runtime that waits.
    fn until(&self, due: Option<Instant>, now: Instant) -> Option<Instant> {
        let config = &self.shared.config;
        if !config.clock.is_real() {
            return None;
        }
        let tick = self.shared.is_lazy().then(|| crate::clock::after(now, config.lazy_interval));
        due.into_iter().chain(tick).min()
    }

    /// Does what the state asked for, after its lock; `true` at the end of all work.
    fn perform(&mut self, work: Work) -> bool {
        match work {
            Work::Poll { slot, node, info, waker } => {
                self.poll(slot, node, &info, &Waker::from(waker));
            }
            Work::Expire { slot, node, info } => {
                run_inside(self.inside(&info), || drop_quietly(node));
                let label = info.label;
                let age = self.shared.age(info.since);
                self.end(slot, &info, Ended::TimedOut, Some(&Event::TimedOut { label, age }));
            }
            Work::Wake(waker) => drop(contain(move || waker.wake())),
            Work::Doom(doomed) => self.shared.doom(doomed),
            Work::Rest(_) => {}
            Work::Finished => {
                self.finish();
                return true;
            }
        }
        false
    }

    fn poll(&self, slot: usize, mut node: Node, info: &Info, waker: &Waker) {
        let inside = self.inside(info);
        let cx = CleanupContext::new(Arc::clone(&self.shared), inside);
        let polled =
            run_inside(inside, || contain(|| node.poll(&mut Context::from_waker(waker), &cx)));
        match polled {
            Ok(Poll::Pending) => {
                let revoked = self.shared.state().put_back(slot, node);
                if let Some(node) = revoked {
                    run_inside(inside, || drop_quietly(node));
                    self.end(slot, info, Ended::Abandoned, None);
                }
            }
            Ok(Poll::Ready(outcome)) => {
                // The destructor of the future is part of the task: it has not ended before.
                let dropped = run_inside(inside, || drop_contained(node));
                self.settle(slot, info, dropped.map(|()| outcome));
            }
            Err(panicked) => {
                run_inside(inside, || drop_quietly(node));
                self.settle(slot, info, Err(panicked));
            }
        }
    }

    /// Counts the outcome of a task that is gone, tells about it, and lets its waiters know.
    fn settle(&self, slot: usize, info: &Info, outcome: Result<Outcome, Panicked>) {
        let label = info.label;
        match outcome {
            Ok(Ok(())) => self.end(slot, info, Ended::Completed, None),
            Ok(Err(error)) => {
                let age = self.shared.age(info.since);
                let event = Event::Failed { label, age, error: &*error };
                self.end(slot, info, Ended::Failed, Some(&event));
                drop_quietly(error);
            }
            Err(Panicked(message)) => {
                let age = self.shared.age(info.since);
                let event = Event::Panicked { label, age, message: &message };
                self.end(slot, info, Ended::Panicked, Some(&event));
            }
        }
    }

    fn end(&self, slot: usize, info: &Info, ended: Ended, event: Option<&Event<'_>>) {
        let counted = self.shared.state().end(slot, info, ended);
        if info.charged {
            // Told below, for all waiters at once and after the hook.
            let _ = self.shared.gate().release(info.weight);
        }
        if let (true, Some(event)) = (counted, event) {
            self.shared.report(event);
        }
        self.shared.tell(Quiet(true));
    }

    fn finish(&mut self) {
        self.finished = true;
        let sleeps = self.shared.state().finish();
        self.shared.set_stopped();
        sleeps.into_iter().for_each(|waker| drop(contain(move || waker.wake())));
        self.shared.tell(Quiet(true));
    }

    fn inside(&self, info: &Info) -> Inside {
        Inside {
            worker: Shared::address(&self.shared),
            id: info.id,
            epoch: info.epoch,
            weight: info.weight,
            on_driver: true,
        }
    }
}

impl Drop for Driver {
    /// The runtime went away under the driver: the worker goes on elsewhere.
    fn drop(&mut self) {
        if !self.finished {
            crate::launch::take_over(&self.shared);
        }
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::task::Options;

    /// Between the end of work and its sleep the driver rests once, and submits in that time find it
    /// awake: so the tail of a burst wakes nobody.
    #[test]
    fn submits_during_the_nap_wake_nobody() {
        let shared = Shared::for_model(Config::default());
        let mut driver = Driver::new(Arc::clone(&shared), 1);
        let mut turn = || driver.turn(Waker::noop());
        let submit = || {
            let submitted = Shared::submit(&shared, async {}, Options::new(), false);
            assert!(submitted.is_ok());
        };
        assert!(matches!(turn(), Turn::Sleep(_)));
        submit();
        assert_eq!(shared.inbox().wakes(), 1, "it slept");
        for _ in 0..3 {
            assert!(matches!(turn(), Turn::Nap));
            submit();
        }
        assert_eq!(shared.inbox().wakes(), 1, "it was awake");
        assert!(matches!(turn(), Turn::Nap));
        assert!(matches!(turn(), Turn::Sleep(_)));
        submit();
        assert_eq!(shared.inbox().wakes(), 2, "it slept");
        driver.dismiss();
    }
}
