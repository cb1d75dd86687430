//! Who waits for something to happen: a place for each, free again when its owner is gone.
//!
//! The owner of the lock around this clones wakers before it locks, and wakes and drops them after.

use std::task::Waker;

/// The places of those who wait.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
    /// Rises with each walk over all of them: a place of an earlier round is nobody's.
    round: u64,
}

/// A place, kept by the one who waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    round: u64,
    index: usize,
}

impl Waiters {
    /// Puts a waker to the place of its owner, who gets one the first time. Returns the waker that was
    /// there.
    pub(crate) fn wait(&mut self, place: &mut Option<Place>, waker: Waker) -> Option<Waker> {
        let current = place.filter(|place| place.round == self.round);
        if let Some(known) = current.and_then(|place| self.places.get_mut(place.index)) {
            return known.replace(waker);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[index] = Some(waker);
        *place = Some(Place { round: self.round, index });
        None
    }

    /// The owner of a place waits no more. Returns its waker.
    pub(crate) fn leave(&mut self, place: Place) -> Option<Waker> {
        if place.round != self.round {
            return None;
        }
        let waker = self.places.get_mut(place.index)?.take();
        self.free.push(place.index);
        if self.free.len() == self.places.len() {
            // What a burst grew goes with it.
            (self.places, self.free) = (Vec::new(), Vec::new());
            self.round += 1;
        }
        waker
    }

    /// Takes all wakers; every place is free.
    pub(crate) fn take(&mut self) -> Vec<Waker> {
        self.round += 1;
        self.free = Vec::new();
        std::mem::take(&mut self.places).into_iter().flatten().collect()
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_and_an_old_one_touches_nobody() {
        let mut waiters = Waiters::default();
        let waker = || Waker::noop().clone();
        let (mut a, mut b) = (None, None);
        assert!(waiters.wait(&mut a, waker()).is_none());
        assert!(waiters.wait(&mut a, waker()).is_some(), "its own waker is replaced");
        waiters.wait(&mut b, waker());
        assert_eq!(waiters.len(), 2);
        assert_eq!(waiters.take().len(), 2);
        let mut c = None;
        waiters.wait(&mut c, waker());
        assert!(waiters.leave(a.unwrap()).is_none(), "its round is over");
        assert_eq!(waiters.len(), 1);
        assert!(waiters.leave(c.unwrap()).is_some());
        assert_eq!((waiters.len(), waiters.places.capacity()), (0, 0));
    }
}
