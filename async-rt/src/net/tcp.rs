//! TCP streams.

use super::{current, duplex};
use crate::async_fd::AsyncFd;
use crate::owner::Owner;
use crate::sys::TELLS_OF_URGENT_DATA;
use std::io;
use std::net::{self, SocketAddr};
use std::rc::Rc;

/// A TCP connection.
#[derive(Debug)]
pub struct TcpStream {
    pub(super) io: AsyncFd<net::TcpStream>,
}

// A read stops where urgent data is, although more may have come behind it.
duplex!(TcpStream, short_read_is_empty: TELLS_OF_URGENT_DATA);

impl TcpStream {
    /// Takes over a connected stream of std.
    ///
    /// # Errors
    /// When it cannot be made non-blocking or watched.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn from_std(stream: net::TcpStream) -> io::Result<Self> {
        Self::adopt(current(), stream)
    }

    pub(super) fn adopt(owner: Rc<Owner>, stream: net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { io: AsyncFd::watch(owner, stream)? })
    }

    /// The stream of std, still non-blocking.
    pub fn into_std(self) -> net::TcpStream {
        self.io.into_inner()
    }

    /// Reads without taking.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return self.io.is_live().map(|()| 0);
        }
        self.io.read_io(|socket| socket.peek(buffer)).await
    }

    /// The address of this end.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr()
    }

    /// Sends small writes at once instead of collecting them.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.io.get_ref().set_nodelay(on)
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.io.get_ref().nodelay()
    }

    /// The error that the socket has noted, which this clears.
    ///
    /// # Errors
    /// When the socket cannot be asked.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.get_ref().take_error()
    }
}
