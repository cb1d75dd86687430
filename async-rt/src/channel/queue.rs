//! The queue of a channel with many senders: room, claims and slots.
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

use super::error::{CapacityError, TryRecvError};
use super::room::{self, Room, Taking};
use super::sleepers::Seat;
use super::slots::{Published, Slots};
use crate::contain;
use crate::coop;
use crate::sync::{Arc, AtomicUsize, Ordering, on, ord};
use std::task::{Context, Poll, ready};

/// In the word of claims: the receiver is gone. The number of claims is in the bits above.
const GONE: usize = 1;
const CLAIM: usize = 2;

/// A word alone in its cache lines, so that its writers do not disturb the readers of its neighbours.
#[repr(align(128))]
struct Alone<T>(T);

/// What the ends of a channel share.
pub(super) struct Queue<T> {
    slots: Slots<T>,
    /// The number of claimed slots, and `GONE`.
    claims: Alone<AtomicUsize>,
    room: Alone<Room>,
    receiver: Seat,
    senders: AtomicUsize,
    /// All of its room.
    capacity: usize,
    /// Whether a value gives its room back when it is received: one unit. Otherwise it has more, and
    /// whoever receives it gives that back later.
    in_units: bool,
}

impl<T> Queue<T> {
    /// Room for `capacity` values.
    pub(super) fn new(capacity: usize) -> Result<Self, CapacityError> {
        Self::with_slots(capacity, capacity, true)
    }

    /// Room for `capacity` units, of which each value takes so many that at most `slots` values have
    /// some at a time.
    pub(super) fn with_slots(
        capacity: usize,
        slots: usize,
        in_units: bool,
    ) -> Result<Self, CapacityError> {
        let error = CapacityError { capacity };
        if capacity == 0 || capacity > room::MOST {
            return Err(error);
        }
        let count = slots.checked_next_power_of_two().ok_or(error)?;
        Ok(Self {
            slots: Slots::new(count).ok_or(error)?,
            claims: Alone(AtomicUsize::new(0)),
            room: Alone(Room::new(capacity)),
            receiver: Seat::new(),
            senders: AtomicUsize::new(1),
            capacity,
            in_units,
        })
    }

    pub(super) fn room(&self) -> &Room {
        &self.room.0
    }

    /// Waits for `needs` of the room.
    pub(super) fn take(&self, needs: usize) -> Taking<'_> {
        self.room.0.take(needs, &self.receiver)
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
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
    pub(super) shared: Arc<Queue<T>>,
    next: usize,
}

impl<T> Tail<T> {
    pub(super) fn new(shared: Arc<Queue<T>>) -> Self {
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
        if shared.in_units {
            shared.room.0.give(1);
        }
        Some(value)
    }

    /// The next value, or `None` when none will come.
    pub(super) fn poll_pop(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let progress = ready!(coop::poll_proceed(cx));
        let mut value = self.pop();
        if value.is_none() && !self.shared.is_over() {
            self.shared.receiver.register(cx.waker());
            let waits = self.shared.slots.wait_for_value(self.shared.index(self.next));
            if waits && !self.shared.is_over() {
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
        // One word, so each claim comes before or after; the slots publish what is in them.
        let claims = shared.claims.0.fetch_or(GONE, Ordering::Relaxed) / CLAIM;
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
