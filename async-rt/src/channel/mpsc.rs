//! Many senders, one receiver, on any threads.
//!
//! A send and a receive take no lock, unless one side sleeps.

use super::error::{
    CapacityError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use super::permits::Refused;
use super::queue::{Queue, Tail};
use super::waiting::{self, awaits_values, blocks_for_values, blocks_to_send};
use crate::coop;
use crate::sync::Arc;
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

/// A channel with room for `capacity` values.
///
/// # Panics
/// Where [`try_channel`] returns an error.
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    try_channel(capacity).unwrap_or_else(|error| panic!("{error}"))
}

/// A channel with room for `capacity` values.
///
/// # Errors
/// When `capacity` is zero, or more than the memory holds.
pub fn try_channel<T>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), CapacityError> {
    let queue = Arc::new(Queue::new(capacity)?);
    let tail = Tail::new(Arc::clone(&queue));
    Ok((Sender { queue }, Receiver { tail }))
}

/// The sending end. Each clone is one.
pub struct Sender<T> {
    queue: Arc<Queue<T>>,
}

impl<T> Sender<T> {
    /// Sends `value`, waiting for room.
    ///
    /// # Errors
    /// When the receiver is gone or closed; the value comes back.
    ///
    /// # Cancel safety
    /// A send that is cancelled has sent nothing; its value is dropped with it, and its turn goes to
    /// the next sender. [`reserve`](Self::reserve) keeps the value.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        match self.wait().await {
            Ok(()) => self.post(value).map_err(SendError),
            Err(_) => Err(SendError(value)),
        }
    }

    async fn wait(&self) -> Result<(), Refused> {
        let mut room = self.queue.take(1);
        poll_fn(|cx| room.poll(cx)).await
    }

    /// Sends `value`, if there is room and no other sender waits for it.
    ///
    /// # Errors
    /// When there is no room, or no receiver; the value comes back.
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.queue.room().try_take(1) {
            Ok(()) => {
                self.post(value).map_err(TrySendError::Closed)?;
                coop::made_progress();
                Ok(())
            }
            Err(Refused::Full) => Err(TrySendError::Full(value)),
            Err(Refused::Closed) => Err(TrySendError::Closed(value)),
        }
    }

    /// Waits for room and keeps it for one value.
    ///
    /// # Errors
    /// When the receiver is gone or closed.
    ///
    /// # Cancel safety
    /// Cancel safe: the turn of a cancelled call goes to the next sender.
    pub async fn reserve(&self) -> Result<Permit<'_, T>, SendError<()>> {
        match self.wait().await {
            Ok(()) => Ok(Permit { queue: Some(&self.queue) }),
            Err(_) => Err(SendError(())),
        }
    }

    /// Room for one value, if it is there and no other sender waits for it.
    ///
    /// # Errors
    /// When there is no room, or no receiver.
    pub fn try_reserve(&self) -> Result<Permit<'_, T>, TrySendError<()>> {
        match self.queue.room().try_take(1) {
            Ok(()) => {
                coop::made_progress();
                Ok(Permit { queue: Some(&self.queue) })
            }
            Err(Refused::Full) => Err(TrySendError::Full(())),
            Err(Refused::Closed) => Err(TrySendError::Closed(())),
        }
    }

    fn room_within(&self, timeout: Option<Duration>) -> Option<Result<(), Refused>> {
        let mut room = self.queue.take(1);
        waiting::wait(timeout, |cx| room.poll(cx))
    }

    #[inline]
    fn post(&self, value: T) -> Result<(), T> {
        self.queue.post(value)
    }

    /// Waits until the receiver is gone or closed: nothing that is sent from then on is received. Any
    /// number of senders may wait.
    ///
    /// ```
    /// use lastout_async_rt::{Runtime, channel::mpsc, spawn_boxed, time::sleep};
    /// use futures_util::future::{Either, select};
    /// use std::{pin::pin, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (send, mut recv) = mpsc::channel(1);
    /// let sent = Runtime::new()?.block_on(async {
    ///     let producer = spawn_boxed(async move {
    ///         let mut sent = 0;
    ///         loop {
    ///             let work = pin!(sleep(Duration::from_micros(10))); // for each value
    ///             if let Either::Left(_) = select(pin!(send.closed()), work).await {
    ///                 return sent;
    ///             }
    ///             sent += u32::from(send.send(sent).await.is_ok());
    ///         }
    ///     });
    ///     assert_eq!((recv.recv().await, recv.recv().await), (Some(0), Some(1)));
    ///     drop(recv);
    ///     producer.await
    /// })?;
    /// assert!((2..=3).contains(&sent));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn closed(&self) {
        self.queue.room().closed().await;
    }

    /// Whether the receiver is gone or closed.
    pub fn is_closed(&self) -> bool {
        self.queue.room().is_closed()
    }

    /// Room that no value and no sender has taken.
    pub fn room(&self) -> usize {
        self.queue.room().free()
    }

    /// Whether both send to the same receiver.
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.queue, &other.queue)
    }
}

blocks_to_send!([&] self);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.queue.add_sender();
        Self { queue: Arc::clone(&self.queue) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.queue.remove_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("closed", &self.is_closed()).finish()
    }
}

/// Room for one value. Dropped, it is given back.
#[must_use = "room that is dropped is given back"]
pub struct Permit<'a, T> {
    /// `None` once the value is sent.
    queue: Option<&'a Queue<T>>,
}

impl<T> Permit<'_, T> {
    /// Sends `value`, even after the receiver has closed the channel.
    ///
    /// # Errors
    /// When the receiver is gone; the value comes back.
    pub fn send(mut self, value: T) -> Result<(), SendError<T>> {
        match self.queue.take() {
            Some(queue) => queue.post(value).map_err(SendError),
            None => Err(SendError(value)),
        }
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        if let Some(queue) = self.queue {
            queue.give_room();
        }
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// The receiving end, and a [`Stream`](futures_core::Stream) of the values.
pub struct Receiver<T> {
    tail: Tail<T>,
}

impl<T> Receiver<T> {
    /// Polls what [`recv`](Self::recv) awaits, for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.tail.poll_pop(cx)
    }

    /// The next value, if it is there.
    ///
    /// # Errors
    /// When there is none now, or none will come.
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.tail.try_pop()
    }

    /// Closes the channel to new values. What was sent before, and what is sent through a [`Permit`]
    /// that is out, is still received.
    pub fn close(&mut self) {
        self.tail.close();
    }

    /// Values that wait to be received.
    pub fn len(&self) -> usize {
        self.tail.len()
    }

    /// Whether no value waits to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

awaits_values!(
    "`None` when every sender is gone, or after [`close`](Self::close), and nothing is left."
);
blocks_for_values!();

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish()
    }
}
