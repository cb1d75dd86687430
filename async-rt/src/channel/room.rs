//! The room of a channel between threads: a number in one word while no sender waits for it, and
//! under a lock, with the queue, while one does.
//!
//! ```text
//!                 wait (there is not enough): takes the number out of the word
//!   free << 2  ──────────────────────────────────────────────► SLOW, number and queue under the lock
//!       ▲                                                            │
//!       └── the last waiter was granted its room, or left ◄──────────┘      close, from either: CLOSED
//! ```
//!
//! - **I10** Room is in the word or under the lock, never in both, and no room that is given slips
//!   past a waiter; what was granted to a waiter that leaves goes to the next.
//! - **I16**, the part of this file: once the room is closed and all of it is back, the word says so at
//!   any moment.

use super::permits::{Claimed, Fresh, Permits, Place, Refused, Woken};
use super::sleepers::{Closers, Seat};
use crate::contain;
use crate::coop;
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, lock, on, ord};
use std::task::{Context, Poll, Waker, ready};

/// The number is under the lock.
const SLOW: usize = 1;
/// No more is given. Set under the lock.
const CLOSED: usize = 2;
/// One unit of room.
const UNIT: usize = 4;

/// The largest room.
pub(super) const MOST: usize = usize::MAX / UNIT;

/// How much is free, and who waits for it.
pub(super) struct Room {
    word: AtomicUsize,
    slow: Mutex<Permits<Waker>>,
    closers: Closers,
}

impl Room {
    /// `size` is at most [`MOST`].
    pub(super) fn new(size: usize) -> Self {
        let (word, slow) = (AtomicUsize::new(size * UNIT), Mutex::new(Permits::new(0)));
        Self { word, slow, closers: Closers::new() }
    }

    /// Takes `needs`, if it is free and no sender waits.
    #[inline]
    pub(super) fn try_take(&self, needs: usize) -> Result<(), Refused> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            if word & SLOW != 0 || word / UNIT < needs {
                return Err(Refused::Full);
            }
            // ORDERING: pairs with `give` and `settle`: what was freed is seen to be free.
            let order = ord("i10.take", Ordering::Acquire, Ordering::Relaxed);
            let rest = word - needs * UNIT;
            match self.word.compare_exchange_weak(word, rest, order, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(seen) => word = seen,
            }
        }
    }

    /// Gives room back, to those who wait first; whether the channel is closed.
    #[inline]
    pub(super) fn give(&self, room: usize) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & SLOW == 0 || !on("i10.slow") {
            // ORDERING: pairs with `try_take` and `wait`.
            let order = ord("i10.give", Ordering::Release, Ordering::Relaxed);
            let more = word + room * UNIT;
            match self.word.compare_exchange_weak(word, more, order, Ordering::Relaxed) {
                Ok(_) => return word & CLOSED != 0,
                Err(seen) => word = seen,
            }
        }
        self.give_slowly(room)
    }

    #[cold]
    fn give_slowly(&self, room: usize) -> bool {
        let mut woken = Woken::default();
        let mut permits = lock(&self.slow);
        permits.release(room, &mut woken);
        let closed = permits.is_closed();
        self.settle(permits);
        woken.wake();
        closed
    }

    /// The end of each operation under the lock: if no sender waits, the number goes back to the word.
    fn settle(&self, mut permits: MutexGuard<'_, Permits<Waker>>) {
        if permits.has_waiting() {
            return;
        }
        let (free, slow) = (permits.take_available(), self.word.load(Ordering::Relaxed) & SLOW);
        // Only holders of the lock change the bit; the sum wraps to a difference.
        let change = (free * UNIT).wrapping_sub(slow);
        // ORDERING: pairs with `try_take`: what others freed under the lock is seen to be free.
        self.word.fetch_add(change, ord("i10.settle", Ordering::Release, Ordering::Relaxed));
    }

    /// Takes `needs` now, or queues up for it.
    fn wait(&self, needs: usize, fresh: &mut Fresh<Waker>) -> Result<Option<Place>, Refused> {
        let mut permits = lock(&self.slow);
        // The number stays in the word: a receiver that sees there that not all is back may fall asleep.
        if permits.is_closed() {
            return Err(Refused::Closed);
        }
        // ORDERING: pairs with `give`: what was freed is seen to be free by those who are granted it.
        let order = ord("i10.wait", Ordering::Acquire, Ordering::Relaxed);
        let word = self.word.swap(SLOW, order);
        let mut woken = Woken::default();
        permits.release(word / UNIT, &mut woken);
        let taken = match permits.try_take(needs) {
            Ok(()) => Ok(None),
            Err(Refused::Closed) => Err(Refused::Closed),
            Err(Refused::Full) => Ok(Some(permits.wait(needs, fresh))),
        };
        self.settle(permits);
        woken.wake();
        taken
    }

    /// Refuses every waiter and every later call; room that is out can still come back.
    pub(super) fn close(&self) {
        let mut woken = Woken::default();
        let mut permits = lock(&self.slow);
        permits.close(&mut woken);
        self.word.fetch_or(CLOSED, Ordering::Relaxed);
        self.settle(permits);
        woken.wake();
        self.closers.wake();
    }

    /// Waits until it is closed.
    pub(super) async fn closed(&self) {
        self.closers.wait(|| self.is_closed()).await;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.word.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Whether it is closed and all of its `size` has come back, so that no more will come out of it.
    pub(super) fn is_over(&self, size: usize) -> bool {
        // Nothing to acquire: what a receiver has not taken keeps its room.
        self.word.load(Ordering::Relaxed) == (size * UNIT) | CLOSED
    }

    /// What is free, and not promised to a sender.
    pub(super) fn free(&self) -> usize {
        self.word.load(Ordering::Relaxed) / UNIT
    }

    /// Waits for `needs`. If it does not take what it is granted, `receiver` hears of that: it may wait
    /// for the last room of a closed channel.
    pub(super) fn take<'a>(&'a self, needs: usize, receiver: &'a Seat) -> Taking<'a> {
        Taking { room: self, needs, place: None, receiver }
    }
}

