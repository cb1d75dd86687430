//! The receivers of a channel that has many: a place for the waker of each, in a state behind a lock.

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

    /// Whether the receiver will be woken through `waker` already.
    pub(super) fn knows(&self, key: Key, waker: &Waker) -> bool {
        self.0[key.0].as_ref().is_some_and(|known| known.will_wake(waker))
    }

    /// The receiver sleeps; a waker to drop after the lock.
    pub(super) fn register(&mut self, key: Key, waker: Waker) -> Option<Waker> {
        self.0[key.0].replace(waker)
    }

    /// Everybody who sleeps, to be woken after the lock.
    pub(super) fn take_all(&mut self) -> Vec<Waker> {
        self.0.iter_mut().filter_map(|(_, waker)| waker.take()).collect()
    }
}
