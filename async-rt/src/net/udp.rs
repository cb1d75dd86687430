//! UDP sockets.

use super::datagram::datagrams;
use crate::async_fd::AsyncFd;
use std::io;
use std::net::{self, SocketAddr};
use std::task::{Context, Poll};

/// A UDP socket. Any number of tasks may send and receive through shared references.
#[derive(Debug)]
pub struct UdpSocket {
    io: AsyncFd<net::UdpSocket>,
}

datagrams!(UdpSocket, net::UdpSocket, SocketAddr);

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

    /// Sets the address that [`send`](Self::send) and [`recv`](Self::recv) are for. For a name, ask
    /// [`lookup_host`](super::lookup_host) first.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    pub fn connect(&self, address: SocketAddr) -> io::Result<()> {
        self.io.get_ref().connect(address)
    }

    /// Sends a datagram to `address`.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    ///
    /// # Cancel safety
    /// Cancel safe: a cancelled send has sent nothing.
    pub async fn send_to(&self, datagram: &[u8], address: SocketAddr) -> io::Result<usize> {
        self.io.write_io(|socket| socket.send_to(datagram, address)).await
    }

    /// Does what [`send_to`](Self::send_to) does, now or not at all.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room, and those of the socket.
    pub fn try_send_to(&self, datagram: &[u8], address: SocketAddr) -> io::Result<usize> {
        self.io.try_write_io(|socket| socket.send_to(datagram, address))
    }

    /// Polls what [`send_to`](Self::send_to) awaits, for hand-written futures. Only the last task that polled is
    /// woken.
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        datagram: &[u8],
        address: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write_io(cx, |socket| socket.send_to(datagram, address))
    }

    /// Receives a datagram and leaves it where it is.
    ///
    /// # Errors
    /// When the socket refuses, with its error.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.read_io(|socket| socket.peek_from(buffer)).await
    }
}
