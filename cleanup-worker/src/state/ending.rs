//! How a worker ends, and what becomes of the tasks that it gives up.
//!
//! ```text
//!   open ── gate closed ──► draining ── all ended ──► sealed ── driver gone ──► finished
//!                               └──── condemn ────────┘
//! ```
//!
//! A task that is given up is counted at once, under the lock, and waits in `doomed` until a sweep drops it
//! and tells the hook; then it leaves its epoch, and a flush ends. That sweep is made by
//! the driver while there is one, else the thread that condemned the worker or dropped the late guard. One thread
//! sweeps at a time, in a loop; what the destructors add goes to the end of the queue.

use super::slots::Queued;
use super::{Info, Intake, Seat, State};
use crate::contain::TaskRef;
use crate::node::{Keep, Node};
use crate::report::LeftReason;
use crate::sync::on;
use crate::waiting::{Ended, Nudge};
use std::time::Instant;

/// A task that was given up.
pub(crate) struct Doomed<K: Keep> {
    /// `None` when the driver still has it.
    pub(crate) node: Option<Node<K>>,
    pub(crate) gone: Gone,
}

/// A task that was given up, dropped and told.
pub(crate) struct Gone {
    pub(crate) info: Info,
    /// The slot of a task that the driver drops.
    slot: Option<usize>,
}

/// Which thread drops what was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sweeper {
    /// The driver, which is not held up.
    Driver,
    /// Some other thread than the driver, which a task holds, and the caller, which has a deadline.
    Other,
    /// The caller: there is no driver, and none comes any more.
    Caller,
}

/// What a shutdown gave up.
pub(crate) struct GivenUp {
    pub(crate) left: Vec<(Info, LeftReason)>,
    /// Whether a producer stands in the middle of its push.
    pub(crate) stalled: bool,
    pub(crate) sweeper: Sweeper,
    pub(crate) nudge: Nudge,
}

impl<K: Keep> State<K> {
    /// Takes the driver's seat; `false` when it is taken, or none is needed any more.
    pub(crate) fn take_seat(&mut self) -> bool {
        let free = self.seat == Seat::Empty;
        if free {
            self.seat = Seat::Taken;
        }
        free
    }

    /// The driver did not start, or was torn down with its runtime. With a nudge when no other is to come, as
    /// all that is left is to be dropped: the caller sweeps.
    pub(crate) fn leave_seat(&mut self, intake: Intake<'_, K>) -> Option<Nudge> {
        self.seat = Seat::Empty;
        self.finish_without_driver(intake)
    }

    /// With an empty seat and nothing left to run, no driver comes any more, and the callers that wait for that
    /// hear of it in this step.
    fn finish_without_driver(&mut self, intake: Intake<'_, K>) -> Option<Nudge> {
        let over = self.seat == Seat::Empty
            && self.taker.is_sealed()
            && self.is_quiet()
            && !self.is_stalled();
        over.then(|| self.finish(intake))
    }

    /// Whether the driver has gone and nothing is being dropped, so that their threads end by themselves.
    pub(crate) fn is_over(&self) -> bool {
        self.seat == Seat::Finished && !self.sweeping && self.doomed.is_empty()
    }

    /// Whether a producer stands in the middle of its push though the last driver has gone: then one comes
    /// back and stays for it.
    pub(crate) fn reopen(&mut self) -> bool {
        let needed = self.is_stalled() && self.seat != Seat::Taken;
        if needed {
            self.seat = Seat::Empty;
        }
        needed
    }

    /// The driver ends: what its timers would have woken is woken now.
    pub(super) fn finish(&mut self, intake: Intake<'_, K>) -> Nudge {
        self.seat = Seat::Finished;
        let mut nudge = if on("i7.finish") { self.nudge(intake) } else { Nudge::default() };
        while let Some(due) = self.timers.pop() {
            if let super::Due::Wake(waker) = due {
                nudge.add(waker);
            }
        }
        nudge
    }

    /// Seals the inbox if everything that was accepted has ended, and says whether it is sealed.
    pub(crate) fn try_seal(&mut self, intake: Intake<'_, K>, now: Instant) -> (bool, Nudge) {
        self.look(intake, now);
        let sealed = intake.gate.snapshot().is_drained() && self.taker.try_seal(intake.inbox);
        (sealed, self.finish_without_driver(intake).unwrap_or_default())
    }

