//! UDP sockets.

use super::current;
use crate::async_fd::AsyncFd;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

/// A UDP socket. Any number of tasks may send and receive through shared references.
#[derive(Debug)]
pub struct UdpSocket {
    io: AsyncFd<net::UdpSocket>,
}

impl UdpSocket {
    /// A socket at `address`.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::from_std(net::UdpSocket::bind(address)?)
    }

    /// Takes over a socket of std, which also is the way to set options.
    ///
    /// # Errors
    /// When it cannot be made non-blocking or watched.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn from_std(socket: net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { io: AsyncFd::watch(current(), socket, true)? })
    }

    /// The socket of std, for its options. Do not make it blocking.
    pub fn as_std(&self) -> &net::UdpSocket {
        self.io.get_ref()
    }

    /// Sets the address that [`send`](Self::send) and [`recv`](Self::recv) are for.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn connect(&self, address: SocketAddr) -> io::Result<()> {
        self.io.get_ref().connect(address)
    }

    /// Sends a datagram to the connected address.
    ///
    /// # Errors
    /// Those of the socket.
    ///
    /// # Cancel safety
    /// Cancel safe: a cancelled send has sent nothing.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        self.io.write_io(|socket| socket.send(datagram)).await
    }

    /// Receives a datagram from the connected address.
    ///
    /// # Errors
    /// Those of the socket.
    ///
    /// # Cancel safety
    /// Cancel safe: no datagram is lost.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io.read_io(|socket| socket.recv(buffer)).await
    }

    /// Sends a datagram to `address`.
    ///
    /// # Errors
    /// Those of the socket.
    ///
    /// # Cancel safety
    /// Cancel safe: a cancelled send has sent nothing.
    pub async fn send_to(&self, datagram: &[u8], address: SocketAddr) -> io::Result<usize> {
        self.io.write_io(|socket| socket.send_to(datagram, address)).await
    }

    /// Receives a datagram, and whom it is from.
    ///
    /// # Errors
    /// Those of the socket.
    ///
    /// # Cancel safety
    /// Cancel safe: no datagram is lost.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.read_io(|socket| socket.recv_from(buffer)).await
    }

    /// Receives a datagram and leaves it where it is.
    ///
    /// # Errors
    /// Those of the socket.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.read_io(|socket| socket.peek_from(buffer)).await
    }

    /// The address of this end.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}
