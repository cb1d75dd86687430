//! All that a stream knows: the log, the cursors of its subscribers, and its end.
//!
//! Pure: the caller holds the lock, gives the time, and wakes whom [`Wakes`] names after the lock.
//!
//! ```text
//!  subscriber:  attach ─► read* ─► (Data | Gap)* ─► End ─► Finished        detach at any time
//!  pump:        room ─► (admit ─► push)* ─► finish
//!                        │  ▲
//!                 Blocked┘  └ woken by read, detach, seal or a stall limit
//! ```
//!
//! Invariants, each with a model of the same number:
//!
//! - **I1** Every byte that is pushed after a cursor attached is delivered to it or booked as lost:
//!   the place to start at and the registration are one step under the lock.
//! - **I2** A subscriber that found nothing is woken by the next push or end: it registers its waker
//!   and looks again under one lock.
//! - **I3** A pump that waits for a reader is woken when the reader makes room or leaves.
//! - **I4** Every cursor, also one that attaches after the end, gets exactly one end, after all data.
//! - **I5** The pump never evicts what a blocking cursor has not read.
//! - **I6** A pump that waits, for its source or for a reader, is woken by new orders.

mod admit;
mod cursor;
mod marks;
mod numbers;
mod read;

pub(crate) use admit::Admit;
pub(crate) use read::Taken;

use crate::config::Config;
#[cfg(not(lastout_loom))]
use crate::contain::discard;
use crate::error::SubscribeError;
use crate::event::{End, EndReason};
use crate::log::Log;
use crate::policy::{Policy, Position};
use crate::sync::on;
use bytes::{Bytes, BytesMut};
use cursor::{Cursor, Fate, Held};
use marks::Marks;
#[cfg(not(lastout_loom))]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// How far a reader that was woken may be behind before the pump lets it run.
const PACE: u64 = 100 * 1024;

/// Names a cursor; reused after its subscriber is gone.
pub(crate) type Id = usize;

/// What the pump was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Orders {
    /// Read until the source ends.
    Run,
    /// Read what the source has right now, then stop.
    Drain,
    /// Stop at once.
    Stop,
}

