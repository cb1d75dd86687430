//! What `mio` watches on Windows: a socket of its own.
//!
//! It is a second handle of the socket that the caller has, which only watches: the operations go through the
//! caller's. The watch rests after each event until it is armed again.

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use std::io;
use std::net;
use std::os::windows::io::AsSocket;

/// A socket that can be watched: a TCP stream, a TCP listener or a UDP socket of std.
pub trait Watch: AsSocket {
    #[doc(hidden)]
    fn second(&self) -> io::Result<Watched>;
}

impl Watch for net::TcpStream {
    fn second(&self) -> io::Result<Watched> {
        self.try_clone().map(TcpStream::from_std).map(Watched::Stream)
    }
}

impl Watch for net::TcpListener {
    fn second(&self) -> io::Result<Watched> {
        self.try_clone().map(TcpListener::from_std).map(Watched::Listener)
    }
}

impl Watch for net::UdpSocket {
    fn second(&self) -> io::Result<Watched> {
        self.try_clone().map(UdpSocket::from_std).map(Watched::Datagram)
    }
}

/// What lies behind urgent data is an event of its own, because the watch is armed again after a short read.
#[cfg(feature = "net")]
pub(crate) const TELLS_OF_URGENT_DATA: bool = true;

/// The handle that watches.
#[derive(Debug)]
pub enum Watched {
    Stream(TcpStream),
    Listener(TcpListener),
    Datagram(UdpSocket),
}

impl Watched {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Stream(socket) => socket,
            Self::Listener(socket) => socket,
            Self::Datagram(socket) => socket,
        }
    }
}

pub(super) fn register(to: &Registry, what: &impl Watch, token: Token) -> io::Result<Watched> {
    let mut watched = what.second()?;
    watched.source().register(to, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(watched)
}

pub(super) fn rearm(
    at: &Registry,
    watched: &mut Watched,
    token: Token,
    wanted: [bool; 2],
) -> io::Result<()> {
    let wanted = match wanted {
        [false, false] => return Ok(()),
        [true, false] => Interest::READABLE,
        [false, true] => Interest::WRITABLE,
        [true, true] => Interest::READABLE | Interest::WRITABLE,
    };
    watched.source().reregister(at, token, wanted)
}

/// A watch that ended with its runtime has closed its handle.
pub(super) fn remove(from: &Registry, _: &impl Watch, watched: Option<Watched>) -> io::Result<()> {
    match watched {
        Some(mut watched) => watched.source().deregister(from),
        None => Ok(()),
    }
}
