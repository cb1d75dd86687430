//! Sockets: [`TcpListener`], [`TcpSocket`], [`TcpStream`], [`UdpSocket`], [`UnixListener`],
//! [`UnixStream`], [`UnixDatagram`].
//!
//! Streams implement the `futures` traits `AsyncRead` and `AsyncWrite`, and tokio's with the feature
//! `tokio-compat`, also by shared reference: one task may read while another writes. Operations are
//! tried first and waited for when they would block.

pub(crate) mod datagram;
pub(crate) mod listener;
mod resolve;
mod socket;
pub(crate) mod split;
mod tcp;
mod udp;

#[allow(unused_imports, unreachable_pub, reason = "Windows has none of them")]
pub use crate::sys::local_sockets::*;
pub use listener::TcpListener;
pub use resolve::{ToSocketAddrs, lookup_host};
pub use socket::TcpSocket;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use tcp::TcpStream;
pub use udp::UdpSocket;

use crate::async_fd::AsyncFd;
use crate::handle::Handle;
use crate::owner::Owner;
use crate::reactor::Direction;
use crate::sys::Watch;
use std::io::{self, IoSlice, IoSliceMut};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

#[track_caller]
pub(crate) fn current() -> Rc<Owner> {
    Handle::current().owner
}

/// Reads what there is; nothing into a buffer without room, for which the system would wait until there
/// are bytes. When `short_is_empty`, a short read has emptied the socket, which saves asking
/// again.
pub(crate) fn poll_read<S: Watch>(
    fd: &AsyncFd<S>,
    cx: &mut Context<'_>,
    (len, short_is_empty): (usize, bool),
    read: impl FnMut(&S) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    if len == 0 {
        return Poll::Ready(fd.is_live().map(|()| 0));
    }
    let count = ready!(fd.poll_read_io(cx, read))?;
    if short_is_empty && count > 0 && count < len {
        fd.exhausted(Direction::Read);
    }
    Poll::Ready(Ok(count))
}

/// Buffers that one system call takes; the standard library leaves out the others.
const BUFFERS: usize = 1024;

/// Bytes that one call can move, so that a short count says something about the socket. More than
/// memory holds is no number that a count could fall short of.
pub(crate) fn total(buffers: &[impl std::ops::Deref<Target = [u8]>]) -> usize {
    let taken = buffers.iter().take(BUFFERS);
    taken.fold(0, |sum, buffer| buffer.len().saturating_add(sum))
}

/// Writes what fits. A short write has filled the socket, which saves asking again.
pub(crate) fn poll_write<S: Watch>(
    fd: &AsyncFd<S>,
    cx: &mut Context<'_>,
    len: usize,
    write: impl FnMut(&S) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    let count = ready!(fd.poll_write_io(cx, write))?;
    if count < len {
        fd.exhausted(Direction::Write);
    }
    Poll::Ready(Ok(count))
}

/// A stream that can be read and written through a shared reference.
///
/// This is what the halves of a split need; it is implemented by the streams here.
pub trait Duplex: sealed::Duplex {}

pub(crate) mod sealed {
    use super::{Context, IoSlice, IoSliceMut, Poll, io};
    use std::net::Shutdown;

