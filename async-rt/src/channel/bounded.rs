//! The bounded queue of a channel on one thread: permits for its room, and one receiver.

use super::permits::{Fresh, Permits, Refused, Wakes, Woken};
use super::store::{HasPermits, Store};
use crate::coop;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::task::{Context, Poll, ready};

/// The state of a channel.
pub(crate) struct Bounded<T, W> {
    pub(crate) permits: Permits<W>,
    queue: VecDeque<T>,
    senders: usize,
    receiver: Option<W>,
    /// All of its room, of which a value, and a sender that has not pushed its own yet, has one unit.
    capacity: usize,
    /// The receiver is gone.
    gone: bool,
}

impl<T, W: Wakes> HasPermits<W> for Bounded<T, W> {
    fn permits(&mut self) -> &mut Permits<W> {
        &mut self.permits
    }

    fn after_leave(&mut self, woken: &mut Woken<W>) {
        self.tell_of_the_end(woken);
    }
}

impl<T, W: Wakes> Bounded<T, W> {
    /// A channel with room for `capacity`, and one sender.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            permits: Permits::new(capacity),
            queue: VecDeque::new(),
            senders: 1,
            receiver: None,
            capacity,
            gone: false,
        }
    }

    /// Pushes a value whose room the caller has taken; whom to wake, or the value when the receiver
    /// is gone.
    pub(crate) fn push(&mut self, value: T) -> Result<Option<W>, T> {
        if self.gone {
            return Err(value);
        }
        self.queue.push_back(value);
        Ok(self.receiver.take())
    }

    /// Takes room and pushes.
    pub(crate) fn try_push(&mut self, value: T) -> Result<Option<W>, (Refused, T)> {
        match self.permits.try_take(1) {
            Ok(()) => self.push(value).map_err(|value| (Refused::Closed, value)),
            Err(refused) => Err((refused, value)),
        }
    }

    /// The next value, whose room stays taken; `None` inside means that there will be no more.
    pub(crate) fn pop(&mut self) -> Poll<Option<T>> {
        match self.queue.pop_front() {
            Some(value) => Poll::Ready(Some(value)),
            None if self.senders == 0 || self.is_over() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Whether it is closed and all room has come back, so that no more will come out of it.
    fn is_over(&self) -> bool {
        self.permits.is_closed() && self.permits.available() == self.capacity
    }

    /// Room for one value comes back.
    pub(crate) fn give_room(&mut self, woken: &mut Woken<W>) {
        self.permits.release(1, woken);
        self.tell_of_the_end(woken);
    }

    /// A receiver that waits for the last room of a closed channel hears that it has come back.
    fn tell_of_the_end(&mut self, woken: &mut Woken<W>) {
        if self.is_over() {
            woken.add(self.receiver.take());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn add_sender(&mut self) {
        self.senders += 1;
    }

    /// A sender ends; whom to wake.
    pub(crate) fn remove_sender(&mut self) -> Option<W> {
        self.senders -= 1;
        if self.senders == 0 { self.receiver.take() } else { None }
    }

    /// The receiver takes no more; senders learn of it. What was sent before can still be taken.
    pub(crate) fn close(&mut self, woken: &mut Woken<W>) {
        self.permits.close(woken);
    }

    /// The receiver is gone; the values that it did not take, to be dropped after the lock.
    pub(crate) fn abandon(&mut self, woken: &mut Woken<W>) -> (VecDeque<T>, Option<W>) {
        self.gone = true;
        self.close(woken);
        (std::mem::take(&mut self.queue), self.receiver.take())
    }
}

/// The receiving end of a stored channel.
pub(crate) struct Tail<T, W, P>(pub(crate) P, pub(crate) PhantomData<fn() -> (T, W)>);

impl<T, W: Wakes, P: Store<Bounded<T, W>>> Tail<T, W, P> {
    /// The next value, whose room stays taken.
    pub(crate) fn poll_pop(&self, cx: &Context<'_>) -> Poll<Option<T>> {
        let progress = ready!(coop::poll_proceed(cx));
        let mut fresh = Fresh::none();
        loop {
            let looked = self.0.with(|state| match state.pop() {
                Poll::Pending => Err(fresh.settle(&mut state.receiver, cx.waker())),
                popped => Ok(popped),
            });
            match looked {
                Ok(popped) => {
                    progress.made();
                    return popped;
                }
                Err(true) => return Poll::Pending,
                Err(false) => fresh.make(cx.waker()),
            }
        }
    }
}
