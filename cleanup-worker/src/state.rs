//! Everything of a worker that is behind its one lock, and the decisions about it.
//!
//! Nothing here runs code of a user: a method that finds something to run, to drop or to wake gives
//! it back, and the caller does that after the lock.
//!
//! - **I6** A flush waits for every task whose submit happened before the call: it takes the inbox
//!   under the lock before it draws its line in the ledger.

use crate::gate::Gate;
use crate::inbox::{Inbox, Taken, Taker};
use crate::ledger::{Barrier, Ended, Ledger};
use crate::node::Node;
use crate::ready::{Ready, SlotWaker};
use crate::slots::{Claim, Info, Queued, Slots};
use crate::sync::{AtomicU64, on};
use crate::timers::{Key, Timers};
use crate::wait::{Goal, Waiter, Waiters};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;
use std::time::{Duration, Instant};

/// What is due at a time.
pub(crate) enum Due {
    /// The task of a slot, if it is still that one, ran out of its time.
    Timeout { slot: usize, id: u64 },
    /// A sleep inside a cleanup ends.
    Wake(Waker),
}

pub(crate) struct State {
    taker: Taker,
    backlog: VecDeque<Queued>,
    pub(crate) slots: Slots,
    pub(crate) ledger: Ledger,
    pub(crate) timers: Timers<Due>,
    pub(crate) waiters: Waiters,
    issued: u64,
    pub(crate) paused: bool,
    /// Set when a shutdown ran out of time: what comes in from now on is given up.
    condemned: bool,
    /// Given up and counted, and to be dropped by the driver.
    doomed: Vec<Doomed>,
    /// Set when nobody waits for the end: the driver seals the inbox itself once all is done.
    pub(crate) unattended: bool,
    /// Set when the runtime of the worker went away: from then on it has a thread.
    pub(crate) outlived: bool,
    /// Whether a poll is tried before the next start, so that neither starves the other.
    prefer_start: bool,
}

/// What the producers share with the lock's owner.
#[derive(Clone, Copy)]
pub(crate) struct Intake<'a> {
    pub(crate) inbox: &'a Inbox,
    pub(crate) gate: &'a Gate,
    pub(crate) generation: u32,
    pub(crate) lazy: &'a AtomicU64,
}

/// What the driver has to do next, after the lock.
pub(crate) enum Work {
    Poll {
        slot: usize,
        node: Node,
        info: Info,
        waker: Arc<SlotWaker>,
    },
    /// The task ran out of its time.
    Expire {
        slot: usize,
        node: Node,
        info: Info,
    },
    Wake(Waker),
    /// Tasks given up, and already counted.
    Doom(Vec<Doomed>),
    /// Nothing, until the time that is named or until somebody wakes the driver.
    Rest(Option<Instant>),
    /// All is done and the inbox is sealed.
    Finished,
}

/// A task that was given up. Without a node when the driver still has it.
pub(crate) struct Doomed {
    pub(crate) node: Option<Node>,
    pub(crate) info: Info,
}

impl State {
    pub(crate) fn new(concurrency: usize) -> Self {
        Self {
            taker: Taker::new(),
            backlog: VecDeque::new(),
            slots: Slots::new(concurrency),
            ledger: Ledger::new(),
            timers: Timers::new(),
            waiters: Waiters::new(),
            issued: 0,
            paused: false,
            condemned: false,
            doomed: Vec::new(),
            unattended: false,
            outlived: false,
            prefer_start: false,
        }
    }

    /// Takes the inbox into the backlog. `awake` is the driver's privilege: it ends its own sleep.
    pub(crate) fn collect(&mut self, intake: Intake<'_>, awake: bool, now: Instant) {
        let (ledger, backlog, issued) = (&mut self.ledger, &mut self.backlog, &mut self.issued);
        let sink = |node: Node| backlog.push_back(enter(node, intake, ledger, issued, now));
        let taken = if awake {
            self.taker.take_awake(intake.inbox, sink)
        } else {
            self.taker.take(intake.inbox, sink)
        };
        if taken == Taken::All && self.waiters.wait_for_line() {
            let line = self.ledger.barrier();
            self.waiters.draw(line);
        }
    }

