//! A reader of a stream.

use crate::core::Core;
use crate::event::Event;
use crate::state::{Id, Taken};
use crate::stats::SubscriberStats;
use crate::turn;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The most events that [`Subscriber::next_batch`] takes at once.
const BATCH: usize = 16;

/// One reader of a [`Stream`](crate::Stream): a place in the log and a policy.
///
/// It keeps the stream alive. Dropping it detaches it, and the source no longer waits for it.
#[must_use = "a subscriber that blocks and is not read holds up the source"]
pub struct Subscriber {
    core: Arc<Core>,
    id: Id,
}

impl Subscriber {
    pub(crate) fn new(core: Arc<Core>, id: Id) -> Self {
        Self { core, id }
    }

    /// The next event; `None` after the end.
    ///
    /// # Cancel safety
    ///
    /// The event is taken in the moment in which it is returned: dropping the future before that
    /// loses nothing, and the next call continues at the same byte.
    #[expect(clippy::should_implement_trait, reason = "the async `next`; an iterator would block")]
    pub fn next(&mut self) -> Next<'_> {
        Next { subscriber: self }
    }

    /// Waits for an event and appends it to `into`, with up to 15 more that are there already.
    /// Returns how many; 0 after the end.
    ///
    /// # Cancel safety
    ///
    /// Events are taken in the moment in which the future completes: dropping it before loses none.
    pub fn next_batch<'a>(&'a mut self, into: &'a mut Vec<Event>) -> NextBatch<'a> {
        NextBatch { subscriber: self, into }
    }

    /// The next event when it is there already; `Ready(None)` after the end.
    pub fn try_next(&mut self) -> Poll<Option<Event>> {
        match self.core.shared.try_read(self.id) {
            Taken::Event(event, _) => Poll::Ready(Some(event)),
            Taken::Empty => Poll::Pending,
            Taken::Finished => Poll::Ready(None),
        }
    }

    /// The building block of [`next`](Self::next), for futures written by hand.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        ready!(turn::poll_may(cx));
        let event = ready!(self.poll_here(cx));
        turn::took();
        Poll::Ready(event)
    }

    /// The next event, whatever the task has had in its turn.
    fn poll_here(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        Poll::Ready(ready!(self.poll_stamped(cx)).map(|(event, _)| event))
    }

    /// The next event and the number of its read; the caller sees to the turn of the task.
    pub(crate) fn poll_stamped(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Event, u64)>> {
        match ready!(self.core.shared.poll_read(self.id, cx)) {
            Taken::Event(event, number) => Poll::Ready(Some((event, number))),
            Taken::Finished => Poll::Ready(None),
            Taken::Empty => Poll::Pending,
        }
    }

    /// Waits for the next event on this thread; `None` after the end.
    ///
    /// Not for async code: it blocks the thread.
    #[cfg(feature = "blocking")]
    pub fn next_blocking(&mut self) -> Option<Event> {
        let unpark = crate::pump::thread::Unpark(std::thread::current());
        let waker = std::task::Waker::from(Arc::new(unpark));
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(event) = self.poll_here(&mut cx) {
                return event;
            }
            std::thread::park();
        }
    }

    /// The offset of the next byte: where another subscriber would have to start to continue here.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.stats().position
    }

    /// How many bytes are between here and the end of the stream.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.stats().lag
    }

    /// The account of this subscriber.
    #[must_use]
    pub fn stats(&self) -> SubscriberStats {
        self.core.shared.lock().stats_of(self.id)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.core.shared.detach(self.id);
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscriber").field(&self.stats()).finish()
    }
}

/// The future of [`Subscriber::next`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Next<'a> {
    subscriber: &'a mut Subscriber,
}

impl Future for Next<'_> {
    type Output = Option<Event>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.subscriber.poll_next(cx)
    }
}

/// The future of [`Subscriber::next_batch`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct NextBatch<'a> {
    subscriber: &'a mut Subscriber,
    into: &'a mut Vec<Event>,
}

impl Future for NextBatch<'_> {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let this = &mut *self;
        let Some(first) = ready!(this.subscriber.poll_next(cx)) else {
            return Poll::Ready(0);
        };
        let before = this.into.len();
        this.into.push(first);
        let shared = &this.subscriber.core.shared;
        shared.read_more(this.subscriber.id, BATCH - 1, this.into);
        Poll::Ready(this.into.len() - before)
    }
}

#[cfg(feature = "stream")]
impl futures_core::Stream for Subscriber {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        Self::poll_next(&mut self, cx)
    }
}
