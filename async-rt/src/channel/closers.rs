//! Senders that wait until their receiver takes no more: a place for the waker of each.
//!
//! A sender registers and then looks whether the channel is closed, both under the lock that the
//! receiver takes once it has closed the channel: so **I16** holds for it, whoever comes first.

use super::permits::Fresh;
use super::sleepers::{Key, Sleepers};
use crate::contain;
use crate::coop;
use crate::sync::{Mutex, lock, on};
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

/// Any number of senders that wait.
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
