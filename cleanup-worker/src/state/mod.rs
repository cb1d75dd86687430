//! Everything of a worker that is behind its one lock, and the decisions about it.
//!
//! Nothing here runs code of a user: a method that finds something to run, to drop or to wake gives
//! it back, and the caller does that after the lock.
//!
//! - **I6** A flush waits for every task whose submit happened before the call: it takes the inbox
//!   under the lock before it draws its line in the ledger.
//!   What waits inside a task waits from outside as soon as the task has ended.
//! - **I7** What is given up has one owner: sealing, giving up and leaving the tasks to the driver is one step
//!   under the lock, and a driver does not finish while there are any. See [`ending`].

mod ending;
mod slots;
mod waits;

pub(crate) use ending::{Doomed, Sweeper};
pub(crate) use slots::Info;

use crate::clock::Timers;
use crate::contain::TaskRef;
use crate::gate::Gate;
use crate::inbox::{Inbox, Taken, Taker};
use crate::node::{Keep, Node};
use crate::ready::{Ready, SlotWaker};
use crate::sync::process::AtomicU64 as ProcessU64;
use crate::sync::{AtomicU64, on};
use crate::waiting::{Ended, Ledger, Line, Nudge, View, Waiters};
use slots::{Look, Queue, Queued, Slots, Vacated};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;
use std::time::{Duration, Instant};

/// What is due at a time.
enum Due {
    /// The time of a task may be over.
    Timeout(TaskRef),
    /// A sleep inside a cleanup ends.
    Wake(Waker),
}

/// Whether a driver is there. Changed under the lock, unlike the word that producers read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seat {
    Empty,
    Taken,
    /// The last driver has gone, and none comes any more.
    Finished,
}

pub(crate) struct State<K: Keep> {
    taker: Taker<K>,
    backlog: Queue<Queued<K>>,
    slots: Slots<K>,
    ledger: Ledger,
    timers: Timers<Due>,
    waiters: Waiters,
    /// The weight of the tasks that are themselves waiting.
    held_weight: u64,
    /// Closures that run though their tasks have ended; the pool reads it.
    stuck: Arc<ProcessU64>,
    /// Set by the last report: no closure begins after it.
    closures_over: bool,
    issued: u64,
    pub(crate) paused: bool,
    seat: Seat,
    /// Set when a shutdown ran out of time: what comes in from then on is given up.
    condemned: bool,
    /// Given up and counted, and still to be dropped (I7).
    doomed: Queue<Doomed<K>>,
    /// Whether a thread is dropping them: one at a time, so that a destructor that drops a guard adds to
    /// the queue and not to the stack.
    sweeping: bool,
    /// Set when no caller waits for the end: the driver seals the inbox itself once all is done.
    pub(crate) unattended: bool,
    /// Set when the runtime of the worker went away: from then on it has a thread.
    pub(crate) outlived: bool,
    /// Whether a poll is tried before the next start, so that neither starves the other.
    prefer_start: bool,
}

/// What the producers share with the lock's owner.
pub(crate) struct Intake<'a, K: Keep> {
    pub(crate) inbox: &'a Inbox<K>,
    pub(crate) gate: &'a Gate,
    pub(crate) generation: u32,
    pub(crate) lazy: &'a AtomicU64,
    /// The weight of the guards of the parent, in a forked child.
    pub(crate) inherited: &'a AtomicU64,
}

impl<K: Keep> Clone for Intake<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Keep> Copy for Intake<'_, K> {}

/// What the driver has to do next, after the lock.
pub(crate) enum Work<K: Keep> {
    Poll {
        slot: usize,
        node: Node<K>,
        info: Info,
        waker: Arc<SlotWaker>,
    },
    /// The task ran out of its time.
    Expire {
        slot: usize,
        node: Node<K>,
        info: Info,
    },
    Wake(Waker),
    /// Tasks were given up and are to be dropped.
    Sweep,
    /// Nothing, until the time that is named or until the driver is woken.
    Rest(Option<Instant>),
    /// A producer stopped in the middle of its push: nothing, but look again soon.
    Stalled,
    /// All is done, the inbox is sealed, and the driver has left its seat. Sleeps that are cut short are
    /// to be woken.
    Finished(Nudge),
}

