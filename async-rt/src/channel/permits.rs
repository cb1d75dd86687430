//! Permits: a number of them, and a fair queue of the waiters for some. Pure: what is to be woken
//! is returned, and the caller wakes it once it holds nothing.
//!
//! A permit is granted to the waiter before the waiter runs. So no call overtakes the queue, and a
//! waiter that is dropped after its grant gives it to the next one instead of losing it.
//!
//! - **I10** A grant is never lost: the drop of a waiter passes it on.

use crate::contain;
use crate::sync::on;
use crate::task::raw::WakerSlot;
use std::task::Waker;

/// A stored wake-up: any waker for channels between threads, a slot for those on one.
pub(crate) trait Wakes: Sized {
    fn new(waker: &Waker) -> Self;
    fn will_wake(&self, waker: &Waker) -> bool;
    fn wake(self);
}

impl Wakes for Waker {
    fn new(waker: &Waker) -> Self {
        waker.clone()
    }
    fn will_wake(&self, waker: &Waker) -> bool {
        Self::will_wake(self, waker)
    }
    fn wake(self) {
        contain::wake(self);
    }
}

impl Wakes for WakerSlot {
    fn new(waker: &Waker) -> Self {
        Self::new(waker)
    }
    fn will_wake(&self, waker: &Waker) -> bool {
        Self::will_wake(self, waker)
    }
    fn wake(self) {
        Self::wake(self);
    }
}

/// A waker on its way into a place that is reached under a lock or a borrow: cloned before, and what
/// is left in the end, be it the clone or the one that it replaced, is dropped after. Declare it before
/// the lock is taken.
pub(crate) struct Fresh<W: Wakes>(Option<W>);

impl<W: Wakes> Fresh<W> {
    /// Nothing is cloned yet.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Clones the waker, which runs foreign code: under no lock, and before a look that decides.
    pub(crate) fn make(&mut self, waker: &Waker) {
        contain::discard(self.0.replace(W::new(waker)));
    }

    /// Whether no waker is here.
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Whether `place` wakes `waker` from now on; if not, [`make`](Self::make) a clone, look again,
    /// and come again.
    pub(crate) fn settle(&mut self, place: &mut Option<W>, waker: &Waker) -> bool {
        if place.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return true;
        }
        if self.is_none() {
            return false;
        }
        std::mem::swap(place, &mut self.0);
        true
    }
}

impl<W: Wakes> Drop for Fresh<W> {
    fn drop(&mut self) {
        if let Some(waker) = self.0.take() {
            contain::discard(waker);
        }
    }
}

/// To be woken, or only dropped, after every lock and borrow has ended.
#[must_use = "wake or drop it after the lock"]
pub(crate) struct Woken<W> {
    first: Option<W>,
    rest: Vec<W>,
}

impl<W> Default for Woken<W> {
    fn default() -> Self {
        Self { first: None, rest: Vec::new() }
    }
}

impl<W: Wakes> Woken<W> {
    pub(crate) fn add(&mut self, waker: Option<W>) {
        match waker {
            Some(waker) if self.first.is_none() => self.first = Some(waker),
            Some(waker) => self.rest.push(waker),
            None => {}
        }
    }

    /// Wakes each of them; the walk goes on when one of them panics.
    pub(crate) fn wake(self) {
        self.first.into_iter().chain(self.rest).for_each(W::wake);
    }
}

/// A waiter's place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(usize);

/// What has become of a waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is in the queue.
    Waits,
    /// It has so many permits.
    Granted(usize),
    /// It will never have any.
    Refused,
}

struct Waiter<W> {
    needs: usize,
    fate: Fate,
    waker: Option<W>,
    /// Its neighbours in the queue, while it waits.
    before: Option<usize>,
    after: Option<usize>,
}

/// Why no permit was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Closed,
    Full,
}

/// The permits and the queue. The queue is a list through the slab, so a waiter leaves it at once,
/// wherever it stands.
pub(crate) struct Permits<W> {
    available: usize,
    /// Never more than this many are available; what comes beyond is not kept.
    most: usize,
    closed: bool,
    waiters: slab::Slab<Waiter<W>>,
    oldest: Option<usize>,
    newest: Option<usize>,
}

impl<W: Wakes> Permits<W> {
    pub(crate) fn new(available: usize) -> Self {
        Self::at_most(available, usize::MAX)
    }

    /// Permits of which at most so many are kept.
    pub(crate) fn at_most(available: usize, most: usize) -> Self {
        let waiters = slab::Slab::new();
        Self { available, most, closed: false, waiters, oldest: None, newest: None }
    }

    pub(crate) fn available(&self) -> usize {
        self.available
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether a waiter is in the queue.
    pub(crate) fn has_waiting(&self) -> bool {
        self.oldest.is_some()
    }

    /// All that is available; the caller keeps it from now on.
    pub(crate) fn take_available(&mut self) -> usize {
        std::mem::take(&mut self.available)
    }

    /// Takes `needs` permits, if they are there and no waiter is in the queue.
    pub(crate) fn try_take(&mut self, needs: usize) -> Result<(), Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if self.available < needs || self.has_waiting() {
            return Err(Refused::Full);
        }
        self.available -= needs;
        Ok(())
    }

    /// Queues up for `needs` permits, to be woken through what is in `fresh`.
    pub(crate) fn wait(&mut self, needs: usize, fresh: &mut Fresh<W>) -> Place {
        let before = self.newest;
        let (fate, waker) = (Fate::Waits, fresh.0.take());
        let key = self.waiters.insert(Waiter { needs, fate, waker, before, after: None });
        match before {
            Some(before) => self.waiters[before].after = Some(key),
            None => self.oldest = Some(key),
        }
        self.newest = Some(key);
        Place(key)
    }

