//! One value, once, between any two tasks or threads.
//!
//! - **I13** A receiver that found nothing is woken by the value, or by the end of the sender.

use super::error::{RecvError, RecvTimeoutError, TryRecvError};
use super::permits::Fresh;
use super::waiting;
use crate::contain;
use crate::coop;
use crate::sync::{Arc, Mutex, lock, on};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

struct State<T> {
    value: Option<T>,
    /// Sent, or the sender is gone.
    sent: bool,
    /// The receiver is gone or closed.
    closed: bool,
    receiver: Option<Waker>,
    /// The sender, if it waits for the close.
    sender: Option<Waker>,
}

impl<T> State<T> {
    /// Whether no value will come beside the one that may be here.
    fn is_over(&self) -> bool {
        self.sent || self.closed
    }
}

type Shared<T> = Arc<Mutex<State<T>>>;

/// A channel for one value.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let state = State { value: None, sent: false, closed: false, receiver: None, sender: None };
    let shared = Arc::new(Mutex::new(state));
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

/// Sends the value.
pub struct Sender<T> {
    shared: Shared<T>,
}

impl<T> Sender<T> {
    /// Sends `value`.
    ///
    /// # Errors
    /// The value, when the receiver is gone or closed.
    pub fn send(self, value: T) -> Result<(), T> {
        let mut state = lock(&self.shared);
        if state.closed {
            return Err(value);
        }
        state.value = Some(value);
        drop(state);
        coop::made_progress();
        Ok(())
    }

    /// Whether the receiver is gone or closed.
    pub fn is_closed(&self) -> bool {
        lock(&self.shared).closed
    }

    /// Waits until the receiver is gone or closed.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn closed(&mut self) {
        poll_fn(|cx| self.poll_closed(cx)).await;
    }

    /// Polls what [`closed`](Self::closed) awaits, for hand-written futures: work that ends when its result is not
    /// wanted any more.
    ///
    /// ```
    /// use lastout_async_rt::{Runtime, channel::oneshot, spawn_boxed};
    /// use std::{future::{pending, poll_fn}, pin::pin, task::Poll};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut give, take) = oneshot::channel::<u32>();
    /// let finished = Runtime::new()?.block_on(async {
    ///     let job = spawn_boxed(async move {
    ///         let mut work = pin!(pending::<u32>()); // it would take for ever
    ///         let output = poll_fn(|cx| match give.poll_closed(cx) {
    ///             Poll::Ready(()) => Poll::Ready(None),
    ///             Poll::Pending => work.as_mut().poll(cx).map(Some),
    ///         });
    ///         match output.await {
    ///             Some(output) => give.send(output).is_ok(),
    ///             None => false,
    ///         }
    ///     });
    ///     drop(take);
    ///     job.await
    /// })?;
    /// assert!(!finished);
    /// # Ok(())
    /// # }
    /// ```
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let progress = ready!(coop::poll_proceed(cx));
        let mut fresh = Fresh::none();
        loop {
            let mut state = lock(&self.shared);
            if state.closed {
                break;
            }
            if fresh.settle(&mut state.sender, cx.waker()) {
                return Poll::Pending;
            }
            drop(state);
            fresh.make(cx.waker());
        }
        progress.made();
        Poll::Ready(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.sent = true;
        let (woken, own) = (state.receiver.take(), state.sender.take());
        drop(state);
        contain::discard(own);
        woken.into_iter().for_each(contain::wake);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("closed", &self.is_closed()).finish()
    }
}

/// Receives the value when awaited.
///
/// # Cancel safety
/// Awaiting `&mut receiver` loses nothing when it is cancelled.
#[must_use = "futures do nothing unless awaited"]
pub struct Receiver<T> {
    shared: Shared<T>,
}

impl<T> Receiver<T> {
    /// The value, if it is there.
    ///
    /// # Errors
    /// When it is not there now, or will never be, or was taken before.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut state = lock(&self.shared);
        let over = state.is_over();
        let value = state.value.take();
        drop(state);
        if value.is_some() {
            coop::made_progress();
        }
        value.ok_or(if over { TryRecvError::Closed } else { TryRecvError::Empty })
    }

    /// The value, for a plain thread, which sleeps until it is there, for `timeout` at most if there
    /// is one.
    ///
    /// # Errors
    /// When the time passed, or no value will come: the sender is gone, or the channel closed.
    ///
    /// # Panics
    /// Inside a runtime.
    pub fn recv_blocking(&mut self, timeout: Option<Duration>) -> Result<T, RecvTimeoutError> {
        match waiting::wait(timeout, |cx| Pin::new(&mut *self).poll(cx)) {
            Some(received) => received.map_err(|_| RecvTimeoutError::Closed),
            None => Err(RecvTimeoutError::TimedOut),
        }
    }

    /// Refuses the value from now on, and waits for it no longer; one that was sent before can still be
    /// received.
    pub fn close(&mut self) {
        let mut state = lock(&self.shared);
        state.closed = true;
        let woken = state.sender.take();
        drop(state);
        woken.into_iter().for_each(contain::wake);
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let progress = ready!(coop::poll_proceed(cx));
        let mut fresh = Fresh::none();
        let value = loop {
            let mut state = lock(&self.shared);
            if state.is_over() && (fresh.is_none() || on("i13.recheck")) {
                break state.value.take();
            }
            if fresh.settle(&mut state.receiver, cx.waker()) {
                return Poll::Pending;
            }
            drop(state);
            fresh.make(cx.waker());
        };
        progress.made();
        Poll::Ready(value.ok_or(RecvError))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        let mut state = lock(&self.shared);
        let (value, own) = (state.value.take(), state.receiver.take());
        drop(state);
        contain::discard(value);
        contain::discard(own);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("sent", &lock(&self.shared).sent).finish()
    }
}
