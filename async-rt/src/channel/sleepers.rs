//! The receivers of a channel that has many: a place for the waker of each, in a state behind a lock.

use super::permits::Fresh;
use std::task::Waker;

/// A receiver's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(usize);

/// One place for each receiver.
#[derive(Default)]
pub(super) struct Sleepers(slab::Slab<Option<Waker>>);

impl Sleepers {
    /// A receiver begins.
    pub(super) fn add(&mut self) -> Key {
        Key(self.0.insert(None))
    }

    /// A receiver ends; a waker to drop after the lock.
    pub(super) fn remove(&mut self, key: Key) -> Option<Waker> {
        self.0.remove(key.0)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether the receiver may sleep until it is woken through `waker`; if not, `fresh` needs a clone.
    pub(super) fn register(&mut self, key: Key, fresh: &mut Fresh<Waker>, waker: &Waker) -> bool {
        fresh.settle(&mut self.0[key.0], waker)
    }

    /// Everybody who sleeps, to be woken after the lock.
    pub(super) fn take_all(&mut self) -> Vec<Waker> {
        self.0.iter_mut().filter_map(|(_, waker)| waker.take()).collect()
    }
}
