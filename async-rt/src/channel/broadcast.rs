//! Many senders and many receivers, on any threads: each receiver receives each value sent after it
//! began.
//!
//! The channel keeps as many values as its capacity. A sender never waits: it drops the oldest value,
//! and each receiver that had not received that one is told how many it lost. A value that every
//! receiver has received is dropped at once.
//!
//! Sends and receives take short locks. Values are cloned and dropped outside of it.

use super::error::{CapacityError, SendError};
use super::permits::Fresh;
use super::sleepers::{Closers, Key, Sleepers};
use super::waiting;
use crate::contain;
use crate::coop;
use crate::sync::{Arc, Mutex, lock};
use futures_core::Stream;
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Why a receiver received nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// So many values were dropped before this receiver received them. It goes on with the oldest
    /// value that is left.
    Lagged(u64),
    /// Every sender is gone, and nothing is left.
    Closed,
    /// None is there now; only from [`Receiver::try_recv`] and when a time passed.
    Empty,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(lost) => write!(f, "the receiver was too slow and lost {lost} values"),
            Self::Closed => f.write_str("the senders of the channel are gone"),
            Self::Empty => f.write_str("the channel is empty"),
        }
    }
}

impl Error for RecvError {}

struct Entry<T> {
    value: Arc<T>,
    /// Receivers that have not received it.
    unseen: usize,
}

struct State<T> {
    entries: VecDeque<Entry<T>>,
    /// The number of the oldest entry.
    first: u64,
    receivers: Sleepers,
    senders: usize,
}

impl<T> State<T> {
    /// The number that the next value will have.
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// A receiver has done with the entries from number `from` to the one before `to`; what every
    /// receiver has received, to be dropped after the lock.
    fn see(&mut self, from: u64, to: u64) -> Vec<Arc<T>> {
        let skip = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let count = usize::try_from(to.saturating_sub(from.max(self.first))).unwrap_or(usize::MAX);
        self.entries.iter_mut().skip(skip).take(count).for_each(|entry| entry.unseen -= 1);
        let mut seen = Vec::new();
        while self.entries.front().is_some_and(|entry| entry.unseen == 0) {
            seen.extend(self.pop());
        }
        seen
    }

    fn pop(&mut self) -> Option<Arc<T>> {
        let entry = self.entries.pop_front()?;
        self.first += 1;
        Some(entry.value)
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    capacity: usize,
    /// Senders that wait for the last receiver to end.
    closers: Closers,
}

/// A channel that keeps `capacity` values for receivers that are slow.
///
/// # Panics
/// When `capacity` is zero.
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    try_channel(capacity).unwrap_or_else(|error| panic!("{error}"))
}

/// A channel that keeps `capacity` values for receivers that are slow. It uses memory only for those
/// that are there.
///
/// # Errors
/// When `capacity` is zero.
pub fn try_channel<T>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), CapacityError> {
    if capacity == 0 {
        return Err(CapacityError { capacity });
    }
    let (entries, receivers) = (VecDeque::new(), Sleepers::default());
    let state = Mutex::new(State { entries, first: 0, receivers, senders: 1 });
    let shared = Shared { state, capacity, closers: Closers::new() };
    let sender = Sender { shared: Arc::new(shared) };
    let receiver = sender.subscribe();
    Ok((sender, receiver))
}

/// The sending end. Each clone is one.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends `value` to every receiver, and returns how many there are.
    ///
    /// # Errors
    /// When there is none; the value comes back. Later ones are possible: see
    /// [`subscribe`](Self::subscribe).
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        let mut state = lock(&self.shared.state);
        let receivers = state.receivers.count();
        if receivers == 0 {
            return Err(SendError(value));
        }
        let oldest = if state.entries.len() < self.shared.capacity { None } else { state.pop() };
        state.entries.push_back(Entry { value: Arc::new(value), unseen: receivers });
        let woken = state.receivers.take_all();
        drop(state);
        contain::wake_all(woken);
        contain::discard(oldest);
        coop::made_progress();
        Ok(receivers)
    }

    /// A receiver of the values sent from here on.
    pub fn subscribe(&self) -> Receiver<T> {
        let mut state = lock(&self.shared.state);
        let (key, next) = (state.receivers.add(), state.end());
        Receiver { shared: Arc::clone(&self.shared), key, next }
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

    /// Values that some receiver has not received.
    pub fn len(&self) -> usize {
        lock(&self.shared.state).entries.len()
    }

    /// Whether every receiver has received everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

/// The receiving end, and a [`Stream`] of the values, in which an error is a number of lost ones.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    key: Key,
    /// The number of the value that is next.
    next: u64,
}

