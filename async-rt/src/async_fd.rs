//! `AsyncFd`: any descriptor that the kernel can watch, and the base of the sockets here.

use crate::coop;
use crate::handle::Handle;
use crate::owner::Owner;
use crate::reactor::{Direction, Token, Waiter};
use crate::sys::{Watch, codes, lend};
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Watches a descriptor: a socket, a pipe, a pidfd, an eventfd. On Windows: a TCP or UDP socket of std.
///
/// The descriptor must be non-blocking if it is read from or written to. Watching is edge triggered:
/// after [`readable`](Self::readable), read until it would block, through
/// [`try_read_io`](Self::try_read_io) or [`read_io`](Self::read_io), which note that it would.
///
/// This runtime spawns no processes. The end of one that the caller has spawned is awaited through
/// its pidfd, which becomes readable at the end; the caller reaps it:
///
/// ```no_run
/// use lastout_async_rt::{AsyncFd, Runtime, time::timeout};
/// use std::{io, os::fd::OwnedFd, time::Duration};
///
/// /// Waits until the process has ended, or for ten seconds; whether it has.
/// async fn ends(pidfd: OwnedFd) -> io::Result<bool> {
///     let process = AsyncFd::new(pidfd)?;
///     match timeout(Duration::from_secs(10), process.readable()).await {
///         Ok(readable) => readable.map(|()| true),
///         Err(_) => Ok(false),
///     }
/// }
/// ```
pub struct AsyncFd<T: Watch> {
    owner: Rc<Owner>,
    token: Token,
    /// `None` only while `into_inner` takes it.
    inner: Option<T>,
}

/// What the system says is told without decoding the kind, which every wait pays for.
fn would_block(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(code) => codes::would_block(code),
        None => error.kind() == io::ErrorKind::WouldBlock,
    }
}

fn interrupted(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(code) => codes::interrupted(code),
        None => error.kind() == io::ErrorKind::Interrupted,
    }
}

impl<T: Watch> AsyncFd<T> {
    /// Watches `inner` on the runtime of this thread.
    ///
    /// # Errors
    /// When the kernel does not watch this kind of descriptor, or watches it already. `inner` comes
    /// back.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn new(inner: T) -> Result<Self, WatchError<T>> {
        Self::watch(Handle::current().owner, inner)
    }

    pub(crate) fn watch(owner: Rc<Owner>, inner: T) -> Result<Self, WatchError<T>> {
        match owner.reactor.add(&inner) {
            Ok(token) => Ok(Self { owner, token, inner: Some(inner) }),
            Err(source) => Err(WatchError { source, inner }),
        }
    }

    /// What is watched.
    #[expect(clippy::missing_panics_doc, reason = "what it expects is an invariant of the type")]
    pub fn get_ref(&self) -> &T {
        self.inner.as_ref().expect("it is there until `into_inner`")
    }

    /// What is watched. Do not replace it: the descriptor is what is watched.
    #[expect(clippy::missing_panics_doc, reason = "what it expects is an invariant of the type")]
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("it is there until `into_inner`")
    }

    /// Stops watching.
    #[expect(clippy::missing_panics_doc, reason = "what it expects is an invariant of the type")]
    pub fn into_inner(mut self) -> T {
        let inner = self.inner.take().expect("it is there until `into_inner`");
        self.owner.reactor.remove(self.token, &inner);
        inner
    }

    #[cfg(feature = "net")]
    pub(crate) fn owner(&self) -> &Rc<Owner> {
        &self.owner
    }

    /// Waits until a read may succeed. Any number of tasks may wait.
    ///
    /// # Errors
    /// When the runtime has ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Direction::Read).charged().await
    }

    /// Waits until a write may succeed. Any number of tasks may wait.
    ///
    /// # Errors
    /// When the runtime has ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Direction::Write).charged().await
    }

    fn ready(&self, direction: Direction) -> Ready<'_, T> {
        Ready { fd: self, direction, waiter: None }
    }

    /// Does one operation that reads, now; notes when it would have blocked.
    ///
    /// # Errors
    /// When `operation` fails; `WouldBlock` without calling it when the last one would have blocked and
    /// nothing has come since.
    pub fn try_read_io<R>(&self, operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.charged_io(Direction::Read, operation)
    }

    /// Does one operation that writes, now; notes when it would have blocked.
    ///
    /// # Errors
    /// When `operation` fails; `WouldBlock` without calling it when the last one would have blocked and
    /// nothing has come since.
    pub fn try_write_io<R>(&self, operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.charged_io(Direction::Write, operation)
    }

    /// Repeats an operation that reads until it does not block.
    ///
    /// # Errors
    /// When `operation` fails, or the runtime has ended.
    ///
    /// # Cancel safety
    /// Cancel safe if `operation` is one system call.
    pub async fn read_io<R>(&self, operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.io(Direction::Read, operation).await
    }

    /// Repeats an operation that writes until it does not block.
    ///
    /// # Errors
    /// When `operation` fails, or the runtime has ended.
    ///
    /// # Cancel safety
    /// Cancel safe if `operation` is one system call.
    pub async fn write_io<R>(&self, operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.io(Direction::Write, operation).await
    }

    /// Polls what [`read_io`](Self::read_io) awaits, for hand-written futures. Only the last task that polled is
    /// woken.
    pub fn poll_read_io<R>(
        &self,
        cx: &mut Context<'_>,
        operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_io(Direction::Read, cx, operation)
    }

    /// Polls what [`write_io`](Self::write_io) awaits, for hand-written futures. Only the last task that polled is
    /// woken.
    pub fn poll_write_io<R>(
        &self,
        cx: &mut Context<'_>,
        operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_io(Direction::Write, cx, operation)
    }

    /// An operation outside a future counts too: the next future of the task may be refused for it.
    fn charged_io<R>(
        &self,
        direction: Direction,
        operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let outcome = self.try_io(direction, operation);
        if outcome.is_ok() {
            coop::made_progress();
        }
        outcome
    }

    fn try_io<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        if !self.owner.reactor.may_try(self.token, direction)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            match operation(self.get_ref()) {
                Err(error) if interrupted(&error) => {}
                Err(error) if would_block(&error) => {
                    self.owner.reactor.clear(self.token, direction)?;
                    return Err(error);
                }
                outcome => return outcome,
            }
        }
    }

    async fn io<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut waiting = self.ready(direction);
        poll_fn(|cx| {
            let progress = ready!(coop::poll_proceed(cx));
            let outcome = loop {
                match self.try_io(direction, &mut operation) {
                    Err(error) if would_block(&error) => {
                        ready!(Pin::new(&mut waiting).poll(cx))?;
                    }
                    outcome => break outcome,
                }
            };
            progress.made();
            Poll::Ready(outcome)
        })
        .await
    }

    fn poll_io<R>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let progress = ready!(coop::poll_proceed(cx));
        loop {
            match self.try_io(direction, &mut operation) {
                Err(error) if would_block(&error) => {
                    if !self.owner.reactor.poll_for(self.token, direction, cx.waker())? {
                        return Poll::Pending;
                    }
                }
                outcome => {
                    progress.made();
                    return Poll::Ready(outcome);
                }
            }
        }
    }

    /// An error when the runtime has ended.
    #[cfg(feature = "net")]
    pub(crate) fn is_live(&self) -> io::Result<()> {
        self.owner.reactor.is_ready(self.token, Direction::Write).map(drop)
    }

    /// A stream operation did less than asked.
    #[cfg(feature = "net")]
    pub(crate) fn exhausted(&self, direction: Direction) {
        self.owner.reactor.exhausted(self.token, direction);
    }
}

