//! Many senders, one receiver, on any threads.
//!
//! A sender takes room, claims the next slot, and publishes its value there: three exchanges, no
//! lock. The receiver takes the value and gives the room back. Only to sleep, and to wake a sleeper,
//! a short lock is taken.
//!
//! - **I16** The end of the last sender, and of a closed channel, is heard by a receiver that sleeps;
//!   the end of the receiver is heard by every sender.
//! - **I15**, the part of this file: the end of the receiver counts the claimed slots; later claims
//!   are refused, and each earlier one is taken or ended.
#![expect(unsafe_code, reason = "claims a slot before it is filled")]

use super::blocking;
use super::error::{
    CapacityError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use super::permits::Refused;
use super::room::{self, Room};
use super::seat::Seat;
use super::slots::{Published, Slots};
use crate::contain;
use crate::coop;
use crate::sync::{Arc, AtomicUsize, Ordering, on, ord};
use futures_core::Stream;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// In the word of claims: the receiver is gone. The number of claims is in the bits above.
const GONE: usize = 1;
const CLAIM: usize = 2;

/// A word alone in its cache lines, so that its writers do not disturb the readers of its neighbours.
#[repr(align(128))]
struct Alone<T>(T);

/// What the ends share.
pub(super) struct Shared<T> {
    slots: Slots<T>,
    /// The number of claimed slots, and `GONE`.
    claims: Alone<AtomicUsize>,
    room: Alone<Room>,
    receiver: Seat,
    senders: AtomicUsize,
    capacity: usize,
}

impl<T> Shared<T> {
    pub(super) fn new(capacity: usize) -> Result<Self, CapacityError> {
        let error = CapacityError { capacity };
        if capacity == 0 || capacity > room::MOST {
            return Err(error);
        }
        let count = capacity.checked_next_power_of_two().ok_or(error)?;
        Ok(Self {
            slots: Slots::new(count).ok_or(error)?,
            claims: Alone(AtomicUsize::new(0)),
            room: Alone(Room::new(capacity)),
            receiver: Seat::new(),
            senders: AtomicUsize::new(1),
            capacity,
        })
    }

    pub(super) fn room(&self) -> &Room {
        &self.room.0
    }

    fn index(&self, claim: usize) -> usize {
        claim & (self.slots.count() - 1)
    }

    /// Sends a value whose room the caller has taken.
    #[inline]
    pub(super) fn post(&self, value: T) -> Result<(), T> {
        // ORDERING: releases to the next claim, and acquires from the one before: who claims a slot
        // has seen, through the room of an earlier claim if not through its own, that it was freed.
        let order = ord("i11.claim", Ordering::AcqRel, Ordering::Relaxed);
        let claim = self.claims.0.fetch_add(CLAIM, order);
        if claim & GONE != 0 {
            return Err(value);
        }
        // SAFETY: no other call claims this slot until the receiver has freed it and given its room.
        match unsafe { self.slots.publish(self.index(claim / CLAIM), value) } {
            Published::Queued => Ok(()),
            Published::MustWake => {
                self.receiver.wake();
                Ok(())
            }
            Published::Ended(value) => Err(value),
        }
    }

    /// Room comes back. A receiver that waits for the last of a closed channel hears of it.
    #[inline]
    pub(super) fn give_room(&self) {
        if self.room.0.give(1) {
            self.receiver.wake();
        }
    }

    pub(super) fn add_sender(&self) {
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_sender(&self) {
        // ORDERING: pairs with the load of `Tail::is_over`: what this sender sent is seen.
        let order = ord("i16.last_sender", Ordering::Release, Ordering::Relaxed);
        if self.senders.fetch_sub(1, order) == 1 && on("i16.wake") {
            self.receiver.wake();
        }
    }

    /// Whether nothing will be sent any more.
    fn is_over(&self) -> bool {
        // ORDERING: pairs with `remove_sender`.
        let order = ord("i16.no_sender", Ordering::Acquire, Ordering::Relaxed);
        self.senders.load(order) == 0 || self.room.0.is_over(self.capacity)
    }
}

/// The receiving side: the slot that is next.
pub(super) struct Tail<T> {
    pub(super) shared: Arc<Shared<T>>,
    next: usize,
}

impl<T> Tail<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared, next: 0 }
    }

    /// The next value, if it is there.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        let (shared, index) = (&*self.shared, self.shared.index(self.next));
        // SAFETY: there is one receiver, and it frees each slot right after it took from it.
        let value = unsafe { shared.slots.take(index) }?;
        shared.slots.free_unpublished(index);
        self.next = self.next.wrapping_add(1);
        shared.room.0.give(1);
        Some(value)
    }

    /// The next value, or `None` when none will come.
    pub(super) fn poll_pop(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let progress = ready!(coop::poll_proceed(cx));
        let mut value = self.pop();
        if value.is_none() {
            self.shared.receiver.register(cx.waker());
            let waits = self.shared.slots.wait_for_value(self.shared.index(self.next));
            if waits && !self.shared.is_over() {
                return Poll::Pending;
            }
            value = self.pop();
        }
        progress.made();
        Poll::Ready(value)
    }

    pub(super) fn try_pop(&mut self) -> Result<T, TryRecvError> {
        let popped = match self.pop() {
            None if self.shared.is_over() => self.pop().ok_or(TryRecvError::Closed),
            popped => popped.ok_or(TryRecvError::Empty),
        };
        if popped.is_ok() {
            coop::made_progress();
        }
        popped
    }

    pub(super) fn close(&self) {
        self.shared.room.0.close();
    }

    pub(super) fn len(&self) -> usize {
        self.shared.slots.full_from(self.shared.index(self.next))
    }
}

