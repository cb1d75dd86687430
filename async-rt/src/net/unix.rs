//! Unix stream sockets.

use super::listener::Accepting;
use super::{current, duplex};
use crate::async_fd::AsyncFd;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net;
use std::path::Path;

/// A connection between processes of one machine.
#[derive(Debug)]
pub struct UnixStream {
    pub(super) io: AsyncFd<net::UnixStream>,
}

duplex!(UnixStream);

impl UnixStream {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// Those of the connection; `WouldBlock` when the listener's backlog is full, which the system
    /// offers no way to wait for.
    ///
    /// # Cancel safety
    /// A connect that is cancelled closes the socket.
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&SockAddr::unix(path)?) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let stream = net::UnixStream::from(OwnedFd::from(socket));
        let stream = Self { io: AsyncFd::watch(current(), stream, false)? };
        stream.writable().await?;
        match stream.io.get_ref().take_error()? {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    /// Two ends that are connected with each other.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, two) = net::UnixStream::pair()?;
        Ok((Self::from_std(one)?, Self::from_std(two)?))
    }

    /// Takes over a connected stream of std.
    ///
    /// # Errors
    /// When it cannot be made non-blocking or watched.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn from_std(stream: net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { io: AsyncFd::watch(current(), stream, true)? })
    }
}

/// A Unix socket that listens. Its file stays when it is dropped, as with std.
#[derive(Debug)]
pub struct UnixListener {
    accepting: Accepting<net::UnixListener>,
}

impl UnixListener {
    /// Listens at `path`, which must not exist.
    ///
    /// # Errors
    /// Those of the socket.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        let listener = net::UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { accepting: Accepting::new(listener)? })
    }

    /// Waits for a connection. Any number of tasks may wait.
    ///
    /// # Errors
    /// Those of the socket; of a process without descriptors as
    /// [`TcpListener::accept`](super::TcpListener::accept) says.
    ///
    /// # Cancel safety
    /// Cancel safe: no connection is lost.
    pub async fn accept(&self) -> io::Result<(UnixStream, net::SocketAddr)> {
        let (stream, address) = self.accepting.accept(net::UnixListener::accept).await?;
        stream.set_nonblocking(true)?;
        let io = AsyncFd::watch(self.accepting.owner(), stream, true)?;
        Ok((UnixStream { io }, address))
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.accepting.io.as_fd()
    }
}