    /// The next thing for the driver to do.
    pub(crate) fn next(
        &mut self,
        intake: Intake<'_>,
        now: Instant,
        ready: &Arc<Ready>,
        default_timeout: Duration,
    ) -> Work {
        self.collect(intake, true, now);
        if self.condemned {
            self.seal_by_force(intake, now);
            if !self.backlog.is_empty() {
                return Work::Doom(self.give_up());
            }
        }
        if !self.doomed.is_empty() {
            return Work::Doom(std::mem::take(&mut self.doomed));
        }
        while let Some(due) = self.timers.pop_due(now) {
            match due {
                Due::Wake(waker) => return Work::Wake(waker),
                Due::Timeout { slot, id } => {
                    if let Some((node, info)) = self.slots.expire(slot, id) {
                        return Work::Expire { slot, node, info };
                    }
                }
            }
        }
        self.prefer_start = !self.prefer_start;
        let first = if self.prefer_start {
            self.start(now, ready, default_timeout)
        } else {
            self.resume(ready)
        };
        let work = first.or_else(|| {
            if self.prefer_start {
                self.resume(ready)
            } else {
                self.start(now, ready, default_timeout)
            }
        });
        work.unwrap_or_else(|| self.rest(intake))
    }

    fn start(&mut self, now: Instant, ready: &Arc<Ready>, default: Duration) -> Option<Work> {
        if self.paused || !self.slots.has_room() {
            return None;
        }
        let Queued { node, info } = self.backlog.pop_front()?;
        let due = crate::clock::after(now, info.timeout.resolve(default));
        let timers = &mut self.timers;
        let (slot, waker) = self
            .slots
            .occupy(info, ready, |slot| timers.insert(due, Due::Timeout { slot, id: info.id }));
        Some(Work::Poll { slot, node, info, waker })
    }

    fn resume(&mut self, ready: &Ready) -> Option<Work> {
        while let Some(slot) = ready.pop() {
            if let Some((node, info, waker)) = self.slots.take(slot) {
                return Some(Work::Poll { slot, node, info, waker });
            }
        }
        None
    }

    fn rest(&mut self, intake: Intake<'_>) -> Work {
        let drained = intake.gate.snapshot().is_drained();
        if self.unattended && drained && !self.taker.is_sealed() {
            self.taker.try_seal(intake.inbox);
        }
        if self.taker.is_sealed() && !self.taker.is_stalled() && self.is_quiet() {
            return Work::Finished;
        }
        Work::Rest(self.timers.next_due())
    }

    fn is_quiet(&self) -> bool {
        self.backlog.is_empty() && self.slots.in_flight() == 0
    }

    /// Says that the driver sleeps; `false` when something came in or it has to look again soon.
    pub(crate) fn doze(&mut self, inbox: &Inbox, waker: &Waker) -> bool {
        let can_start = !self.paused && !self.backlog.is_empty() && self.slots.has_room();
        !can_start && self.taker.doze(inbox, waker)
    }

    /// A producer stopped in the middle of its push: somebody has to look again.
    pub(crate) fn is_stalled(&self) -> bool {
        self.taker.is_stalled()
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.taker.is_sealed()
    }

    /// Seals the inbox if everything that was accepted has ended.
    pub(crate) fn try_seal(&mut self, intake: Intake<'_>, now: Instant) -> bool {
        self.collect(intake, false, now);
        intake.gate.snapshot().is_drained() && self.taker.try_seal(intake.inbox)
    }

    /// Gives up all that is not done. What comes in afterwards is given up as well.
    pub(crate) fn condemn(&mut self, intake: Intake<'_>, now: Instant) -> Vec<Doomed> {
        self.condemned = true;
        self.seal_by_force(intake, now);
        self.give_up()
    }

    /// Leaves tasks that were given up to the driver, whose destructors then block nobody else.
    pub(crate) fn leave_to_driver(&mut self, doomed: Vec<Doomed>) {
        self.doomed.extend(doomed);
    }

    /// Takes what came in after the end.
    pub(crate) fn take_late(&mut self, intake: Intake<'_>, now: Instant) -> Vec<Doomed> {
        self.collect(intake, false, now);
        if self.is_sealed() { self.give_up() } else { Vec::new() }
    }

    fn seal_by_force(&mut self, intake: Intake<'_>, now: Instant) {
        let (ledger, backlog, issued) = (&mut self.ledger, &mut self.backlog, &mut self.issued);
        let sink = |node: Node| backlog.push_back(enter(node, intake, ledger, issued, now));
        // Whether a producer stands in the way shows in `is_stalled`, and the driver stays for it.
        let _ = self.taker.seal_by_force(intake.inbox, sink);
    }

    fn give_up(&mut self) -> Vec<Doomed> {
        let queued = self.backlog.drain(..);
        let queued = queued.map(|queued| Doomed { node: Some(queued.node), info: queued.info });
        let in_flight = self.slots.give_up().into_iter();
        let in_flight = in_flight.map(|(node, info)| Doomed { node, info });
        let doomed: Vec<_> = in_flight.chain(queued).collect();
        for Doomed { info, .. } in &doomed {
            self.ledger.end(info.epoch, Ended::Abandoned);
            self.waiters.ended(info.id);
        }
        doomed
    }