impl<T> Drop for Tail<T> {
    fn drop(&mut self) {
        let shared = &*self.shared;
        shared.room.0.close();
        // ORDERING: as in `Shared::post`, whose claims are in the same order.
        let claims = shared.claims.0.fetch_or(GONE, Ordering::AcqRel) / CLAIM;
        while self.next & (usize::MAX / CLAIM) != claims {
            let index = shared.index(self.next);
            // SAFETY: as in `pop`; a slot that has ended is not looked at again.
            let value = unsafe { shared.slots.take(index) };
            if value.is_none() && !shared.slots.end(index) {
                continue;
            }
            contain::discard(value);
            self.next = self.next.wrapping_add(1);
        }
        shared.receiver.clear();
    }
}

/// A channel with room for `capacity` values.
///
/// # Panics
/// Where [`try_channel`] returns an error.
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    try_channel(capacity).unwrap_or_else(|error| panic!("{error}"))
}

/// A channel with room for `capacity` values.
///
/// # Errors
/// When `capacity` is zero, or more than the memory holds.
pub fn try_channel<T>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), CapacityError> {
    let shared = Arc::new(Shared::new(capacity)?);
    let tail = Tail::new(Arc::clone(&shared));
    Ok((Sender { shared }, Receiver { tail }))
}

