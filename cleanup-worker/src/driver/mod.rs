//! Runs the tasks: takes, starts, polls, times out, counts.
//!
//! A driver is a value that makes turns; a thread or a runtime gives it the turns (see [`launch`]).
//! All that it works on is behind the lock of the worker, so another driver can go on where one was
//! torn down with its runtime.

mod launch;
#[cfg(all(test, not(lastout_loom)))]
mod stalled;

pub(crate) use launch::{block, ensure_running, is_needed, join, sweep_elsewhere};

use crate::contain::{
    Inside, Panicked, TaskRef, contain, drop_contained, drop_quietly, run_inside,
};
use crate::context::CleanupContext;
use crate::event::Event;
use crate::fork;
use crate::node::Node;
use crate::shared::Shared;
use crate::state::{Info, Work};
use crate::sweep::sweep;
use crate::sync::Arc;
use crate::task::Outcome;
use crate::waiting::Ended;
use std::mem::ManuallyDrop;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

type Task = Node<Arc<Shared>>;

/// How much is done in one turn before the other tasks of a runtime get their turns.
const BUDGET: usize = 64;

/// How long the driver rests after work before it says that it sleeps. Submits in that time wake
/// no thread, so a burst costs one wake; its tail starts this much later.
pub(crate) const NAP: Duration = Duration::from_micros(250);

/// The shortest and the longest time between two looks at a producer that stopped in the middle of its
/// push. It announces nothing when it goes on, and the driver must not spin for it.
const STALL: (Duration, Duration) = (Duration::from_micros(250), Duration::from_millis(10));