    /// `Over` when the waiter has its permits, or never will; then its place is gone. Otherwise its
    /// waker is replaced by the one in `fresh`, if it differs from `waker`.
    pub(crate) fn claim(&mut self, place: Place, waker: &Waker, fresh: &mut Fresh<W>) -> Claimed {
        let waiter = &mut self.waiters[place.0];
        let outcome = match waiter.fate {
            Fate::Granted(_) => Ok(()),
            Fate::Refused => Err(Refused::Closed),
            Fate::Waits if fresh.settle(&mut waiter.waker, waker) => return Claimed::Waits,
            Fate::Waits => return Claimed::NeedsWaker,
        };
        self.waiters.remove(place.0);
        Claimed::Over(outcome)
    }

    /// The waiter goes away; what it was granted goes to the next. A waker to drop after the lock.
    pub(crate) fn leave(&mut self, place: Place, woken: &mut Woken<W>) -> Option<W> {
        if self.waiters[place.0].fate == Fate::Waits {
            self.unlink(place.0);
        }
        let waiter = self.waiters.remove(place.0);
        match waiter.fate {
            Fate::Granted(permits) if on("i10.pass") => self.release(permits, woken),
            _ => self.grant(woken),
        }
        waiter.waker
    }

    fn unlink(&mut self, key: usize) {
        let (before, after) = (self.waiters[key].before, self.waiters[key].after);
        match before {
            Some(before) => self.waiters[before].after = after,
            None => self.oldest = after,
        }
        match after {
            Some(after) => self.waiters[after].before = before,
            None => self.newest = before,
        }
    }

    /// Takes the oldest waiter out of the queue.
    fn end_oldest(&mut self, fate: impl FnOnce(usize) -> Fate, woken: &mut Woken<W>) {
        let Some(key) = self.oldest else { return };
        self.unlink(key);
        let waiter = &mut self.waiters[key];
        waiter.fate = fate(waiter.needs);
        woken.add(waiter.waker.take());
    }

    /// Gives permits back.
    pub(crate) fn release(&mut self, permits: usize, woken: &mut Woken<W>) {
        self.available = self.available.saturating_add(permits);
        self.grant(woken);
        self.available = self.available.min(self.most);
    }

    /// Grants what is there, oldest waiter first.
    fn grant(&mut self, woken: &mut Woken<W>) {
        while let Some(key) = self.oldest {
            let Some(rest) = self.available.checked_sub(self.waiters[key].needs) else { return };
            self.available = rest;
            self.end_oldest(Fate::Granted, woken);
        }
    }

    /// Wakes every waiter as if it had been granted its permits, without spending any.
    pub(crate) fn wake_waiting(&mut self, woken: &mut Woken<W>) {
        while self.has_waiting() {
            self.end_oldest(|_| Fate::Granted(0), woken);
        }
    }

    /// Refuses every waiter and every later call.
    pub(crate) fn close(&mut self, woken: &mut Woken<W>) {
        self.closed = true;
        while self.has_waiting() {
            self.end_oldest(|_| Fate::Refused, woken);
        }
    }
}

/// What became of a claim.
pub(crate) enum Claimed {
    /// The place is gone: with the permits, or because of the close.
    Over(Result<(), Refused>),
    /// Not yet.
    Waits,
    /// Not yet, and the waker is another: make one without the lock, and come again.
    NeedsWaker,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> Fresh<Waker> {
        Fresh(Some(Waker::noop().clone()))
    }

    #[test]
    fn cancelled_waiters_behind_a_waiting_one_leave_nothing() {
        let mut permits = Permits::<Waker>::new(0);
        let waits = |permits: &mut Permits<Waker>| permits.wait(1, &mut fresh());
        let first = waits(&mut permits);
        for _ in 0..1000 {
            let (brief, other) = (waits(&mut permits), waits(&mut permits));
            let mut woken = Woken::default();
            drop(permits.leave(brief, &mut woken));
            drop(permits.leave(other, &mut woken));
        }
        assert!(permits.waiters.capacity() <= 4, "{}", permits.waiters.capacity());
        let mut woken = Woken::default();
        permits.release(1, &mut woken);
        woken.wake();
        assert!(matches!(permits.claim(first, Waker::noop(), &mut fresh()), Claimed::Over(Ok(()))));
        assert!(permits.waiters.is_empty() && !permits.has_waiting());
    }

    #[test]
    fn a_queue_keeps_its_order_around_those_who_leave() {
        for leaver in 0..3 {
            let mut permits = Permits::<Waker>::new(0);
            let places: Vec<_> = (0..3).map(|_| permits.wait(1, &mut fresh())).collect();
            let mut woken = Woken::default();
            drop(permits.leave(places[leaver], &mut woken));
            let (first, second) = match leaver {
                0 => (places[1], places[2]),
                1 => (places[0], places[2]),
                _ => (places[0], places[1]),
            };
            permits.release(1, &mut woken);
            woken.wake();
            assert!(!matches!(
                permits.claim(second, Waker::noop(), &mut fresh()),
                Claimed::Over(_)
            ));
            assert!(matches!(
                permits.claim(first, Waker::noop(), &mut fresh()),
                Claimed::Over(Ok(()))
            ));
        }
    }
}
