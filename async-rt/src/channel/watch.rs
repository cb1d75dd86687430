//! The latest value of something, on any threads: senders replace it, receivers look at it and wait
//! for the next.
//!
//! A value is an `Arc`, so a look at it holds no lock and delays no other call; a sender that replaces
//! it does not wait either. A receiver that is slow sees the latest value, not each.

use super::error::{RecvError, SendError};
use super::permits::Fresh;
use super::sleepers::{Closers, Key, Sleepers};
use super::waiting;
use crate::contain;
use crate::coop;
use crate::sync::{Arc, Mutex, lock};
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

struct State<T> {
    /// `None` only while the channel ends.
    value: Option<Arc<T>>,
    version: u64,
    receivers: Sleepers,
    senders: usize,
}

impl<T> State<T> {
    fn value(&self) -> Arc<T> {
        Arc::clone(self.value.as_ref().expect("it is there until the channel ends"))
    }

    /// Replaces the value; the one before, and whom to wake after the lock.
    fn replace(&mut self, value: Arc<T>) -> (Arc<T>, Vec<Waker>) {
        self.version += 1;
        let before = self.value.replace(value).expect("it is there until the channel ends");
        (before, self.receivers.take_all())
    }
}

impl<T> Drop for State<T> {
    fn drop(&mut self) {
        // The last end is gone: a panic of the value's destructor must not reach whoever dropped it.
        contain::discard(self.value.take());
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Senders that wait for the last receiver to end.
    closers: Closers,
}

/// A channel with its first value, which counts as seen.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let (value, receivers) = (Some(Arc::new(value)), Sleepers::default());
    let state = Mutex::new(State { value, version: 0, receivers, senders: 1 });
    let sender = Sender { shared: Arc::new(Shared { state, closers: Closers::new() }) };
    let receiver = sender.subscribe();
    (sender, receiver)
}

/// The sending end. Each clone is one.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Replaces the value, and wakes every receiver that waits.
    ///
    /// # Errors
    /// When there is no receiver; the value comes back, and the old one stays.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if lock(&self.shared.state).receivers.count() == 0 {
            return Err(SendError(value));
        }
        contain::discard(self.send_replace(value));
        Ok(())
    }

    /// Replaces the value, with or without receivers, and returns the one before.
    pub fn send_replace(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        let (before, woken) = lock(&self.shared.state).replace(value);
        contain::wake_all(woken);
        coop::made_progress();
        before
    }

    /// Replaces the value by what `next` makes of it, and returns the one before. If another sender replaces the
    /// value meanwhile, `next` is called again with that one.
    pub fn update(&self, mut next: impl FnMut(&T) -> T) -> Arc<T> {
        loop {
            let (seen, version) = {
                let state = lock(&self.shared.state);
                (state.value(), state.version)
            };
            let value = Arc::new(next(&seen));
            let mut state = lock(&self.shared.state);
            if state.version != version {
                drop(state);
                contain::discard(value);
                contain::discard(seen);
                continue;
            }
            // `seen` is another reference to the value before, so nothing of the user's is dropped here.
            let (_before, woken) = state.replace(value);
            drop(state);
            contain::wake_all(woken);
            coop::made_progress();
            return seen;
        }
    }

    /// The latest value.
    pub fn borrow(&self) -> Arc<T> {
        lock(&self.shared.state).value()
    }

    /// A receiver, for which the latest value counts as seen.
    pub fn subscribe(&self) -> Receiver<T> {
        let mut state = lock(&self.shared.state);
        let (key, seen) = (state.receivers.add(), state.version);
        Receiver { shared: Arc::clone(&self.shared), key, seen }
    }

    /// The number of receivers.
    pub fn receiver_count(&self) -> usize {
        lock(&self.shared.state).receivers.count()
    }

    /// Whether there is no receiver. It may change: see [`subscribe`](Self::subscribe).
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
    }

    /// Waits until there is no receiver.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn closed(&self) {
        self.shared.closers.wait(|| self.is_closed()).await;
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        lock(&self.shared.state).senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.senders -= 1;
        let woken = if state.senders == 0 { state.receivers.take_all() } else { Vec::new() };
        drop(state);
        contain::wake_all(woken);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("receivers", &self.receiver_count()).finish()
    }
}