/// What the driver wants after a turn.
pub(crate) enum Turn {
    /// Another turn at once.
    Again,
    /// Another turn soon, as the driver did not say that it sleeps.
    Nap,
    /// Another turn at that time, or when it is woken for anything but a submit.
    Stalled(Instant),
    /// Another turn when it is woken, or at that time.
    Sleep(Option<Instant>),
    /// Nothing more.
    Finished,
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    /// The process that it drives in. Its copy in a forked child does nothing, however the child comes to it.
    generation: u32,
    /// Naps that are left before the driver sleeps, refilled by work.
    naps: u32,
    naps_after_work: u32,
    /// The time to the next look at a stopped producer.
    stall: Duration,
    finished: bool,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, naps_after_work: u32) -> Self {
        let generation = shared.generation();
        Self { shared, generation, naps: 0, naps_after_work, stall: STALL.0, finished: false }
    }

    fn is_inherited(&self) -> bool {
        !fork::is_generation(self.generation)
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
        if self.is_inherited() {
            return Turn::Finished;
        }
        let shared = Arc::clone(&self.shared);
        let side = shared.side();
        side.ready.kick.register(waker);
        for _ in 0..BUDGET {
            let now = shared.config.clock.now();
            let mut state = shared.state();
            let work = state.next(shared.intake(), now, &side.ready, shared.config.timeout);
            match work {
                Work::Stalled => {
                    self.stall = (self.stall * 2).min(STALL.1);
                    return Turn::Stalled(Instant::now() + self.stall);
                }
                Work::Rest(until) => {
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
                work => {
                    drop(state);
                    self.naps = self.naps_after_work;
                    self.stall = STALL.0;
                    let around = self.inside(None);
                    if run_inside(around, || self.perform(work)) || self.is_inherited() {
                        return Turn::Finished;
                    }
                }
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
        let interval = config.lazy_interval.max(NAP);
        let tick = self.shared.is_lazy().then(|| crate::clock::after(now, interval));
        due.into_iter().chain(tick).min()
    }

    /// Does what the state asked for, after its lock; `true` at the end of all work.
    fn perform(&mut self, work: Work<Arc<Shared>>) -> bool {
        match work {
            Work::Poll { slot, node, info, waker } => {
                self.poll(slot, node, &info, &Waker::from(waker));
            }
            Work::Expire { slot, node, info } => {
                run_inside(self.inside(Some(TaskRef { slot, id: info.id })), || drop_quietly(node));
                let event = |age| Event::TimedOut { label: info.label, age };
                self.tell(slot, &info, event);
                self.end(slot, Ended::TimedOut);
            }
            Work::Wake(waker) => drop(contain(move || waker.wake())),
            Work::Sweep => sweep(&self.shared, BUDGET),
            Work::Rest(_) | Work::Stalled => {}
            Work::Finished(nudge) => {
                self.finished = true;
                self.shared.set_stopped();
                nudge.wake();
                return true;
            }
        }
        false
    }

    fn poll(&self, slot: usize, mut node: Task, info: &Info, waker: &Waker) {
        let inside = self.inside(Some(TaskRef { slot, id: info.id }));
        let cx = CleanupContext::new(Arc::clone(&self.shared), inside);
        let polled =
            run_inside(inside, || contain(|| node.poll(&mut Context::from_waker(waker), &cx)));
        if self.is_inherited() {
            // The task forked, and this is the child: the task is the parent's.
            let _ = ManuallyDrop::new((node, polled));
            return;
        }
        match polled {
            Ok(Poll::Pending) => {
                let given_up = self.shared.state().put_back(slot, node);
                if let Some(node) = given_up {
                    run_inside(inside, || drop_quietly(node));
                    self.end(slot, Ended::Abandoned);
                }
            }
            Ok(Poll::Ready(outcome)) => {
                // The destructor of the future is part of the task: it has not ended before.
                match run_inside(inside, || drop_contained(node)) {
                    Ok(()) => self.settle(slot, info, Ok(outcome)),
                    Err(panicked) => {
                        self.discard(slot, info, outcome);
                        self.settle(slot, info, Err(panicked));
                    }
                }
            }
            Err(panicked) => {
                run_inside(inside, || drop_quietly(node));
                self.settle(slot, info, Err(panicked));
            }
        }
    }

    /// Tells about the outcome of a task that is gone, and counts it.
    fn settle(&self, slot: usize, info: &Info, outcome: Result<Outcome, Panicked>) {
        let label = info.label;
        let ended = match outcome {
            Ok(Ok(())) => Ended::Completed,
            Ok(Err(error)) => {
                self.tell(slot, info, |age| Event::Failed { label, age, error: &*error });
                // The error is what is left of the task, which has not ended before.
                self.discard(slot, info, error);
                Ended::Failed
            }
            Err(Panicked(message)) => {
                self.tell(slot, info, |age| Event::Panicked { label, age, message: &message });
                Ended::Panicked
            }
        };
        self.end(slot, ended);
    }

    /// The hook hears of the end before a flush does.
    fn tell<'a>(&self, slot: usize, info: &Info, event: impl FnOnce(Duration) -> Event<'a>) {
        if self.is_inherited() {
            return;
        }
        let uncounted = self.shared.state().settle(slot);
        if uncounted {
            self.shared.report(&event(self.shared.age(info.since)));
        }
    }

    /// Drops what is left of a task. In the child of one that forked it is the parent's.
    fn discard<T>(&self, slot: usize, info: &Info, left: T) {
        if self.is_inherited() {
            let _ = ManuallyDrop::new(left);
        } else {
            run_inside(self.inside(Some(TaskRef { slot, id: info.id })), || drop_quietly(left));
        }
    }

    fn end(&self, slot: usize, ended: Ended) {
        if self.is_inherited() {
            return;
        }
        let nudge = self.shared.state().end(slot, ended, self.shared.intake());
        nudge.wake();
        // Its closures may go on, if their calls have left it.
        self.shared.replace_stuck();
    }

    fn inside(&self, task: Option<TaskRef>) -> Inside {
        Inside { worker: Shared::identity(&self.shared), on_driver: true, task }
    }
}

impl Drop for Driver {
    /// The runtime went away under the driver: the worker goes on elsewhere.
    fn drop(&mut self) {
        if !self.finished && !self.is_inherited() {
            launch::take_over(&self.shared);
        }
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::Options;
    use crate::handle::submit;

    /// With an interval of 0 the driver would never sleep.
    #[test]
    fn the_looks_for_lazy_tasks_have_a_pause_between_them() {
        let config = Config { lazy_interval: Duration::ZERO, ..Config::default() };
        let shared = Shared::for_model(config);
        shared.lazy_begins();
        let mut driver = Driver::new(Arc::clone(&shared), 0);
        let before = Instant::now();
        let Turn::Sleep(Some(until)) = driver.turn(Waker::noop()) else {
            unreachable!("it sleeps")
        };
        assert!(until >= before + NAP);
        driver.dismiss();
    }

    /// Between the end of work and its sleep the driver rests once, and submits in that time find it
    /// awake: so the tail of a burst costs no wake.
    #[test]
    fn submits_during_the_nap_wake_nobody() {
        let shared = Shared::for_model(Config::default());
        let mut driver = Driver::new(Arc::clone(&shared), 1);
        let mut turn = || driver.turn(Waker::noop());
        let hand_over = || {
            let submitted = submit(&shared, async {}, Options::new(), false);
            assert!(submitted.is_ok());
        };
        assert!(matches!(turn(), Turn::Sleep(_)));
        hand_over();
        assert_eq!(shared.inbox().wakes(), 1, "it slept");
        for _ in 0..3 {
            assert!(matches!(turn(), Turn::Nap));
            hand_over();
        }
        assert_eq!(shared.inbox().wakes(), 1, "it was awake");
        assert!(matches!(turn(), Turn::Nap));
        assert!(matches!(turn(), Turn::Sleep(_)));
        hand_over();
        assert_eq!(shared.inbox().wakes(), 2, "it slept");
        driver.dismiss();
    }
}