impl<K: Keep> State<K> {
    /// Numbers begin above `first`, so that none is given twice after a fork.
    pub(crate) fn new(concurrency: usize, stuck: Arc<ProcessU64>, first: u64) -> Self {
        Self {
            taker: Taker::new(),
            backlog: Queue::new(),
            slots: Slots::new(concurrency),
            ledger: Ledger::new(),
            timers: Timers::new(first),
            waiters: Waiters::new(first),
            held_weight: 0,
            stuck,
            closures_over: false,
            issued: first,
            paused: false,
            seat: Seat::Empty,
            condemned: false,
            doomed: Queue::new(),
            sweeping: false,
            unattended: false,
            outlived: false,
            prefer_start: false,
        }
    }

    /// Takes the inbox into the backlog, from any thread.
    pub(crate) fn look(&mut self, intake: Intake<'_, K>, now: Instant) {
        let taken = self.taker.take(
            intake.inbox,
            entrance(&mut self.ledger, &mut self.backlog, &mut self.issued, intake, now),
        );
        self.looked(taken, intake, now);
    }

    fn looked(&mut self, taken: Taken, intake: Intake<'_, K>, now: Instant) {
        if taken == Taken::All && self.waiters.wait_for_line() {
            let line = self.ledger.draw();
            self.waiters.draw(line);
        }
        self.give_up_late(intake, now);
    }

