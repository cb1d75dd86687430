//! Waits through `mio`, where there is no epoll.

use super::{Event, SIGNAL, Unpark, WAKE};
use mio::unix::SourceFd;
use mio::{Interest, Token};
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
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

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

fn token(token: u64) -> Token {
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

    pub(crate) fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        self.poll.borrow().registry().register(&mut SourceFd(&fd), token(key), BOTH)
    }

    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        self.poll.borrow().registry().deregister(&mut SourceFd(&fd))
    }

    pub(crate) fn add_signals(&self, fd: RawFd) -> io::Result<()> {
        let readable = Interest::READABLE;
        self.poll.borrow().registry().register(&mut SourceFd(&fd), token(SIGNAL), readable)
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
