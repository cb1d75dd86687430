//! TCP sockets before they are connected or listen, and the ways from an address to either.

use super::resolve::{ToSocketAddrs, resolve};
use super::{TcpListener, TcpStream, current};
use crate::async_fd::AsyncFd;
use crate::sys::{codes, lend};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{self, SocketAddr};

/// A TCP socket to be set up, then connected or listened on.
#[derive(Debug)]
pub struct TcpSocket {
    socket: Socket,
}

impl TcpSocket {
    /// A socket for IPv4.
    ///
    /// # Errors
    /// When the system has none left.
    pub fn new_v4() -> io::Result<Self> {
        Self::new(Domain::IPV4)
    }

    /// A socket for IPv6.
    ///
    /// # Errors
    /// When the system has none left.
    pub fn new_v6() -> io::Result<Self> {
        Self::new(Domain::IPV6)
    }

    /// A socket for the family of `address`.
    ///
    /// # Errors
    /// When the system has none left.
    pub fn for_address(address: SocketAddr) -> io::Result<Self> {
        Self::new(Domain::for_address(address))
    }

    fn new(domain: Domain) -> io::Result<Self> {
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// Allows a local address that a closed connection still occupies.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    pub fn set_reuseaddr(&self, on: bool) -> io::Result<()> {
        self.socket.set_reuse_address(on)
    }

    /// Asks the other end now and then whether it is still there.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    pub fn set_keepalive(&self, on: bool) -> io::Result<()> {
        self.socket.set_keepalive(on)
    }

    /// Sends small writes at once.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.socket.set_tcp_nodelay(on)
    }

    /// Sets the size of the kernel's send buffer.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket.set_send_buffer_size(bytes)
    }

    /// Sets the size of the kernel's receive buffer.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket.set_recv_buffer_size(bytes)
    }

    /// Chooses the local address.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.socket.bind(&address.into())
    }

    /// Connects, and waits until the connection stands.
    ///
    /// # Errors
    /// When the connection cannot be made.
    ///
    /// # Cancel safety
    /// A connect that is cancelled closes the socket.
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        match self.socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(codes::CONNECTING) => {}
            Err(error) => return Err(error),
        }
        let stream = net::TcpStream::from(self.socket);
        let stream = TcpStream { io: AsyncFd::watch(current(), stream)? };
        stream.writable().await?;
        match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    /// Listens, with room for `backlog` connections that are not accepted yet.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        TcpListener::from_std(self.socket.into())
    }
}

lend!([] TcpSocket, |this| this.socket);

impl TcpStream {
    /// Connects to `target`, and waits until the connection stands. The addresses of a name are tried
    /// one after the other, in the order of the system; one of a family that this machine does not have
    /// is passed over.
    ///
    /// # Errors
    /// When no address could be connected to, the error of the last one; the errors of
    /// [`lookup_host`](super::lookup_host) for a name.
    ///
    /// # Cancel safety
    /// A connect that is cancelled closes the socket.
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn connect(target: impl ToSocketAddrs) -> io::Result<Self> {
        let connect = async |address| TcpSocket::for_address(address)?.connect(address).await;
        resolve(target).await?.first_with(connect).await
    }
}

impl TcpListener {
    /// Listens on `address`, which may be one that a closed connection still occupies, and not one on which another
    /// socket listens.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::for_address(address)?;
        socket.set_reuseaddr(codes::ASKS_FOR_USED_ADDRESSES)?;
        socket.bind(address)?;
        socket.listen(1024)
    }
}
