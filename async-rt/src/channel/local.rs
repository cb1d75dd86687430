//! Many senders, one receiver, all on one thread; values need not be `Send`.

use super::bounded::{Bounded, Tail};
use super::error::{CapacityError, SendError, TryRecvError, TrySendError};
use super::permits::{Refused, Wakes, Woken};
use super::sleepers::Closers;
use super::store::{Acquire, Store};
use super::waiting::awaits_values;
use crate::contain;
use crate::coop;
use crate::task::raw::WakerSlot;
use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

type State<T> = Bounded<T, WakerSlot>;
type Shared<T> = Rc<Channel<T>>;

/// What the ends share.
struct Channel<T> {
    state: RefCell<State<T>>,
    /// Senders that wait for the close.
    closers: Closers,
}

impl<T> Store<State<T>> for Shared<T> {
    fn new(state: State<T>) -> Self {
        Self::new(Channel { state: RefCell::new(state), closers: Closers::new() })
    }
    fn with<R>(&self, work: impl FnOnce(&mut State<T>) -> R) -> R {
        work(&mut self.state.borrow_mut())
    }
}

/// A channel with room for `capacity` values.
///
/// # Panics
/// When `capacity` is zero.
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    try_channel(capacity).unwrap_or_else(|error| panic!("{error}"))
}

/// A channel with room for `capacity` values. It uses memory only for those that are there.
///
/// # Errors
/// When `capacity` is zero.
pub fn try_channel<T>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), CapacityError> {
    if capacity == 0 {
        return Err(CapacityError { capacity });
    }
    let shared: Shared<T> = Store::new(State::new(capacity));
    let tail = Tail(shared.clone(), PhantomData);
    Ok((Sender { shared }, Receiver { tail }))
}

/// The sending end.
pub struct Sender<T> {
    shared: Shared<T>,
}

impl<T> Sender<T> {
    /// Sends `value`, waiting for room.
    ///
    /// # Errors
    /// When the receiver is gone or closed; the value comes back.
    ///
    /// # Cancel safety
    /// A send that is cancelled has sent nothing; its value is dropped with it, and its
    /// turn goes to the next sender.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        match self.wait().await {
            Ok(()) => self.push(value),
            Err(_) => Err(SendError(value)),
        }
    }

    async fn wait(&self) -> Result<(), Refused> {
        let mut room = Acquire::<State<T>, WakerSlot, Shared<T>>::new(self.shared.clone(), 1);
        poll_fn(|cx| room.poll(cx)).await
    }

    fn push(&self, value: T) -> Result<(), SendError<T>> {
        let woken = self.shared.with(|state| state.push(value)).map_err(SendError)?;
        woken.into_iter().for_each(Wakes::wake);
        Ok(())
    }

    /// Sends `value`, if there is room and no other sender waits for it.
    ///
    /// # Errors
    /// When there is no room, or no receiver; the value comes back.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.shared.with(|state| state.try_push(value)) {
            Ok(woken) => {
                woken.into_iter().for_each(Wakes::wake);
                coop::made_progress();
                Ok(())
            }
            Err((Refused::Full, value)) => Err(TrySendError::Full(value)),
            Err((Refused::Closed, value)) => Err(TrySendError::Closed(value)),
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
            Ok(()) => Ok(Permit { sender: Some(self) }),
            Err(_) => Err(SendError(())),
        }
    }

    /// Waits until the receiver is gone or closed.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn closed(&self) {
        self.shared.closers.wait(|| self.is_closed()).await;
    }

    /// Whether the receiver is gone or closed.
    pub fn is_closed(&self) -> bool {
        self.shared.with(|state| state.permits.is_closed())
    }

    /// The room that is free.
    pub fn room(&self) -> usize {
        self.shared.with(|state| state.permits.available())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.with(State::add_sender);
        Self { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let woken = self.shared.with(State::remove_sender);
        woken.into_iter().for_each(Wakes::wake);
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
    sender: Option<&'a Sender<T>>,
}

impl<T> Permit<'_, T> {
    /// Sends `value`, even after the receiver has closed the channel.
    ///
    /// # Errors
    /// When the receiver is gone; the value comes back.
    pub fn send(mut self, value: T) -> Result<(), SendError<T>> {
        match self.sender.take() {
            Some(sender) => sender.push(value),
            None => Err(SendError(value)),
        }
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        let Some(sender) = self.sender else { return };
        let mut woken = Woken::default();
        sender.shared.with(|state| state.give_room(&mut woken));
        woken.wake();
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// The receiving end, and a [`Stream`](futures_core::Stream) of the values.
pub struct Receiver<T> {
    tail: Tail<T, WakerSlot, Shared<T>>,
}

impl<T> Receiver<T> {
    /// Polls what [`recv`](Self::recv) awaits, for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let value = ready!(self.tail.poll_pop(cx));
        if value.is_some() {
            self.make_room();
        }
        Poll::Ready(value)
    }

    /// The next value, if it is there.
    ///
    /// # Errors
    /// When there is none now, or none will come.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.tail.0.with(State::pop) {
            Poll::Ready(Some(value)) => {
                self.make_room();
                coop::made_progress();
                Ok(value)
            }
            Poll::Ready(None) => Err(TryRecvError::Closed),
            Poll::Pending => Err(TryRecvError::Empty),
        }
    }

    fn make_room(&self) {
        let mut woken = Woken::default();
        self.tail.0.with(|state| state.give_room(&mut woken));
        woken.wake();
    }

    /// Closes the channel to new values. What was sent before, and what is sent through a [`Permit`]
    /// that is out, is still received.
    pub fn close(&mut self) {
        let mut woken = Woken::default();
        self.tail.0.with(|state| state.close(&mut woken));
        woken.wake();
        self.tail.0.closers.wake();
    }

    /// Values that wait to be received.
    pub fn len(&self) -> usize {
        self.tail.0.with(|state| state.len())
    }

    /// Whether no value waits to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut woken = Woken::default();
        let (values, own) = self.tail.0.with(|state| state.abandon(&mut woken));
        values.into_iter().for_each(contain::discard);
        drop(own);
        woken.wake();
        self.tail.0.closers.wake();
    }
}

awaits_values!(
    "`None` when every sender is gone, or after [`close`](Self::close), and nothing is left."
);

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish()
    }
}
