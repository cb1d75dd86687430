//! Waits through `mio`, where there is no epoll.
//!
//! What `mio` watches is made in `source`: on Unix a descriptor, on Windows a socket of `mio`'s own.

use super::source::{self, Watch, Watched};
use super::{Event, Unpark, WAKE};
use mio::Token;
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A `mio` poll and the waker that ends its waits.
#[derive(Debug)]
pub(crate) struct Poller {
    poll: RefCell<mio::Poll>,
    wake: Arc<Wake>,
}

#[derive(Debug)]
struct Wake(mio::Waker);

impl Unpark for Wake {
    fn unpark(&self) {
        let _ = self.0.wake();
    }
}

/// Room for what one wait reports.
pub(crate) struct Events(mio::Events);

pub(super) fn token(token: u64) -> Token {
    Token(usize::try_from(token).unwrap_or(usize::MAX))
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let wake = Arc::new(Wake(mio::Waker::new(poll.registry(), token(WAKE))?));
        Ok(Self { poll: RefCell::new(poll), wake })
    }

    pub(crate) fn unpark(&self) -> Arc<dyn Unpark> {
        self.wake.clone()
    }

    pub(crate) fn add(&self, what: &impl Watch, key: u64) -> io::Result<Watched> {
        self.registry(|registry| source::register(registry, what, token(key)))
    }

    /// The directions of which an event is wanted again, reading first.
    pub(crate) fn rearm(
        &self,
        watched: &mut Watched,
        key: u64,
        wanted: [bool; 2],
    ) -> io::Result<()> {
        self.registry(|registry| source::rearm(registry, watched, token(key), wanted))
    }

    /// A watch that ended with its runtime is not there.
    pub(crate) fn remove(&self, what: &impl Watch, watched: Option<Watched>) -> io::Result<()> {
        self.registry(|registry| source::remove(registry, what, watched))
    }

    pub(super) fn registry<R>(&self, work: impl FnOnce(&mio::Registry) -> R) -> R {
        work(self.poll.borrow().registry())
    }

    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.borrow_mut().poll(&mut events.0, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.0.clear();
                Ok(())
            }
            outcome => outcome,
        }
    }
}

impl Events {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(mio::Events::with_capacity(capacity.max(1)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Event> {
        self.0.iter().map(|event| {
            let read_closed = event.is_read_closed() || event.is_error();
            let write_closed = event.is_write_closed() || event.is_error();
            Event {
                token: event.token().0 as u64,
                readable: read_closed || event.is_readable(),
                writable: write_closed || event.is_writable(),
                read_closed,
                write_closed,
            }
        })
    }
}

/// Counts nanoseconds from its start.
#[derive(Debug)]
pub(crate) struct Ticker(Instant, Duration);

impl Ticker {
    /// A start that lies `past` in the past.
    pub(crate) fn start(past: Duration) -> Self {
        Self(Instant::now(), past)
    }

    /// Nanoseconds since the start.
    pub(crate) fn nanos(&self) -> u64 {
        u64::try_from((self.0.elapsed() + self.1).as_nanos()).unwrap_or(u64::MAX)
    }
}