    /// The poll of a slot was pending. A node that comes back is to be dropped: it was revoked.
    pub(crate) fn put_back(&mut self, slot: usize, node: Node) -> Option<Node> {
        match self.slots.claim(slot) {
            Claim::Valid => {
                self.slots.put_back(slot, node);
                None
            }
            Claim::Revoked => Some(node),
        }
    }

    /// The task of a slot has ended and is gone. `false` when its outcome was counted before.
    pub(crate) fn end(&mut self, slot: usize, info: &Info, ended: Ended) -> bool {
        let valid = self.slots.claim(slot) == Claim::Valid;
        if let Some(key) = self.slots.vacate(slot) {
            self.timers.remove(key);
        }
        if valid {
            self.ledger.end(info.epoch, ended);
            self.waiters.ended(info.id);
        }
        valid
    }

    /// Draws the line for a flush, or leaves it open while a producer stands in the way.
    pub(crate) fn line(&mut self, intake: Intake<'_>, now: Instant) -> Option<Barrier> {
        if on("i6.take") {
            self.collect(intake, false, now);
        }
        (!self.is_stalled()).then(|| self.ledger.barrier())
    }

    /// How much stands between the waiter and its goal; 0 when it is reached.
    pub(crate) fn pending(&self, waiter: &Waiter, gate: &Gate) -> u64 {
        let held = |barrier| self.waiters.held_inside(waiter, barrier);
        match waiter.goal {
            Goal::Line(None) => self.unended().max(1),
            Goal::Line(Some(line)) => self.ledger.pending(line) - held(Some(line)).tasks,
            Goal::Quiet if self.is_stalled() => self.unended().max(1),
            Goal::Quiet => self.unended() - held(None).tasks,
            Goal::Drained if !gate.snapshot().is_closed() => 1,
            Goal::Drained => {
                let submitted = gate.snapshot().submitted();
                submitted.saturating_sub(held(None).weight)
            }
            Goal::Finished => u64::from(!self.waiters.finished),
        }
    }

    /// The wakers of all waiters that reached their goal.
    pub(crate) fn satisfied(&mut self, gate: &Gate) -> Vec<Waker> {
        if self.waiters.is_empty() {
            return Vec::new();
        }
        let reached: Vec<_> = self.waiters.list();
        let reached = reached.into_iter().filter(|waiter| self.pending(waiter, gate) == 0);
        let ids: Vec<u64> = reached.map(|waiter| waiter.id).collect();
        ids.into_iter().filter_map(|id| self.waiters.take_waker(id)).collect()
    }

    /// Tasks that were taken and have not ended.
    pub(crate) fn unended(&self) -> u64 {
        (self.backlog.len() + self.slots.in_flight() - self.slots.revoked()) as u64
    }

    pub(crate) fn queued(&self) -> u64 {
        self.backlog.len() as u64
    }

    /// When the oldest task that has not ended came in.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let queued = self.backlog.front().map(|queued| queued.info.since);
        queued.into_iter().chain(self.slots.oldest()).min()
    }

    /// Adds a timer, for a sleep of a cleanup; `None` when the worker has ended.
    pub(crate) fn wake_at(&mut self, due: Instant, waker: Waker) -> Option<Key> {
        (!self.waiters.finished).then(|| self.timers.insert(due, Due::Wake(waker)))
    }

    /// The driver ends: what its timers would have woken is given back, to be woken now.
    pub(crate) fn finish(&mut self) -> Vec<Waker> {
        self.waiters.finished = true;
        let rest = std::iter::from_fn(|| self.timers.pop());
        let sleeps = rest.filter_map(|due| match due {
            Due::Wake(waker) => Some(waker),
            Due::Timeout { .. } => None,
        });
        sleeps.collect()
    }
}

/// A node becomes an accepted task.
fn enter(
    mut node: Node,
    intake: Intake<'_>,
    ledger: &mut Ledger,
    issued: &mut u64,
    now: Instant,
) -> Queued {
    let header = node.header_mut();
    // The caller holds a reference of its own, so this is never the last one.
    drop(header.keep.take());
    let meta = &header.meta;
    let charged = meta.generation == intake.generation;
    let weight = meta.options.weight;
    if meta.origin.armed && charged {
        intake.gate.armed_to_submitted(weight);
    }
    if meta.origin.armed && meta.origin.lazy && charged {
        intake.lazy.fetch_sub(1, Relaxed);
    }
    *issued += 1;
    let info = Info {
        id: *issued,
        label: meta.options.label,
        timeout: meta.options.timeout,
        weight,
        charged,
        epoch: ledger.accept(),
        since: now,
    };
    Queued { node, info }
}