impl<T> Receiver<T> {
    /// A receiver of the values sent from here on.
    pub fn resubscribe(&self) -> Self {
        let mut state = lock(&self.shared.state);
        let (key, next) = (state.receivers.add(), state.end());
        Self { shared: Arc::clone(&self.shared), key, next }
    }

    /// Values that this receiver has not received, those that it lost included.
    pub fn len(&self) -> u64 {
        lock(&self.shared.state).end() - self.next
    }

    /// Whether this receiver has received everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is next; nothing is registered.
    fn look(&mut self, state: &mut State<T>) -> Result<Next<T>, RecvError> {
        if self.next < state.first {
            let lost = state.first - self.next;
            self.next = state.first;
            return Err(RecvError::Lagged(lost));
        }
        let index = usize::try_from(self.next - state.first).unwrap_or(usize::MAX);
        match state.entries.get(index) {
            Some(entry) if entry.unseen > 1 => Ok(Next::Shared(Arc::clone(&entry.value))),
            // The receivers that lack an entry lack every later one, too: where only this receiver
            // lacks it, it is the oldest.
            Some(_) => {
                self.next += 1;
                Ok(Next::Own(state.pop().expect("the oldest entry")))
            }
            None if state.senders == 0 => Err(RecvError::Closed),
            None => Err(RecvError::Empty),
        }
    }
}

/// The value that is next for a receiver.
enum Next<T> {
    /// The other receivers have received it, and let go of it before they said so.
    Own(Arc<T>),
    /// The receiver has not received it before it has a clone.
    Shared(Arc<T>),
}

impl<T: Clone> Receiver<T> {
    /// The next value.
    ///
    /// # Errors
    /// [`RecvError::Lagged`] when values were lost, [`RecvError::Closed`] when every sender is gone and
    /// nothing is left.
    ///
    /// # Panics
    /// When the value's `clone` panics. The value stays the next one.
    ///
    /// # Cancel safety
    /// Cancel safe: no value is lost.
    pub async fn recv(&mut self) -> Result<T, RecvError> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Polls what [`recv`](Self::recv) awaits, for hand-written futures.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let progress = ready!(coop::poll_proceed(cx));
        let shared = Arc::clone(&self.shared);
        let mut fresh = Fresh::none();
        let looked = loop {
            let mut state = lock(&shared.state);
            let looked = self.look(&mut state);
            if !matches!(looked, Err(RecvError::Empty)) {
                break looked;
            }
            if state.receivers.register(self.key, &mut fresh, cx.waker()) {
                return Poll::Pending;
            }
            drop(state);
            fresh.make(cx.waker());
        };
        progress.made();
        Poll::Ready(looked.map(|next| self.receive(next)))
    }

    /// The next value, if it is there.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`RecvError::Empty`] when there is none now.
    pub fn try_recv(&mut self) -> Result<T, RecvError> {
        let shared = Arc::clone(&self.shared);
        let looked = self.look(&mut lock(&shared.state))?;
        coop::made_progress();
        Ok(self.receive(looked))
    }

    /// The next value, for a plain thread, which sleeps until there is one, for `timeout` at most if
    /// there is one.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`RecvError::Empty`] when the time passed.
    ///
    /// # Panics
    /// Inside a runtime.
    pub fn recv_blocking(&mut self, timeout: Option<Duration>) -> Result<T, RecvError> {
        waiting::wait(timeout, |cx| self.poll_recv(cx)).unwrap_or(Err(RecvError::Empty))
    }

    /// The value itself for the last receiver of it, a clone for the others.
    fn receive(&mut self, next: Next<T>) -> T {
        let shared = match next {
            Next::Own(value) => {
                return Arc::try_unwrap(value).ok().expect("every other receiver let go of it");
            }
            Next::Shared(value) => value,
        };
        let value = T::clone(&shared);
        contain::discard(shared);
        let mut state = lock(&self.shared.state);
        let seen = state.see(self.next, self.next + 1);
        self.next += 1;
        drop(state);
        contain::discard_all(seen);
        value
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        let own = state.receivers.remove(self.key);
        let end = state.end();
        let seen = state.see(self.next, end);
        let is_last = state.receivers.count() == 0;
        drop(state);
        contain::discard(own);
        contain::discard_all(seen);
        if is_last {
            self.shared.closers.wake();
        }
    }
}

impl<T: Clone> Stream for Receiver<T> {
    type Item = Result<T, RecvError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx).map(|received| match received {
            Err(RecvError::Closed) => None,
            received => Some(received),
        })
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish()
    }
}