/// Wakers to call once the lock is released.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Wakes {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Wakes {
    fn add(&mut self, waker: Option<Waker>) {
        match (waker, &self.first) {
            (Some(waker), None) => self.first = Some(waker),
            (Some(waker), Some(_)) => self.more.push(waker),
            (None, _) => {}
        }
    }

    /// Wakes everyone; the caller no longer holds the lock. A waker that panics harms nobody else:
    /// neither those who are woken after it, nor the caller, who may be the pump of all.
    pub(crate) fn wake(self) {
        for waker in self.first.into_iter().chain(self.more) {
            // Models report what goes wrong in them by panics.
            #[cfg(lastout_loom)]
            waker.wake();
            #[cfg(not(lastout_loom))]
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                discard(panic);
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    log: Log,
    /// Numbers of the reads, when this stream belongs to a sequence.
    marks: Option<Marks>,
    cursors: Vec<Option<Cursor>>,
    /// What has left the log and is kept for readers.
    held: Held,
    /// The most that was ever allocated.
    peak: u64,
    /// How many cursors are [`Policy::DropNewest`]; mostly none, then their bookkeeping is skipped.
    drop_newest: usize,
    single_subscriber: bool,
    window: u64,
    end: Option<End>,
    name: Option<Arc<str>>,
    orders: Orders,
    pump_waker: Option<Waker>,
    /// Set while the pump waits for a reader.
    blocked_since: Option<Instant>,
    blocked: Duration,
    /// Woken at the end: those who wait for the stream and not for its bytes. A place is free again
    /// when its owner is gone.
    end_wakers: Vec<Option<Waker>>,
}

impl State {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            log: Log::new(&config.limits),
            marks: config.sequence.as_ref().map(|sequence| Marks::new(sequence.join())),
            cursors: Vec::new(),
            held: Held::new(config.limits.segment as u64),
            peak: 0,
            drop_newest: 0,
            single_subscriber: config.single_subscriber,
            window: config.limits.window,
            end: None,
            name: config.name.clone(),
            orders: Orders::Run,
            pump_waker: None,
            blocked_since: None,
            blocked: Duration::ZERO,
            end_wakers: Vec::new(),
        }
    }

    /// Stamps the reads of a stream that was not read yet and has no sequence.
    #[cfg(feature = "process")]
    pub(crate) fn join(&mut self, sequence: &crate::Sequence) {
        self.marks.get_or_insert_with(|| Marks::new(sequence.join()));
    }

    /// Adds a cursor. For [`Position::LastLines`] it stands at the oldest byte, until the caller
    /// has counted lines outside the lock and calls [`seek`](Self::seek).
    pub(crate) fn attach(
        &mut self,
        position: Position,
        policy: Policy,
    ) -> Result<Id, SubscribeError> {
        if matches!(policy, Policy::BlockFor { stall: Duration::ZERO, .. }) {
            return Err(SubscribeError::ZeroStall);
        }
        if self.single_subscriber && self.live().any(|cursor| cursor.fate == Fate::Following) {
            return Err(SubscribeError::Busy);
        }
        let (oldest, end) = (self.log.oldest(), self.log.end());
        let at = match position {
            Position::Start if self.log.is_sealed() => end,
            Position::Start => 0,
            Position::Live => end,
            Position::Offset(offset) => offset,
            Position::LastBytes(n) => end.saturating_sub(n).max(oldest),
            Position::LastLines(_) => oldest,
        };
        self.drop_newest += usize::from(policy == Policy::DropNewest);
        let cursor = Some(Cursor::new(at, oldest, policy));
        Ok(match self.cursors.iter().position(Option::is_none) {
            Some(free) => {
                self.cursors[free] = cursor;
                free
            }
            None => {
                self.cursors.push(cursor);
                self.cursors.len() - 1
            }
        })
    }

    /// All that a cursor at the oldest byte could read, for a search outside the lock.
    pub(crate) fn share_history(&mut self) -> (u64, Vec<Bytes>) {
        let oldest = self.log.oldest();
        (self.log.end(), self.log.share_from(oldest))
    }

    /// Moves a cursor that has read nothing yet forward to `at`.
    pub(crate) fn seek(&mut self, id: Id, at: u64) -> Wakes {
        let first = self.log.first();
        let cursor = self.cursor_mut(id);
        cursor.skip_to(at);
        // What left the log meanwhile may have been kept for it; else it starts behind that.
        if cursor.kept_len() == 0 {
            cursor.skip_to(first);
        }
        self.after_progress()
    }

    /// Removes a cursor; what it held back may go.
    pub(crate) fn detach(&mut self, id: Id) -> (Wakes, Option<Cursor>) {
        let cursor = self.cursors[id].take();
        let was_drop_newest = cursor.as_ref().is_some_and(|c| c.policy == Policy::DropNewest);
        self.drop_newest -= usize::from(was_drop_newest);
        (self.after_progress(), cursor)
    }

    /// Appends what the pump read into `room`. After an end that was declared from outside nothing
    /// is appended any more.
    pub(crate) fn push(&mut self, room: &mut BytesMut) -> Wakes {
        if self.end.is_some() {
            room.clear();
            return Wakes::default();
        }
        let before = self.log.end();
        if self.drop_newest > 0 {
            let (floor, window) = (self.log.floor(), self.window);
            for cursor in self.cursors.iter_mut().flatten() {
                cursor.before_arrival(before, floor, window);
            }
        }
        if let Some(marks) = &mut self.marks {
            marks.note(before);
        }
        self.log.push(room);
        let end = self.log.end();
        let mut wakes = Wakes::default();
        for cursor in self.cursors.iter_mut().flatten() {
            if cursor.waker.is_some() && cursor.at < end {
                cursor.is_woken = true;
                wakes.add(cursor.waker.take());
            }
        }
        self.note_memory();
        self.trim();
        wakes
    }

    /// A segment for the pump to read into.
    pub(crate) fn room(&mut self) -> BytesMut {
        let room = self.log.room();
        self.note_memory();
        room
    }

    /// The stream ends, for all who are attached and all who come later. The first end stays.
    pub(crate) fn finish(&mut self, reason: EndReason, room: BytesMut, now: Instant) -> Wakes {
        self.log.finish(room);
        self.unblock(now);
        let mut wakes = Wakes::default();
        if !on("i4.keep") {
            return wakes;
        }
        self.note_end(reason);
        self.wake_all(&mut wakes);
        self.trim();
        wakes
    }

    fn note_end(&mut self, reason: EndReason) {
        let (at, stream) = (self.log.end(), self.name.clone());
        self.end.get_or_insert(End { reason, at, stream });
    }

    /// Declares the stream closed while its pump cannot be interrupted: a thread in a blocking read.
    #[cfg(feature = "blocking")]
    pub(crate) fn close_now(&mut self) -> Wakes {
        self.note_end(EndReason::Closed);
        let mut wakes = Wakes::default();
        self.wake_all(&mut wakes);
        wakes
    }

    /// Drops the history, see [`Stream::seal`](crate::Stream::seal).
    pub(crate) fn seal(&mut self) -> Wakes {
        self.log.seal();
        self.after_progress()
    }

    /// Gives the pump its orders; they only get stricter.
    pub(crate) fn order(&mut self, orders: Orders) -> Wakes {
        self.orders = self.orders.max(orders);
        let mut wakes = Wakes::default();
        if on("i6.wake") {
            wakes.add(self.pump_waker.take());
        }
        wakes
    }

    /// Whether the pump should let a reader have its turn: it was woken, has not come to read, and
    /// a good part of what fits into the cache waits for it.
    pub(crate) fn should_pace(&self) -> bool {
        let end = self.log.end();
        self.live().any(|cursor| cursor.is_woken && end.saturating_sub(cursor.at) >= PACE)
    }

    /// A reader that did not come when it had its turn is not waited for until it is woken again.
    #[cfg(feature = "tokio")]
    pub(crate) fn stop_pacing(&mut self) {
        for cursor in self.cursors.iter_mut().flatten() {
            cursor.is_woken = false;
        }
    }

    /// Whether the pump must ask [`admit`](Self::admit) before it reads on.
    pub(crate) fn must_ask(&self) -> bool {
        self.log.is_over_window()
    }

    pub(crate) fn orders(&self) -> Orders {
        self.orders
    }

    /// Registers the pump: it is woken by new orders, and by a reader for which it waits.
    pub(crate) fn park_pump(&mut self, waker: Waker) -> Option<Waker> {
        self.pump_waker.replace(waker)
    }

    pub(crate) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Registers someone who waits for the end of the stream, at the place that it has already or at
    /// a free one. Gives back the waker that was there.
    pub(crate) fn park_for_end(
        &mut self,
        place: &mut Option<usize>,
        waker: Waker,
    ) -> Option<Waker> {
        let at = *place.get_or_insert_with(|| {
            let free = self.end_wakers.iter().position(Option::is_none);
            free.unwrap_or_else(|| {
                self.end_wakers.push(None);
                self.end_wakers.len() - 1
            })
        });
        // After the end nobody is registered.
        self.end_wakers.get_mut(at).and_then(|known| known.replace(waker))
    }

    /// Someone who waited for the end does so no longer. Gives back its waker.
    pub(crate) fn leave_end(&mut self, place: usize) -> Option<Waker> {
        let waker = self.end_wakers.get_mut(place).and_then(Option::take);
        while matches!(self.end_wakers.last(), Some(None)) {
            self.end_wakers.pop();
        }
        waker
    }

    pub(crate) fn ingested(&self) -> u64 {
        self.log.end()
    }

    fn wake_all(&mut self, wakes: &mut Wakes) {
        for cursor in self.cursors.iter_mut().flatten() {
            wakes.add(cursor.waker.take());
        }
        for waker in self.end_wakers.drain(..) {
            wakes.add(waker);
        }
    }

    fn live(&self) -> impl Iterator<Item = &Cursor> {
        self.cursors.iter().flatten()
    }

    fn cursor(&self, id: Id) -> &Cursor {
        self.cursors[id].as_ref().expect("a subscriber has its cursor until it is dropped")
    }

    fn cursor_mut(&mut self, id: Id) -> &mut Cursor {
        self.cursors[id].as_mut().expect("a subscriber has its cursor until it is dropped")
    }
}

#[cfg(test)]
mod tests;