lend!([T: Watch] AsyncFd<T>, |this| this.get_ref());

impl<T: Watch> Drop for AsyncFd<T> {
    fn drop(&mut self) {
        if let Some(inner) = &self.inner {
            self.owner.reactor.remove(self.token, inner);
        }
    }
}

impl<T: Watch + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncFd").field(&self.inner).finish()
    }
}

/// A descriptor could not be watched; what holds it comes back inside.
#[non_exhaustive]
pub struct WatchError<T> {
    /// Why.
    pub source: io::Error,
    /// What was to be watched.
    pub inner: T,
}

impl<T> fmt::Debug for WatchError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchError").field("source", &self.source).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for WatchError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("descriptor could not be watched")
    }
}

impl<T> Error for WatchError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl<T> From<WatchError<T>> for io::Error {
    fn from(error: WatchError<T>) -> Self {
        error.source
    }
}

/// One of any number of futures that wait for a direction.
struct Ready<'a, T: Watch> {
    fd: &'a AsyncFd<T>,
    direction: Direction,
    waiter: Option<Waiter>,
}

impl<T: Watch> Ready<'_, T> {
    /// Waits as an operation of its own, not as a part of one.
    async fn charged(mut self) -> io::Result<()> {
        poll_fn(|cx| {
            let progress = ready!(coop::poll_proceed(cx));
            let outcome = ready!(Pin::new(&mut self).poll(cx));
            progress.made();
            Poll::Ready(outcome)
        })
        .await
    }
}

impl<T: Watch> Future for Ready<'_, T> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let (reactor, token) = (&this.fd.owner.reactor, this.fd.token);
        if reactor.is_ready(token, this.direction)? {
            return Poll::Ready(Ok(()));
        }
        match reactor.wait_for(token, this.direction, &mut this.waiter, cx.waker())? {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}

impl<T: Watch> Drop for Ready<'_, T> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            self.fd.owner.reactor.forget(self.fd.token, self.direction, waiter);
        }
    }
}
