//! One sender, one receiver, on any threads.
//!
//! The sender is not `Clone` and sends through `&mut self`, so each end counts by itself, and writes its
//! count for the other. A send is one store, a receive another; only to sleep, to wake a sleeper and
//! to end, a short lock is taken.
//!
//! - **I15**, the part of this file: a receiver that ends says so under a lock, when the ring is empty;
//!   a sender that hears of the close after it has counted a value asks under that lock whose it is.
//! - **I17** The end of the sender is heard by a receiver that sleeps, and the end of the receiver by a
//!   sender that sleeps. A closed channel ends when no room is reserved, and then its receiver hears
//!   of it.
#![expect(unsafe_code, reason = "fills and empties a ring in turn")]

use super::bell::{Bell, Ringer};
use super::error::{
    CapacityError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use super::ring::{Position, Ring};
use super::waiting::{self, awaits_values, blocks_for_values, blocks_to_send};
use crate::contain;
use crate::coop;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering, lock, on, ord};
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// In the word of the end: the receiver is gone or closed.
const CLOSED: usize = 1;
/// In the word of the end: a [`Permit`] is out. Never set once `CLOSED` is.
const RESERVED: usize = 2;

struct Shared<T> {
    ring: Ring<T>,
    /// Where the receiver sleeps until a value is put in.
    filled: Bell,
    /// Where the sender sleeps until a value is taken out.
    emptied: Bell,
    sender_gone: AtomicBool,
    /// `CLOSED` and `RESERVED`. The sender looks early; what decides is `ended`.
    end: AtomicUsize,
    /// How many values were taken by a receiver that takes no more. Set once, by the receiver.
    ended: Mutex<Option<usize>>,
}

impl<T> Shared<T> {
    fn is_closed(&self) -> bool {
        self.end.load(Ordering::Relaxed) & CLOSED != 0
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
        ring: Ring::new(capacity).ok_or(error)?,
        filled: Bell::new(),
        emptied: Bell::new(),
        sender_gone: AtomicBool::new(false),
        end: AtomicUsize::new(0),
        ended: Mutex::new(None),
    });
    let (next, ringer) = (Position::default(), Ringer::default());
    let sender = Sender { shared: Arc::clone(&shared), next, ringer };
    let (next, ringer) = (Position::default(), Ringer::default());
    Ok((sender, Receiver { shared, next, ringer, ended: false }))
}

/// The sending end.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    next: Position,
    ringer: Ringer,
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
        if !self.shared.ring.has_room(&mut self.next) {
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
            Ok(()) if self.reserve_place() => Ok(Permit { sender: self }),
            _ => Err(SendError(())),
        }
    }

    fn room_within(&mut self, timeout: Option<Duration>) -> Option<Result<(), ()>> {
        waiting::wait(timeout, |cx| self.poll_room(cx))
    }

    /// The next place, which is free, is used even if the channel closes; `false` when it has closed.
    fn reserve_place(&self) -> bool {
        // One word, so the close comes before or after. What is sent is published by its count.
        let order = Ordering::Relaxed;
        self.shared.end.compare_exchange(0, RESERVED, order, order).is_ok() || !self.is_closed()
    }

    /// Ready when there is room, or the channel closed.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let progress = ready!(coop::poll_proceed(cx));
        let Self { shared, next, .. } = self;
        if !shared.ring.has_room(next) && !shared.is_closed() {
            let is_there = || shared.ring.has_room(next) || shared.is_closed();
            if shared.emptied.sleep(cx.waker(), is_there) {
                return Poll::Pending;
            }
        }
        progress.made();
        Poll::Ready(if shared.is_closed() { Err(()) } else { Ok(()) })
    }

    /// Fills the next place, which is free.
    #[inline]
    fn post(&mut self, value: T) -> Result<(), T> {
        // SAFETY: there is one sender, and it has seen that there is room.
        unsafe { self.shared.ring.put(&mut self.next, value) };
        if self.shared.filled.ring(&mut self.ringer) { self.post_late() } else { Ok(()) }
    }

    /// The channel closed, before or after the value was counted: it was sent, or it comes back.
    #[cold]
    fn post_late(&mut self) -> Result<(), T> {
        let taken = *lock(&self.shared.ended);
        // A receiver that has not ended looks at the ring again, under this lock; one that has may have
        // taken this value first.
        if taken.is_none_or(|taken| taken == self.next.count()) || !on("i15.comes_back_late") {
            return Ok(());
        }
        // SAFETY: a receiver that has ended takes nothing that was put in afterwards.
        Err(unsafe { self.shared.ring.take_back(&mut self.next) })
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
            self.shared.emptied.seat().register(cx.waker());
            // The lock of the seat orders this look against the close, which takes it afterwards.
            if !self.is_closed() {
                return Poll::Pending;
            }
            self.shared.emptied.seat().clear();
        }
        progress.made();
        Poll::Ready(())
    }

    /// Whether the receiver is gone or closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Room for values.
    pub fn room(&self) -> usize {
        if self.is_closed() { 0 } else { self.shared.ring.room(&self.next) }
    }
}