/// The receiving end. A clone has seen what the original has seen.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    key: Key,
    /// The version that was seen last.
    seen: u64,
}

impl<T> Receiver<T> {
    /// The latest value, which stays unseen if it was.
    pub fn borrow(&self) -> Arc<T> {
        lock(&self.shared.state).value()
    }

    /// The latest value, which is seen from here on.
    pub fn borrow_and_update(&mut self) -> Arc<T> {
        let state = lock(&self.shared.state);
        self.seen = state.version;
        state.value()
    }

    /// Whether there is a value that was not seen.
    ///
    /// # Errors
    /// When there is none, and every sender is gone.
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        let state = lock(&self.shared.state);
        match state.version != self.seen {
            false if state.senders == 0 => Err(RecvError),
            changed => Ok(changed),
        }
    }

    /// Waits for a value that was not seen, which is seen from here on.
    ///
    /// # Errors
    /// When every sender is gone, and the last value was seen.
    ///
    /// # Cancel safety
    /// Cancel safe: what was not seen stays unseen.
    pub async fn changed(&mut self) -> Result<(), RecvError> {
        poll_fn(|cx| self.poll_changed(cx)).await
    }

    /// Polls what [`changed`](Self::changed) awaits, for hand-written futures.
    ///
    /// # Errors
    /// As [`changed`](Self::changed).
    pub fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        let progress = ready!(coop::poll_proceed(cx));
        let shared = Arc::clone(&self.shared);
        let mut fresh = Fresh::none();
        let changed = loop {
            let mut state = lock(&shared.state);
            if state.version != self.seen || state.senders == 0 {
                break std::mem::replace(&mut self.seen, state.version) != state.version;
            }
            if state.receivers.register(self.key, &mut fresh, cx.waker()) {
                return Poll::Pending;
            }
            drop(state);
            fresh.make(cx.waker());
        };
        progress.made();
        Poll::Ready(if changed { Ok(()) } else { Err(RecvError) })
    }

    /// Waits until the latest value, seen or not, is as `wanted` says.
    ///
    /// # Errors
    /// When every sender is gone, and the last value is not.
    ///
    /// # Cancel safety
    /// Cancel safe: the values that were looked at count as seen.
    pub async fn wait_for(
        &mut self,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Result<Arc<T>, RecvError> {
        loop {
            let progress = poll_fn(|cx| coop::poll_proceed(cx)).await;
            let value = self.borrow_and_update();
            if wanted(&value) {
                progress.made();
                return Ok(value);
            }
            // A sender may have replaced it; kept, it would live as long as the wait.
            contain::discard(value);
            self.changed().await?;
        }
    }

    /// Waits for a value that was not seen, on a plain thread, for `timeout` at most if there is one, and
    /// returns whether there is such a value.
    ///
    /// # Errors
    /// As [`changed`](Self::changed).
    ///
    /// # Panics
    /// Inside a runtime.
    pub fn changed_blocking(&mut self, timeout: Option<Duration>) -> Result<bool, RecvError> {
        match waiting::wait(timeout, |cx| self.poll_changed(cx)) {
            Some(changed) => changed.map(|()| true),
            None => Ok(false),
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let key = lock(&self.shared.state).receivers.add();
        Self { shared: Arc::clone(&self.shared), key, seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        let own = state.receivers.remove(self.key);
        let is_last = state.receivers.count() == 0;
        drop(state);
        contain::discard(own);
        if is_last {
            self.shared.closers.wake();
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("seen", &self.seen).finish()
    }
}