    /// The next thing for the driver to do. The caller wakes the nudge after the lock.
    pub(crate) fn next(
        &mut self,
        intake: Intake<'_, K>,
        now: Instant,
        ready: &Arc<Ready>,
        default_timeout: Duration,
    ) -> Work<K> {
        let taken = self.taker.take_awake(
            intake.inbox,
            entrance(&mut self.ledger, &mut self.backlog, &mut self.issued, intake, now),
        );
        self.looked(taken, intake, now);
        if self.must_sweep() && on("i7.sweep") {
            return Work::Sweep;
        }
        while let Some(due) = self.timers.pop_due(now) {
            match due {
                Due::Wake(waker) => return Work::Wake(waker),
                Due::Timeout(task) => match self.slots.expire(task, now) {
                    Look::Expired(node, info) => {
                        return Work::Expire { slot: task.slot, node, info };
                    }
                    Look::Later(due) => self.watch(task, due),
                    Look::Nothing => {}
                },
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

    fn start(&mut self, now: Instant, ready: &Arc<Ready>, default: Duration) -> Option<Work<K>> {
        if self.paused || !self.slots.has_room() {
            return None;
        }
        let Queued { node, info } = self.backlog.pop()?;
        let due = crate::clock::after(now, info.timeout.resolve(default));
        let timers = &mut self.timers;
        let timer = |slot| timers.insert(due, Due::Timeout(TaskRef { slot, id: info.id }));
        let (slot, waker) = self.slots.occupy(info, ready, due, timer);
        Some(Work::Poll { slot, node, info, waker })
    }

    fn resume(&mut self, ready: &Ready) -> Option<Work<K>> {
        while let Some(slot) = ready.pop() {
            if let Some((node, info, waker)) = self.slots.take(slot) {
                return Some(Work::Poll { slot, node, info, waker });
            }
        }
        None
    }

    fn rest(&mut self, intake: Intake<'_, K>) -> Work<K> {
        let drained = intake.gate.snapshot().is_drained();
        if self.unattended && drained && !self.taker.is_sealed() {
            self.taker.try_seal(intake.inbox);
        }
        if self.is_stalled() {
            return Work::Stalled;
        }
        if self.taker.is_sealed() && self.is_quiet() {
            return Work::Finished(self.finish(intake));
        }
        Work::Rest(self.timers.next_due())
    }

    fn is_quiet(&self) -> bool {
        self.backlog.is_empty() && self.slots.in_flight() == 0
    }

    /// Says that the driver sleeps; `false` when something came in or it has to look again soon.
    pub(crate) fn doze(&mut self, inbox: &Inbox<K>, waker: &Waker) -> bool {
        let can_start = !self.paused && !self.backlog.is_empty() && self.slots.has_room();
        !can_start && self.taker.doze(inbox, waker)
    }

    /// A producer stopped in the middle of its push: the driver has to look again.
    pub(crate) fn is_stalled(&self) -> bool {
        self.taker.is_stalled()
    }

    /// The poll of a slot was pending. A node that comes back is to be dropped: it was given up.
    pub(crate) fn put_back(&mut self, slot: usize, node: Node<K>) -> Option<Node<K>> {
        self.slots.put_back(slot, node)
    }

    /// The outcome of a task is known and is about to be told; `false` when it was given up before.
    pub(crate) fn settle(&mut self, slot: usize) -> bool {
        self.slots.settle(slot)
    }

    /// The task of a slot is gone: counts it, frees its room, and finds who waited for that.
    pub(crate) fn end(&mut self, slot: usize, ended: Ended, intake: Intake<'_, K>) -> Nudge {
        let Some((busy, vacated)) = self.slots.vacate(slot) else {
            return Nudge::default();
        };
        let epoch = busy.info.epoch;
        match vacated {
            Vacated::Uncounted => {
                self.count(slot, &busy, ended);
                self.ledger.leave(epoch);
            }
            Vacated::Told => self.ledger.leave(epoch),
            Vacated::Untold => {}
        }
        // Its waiters are found below, under this very lock.
        let _ = intake.gate.release(busy.info.weight);
        self.nudge(intake)
    }

    /// Counts the end of a task that was in flight. What it left waiting waits from outside from here on.
    fn count(&mut self, slot: usize, busy: &slots::Busy<K>, ended: Ended) {
        if let Some(key) = busy.time.key {
            self.timers.remove(key);
        }
        let Info { id, epoch, weight, .. } = busy.info;
        if busy.is_waiting() && on("i6.ended") {
            self.ledger.let_go(epoch);
            self.held_weight -= u64::from(weight);
            self.waiters.ended(TaskRef { slot, id });
        }
        self.stuck.fetch_add(u64::from(busy.closures), Relaxed);
        self.ledger.count(ended);
    }

    /// Tasks that were taken and have not ended, or were given up and are not gone.
    pub(crate) fn unended(&self) -> u64 {
        self.ledger.pending(Line::ALL, View::Outside)
    }

    /// The outcomes, and what is queued and in flight; the rest of the snapshot is for others to fill.
    pub(crate) fn stats(&self, now: Instant) -> crate::stats::Stats {
        let queued = self.backlog.len() as u64;
        let oldest = self.backlog.front().map(|queued| queued.info.since);
        let oldest = oldest.into_iter().chain(self.slots.oldest()).min();
        crate::stats::Stats {
            queued,
            in_flight: (self.slots.in_flight() - self.slots.revoked()) as u64,
            oldest: oldest.map(|since| now.saturating_duration_since(since)),
            ..self.ledger.outcomes()
        }
    }
}

/// Where a node becomes an accepted task.
fn entrance<K: Keep>(
    ledger: &mut Ledger,
    backlog: &mut Queue<Queued<K>>,
    issued: &mut u64,
    intake: Intake<'_, K>,
    now: Instant,
) -> impl FnMut(Node<K>) {
    move |mut node| {
        let header = node.header_mut();
        // The caller holds a reference of its own, so this is never the last one.
        drop(header.keep.take());
        let meta = &header.meta;
        let native = meta.generation == intake.generation;
        // A guard that came over a fork has no room here and cannot be refused: it counts as 1, or the
        // guards of a chain of forks could weigh more than a gate can count.
        let weight = if native { meta.options.weight } else { 1 };
        if meta.origin.armed && meta.origin.lazy {
            intake.lazy.fetch_sub(1, Relaxed);
        }
        if meta.origin.armed && native {
            intake.gate.armed_to_submitted(weight);
        } else if meta.origin.armed {
            intake.gate.inherited_to_submitted(weight);
            disinherit(intake.inherited, meta.options.weight);
        }
        *issued += 1;
        let info = Info {
            id: *issued,
            label: meta.options.label,
            timeout: meta.options.timeout,
            weight,
            epoch: ledger.accept(),
            since: now,
        };
        backlog.push(Queued { node, info });
    }
}

/// A guard that came over a fork is gone.
pub(crate) fn disinherit(inherited: &AtomicU64, weight: u32) {
    let less = |sum: u64| Some(sum.saturating_sub(u64::from(weight)));
    let _ = inherited.fetch_update(Relaxed, Relaxed, less);
}