blocks_to_send!([&mut] self);

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // ORDERING: pairs with the load of `Receiver::is_over`: what was sent is seen. Models have no mutant
        // for it: there a fence of the last `ring` came before.
        self.shared.sender_gone.store(true, Ordering::Release);
        if on("i17.wake_receiver") {
            self.shared.filled.seat().wake();
        }
        self.shared.emptied.seat().clear();
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
        // no mutant for the pair: there the lock under which the channel ends is never early.
        let before = shared.end.fetch_and(!RESERVED, Ordering::Release);
        if before & CLOSED != 0 && on("i17.unreserved") {
            shared.filled.seat().wake();
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
    next: Position,
    ringer: Ringer,
    /// `Shared::ended` is set.
    ended: bool,
}

impl<T> Receiver<T> {
    /// Polls what [`recv`](Self::recv) awaits, for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let progress = ready!(coop::poll_proceed(cx));
        let mut value = self.pop();
        if value.is_none() && !self.is_over() {
            let shared = Arc::clone(&self.shared);
            let is_there = || shared.ring.has_value(&mut self.next) || self.is_over();
            if shared.filled.sleep(cx.waker(), is_there) {
                return Poll::Pending;
            }
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
        if self.ended || !self.shared.ring.has_value(&mut self.next) {
            return None;
        }
        // SAFETY: there is one receiver, and it has seen that there is a value.
        let value = unsafe { self.shared.ring.take(&mut self.next) };
        self.shared.emptied.ring(&mut self.ringer);
        Some(value)
    }

    /// Whether nothing will be sent any more; what was sent may still be there.
    fn is_over(&mut self) -> bool {
        let reserved = if on("i17.reserved") { RESERVED } else { 0 };
        // ORDERING: pairs with the drop of a permit.
        let end = self.shared.end.load(Ordering::Acquire) & (CLOSED | reserved);
        if end == CLOSED && !self.ended {
            self.end_if_empty();
        }
        // ORDERING: pairs with the store of the sender's end.
        let order = ord("i17.no_sender", Ordering::Acquire, Ordering::Relaxed);
        self.ended || self.shared.sender_gone.load(order)
    }

    /// Ends a closed channel, unless a value is there.
    fn end_if_empty(&mut self) {
        let mut ended = lock(&self.shared.ended);
        if !self.shared.ring.has_value(&mut self.next) {
            *ended = Some(self.next.count());
            self.ended = true;
        }
    }

    /// Closes the channel to new values. What was sent before, and what is sent through a [`Permit`]
    /// that is out, is still received.
    pub fn close(&mut self) {
        self.shared.end.fetch_or(CLOSED, Ordering::Relaxed);
        self.shared.filled.stop();
        if on("i17.wake_sender") {
            self.shared.emptied.seat().wake();
        }
    }

    /// Values that wait to be received.
    pub fn len(&self) -> usize {
        if self.ended { 0 } else { self.shared.ring.len(&self.next) }
    }

    /// Whether no value waits to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        // A sender that sends meanwhile hears of the close after one value.
        while !self.ended {
            while let Some(value) = self.pop() {
                contain::discard(value);
            }
            self.end_if_empty();
        }
        self.shared.filled.seat().clear();
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
