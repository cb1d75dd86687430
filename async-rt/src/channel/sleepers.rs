//! The places where sleepers leave their wakers: [`Seat`] for one, [`Sleepers`] for the receivers
//! of a channel that has many, [`Closers`] for senders that wait until their receiver takes no more.
//!
//! A sleeper leaves its waker first and looks for what it waits for afterwards; whoever brings that looks
//! here afterwards. One of the two comes to the lock second, and sees what the other did before.

use super::permits::Fresh;
use crate::contain;
use crate::coop;
use crate::sync::{Mutex, lock, on};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker, ready};

/// A waker behind a short lock, which is taken only to sleep and to wake.
pub(super) struct Seat(Mutex<Option<Waker>>);

impl Seat {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The sleeper will be woken through `waker`.
    pub(super) fn register(&self, waker: &Waker) {
        if lock(&self.0).as_ref().is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        let fresh = waker.clone();
        let before = lock(&self.0).replace(fresh);
        contain::discard(before);
    }

    /// Wakes the sleeper, if there is one.
    pub(super) fn wake(&self) {
        let waker = lock(&self.0).take();
        waker.into_iter().for_each(contain::wake);
    }

    /// The sleeper is gone, or did not fall asleep: its waker keeps nothing alive.
    pub(super) fn clear(&self) {
        let waker = lock(&self.0).take();
        contain::discard(waker);
    }
}

/// A receiver's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(usize);

/// One place for each receiver, in a state behind a lock.
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

/// Any number of senders that wait until the channel is closed.
///
/// A sender registers and then looks whether the channel is closed, both under the lock that the
/// receiver takes once it has closed the channel: so **I16** holds for it, whoever comes first.
pub(super) struct Closers(Mutex<Sleepers>);

impl Closers {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Sleepers::default()))
    }

    /// The channel has been closed: wakes every sender that waits for that.
    pub(super) fn wake(&self) {
        let woken = lock(&self.0).take_all();
        if on("i16.wake_closers") {
            contain::wake_all(woken);
        }
    }

    /// Waits until `is_closed`.
    pub(super) async fn wait(&self, is_closed: impl Fn() -> bool) {
        let mut waits = Waits { closers: self, key: None };
        poll_fn(|cx| waits.poll(cx, &is_closed)).await;
    }
}

/// One sender that waits; dropped, it leaves its place.
struct Waits<'a> {
    closers: &'a Closers,
    key: Option<Key>,
}

impl Waits<'_> {
    fn poll(&mut self, cx: &Context<'_>, is_closed: impl Fn() -> bool) -> Poll<()> {
        let progress = ready!(coop::poll_proceed(cx));
        let mut fresh = Fresh::none();
        loop {
            let mut sleepers = lock(&self.closers.0);
            if is_closed() {
                break;
            }
            let key = *self.key.get_or_insert_with(|| sleepers.add());
            if sleepers.register(key, &mut fresh, cx.waker()) {
                return Poll::Pending;
            }
            drop(sleepers);
            fresh.make(cx.waker());
        }
        progress.made();
        Poll::Ready(())
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let own = lock(&self.closers.0).remove(key);
        contain::discard(own);
    }
}
