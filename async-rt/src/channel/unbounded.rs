//! Many senders, one receiver, on any threads, and room for everything: the list of nodes by which
//! wake-ups reach a runtime, with values in the nodes. A send is one exchange, takes no lock, and
//! never waits; what bounds the memory is the caller.
//!
//! The invariants are those of the inbox, and **I18**: the end of the last sender is heard by a
//! receiver that sleeps.
#![expect(unsafe_code, reason = "gives boxes to the inbox and takes them back")]

use super::error::{RecvTimeoutError, SendError, TryRecvError};
use super::sleepers::{Closers, Seat};
use super::waiting::{self, awaits_values, blocks_for_values};
use crate::contain;
use crate::coop;
use crate::inbox::{Batch, Inbox, Node, Pushed};
use crate::sync::{Arc, AtomicPtr, AtomicUsize, Ordering, on};
use std::fmt;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll, ready};

struct Letter<T> {
    next: AtomicPtr<Self>,
    value: T,
}

// SAFETY: `next` is one field, which nothing else uses.
unsafe impl<T> Node for Letter<T> {
    fn next(&self) -> &AtomicPtr<Self> {
        &self.next
    }
}

/// A letter leaves the inbox, or was refused by it.
fn open<T>(letter: NonNull<Letter<T>>) -> T {
    // SAFETY: `send` made it from a box, and an inbox hands each node out once.
    let letter = unsafe { Box::from_raw(letter.as_ptr()) };
    letter.value
}

struct Shared<T> {
    inbox: Inbox<Letter<T>>,
    receiver: Seat,
    senders: AtomicUsize,
    closers: Closers,
}

/// A channel without a bound.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (inbox, receiver) = (Inbox::new(), Seat::new());
    let (senders, closers) = (AtomicUsize::new(1), Closers::new());
    let shared = Arc::new(Shared { inbox, receiver, senders, closers });
    let sender = Sender { shared: Arc::clone(&shared) };
    (sender, Receiver { shared, taken: Taken(Batch::EMPTY), last: None })
}

/// The sending end. Each clone is one.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends `value`, at once, from any thread.
    ///
    /// # Errors
    /// When the receiver is gone or closed; the value comes back.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let letter = Box::new(Letter { next: AtomicPtr::new(ptr::null_mut()), value });
        // From here on the inbox has it; `open` makes it a box again.
        let Some(letter) = NonNull::new(Box::into_raw(letter)) else { unreachable!("a box") };
        // SAFETY: the letter is new, and lives until `open`.
        match unsafe { self.shared.inbox.push(letter) } {
            Pushed::Queued => {}
            Pushed::MustUnpark => self.shared.receiver.wake(),
            Pushed::Closed => return Err(SendError(open(letter))),
        }
        coop::made_progress();
        Ok(())
    }

    /// Waits until the receiver is gone or closed: nothing that is sent from then on is received. Any
    /// number of senders may wait.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn closed(&self) {
        self.shared.closers.wait(|| self.is_closed()).await;
    }

    /// Whether the receiver is gone or closed.
    pub fn is_closed(&self) -> bool {
        self.shared.inbox.is_closed()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // ORDERING: pairs with the load of `Receiver::is_over`: what this sender sent is seen. Models
        // have no mutant for the pair: there an exchange, such as `take_all`, is never early.
        if self.shared.senders.fetch_sub(1, Ordering::Release) == 1 && on("i18.wake") {
            self.shared.receiver.wake();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("closed", &self.is_closed()).finish()
    }
}

/// Letters that were taken out of the inbox and not yet opened.
struct Taken<T>(Batch<Letter<T>>);

// SAFETY: a batch owns its letters, whose values may move between threads.
unsafe impl<T: Send> Send for Taken<T> {}
// SAFETY: nothing of a batch can be reached through a shared reference.
unsafe impl<T: Send> Sync for Taken<T> {}

/// The receiving end, and a [`Stream`](futures_core::Stream) of the values.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    taken: Taken<T>,
    /// What came between the last look and the close.
    last: Option<Taken<T>>,
}

impl<T> Receiver<T> {
    /// Polls what [`recv`](Self::recv) awaits, for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let progress = ready!(coop::poll_proceed(cx));
        let mut value = self.pop();
        if value.is_none() && !self.is_over() {
            self.shared.receiver.register(cx.waker());
            if self.shared.inbox.park() && !self.is_over() {
                return Poll::Pending;
            }
            self.shared.receiver.clear();
        }
        if value.is_none() {
            value = self.pop();
        }
        progress.made();
        Poll::Ready(value)
    }

    /// The next value, if it is there.
    ///
    /// # Errors
    /// When there is none now, or none will come.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let value = match self.pop() {
            None if self.is_over() => self.pop().ok_or(TryRecvError::Closed)?,
            value => value.ok_or(TryRecvError::Empty)?,
        };
        coop::made_progress();
        Ok(value)
    }

    fn pop(&mut self) -> Option<T> {
        if self.taken.0.is_empty() {
            self.taken = match &mut self.last {
                Some(last) => Taken(std::mem::replace(&mut last.0, Batch::EMPTY)),
                None => Taken(self.shared.inbox.take_all()),
            };
        }
        self.taken.0.pop().map(open)
    }

    /// Whether nothing will be sent any more.
    fn is_over(&self) -> bool {
        // ORDERING: pairs with the end of a sender.
        self.last.is_some() || self.shared.senders.load(Ordering::Acquire) == 0
    }

    /// Closes the channel to new values. What was sent before is still received.
    pub fn close(&mut self) {
        if self.last.is_none() {
            self.last = Some(Taken(self.shared.inbox.close()));
            self.shared.closers.wake();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        while let Some(value) = self.pop() {
            contain::discard(value);
        }
        self.shared.receiver.clear();
    }
}

awaits_values!(
    "`None` when every sender is gone, or after [`close`](Self::close), and nothing is left."
);
blocks_for_values!();

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
