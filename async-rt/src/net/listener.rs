//! Accepting connections, and the pause of a process that has no descriptor left for one.

use super::{TcpStream, current};
use crate::async_fd::AsyncFd;
use crate::owner::Owner;
use crate::sys::{Watch, codes, lend};
use crate::time::Sleep;
use crate::time::clock::whole_nanos;
use std::cell::Cell;
use std::io;
use std::net::{self, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// How long accepting rests when descriptors or memory are used up: the connection stays in the
/// backlog and readable, so that trying again at once would be a busy loop.
const REST: Duration = Duration::from_millis(20);

/// Accepts one kind of connection from a listening socket.
#[derive(Debug)]
pub(crate) struct Accepting<L: Watch> {
    pub(crate) io: AsyncFd<L>,
    rests_until: Cell<u64>,
}

impl<L: Watch> Accepting<L> {
    pub(crate) fn new(listener: L) -> io::Result<Self> {
        let io = AsyncFd::watch(current(), listener)?;
        Ok(Self { io, rests_until: Cell::new(0) })
    }

    pub(crate) fn owner(&self) -> Rc<Owner> {
        Rc::clone(self.io.owner())
    }

    pub(crate) async fn accept<S>(
        &self,
        mut accept: impl FnMut(&L) -> io::Result<S>,
    ) -> io::Result<S> {
        let clock = &self.io.owner().clock;
        if self.rests_until.get() > clock.now() {
            Sleep::new(self.owner(), self.rests_until.get()).await;
        }
        let accepted = self.io.read_io(&mut accept).await;
        if accepted.as_ref().is_err_and(is_exhaustion) {
            self.rests_until.set(clock.now() + whole_nanos(REST));
        }
        accepted
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(codes::used_up)
}

/// A TCP socket that listens.
#[derive(Debug)]
pub struct TcpListener {
    accepting: Accepting<net::TcpListener>,
}

impl TcpListener {
    /// Takes over a listener of std.
    ///
    /// # Errors
    /// When it cannot be made non-blocking or watched.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn from_std(listener: net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { accepting: Accepting::new(listener)? })
    }

    /// Waits for a connection. Any number of tasks may wait.
    ///
    /// # Errors
    /// When the socket refuses, with its error. When the process has no descriptor or memory left, the error comes once,
    /// and the next call rests for 20 ms before it tries again: a loop that only notes errors does
    /// not burn the processor.
    ///
    /// # Cancel safety
    /// Cancel safe: no connection is lost.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = self.accepting.accept(net::TcpListener::accept).await?;
        Ok((TcpStream::adopt(self.accepting.owner(), stream)?, address))
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.accepting.io.get_ref().local_addr()
    }
}

lend!([] TcpListener, |this| this.accepting.io);
