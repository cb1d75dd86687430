//! One sender, one receiver, on any threads.
//!
//! The sender is not `Clone` and sends through `&mut self`, so each end knows its next slot by itself,
//! and the slots are all they share: one exchange for a send, one for a receive, no lock. Only to
//! sleep, and to wake a sleeper, a short lock is taken.
//!
//! - **I17** The end of the sender is heard by a receiver that sleeps, and the end of the receiver by a
//!   sender that sleeps. A closed channel ends when no room is reserved, and then its receiver hears
//!   of it.
#![expect(unsafe_code, reason = "fills and empties slots in turn")]

use super::error::{
    CapacityError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use super::sleepers::Seat;
use super::slots::{Published, Slots};
use super::waiting::{self, awaits_values, blocks_for_values, blocks_to_send};
use crate::contain;
use crate::coop;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering, on, ord};
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// In the word of the end: the receiver is gone or closed.
const CLOSED: usize = 1;
/// In the word of the end: a [`Permit`] is out. Never set once `CLOSED` is.
const RESERVED: usize = 2;

struct Shared<T> {
    slots: Slots<T>,
    sender: Seat,
    receiver: Seat,
    sender_gone: AtomicBool,
    /// `CLOSED` and `RESERVED`. The sender looks early; what decides is the slot that ended.
    end: AtomicUsize,
}

impl<T> Shared<T> {
    fn after(&self, index: usize) -> usize {
        if index + 1 == self.slots.count() { 0 } else { index + 1 }
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
    let error = CapacityError { capacity };
    if capacity == 0 {
        return Err(error);
    }
    let shared = Arc::new(Shared {
        slots: Slots::new(capacity).ok_or(error)?,
        sender: Seat::new(),
        receiver: Seat::new(),
        sender_gone: AtomicBool::new(false),
        end: AtomicUsize::new(0),
    });
    let sender = Sender { shared: Arc::clone(&shared), next: 0 };
    Ok((sender, Receiver { shared, next: 0, ended: false }))
}

/// The sending end.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    next: usize,
}

impl<T> Sender<T> {
    /// Sends `value`, waiting for room.
    ///
    /// # Errors
    /// When the receiver is gone or closed; the value comes back.
    ///
    /// # Cancel safety
    /// A send that is cancelled has sent nothing, and its value is dropped with it.
    /// [`reserve`](Self::reserve) keeps the value.
    pub async fn send(&mut self, value: T) -> Result<(), SendError<T>> {
        match poll_fn(|cx| self.poll_room(cx)).await {
            Ok(()) => self.post(value).map_err(SendError),
            Err(()) => Err(SendError(value)),
        }
    }

    /// Sends `value`, if there is room.
    ///
    /// # Errors
    /// When there is no room, or no receiver; the value comes back.
    #[inline]
    pub fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>> {
        if self.is_closed() {
            return Err(TrySendError::Closed(value));
        }
        if !self.shared.slots.is_free(self.next) {
            return Err(TrySendError::Full(value));
        }
        self.post(value).map_err(TrySendError::Closed)?;
        coop::made_progress();
        Ok(())
    }

    /// Waits for room for one value.
    ///
    /// # Errors
    /// When the receiver is gone or closed.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn reserve(&mut self) -> Result<Permit<'_, T>, SendError<()>> {
        match poll_fn(|cx| self.poll_room(cx)).await {
            Ok(()) if self.reserve_slot() => Ok(Permit { sender: self }),
            _ => Err(SendError(())),
        }
    }

    fn room_within(&mut self, timeout: Option<Duration>) -> Option<Result<(), ()>> {
        waiting::wait(timeout, |cx| self.poll_room(cx))
    }

    /// The next slot, which is free, is used even if the channel closes; `false` when it has closed.
    fn reserve_slot(&self) -> bool {
        // One word, so the close comes before or after. What is sent is published by its slot.
        let order = Ordering::Relaxed;
        self.shared.end.compare_exchange(0, RESERVED, order, order).is_ok() || !self.is_closed()
    }

    /// Ready when the next slot is free, or the channel closed.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let progress = ready!(coop::poll_proceed(cx));
        let (shared, next) = (&*self.shared, self.next);
        if !shared.slots.is_free(next) && !self.is_closed() {
            shared.sender.register(cx.waker());
            if shared.slots.wait_for_room(next) && !self.is_closed() {
                return Poll::Pending;
            }
            shared.sender.clear();
        }
        progress.made();
        if self.is_closed() {
            return Poll::Ready(Err(()));
        }
        // Whichever look said that the slot is free, this one acquires what its receiver did.
        let free = shared.slots.is_free(next);
        debug_assert!(free, "the receiver alone empties slots, and never fills one");
        Poll::Ready(Ok(()))
    }

    /// Fills the next slot, which is free.
    #[inline]
    fn post(&mut self, value: T) -> Result<(), T> {
        // SAFETY: there is one sender, and it has seen that the slot is free.
        match unsafe { self.shared.slots.publish(self.next, value) } {
            Published::Queued => {}
            Published::MustWake => self.shared.receiver.wake(),
            Published::Ended(value) => return Err(value),
        }
        self.next = self.shared.after(self.next);
        Ok(())
    }

    /// Waits until the receiver is gone or closed: nothing that is sent from then on is received.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn closed(&mut self) {
        poll_fn(|cx| self.poll_closed(cx)).await;
    }

    /// Polls what [`closed`](Self::closed) awaits, for hand-written futures.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let progress = ready!(coop::poll_proceed(cx));
        if !self.is_closed() {
            self.shared.sender.register(cx.waker());
            // The lock of the seat orders this look against the close, which takes it afterwards.
            if !self.is_closed() {
                return Poll::Pending;
            }
            self.shared.sender.clear();
        }
        progress.made();
        Poll::Ready(())
    }

    /// Whether the receiver is gone or closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.shared.end.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Room for values, counted slot by slot.
    pub fn room(&self) -> usize {
        if self.is_closed() { 0 } else { self.shared.slots.free_from(self.next) }
    }
}

