//! Unix sockets.

use crate::async_fd::AsyncFd;
use crate::coop;
use crate::net::datagram::datagrams;
use crate::net::listener::Accepting;
use crate::net::{PeerCredentials, current, duplex};
use crate::owner::Owner;
use crate::sys::lend;
use crate::time::Sleep;
use socket2::{Domain, SockAddr, Socket, Type};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net;
use std::path::Path;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

/// How long an operation waits before the next try when the queue of another socket is full, and the
/// system does not tell when it is not.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

fn look_again(owner: Rc<Owner>) -> Sleep {
    let deadline = owner.clock.after(LOOK_AGAIN);
    Sleep::new(owner, deadline)
}

/// A connection between processes of one machine.
#[derive(Debug)]
pub struct UnixStream {
    io: AsyncFd<net::UnixStream>,
}

// A read stops where descriptors or credentials are attached, although more has come.
duplex!(UnixStream, short_read_is_empty: false);

impl UnixStream {
    /// Connects to the socket at `path`. While the listener's backlog is full, which the system offers
    /// no way to wait for, this tries again every few milliseconds.
    ///
    /// # Errors
    /// When the connection cannot be made.
    ///
    /// # Cancel safety
    /// A connect that is cancelled closes the socket.
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        let (socket, path) =
            (Socket::new(Domain::UNIX, Type::STREAM, None)?, SockAddr::unix(path)?);
        socket.set_nonblocking(true)?;
        loop {
            match socket.connect(&path) {
                Ok(()) => break,
                Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    look_again(current()).await;
                }
                Err(error) => return Err(error),
            }
        }
        let stream = net::UnixStream::from(OwnedFd::from(socket));
        let stream = Self { io: AsyncFd::watch(current(), stream)? };
        stream.writable().await?;
        match stream.io.get_ref().take_error()? {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    /// The process at the other end, as it was when the connection was made.
    ///
    /// # Errors
    /// When the system call fails.
    pub fn peer_credentials(&self) -> io::Result<PeerCredentials> {
        crate::sys::peer::peer_credentials(self.as_fd())
    }

    /// The address of this end.
    ///
    /// # Errors
    /// When the system call fails.
    pub fn local_addr(&self) -> io::Result<net::SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// When the system call fails.
    pub fn peer_addr(&self) -> io::Result<net::SocketAddr> {
        self.io.get_ref().peer_addr()
    }

    /// The stream of std, still non-blocking.
    pub fn into_std(self) -> net::UnixStream {
        self.io.into_inner()
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
        Ok(Self { io: AsyncFd::watch(current(), stream)? })
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
    /// When the system call fails.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::from_std(net::UnixListener::bind(path)?)
    }

    /// Takes over a listener of std.
    ///
    /// # Errors
    /// When it cannot be made non-blocking or watched.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn from_std(listener: net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { accepting: Accepting::new(listener)? })
    }

    /// The address that it listens at.
    ///
    /// # Errors
    /// When the system call fails.
    pub fn local_addr(&self) -> io::Result<net::SocketAddr> {
        self.accepting.io.get_ref().local_addr()
    }

    /// Waits for a connection. Any number of tasks may wait.
    ///
    /// # Errors
    /// When the system call fails; in a process without descriptors as
    /// [`TcpListener::accept`](crate::net::TcpListener::accept) says.
    ///
    /// # Cancel safety
    /// Cancel safe: no connection is lost.
    pub async fn accept(&self) -> io::Result<(UnixStream, net::SocketAddr)> {
        let (stream, address) = self.accepting.accept(net::UnixListener::accept).await?;
        stream.set_nonblocking(true)?;
        let io = AsyncFd::watch(self.accepting.owner(), stream)?;
        Ok((UnixStream { io }, address))
    }
}

lend!([] UnixListener, |this| this.accepting.io);

/// A Unix datagram socket. Its file stays when it is dropped, as with std.
///
/// Any number of tasks may send and receive through shared references.
#[derive(Debug)]
pub struct UnixDatagram {
    io: AsyncFd<net::UnixDatagram>,
}

datagrams!(UnixDatagram, net::UnixDatagram, net::SocketAddr);

impl UnixDatagram {
    /// A socket at `path`, which must not exist.
    ///
    /// # Errors
    /// When the system call fails.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::from_std(net::UnixDatagram::bind(path)?)
    }

    /// A socket without an address, to send from.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn unbound() -> io::Result<Self> {
        Self::from_std(net::UnixDatagram::unbound()?)
    }

    /// Two sockets that are connected with each other.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, two) = net::UnixDatagram::pair()?;
        Ok((Self::from_std(one)?, Self::from_std(two)?))
    }

    /// Sets the address that [`send`](Self::send) and [`recv`](Self::recv) are for.
    ///
    /// # Errors
    /// When the system call fails.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.io.get_ref().connect(path)
    }

    /// Sends a datagram to the socket at `path`, and waits while that one's queue is full.
    ///
    /// The system says when there is room for a connected socket only. For one that is not, this
    /// looks again every few milliseconds: [`connect`](Self::connect) to a receiver that may be slow.
    ///
    /// # Errors
    /// When the system call fails.
    ///
    /// # Cancel safety
    /// Cancel safe: a cancelled send has sent nothing.
    pub async fn send_to(&self, datagram: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let path = path.as_ref();
        loop {
            let sent = poll_fn(|cx| {
                let _may = ready!(coop::poll_proceed(cx));
                Poll::Ready(self.try_send_to(datagram, path))
            });
            match sent.await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    look_again(Rc::clone(self.io.owner())).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Does what [`send_to`](Self::send_to) does, now or not at all.
    ///
    /// # Errors
    /// `WouldBlock` when the receiver's queue is full, and those of the socket.
    pub fn try_send_to(&self, datagram: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.io.is_live()?;
        // The queue is another socket's: what is known about this one does not say whether it is full.
        loop {
            match self.io.get_ref().send_to(datagram, path.as_ref()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => {
                    if outcome.is_ok() {
                        coop::made_progress();
                    }
                    return outcome;
                }
            }
        }
    }

    /// Ends receiving, sending or both.
    ///
    /// # Errors
    /// When the system call fails.
    pub fn shutdown(&self, which: std::net::Shutdown) -> io::Result<()> {
        self.io.get_ref().shutdown(which)
    }
}
