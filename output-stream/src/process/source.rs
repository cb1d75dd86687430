//! The output pipes of a child as sources.

use crate::pump::task::Source;
use bytes::BytesMut;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::process::{ChildStderr, ChildStdout};

/// The reading end of a pipe. Its descriptor does not block, so it can be asked what it has.
#[derive(Debug)]
pub(crate) enum Pipe {
    Stdout(ChildStdout),
    Stderr(ChildStderr),
    /// Our end of a terminal, which fails with `EIO` when no process holds the other one.
    #[cfg(feature = "pty")]
    Terminal(ChildStdout),
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Stdout(pipe) => Pin::new(pipe).poll_read(cx, buf),
            Self::Stderr(pipe) => Pin::new(pipe).poll_read(cx, buf),
            #[cfg(feature = "pty")]
            Self::Terminal(pipe) => Pin::new(pipe).poll_read(cx, buf).map(|read| match read {
                Err(error) if is_hangup(&error) => Ok(()),
                read => read,
            }),
        }
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stdout(pipe) => pipe.as_fd(),
            Self::Stderr(pipe) => pipe.as_fd(),
            #[cfg(feature = "pty")]
            Self::Terminal(pipe) => pipe.as_fd(),
        }
    }
}

impl Source for Pipe {
    /// Asks the kernel itself. After a child has exited, the runtime may not have heard yet that it
    /// wrote something before; the pipe knows.
    fn read_now(self: Pin<&mut Self>, room: &mut BytesMut) -> io::Result<usize> {
        let mut buffer = [0; 8 * 1024];
        let most = buffer.len().min(room.capacity());
        let n = match rustix::io::read(self.as_fd(), &mut buffer[..most]) {
            #[cfg(feature = "pty")]
            Err(rustix::io::Errno::IO) if matches!(*self, Self::Terminal(_)) => 0,
            read => read?,
        };
        room.extend_from_slice(&buffer[..n]);
        Ok(n)
    }

    fn available(&self) -> u64 {
        rustix::io::ioctl_fionread(self.as_fd()).unwrap_or(0)
    }
}

/// Whether a terminal says that nobody holds its other end.
#[cfg(feature = "pty")]
pub(super) fn is_hangup(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
