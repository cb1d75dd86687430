//! epoll, edge triggered, with an eventfd to end a wait.
#![expect(unsafe_code, reason = "the system calls have no safe wrapper in std")]

use super::{Event, Unpark, WAKE};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

/// `EPOLLPRI` says that a read may have stopped at urgent data.
#[cfg(feature = "net")]
pub(crate) const TELLS_OF_URGENT_DATA: bool = true;

/// Longer waits are cut to this: a loop that wakes once in a while is no loop.
const LONGEST: Duration = Duration::from_secs(3600);

/// An epoll instance and the eventfd that ends its waits.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    wake: Arc<EventFd>,
    /// `epoll_pwait2` (Linux 5.11) has not been refused yet.
    nanoseconds: Cell<bool>,
}

/// What must be kept of a watch: nothing.
#[derive(Debug)]
pub(crate) struct Watched;

/// Room for what one wait reports.
pub(crate) struct Events {
    buffer: Vec<libc::epoll_event>,
    count: usize,
}

fn checked(outcome: libc::c_int) -> io::Result<libc::c_int> {
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(outcome) }
}

fn owned(outcome: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the callers pass what a system call has just created; nothing else owns it.
    checked(outcome).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A counter whose every write is an edge for each epoll that watches it; it is never read.
#[derive(Debug)]
pub(crate) struct EventFd(File);

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: a system call without pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        Ok(Self(File::from(owned(fd)?)))
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Unpark for EventFd {
    fn unpark(&self) {
        // It fails only when the counter is full, after 2^64 writes.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: a system call without pointers.
        let epoll = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        let wake = Arc::new(EventFd::new()?);
        let poller = Self { epoll, wake, nanoseconds: Cell::new(true) };
        poller.control(libc::EPOLL_CTL_ADD, poller.wake.raw(), libc::EPOLLIN, WAKE)?;
        Ok(poller)
    }

    pub(crate) fn unpark(&self) -> Arc<dyn Unpark> {
        self.wake.clone()
    }

    /// Watches both directions of `what`.
    pub(crate) fn add(&self, what: &impl AsFd, token: u64) -> io::Result<Watched> {
        let both = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLPRI;
        self.control(libc::EPOLL_CTL_ADD, what.as_fd().as_raw_fd(), both, token)?;
        Ok(Watched)
    }

    /// An edge needs no order to come again.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "other systems use both")]
    pub(crate) fn rearm(&self, _: &mut Watched, _: u64, _: [bool; 2]) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn remove(&self, what: &impl AsFd, _: Option<Watched>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, what.as_fd().as_raw_fd(), 0, 0)
    }

    fn control(&self, what: i32, fd: RawFd, events: i32, token: u64) -> io::Result<()> {
        let events = (events | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: `event` is alive during the call, which only reads it.
        checked(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), what, fd, &raw mut event) })?;
        Ok(())
    }

    /// Waits for events; `None` is until one comes. An interrupted wait reports none.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.count = 0;
        let timeout = timeout.map(|timeout| timeout.min(LONGEST));
        let mut outcome = None;
        if let Some(timeout) = timeout.filter(|t| !t.is_zero() && self.nanoseconds.get()) {
            match self.wait_exactly(events, timeout) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.nanoseconds.set(false);
                }
                exact => outcome = Some(exact),
            }
        }
        match outcome.unwrap_or_else(|| self.wait_roughly(events, timeout)) {
            Ok(count) => events.count = count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn wait_exactly(&self, events: &mut Events, timeout: Duration) -> io::Result<libc::c_int> {
        let (buffer, room) = events.room();
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let (call, no_mask) = (libc::SYS_epoll_pwait2, std::ptr::null::<libc::sigset_t>());
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: the buffer has room for that many events, and lives on like the timeout.
        let count =
            unsafe { libc::syscall(call, epoll, buffer, room, &raw const timeout, no_mask, 0) };
        checked(i32::try_from(count).unwrap_or(-1))
    }

    /// In milliseconds, rounded up: late rather than early.
    fn wait_roughly(
        &self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<libc::c_int> {
        let (buffer, room) = events.room();
        let millis = timeout.map_or(-1, |timeout| {
            i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: the buffer has room for that many events, and lives on.
        checked(unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), buffer, room, millis) })
    }
}

impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

impl Poller {
    /// Watches the descriptor that the process's signal handler writes to.
    pub(crate) fn add_signals(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN, super::SIGNAL)
    }
}

impl Events {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let buffer = vec![libc::epoll_event { events: 0, u64: 0 }; capacity.max(1)];
        Self { buffer, count: 0 }
    }

    fn room(&mut self) -> (*mut libc::epoll_event, libc::c_int) {
        let room = i32::try_from(self.buffer.len()).unwrap_or(i32::MAX);
        (self.buffer.as_mut_ptr(), room)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Event> {
        self.buffer[..self.count].iter().map(|event| {
            let (token, bits) = (event.u64, event.events as i32);
            let has = |mask: i32| bits & mask != 0;
            let write_closed = has(libc::EPOLLHUP | libc::EPOLLERR);
            // A read stops short at urgent data, although more follows.
            let read_closed = write_closed || has(libc::EPOLLRDHUP | libc::EPOLLPRI);
            Event {
                token,
                readable: read_closed || has(libc::EPOLLIN),
                writable: write_closed || has(libc::EPOLLOUT),
                read_closed,
                write_closed,
            }
        })
    }
}