    /// The operations behind the traits of the streams and of their halves.
    pub trait Duplex {
        #[doc(hidden)]
        fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;
        #[doc(hidden)]
        fn poll_write(&self, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>>;
        #[doc(hidden)]
        fn poll_read_vectored(
            &self,
            cx: &mut Context<'_>,
            buffers: &mut [IoSliceMut<'_>],
        ) -> Poll<io::Result<usize>>;
        #[doc(hidden)]
        fn poll_write_vectored(
            &self,
            cx: &mut Context<'_>,
            buffers: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>>;
        #[doc(hidden)]
        fn end(&self, which: Shutdown) -> io::Result<()>;
        /// Whether this process made the runtime of the stream; a forked child did not.
        #[doc(hidden)]
        fn is_ours(&self) -> bool;
    }
}

/// Implements the operations of a stream over its `io: AsyncFd<S>`, where `&S` reads and writes. Says
/// whether a read that is short has left nothing behind.
macro_rules! duplex {
    ($stream:ty, short_read_is_empty: $short_is_empty:expr) => {
        impl crate::net::Duplex for $stream {}

        impl crate::net::sealed::Duplex for $stream {
            fn poll_read(
                &self,
                cx: &mut std::task::Context<'_>,
                buffer: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                use std::io::Read;
                let len = (buffer.len(), $short_is_empty);
                crate::net::poll_read(&self.io, cx, len, |mut socket| socket.read(buffer))
            }

            fn poll_write(
                &self,
                cx: &mut std::task::Context<'_>,
                buffer: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                use std::io::Write;
                crate::net::poll_write(&self.io, cx, buffer.len(), |mut socket| socket.write(buffer))
            }

            fn poll_read_vectored(
                &self,
                cx: &mut std::task::Context<'_>,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                use std::io::Read;
                let len = (crate::net::total(buffers), $short_is_empty);
                let read = |mut socket: &_| Read::read_vectored(&mut socket, buffers);
                crate::net::poll_read(&self.io, cx, len, read)
            }

            fn poll_write_vectored(
                &self,
                cx: &mut std::task::Context<'_>,
                buffers: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                use std::io::Write;
                let len = crate::net::total(buffers);
                let write = |mut socket: &_| Write::write_vectored(&mut socket, buffers);
                crate::net::poll_write(&self.io, cx, len, write)
            }

            fn end(&self, which: std::net::Shutdown) -> std::io::Result<()> {
                self.io.get_ref().shutdown(which)
            }

            fn is_ours(&self) -> bool {
                self.io.owner().reactor.is_ours()
            }
        }

        crate::net::io_traits!([] $stream, |this| this, |this| this);
        crate::net::io_traits!([] &$stream, |this| *this, |this| *this);

        impl $stream {
            /// Waits until there is something to read, or the end.
            ///
            /// # Errors
            /// When the runtime has ended.
            ///
            /// # Cancel safety
            /// Cancel safe.
            pub async fn readable(&self) -> std::io::Result<()> {
                self.io.readable().await
            }

            /// Waits until there is room to write, or an error.
            ///
            /// # Errors
            /// When the runtime has ended.
            ///
            /// # Cancel safety
            /// Cancel safe.
            pub async fn writable(&self) -> std::io::Result<()> {
                self.io.writable().await
            }

            /// Reads what is there now.
            ///
            /// # Errors
            /// `WouldBlock` when nothing is, and those of the socket.
            pub fn try_read(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
                use std::io::Read;
                self.io.try_read_io(|mut socket| socket.read(buffer))
            }

            /// Writes what fits now.
            ///
            /// # Errors
            /// `WouldBlock` when nothing does, and those of the socket.
            pub fn try_write(&self, buffer: &[u8]) -> std::io::Result<usize> {
                use std::io::Write;
                self.io.try_write_io(|mut socket| socket.write(buffer))
            }

            /// Writes what fits now of several buffers, in their order.
            ///
            /// # Errors
            /// `WouldBlock` when nothing does, and those of the socket.
            pub fn try_write_vectored(
                &self,
                buffers: &[std::io::IoSlice<'_>],
            ) -> std::io::Result<usize> {
                use std::io::Write;
                self.io.try_write_io(|mut socket| socket.write_vectored(buffers))
            }

            /// Ends reading, writing or both, for every reference to the stream.
            ///
            /// A method of the same name from `tokio::io::AsyncWriteExt`, which takes no direction and ends writing, is
            /// called by the name of its trait: `AsyncWriteExt::shutdown(&mut stream).await`.
            ///
            /// # Errors
            /// When the system call fails.
            pub fn shutdown(&self, which: std::net::Shutdown) -> std::io::Result<()> {
                self.io.get_ref().shutdown(which)
            }

            /// Two halves that borrow the stream, for two futures of one task.
            ///
            /// It is not called `split`, because the trait `AsyncReadExt` of `futures` has a method
            /// of that name, with a lock, which would be called instead.
            #[doc(alias = "split")]
            pub fn split_mut(&mut self) -> (crate::net::ReadHalf<'_, Self>, crate::net::WriteHalf<'_, Self>) {
                crate::net::split::borrowed(self)
            }

            /// Two halves that own the stream together, for two tasks.
            pub fn into_split(self) -> (crate::net::OwnedReadHalf<Self>, crate::net::OwnedWriteHalf<Self>) {
                crate::net::split::owned(self)
            }
        }

        crate::sys::lend!([] $stream, |this| this.io);
    };
}

/// Implements the traits of `futures`, and of tokio with the feature, by a [`Duplex`].
macro_rules! io_traits {
    ([$($generics:tt)*] $type:ty, |$this:ident| $duplex:expr, |$that:ident| $writer:expr) => {
        crate::net::io_traits!(read [$($generics)*] $type, |$this| $duplex);
        crate::net::io_traits!(write [$($generics)*] $type, |$that| $writer);
    };
    (read [$($generics:tt)*] $type:ty, |$this:ident| $duplex:expr) => {
        impl<$($generics)*> futures_io::AsyncRead for $type {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffer: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = &*self;
                crate::net::sealed::Duplex::poll_read($duplex, cx, buffer)
            }

            fn poll_read_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = &*self;
                crate::net::sealed::Duplex::poll_read_vectored($duplex, cx, buffers)
            }
        }

        #[cfg(feature = "tokio-compat")]
        impl<$($generics)*> tokio::io::AsyncRead for $type {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $this = &*self;
                let space = buffer.initialize_unfilled();
                let read = crate::net::sealed::Duplex::poll_read($duplex, cx, space);
                read.map_ok(|count| buffer.advance(count))
            }
        }
    };
    (write [$($generics:tt)*] $type:ty, |$this:ident| $duplex:expr) => {
        impl<$($generics)*> futures_io::AsyncWrite for $type {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffer: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = &*self;
                crate::net::sealed::Duplex::poll_write($duplex, cx, buffer)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffers: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = &*self;
                crate::net::sealed::Duplex::poll_write_vectored($duplex, cx, buffers)
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                _cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn poll_close(
                self: std::pin::Pin<&mut Self>,
                _cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $this = &*self;
                let ended = crate::net::sealed::Duplex::end($duplex, std::net::Shutdown::Write);
                std::task::Poll::Ready(ended)
            }
        }

        #[cfg(feature = "tokio-compat")]
        impl<$($generics)*> tokio::io::AsyncWrite for $type {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffer: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = &*self;
                crate::net::sealed::Duplex::poll_write($duplex, cx, buffer)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffers: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = &*self;
                crate::net::sealed::Duplex::poll_write_vectored($duplex, cx, buffers)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                _cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                _cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $this = &*self;
                let ended = crate::net::sealed::Duplex::end($duplex, std::net::Shutdown::Write);
                std::task::Poll::Ready(ended)
            }
        }
    };
}

pub(crate) use {duplex, io_traits};