/// The sending end. Each clone is one.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends `value`, waiting for room.
    ///
    /// # Errors
    /// When the receiver is gone or closed; the value comes back.
    ///
    /// # Cancel safety
    /// A send that is cancelled has sent nothing; its value is dropped with it, and its turn goes to
    /// the next sender. [`reserve`](Self::reserve) keeps the value.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        match self.wait().await {
            Ok(()) => self.shared.post(value).map_err(SendError),
            Err(_) => Err(SendError(value)),
        }
    }

    async fn wait(&self) -> Result<(), Refused> {
        let mut room = self.shared.room.0.take(1);
        poll_fn(|cx| room.poll(cx)).await
    }

    /// Sends `value`, if there is room and no other sender waits for it.
    ///
    /// # Errors
    /// When there is no room, or no receiver; the value comes back.
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.shared.room.0.try_take(1) {
            Ok(()) => self.shared.post(value).map_err(TrySendError::Closed),
            Err(Refused::Full) => Err(TrySendError::Full(value)),
            Err(Refused::Closed) => Err(TrySendError::Closed(value)),
        }
    }

    /// Waits for room and keeps it for one value.
    ///
    /// # Errors
    /// When the receiver is gone or closed.
    ///
    /// # Cancel safety
    /// Cancel safe: the turn of a cancelled call goes to the next sender.
    pub async fn reserve(&self) -> Result<Permit<'_, T>, SendError<()>> {
        match self.wait().await {
            Ok(()) => Ok(Permit { shared: Some(&self.shared) }),
            Err(_) => Err(SendError(())),
        }
    }

    /// Room for one value, if it is there and no other sender waits for it.
    ///
    /// # Errors
    /// When there is no room, or no receiver.
    pub fn try_reserve(&self) -> Result<Permit<'_, T>, TrySendError<()>> {
        match self.shared.room.0.try_take(1) {
            Ok(()) => Ok(Permit { shared: Some(&self.shared) }),
            Err(Refused::Full) => Err(TrySendError::Full(())),
            Err(Refused::Closed) => Err(TrySendError::Closed(())),
        }
    }

    /// Sends `value` from a plain thread, which sleeps until there is room.
    ///
    /// # Errors
    /// When the receiver is gone or closed; the value comes back.
    ///
    /// # Panics
    /// On the thread of a runtime, while it has to wait.
    pub fn send_blocking(&self, value: T) -> Result<(), SendError<T>> {
        self.send_within(value, None).map_err(|error| SendError(error.into_inner()))
    }

    /// As [`send_blocking`](Self::send_blocking), for `timeout` at most.
    ///
    /// # Errors
    /// When the time passed, or the receiver is gone or closed; the value comes back.
    ///
    /// # Panics
    /// On the thread of a runtime, while it has to wait.
    pub fn send_timeout_blocking(
        &self,
        value: T,
        timeout: Duration,
    ) -> Result<(), SendTimeoutError<T>> {
        self.send_within(value, Some(timeout))
    }

    fn send_within(&self, value: T, timeout: Option<Duration>) -> Result<(), SendTimeoutError<T>> {
        let value = match self.try_send(value) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(value)) => return Err(SendTimeoutError::Closed(value)),
            Err(TrySendError::Full(value)) => value,
        };
        let mut room = self.shared.room.0.take(1);
        match blocking::wait(timeout, |cx| room.poll(cx)) {
            Some(Ok(())) => self.shared.post(value).map_err(SendTimeoutError::Closed),
            Some(Err(_)) => Err(SendTimeoutError::Closed(value)),
            None => Err(SendTimeoutError::TimedOut(value)),
        }
    }

    /// Whether the receiver is gone or closed.
    pub fn is_closed(&self) -> bool {
        self.shared.room.0.is_closed()
    }

    /// Room that no value and no sender has taken.
    pub fn room(&self) -> usize {
        self.shared.room.0.free()
    }

    /// Whether both send to the same receiver.
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.add_sender();
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.remove_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("closed", &self.is_closed()).finish()
    }
}

/// Room for one value. Dropped, it is given back.
#[must_use = "room that is dropped is given back"]
pub struct Permit<'a, T> {
    /// `None` once the value is sent.
    shared: Option<&'a Shared<T>>,
}

impl<T> Permit<'_, T> {
    /// Sends `value`, also after the receiver has closed the channel.
    ///
    /// # Errors
    /// When the receiver is gone; the value comes back.
    pub fn send(mut self, value: T) -> Result<(), SendError<T>> {
        match self.shared.take() {
            Some(shared) => shared.post(value).map_err(SendError),
            None => Err(SendError(value)),
        }
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared {
            shared.give_room();
        }
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// The receiving end, and a [`Stream`] of the values.
pub struct Receiver<T> {
    tail: Tail<T>,
}

impl<T> Receiver<T> {
    /// The next value; `None` when every sender is gone, or after [`close`](Self::close), and nothing
    /// is left.
    ///
    /// # Cancel safety
    /// Cancel safe: no value is lost.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.tail.poll_pop(cx)
    }

    /// The next value, if it is there.
    ///
    /// # Errors
    /// When there is none now, or none will come.
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.tail.try_pop()
    }

    /// The next value, for a plain thread, which sleeps until there is one; `None` as in
    /// [`recv`](Self::recv).
    ///
    /// # Panics
    /// On the thread of a runtime.
    pub fn recv_blocking(&mut self) -> Option<T> {
        blocking::wait(None, |cx| self.tail.poll_pop(cx)).flatten()
    }

    /// As [`recv_blocking`](Self::recv_blocking), for `timeout` at most.
    ///
    /// # Errors
    /// When the time passed, or no value will come.
    ///
    /// # Panics
    /// On the thread of a runtime.
    pub fn recv_timeout_blocking(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        match blocking::wait(Some(timeout), |cx| self.tail.poll_pop(cx)) {
            Some(value) => value.ok_or(RecvTimeoutError::Closed),
            None => Err(RecvTimeoutError::TimedOut),
        }
    }

    /// Takes no more values; those sent before, and those of a [`Permit`] that is out, can still be
    /// received.
    pub fn close(&mut self) {
        self.tail.close();
    }

    /// Values that wait to be received.
    pub fn len(&self) -> usize {
        self.tail.len()
    }

    /// Whether no value waits to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.get_mut().poll_recv(cx)
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish()
    }
}