    /// Seals, gives up all that is not done, and says which thread drops it: one step (I7). What comes in
    /// afterwards is given up as well.
    pub(crate) fn condemn(&mut self, intake: Intake<'_, K>, now: Instant) -> GivenUp {
        self.look(intake, now);
        self.condemned = true;
        self.seal_by_force(intake, now);
        let mut left = Vec::new();
        for (slot, node, busy) in self.slots.give_up() {
            let reason =
                if node.is_some() { LeftReason::Abandoned } else { LeftReason::StillPolled };
            left.push((busy.info, reason));
            self.count(slot, &busy, Ended::Abandoned);
            let slot = node.is_none().then_some(slot);
            self.doomed.push(Doomed { node, gone: Gone { info: busy.info, slot } });
        }
        let late = self.doom_backlog();
        left.extend(late.into_iter().map(|info| (info, LeftReason::Abandoned)));
        let polled = left.iter().any(|(_, reason)| *reason == LeftReason::StillPolled);
        let stalled = self.is_stalled();
        let (sweeper, nudge) = match self.seat {
            Seat::Taken if polled => (Sweeper::Other, self.nudge(intake)),
            Seat::Taken => (Sweeper::Driver, self.nudge(intake)),
            Seat::Empty | Seat::Finished if stalled => (Sweeper::Caller, self.nudge(intake)),
            Seat::Empty | Seat::Finished => (Sweeper::Caller, self.finish(intake)),
        };
        GivenUp { left, stalled, sweeper, nudge }
    }

    /// The tasks that hold the driver after the others were given up, and how.
    pub(crate) fn held(&self) -> Vec<(Info, LeftReason)> {
        self.slots.held()
    }

    fn doom_backlog(&mut self) -> Vec<Info> {
        let mut given_up = Vec::new();
        while let Some(Queued { node, info }) = self.backlog.pop() {
            self.ledger.count(Ended::Abandoned);
            self.doomed.push(Doomed { node: Some(node), gone: Gone { info, slot: None } });
            given_up.push(info);
        }
        given_up
    }

    /// Gives up what comes in after the end.
    pub(super) fn give_up_late(&mut self, intake: Intake<'_, K>, now: Instant) {
        if self.condemned && !self.taker.is_sealed() {
            self.seal_by_force(intake, now);
        }
        if (self.condemned || self.taker.is_sealed()) && !self.backlog.is_empty() {
            self.doom_backlog();
        }
    }

    fn seal_by_force(&mut self, intake: Intake<'_, K>, now: Instant) {
        let mut entrance =
            super::entrance(&mut self.ledger, &mut self.backlog, &mut self.issued, intake, now);
        // Whether a producer stands in the way shows in `is_stalled`, and the driver stays for it.
        let _ = self.taker.seal_by_force(intake.inbox, &mut entrance);
    }

    /// Whether something is to be dropped and no thread is at it.
    pub(crate) fn must_sweep(&self) -> bool {
        !self.sweeping && !self.doomed.is_empty()
    }

    /// Whether that falls to a passer-by, as there is no driver.
    pub(crate) fn must_sweep_here(&self) -> bool {
        self.must_sweep() && self.seat != Seat::Taken
    }

    /// Begins a sweep; `false` when there is nothing to do, or a thread is at it.
    pub(crate) fn begin_sweep(&mut self) -> bool {
        let begin = self.must_sweep();
        self.sweeping |= begin;
        begin
    }

    /// Whether a thread drops what was given up.
    pub(crate) fn is_sweeping(&self) -> bool {
        self.sweeping
    }

    /// The one before is gone, and here is the next to be dropped. With the last one the sweep ends, in the same
    /// step: what is given up after that finds no thread at it.
    pub(crate) fn next_doomed(
        &mut self,
        before: Option<Gone>,
        intake: Intake<'_, K>,
    ) -> (Option<Doomed<K>>, Nudge) {
        self.bury(before, intake);
        let next = self.doomed.pop();
        if next.is_none() && on("i7.hand_over") {
            self.sweeping = false;
        }
        (next, self.nudge(intake))
    }

    /// Ends a sweep that has come to its bound.
    pub(crate) fn end_sweep(&mut self, last: Option<Gone>, intake: Intake<'_, K>) -> Nudge {
        self.bury(last, intake);
        self.sweeping = false;
        self.nudge(intake)
    }

    /// Frees the room of a task that is gone. A flush that waits for it is found by the caller.
    fn bury(&mut self, gone: Option<Gone>, intake: Intake<'_, K>) {
        let Some(Gone { info, slot }) = gone else { return };
        let with_driver = slot
            .is_some_and(|slot| on("i6.told") && self.slots.told(TaskRef { slot, id: info.id }));
        if !with_driver {
            self.ledger.leave(info.epoch);
        }
        if slot.is_none() {
            let _ = intake.gate.release(info.weight);
        }
    }
}
