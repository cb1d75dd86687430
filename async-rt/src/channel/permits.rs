//! Permits: a number of them, and a fair queue of those who wait for some. Pure: what is to be woken
//! is returned, and the caller wakes it once it holds nothing.
//!
//! A permit is granted to the waiter before the waiter runs. So nobody overtakes the queue, and a
//! waiter that is dropped after its grant gives it to the next one instead of losing it.
//!
//! - **I10** A grant is never lost: the drop of a waiter passes it on.

use crate::contain;
use crate::sync::on;
use crate::task::raw::WakerSlot;
use std::collections::VecDeque;
use std::task::Waker;

/// Somebody to wake: any waker for channels between threads, a slot for those on one.
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

    pub(crate) fn wake(self) {
        self.first.into_iter().chain(self.rest).for_each(W::wake);
    }
}

/// A waiter's place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    key: usize,
    number: u64,
}

struct Waiter<W> {
    number: u64,
    needs: usize,
    granted: bool,
    waker: Option<W>,
}

/// Why no permit was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Closed,
    Full,
}

/// See the module.
pub(crate) struct Permits<W> {
    available: usize,
    closed: bool,
    waiters: slab::Slab<Waiter<W>>,
    /// Places that have not been granted, oldest first; some of them may be gone.
    queue: VecDeque<Place>,
    /// Waiters that have not been granted.
    waiting: usize,
    numbers: u64,
}

impl<W: Wakes> Permits<W> {
    pub(crate) fn new(available: usize) -> Self {
        Self {
            available,
            closed: false,
            waiters: slab::Slab::new(),
            queue: VecDeque::new(),
            waiting: 0,
            numbers: 0,
        }
    }

    pub(crate) fn available(&self) -> usize {
        self.available
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes `needs` permits, if they are there and nobody waits.
    pub(crate) fn try_take(&mut self, needs: usize) -> Result<(), Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if self.available < needs || self.waiting > 0 {
            return Err(Refused::Full);
        }
        self.available -= needs;
        Ok(())
    }

    /// Queues up for `needs` permits.
    pub(crate) fn wait(&mut self, needs: usize, waker: W) -> Place {
        let number = self.numbers;
        self.numbers += 1;
        let key = self.waiters.insert(Waiter { number, needs, granted: false, waker: Some(waker) });
        let place = Place { key, number };
        self.queue.push_back(place);
        self.waiting += 1;
        place
    }

    /// `Some` when the waiter has its permits, or never will; then its place is gone. Otherwise its
    /// waker is replaced by what `fresh` makes, if it differs from `waker`.
    pub(crate) fn claim(&mut self, place: Place, waker: &Waker, fresh: Option<W>) -> Claimed<W> {
        let closed = self.closed;
        let waiter = &mut self.waiters[place.key];
        if waiter.granted || closed {
            let granted = self.waiters.remove(place.key).granted;
            self.waiting -= usize::from(!granted);
            return Claimed::Over(if granted { Ok(()) } else { Err(Refused::Closed) });
        }
        if waiter.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return Claimed::Waits(None);
        }
        match fresh {
            Some(fresh) => Claimed::Waits(waiter.waker.replace(fresh)),
            None => Claimed::NeedsWaker,
        }
    }

    /// The waiter goes away; what it was granted goes to the next.
    pub(crate) fn leave(&mut self, place: Place, woken: &mut Woken<W>) -> Option<W> {
        let waiter = self.waiters.remove(place.key);
        self.waiting -= usize::from(!waiter.granted);
        if waiter.granted && on("i10.pass") {
            self.available += waiter.needs;
        }
        self.grant(woken);
        waiter.waker
    }

    /// Gives permits back.
    pub(crate) fn release(&mut self, permits: usize, woken: &mut Woken<W>) {
        self.available += permits;
        self.grant(woken);
    }

    /// Grants what is there, oldest waiter first.
    fn grant(&mut self, woken: &mut Woken<W>) {
        while let Some(place) = self.queue.front() {
            match self.waiters.get_mut(place.key).filter(|waiter| waiter.number == place.number) {
                Some(waiter) if waiter.needs > self.available => return,
                Some(waiter) => {
                    self.available -= waiter.needs;
                    waiter.granted = true;
                    self.waiting -= 1;
                    woken.add(waiter.waker.take());
                }
                None => {}
            }
            self.queue.pop_front();
        }
    }

    /// Grants every waiter, without spending permits.
    pub(crate) fn grant_all(&mut self, woken: &mut Woken<W>) {
        for place in std::mem::take(&mut self.queue) {
            if let Some(waiter) =
                self.waiters.get_mut(place.key).filter(|w| w.number == place.number)
            {
                (waiter.granted, waiter.needs) = (true, 0);
                self.waiting -= 1;
                woken.add(waiter.waker.take());
            }
        }
    }

    /// Refuses everybody from now on, who waits included.
    pub(crate) fn close(&mut self, woken: &mut Woken<W>) {
        self.closed = true;
        self.queue.clear();
        for (_, waiter) in self.waiters.iter_mut().filter(|(_, waiter)| !waiter.granted) {
            woken.add(waiter.waker.take());
        }
    }
}

/// What became of a claim.
pub(crate) enum Claimed<W> {
    /// The place is gone: with the permits, or because of the close.
    Over(Result<(), Refused>),
    /// Not yet; a waker to drop after the lock.
    Waits(Option<W>),
    /// Not yet, and the waker is another: make one without the lock, and come again.
    NeedsWaker,
}