/// Waits for room; dropped in between, it passes on what it was granted.
pub(super) struct Taking<'a> {
    room: &'a Room,
    needs: usize,
    place: Option<Place>,
    receiver: &'a Seat,
}

impl Taking<'_> {
    /// Ready with the room, which is the caller's from then on, or when it is closed.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<(), Refused>> {
        let progress = ready!(coop::poll_proceed(cx));
        let outcome = ready!(match self.place {
            Some(place) => self.poll_again(place, cx),
            None => self.poll_first(cx),
        });
        progress.made();
        Poll::Ready(outcome)
    }

    fn poll_first(&mut self, cx: &Context<'_>) -> Poll<Result<(), Refused>> {
        match self.room.try_take(self.needs) {
            Err(Refused::Full) => {}
            outcome => return Poll::Ready(outcome),
        }
        let mut fresh = Fresh::none();
        fresh.make(cx.waker());
        match self.room.wait(self.needs, &mut fresh) {
            Ok(None) => Poll::Ready(Ok(())),
            Err(refused) => Poll::Ready(Err(refused)),
            Ok(place) => {
                self.place = place;
                Poll::Pending
            }
        }
    }

    fn poll_again(&mut self, place: Place, cx: &Context<'_>) -> Poll<Result<(), Refused>> {
        let mut fresh = Fresh::none();
        loop {
            let claimed = lock(&self.room.slow).claim(place, cx.waker(), &mut fresh);
            match claimed {
                Claimed::Over(outcome) => {
                    self.place = None;
                    return Poll::Ready(outcome);
                }
                Claimed::Waits => return Poll::Pending,
                Claimed::NeedsWaker => fresh.make(cx.waker()),
            }
        }
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let mut woken = Woken::default();
        let mut permits = lock(&self.room.slow);
        let own = permits.leave(place, &mut woken);
        let closed = permits.is_closed();
        self.room.settle(permits);
        contain::discard(own);
        woken.wake();
        if closed && on("i16.granted") {
            self.receiver.wake();
        }
    }
}

#[cfg(all(test, lastout_loom))]
mod model {
    use super::{Fresh, Refused, Room};
    use crate::model::model;
    use loom::sync::Arc;
    use loom::thread;

    /// A sender found no room; before it queues up, the channel closes and the last room comes back.
    #[test]
    fn i16_a_closed_room_stays_over_when_a_late_sender_asks() {
        model(2, || {
            let room = Arc::new(Room::new(1));
            room.close();
            let late = Arc::clone(&room);
            let thread = thread::spawn(move || late.wait(1, &mut Fresh::none()).err());
            assert!(room.is_over(1));
            assert_eq!(thread.join().unwrap(), Some(Refused::Closed));
        });
    }
}