blocks_to_send!([&mut] self);

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // ORDERING: pairs with the load of `Receiver::is_over`: what was sent is seen.
        let order = ord("i17.sender_gone", Ordering::Release, Ordering::Relaxed);
        self.shared.sender_gone.store(true, order);
        if on("i17.wake_receiver") {
            self.shared.receiver.wake();
        }
        self.shared.sender.clear();
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
    sender: &'a mut Sender<T>,
}

impl<T> Permit<'_, T> {
    /// Sends `value`, even after the receiver has closed the channel.
    ///
    /// # Errors
    /// When the receiver is gone; the value comes back.
    pub fn send(self, value: T) -> Result<(), SendError<T>> {
        self.sender.post(value).map_err(SendError)
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        let shared = &*self.sender.shared;
        // ORDERING: pairs with the load of `Receiver::is_over`: what the permit sent is seen. Models have
        // no mutant for the pair: there the exchange by which a slot ends is never early.
        let before = shared.end.fetch_and(!RESERVED, Ordering::Release);
        if before & CLOSED != 0 && on("i17.unreserved") {
            shared.receiver.wake();
        }
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// The receiving end, and a [`Stream`](futures_core::Stream) of the values.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    next: usize,
    /// The next slot has ended.
    ended: bool,
}

impl<T> Receiver<T> {
    /// Polls what [`recv`](Self::recv) awaits, for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let progress = ready!(coop::poll_proceed(cx));
        let mut value = self.pop();
        if value.is_none() && !self.is_over() {
            self.shared.receiver.register(cx.waker());
            let waits = self.shared.slots.wait_for_value(self.next);
            if waits && !self.is_over() {
                return Poll::Pending;
            }
            self.shared.receiver.clear();
        }
        if value.is_none() {
            value = self.pop();
        }
        progress.made();
        Poll::Ready(value)
    }

    /// The next value, if it is there.
    ///
    /// # Errors
    /// When there is none now, or none will come.
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let value = match self.pop() {
            None if self.is_over() => self.pop().ok_or(TryRecvError::Closed)?,
            value => value.ok_or(TryRecvError::Empty)?,
        };
        coop::made_progress();
        Ok(value)
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        if self.ended {
            return None;
        }
        // SAFETY: there is one receiver; it frees each slot right after it took from it.
        let value = unsafe { self.shared.slots.take(self.next) }?;
        if self.shared.slots.free(self.next) {
            self.shared.sender.wake();
        }
        self.next = self.shared.after(self.next);
        Some(value)
    }

    /// Whether nothing will be sent any more; what was sent may still be there.
    fn is_over(&mut self) -> bool {
        let reserved = if on("i17.reserved") { RESERVED } else { 0 };
        // ORDERING: pairs with the drop of a permit.
        let end = self.shared.end.load(Ordering::Acquire) & (CLOSED | reserved);
        if end == CLOSED && !self.ended {
            self.ended = self.shared.slots.end(self.next);
        }
        // ORDERING: pairs with the store of the sender's end.
        let order = ord("i17.no_sender", Ordering::Acquire, Ordering::Relaxed);
        self.ended || self.shared.sender_gone.load(order)
    }

    /// Closes the channel to new values. What was sent before, and what is sent through a [`Permit`]
    /// that is out, is still received.
    pub fn close(&mut self) {
        self.shared.end.fetch_or(CLOSED, Ordering::Relaxed);
        if on("i17.wake_sender") {
            self.shared.sender.wake();
        }
    }

    /// Values that wait to be received, counted slot by slot.
    pub fn len(&self) -> usize {
        if self.ended { 0 } else { self.shared.slots.full_from(self.next) }
    }

    /// Whether no value waits to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        // Ends at the first slot without a value; a sender that fills slots meanwhile runs out of them.
        while !self.ended {
            while let Some(value) = self.pop() {
                contain::discard(value);
            }
            self.ended = self.shared.slots.end(self.next);
        }
        self.shared.receiver.clear();
    }
}

awaits_values!(
    "`None` when the sender is gone, or after [`close`](Self::close), and nothing is left."
);
blocks_for_values!();

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish()
    }
}
