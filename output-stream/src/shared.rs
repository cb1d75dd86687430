//! The lock around a stream's [`State`], and the protocol between readers and the pump.
//!
//! Invariants I1 to I6 are those of the state; this file adds the order of steps that keeps I2:
//! look, and when there is nothing, register the waker and look again under one lock. No waker is
//! cloned, called or dropped while the lock is held.

use crate::config::Config;
use crate::error::SubscribeError;
use crate::event::{End, EndReason, Event};
use crate::log::bytes_of_last_lines;
use crate::policy::{Policy, Position};
use crate::state::{Admit, Id, Orders, State, Taken, Wakes};
use crate::sync::{Mutex, MutexGuard, on};
use bytes::BytesMut;
use std::task::{Context, Poll};
use std::time::Instant;

/// What the pump does before it reads on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    Go,
    /// It lets a reader run that was woken.
    Pace,
    /// It asks whether there is room.
    Ask,
}

/// What the pump, the handles and the subscribers of one stream share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
}

impl Shared {
    pub(crate) fn new(config: &Config) -> Self {
        Self { state: Mutex::new(State::new(config)) }
    }

    /// The lock. No user code runs under it, so a poisoned one is as good as any.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn attach(&self, position: Position, policy: Policy) -> Result<Id, SubscribeError> {
        let mut state = self.lock();
        let id = state.attach(position, policy)?;
        let Position::LastLines(lines) = position else {
            return Ok(id);
        };
        // The cursor stands at the oldest byte and keeps it there, while the lines are counted
        // without the lock.
        let (end, history) = state.share_history();
        drop(state);
        let behind = bytes_of_last_lines(&history, lines);
        drop(history);
        let wakes = self.lock().seek(id, end - behind);
        wakes.wake();
        Ok(id)
    }

    pub(crate) fn detach(&self, id: Id) {
        let (wakes, cursor) = self.lock().detach(id);
        drop(cursor);
        wakes.wake();
    }

    /// The next event, without waiting.
    pub(crate) fn try_read(&self, id: Id) -> Taken {
        let (taken, wakes) = self.lock().read(id);
        wakes.wake();
        taken
    }

    /// The next event, or the caller is woken when there is one.
    pub(crate) fn poll_read(&self, id: Id, cx: &mut Context<'_>) -> Poll<Taken> {
        let taken = self.try_read(id);
        if !matches!(taken, Taken::Empty) {
            return Poll::Ready(taken);
        }
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if on("i2.recheck") {
            let (taken, wakes) = state.read(id);
            if !matches!(taken, Taken::Empty) {
                drop(state);
                wakes.wake();
                return Poll::Ready(taken);
            }
        }
        let replaced = state.park(id, waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// Up to `most` events that are there already.
    pub(crate) fn read_more(&self, id: Id, most: usize, into: &mut Vec<Event>) {
        let mut all_wakes = Vec::new();
        let mut state = self.lock();
        for _ in 0..most {
            let (taken, wakes) = state.read(id);
            all_wakes.push(wakes);
            let Taken::Event(event, _) = taken else { break };
            into.push(event);
        }
        drop(state);
        all_wakes.into_iter().for_each(Wakes::wake);
    }

    /// Whether the pump may read on; see [`State::admit`]. A blocked pump is parked, and its orders
    /// are looked up under the same lock, so that none is missed.
    pub(crate) fn poll_admit(
        &self,
        cx: &mut Context<'_>,
        now: Instant,
        yielded: bool,
    ) -> (Admit, Orders) {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        let orders = state.orders();
        let (admit, wakes) = state.admit(now, yielded);
        let unused = match admit {
            Admit::Blocked { .. } => state.park_pump(waker),
            Admit::Go | Admit::Yield => Some(waker),
        };
        drop(state);
        drop(unused);
        wakes.wake();
        (admit, orders)
    }

    /// The orders for the pump, which is woken when they change.
    #[cfg(any(feature = "process", feature = "tokio", all(test, lastout_loom)))]
    pub(crate) fn poll_orders(&self, cx: &mut Context<'_>) -> Orders {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        let orders = state.orders();
        let replaced = state.park_pump(waker);
        drop(state);
        drop(replaced);
        orders
    }

    /// Appends a read. Returns the orders, and what the pump owes its readers before it reads on.
    pub(crate) fn push(&self, room: &mut BytesMut) -> (Orders, Turn) {
        let mut state = self.lock();
        let wakes = state.push(room);
        let turn = match (state.must_ask(), state.should_pace()) {
            (true, _) => Turn::Ask,
            (false, true) => Turn::Pace,
            (false, false) => Turn::Go,
        };
        let answer = (state.orders(), turn);
        drop(state);
        wakes.wake();
        answer
    }

    pub(crate) fn finish(&self, reason: EndReason, room: BytesMut, now: Instant) {
        let wakes = self.lock().finish(reason, room, now);
        wakes.wake();
    }

    pub(crate) fn order(&self, orders: Orders) {
        let wakes = self.lock().order(orders);
        wakes.wake();
    }

    #[cfg(feature = "blocking")]
    pub(crate) fn close_now(&self) {
        let wakes = self.lock().close_now();
        wakes.wake();
    }

    pub(crate) fn seal(&self) {
        let wakes = self.lock().seal();
        wakes.wake();
    }

    /// The end of the stream for its handles: when the pump has stopped. `place` is the caller's own, for
    /// [`leave_end`](Self::leave_end).
    pub(crate) fn poll_end(&self, place: &mut Option<usize>, cx: &mut Context<'_>) -> Poll<End> {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        let end = state.end().cloned();
        let unused = if end.is_none() { state.park_for_end(place, waker) } else { Some(waker) };
        drop(state);
        drop(unused);
        end.map_or(Poll::Pending, Poll::Ready)
    }

    /// Someone who waited for the end is gone.
    pub(crate) fn leave_end(&self, place: usize) {
        let waker = self.lock().leave_end(place);
        drop(waker);
    }
}
