//! The input of a child: a bounded queue and the task that writes it.

use crate::consume::Consumer;
use bytes::{Buf, Bytes};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::sync::mpsc;

/// The queue holds at most so many parts of at most so many bytes: 1 MiB.
const PARTS: usize = 16;
const PART: usize = 64 * 1024;

/// Writes to a child that was started with [`Inlet::Piped`](crate::Inlet::Piped).
///
/// What is written goes to a queue of at most 1 MiB, from which a task writes it to the child. A
/// child that reads slowly makes the writer wait; a child that reads no more is no error of the
/// process: the next write fails with [`StdinClosed`], and the report says
/// [`BrokenPipe`](StdinEnd::BrokenPipe).
///
/// Dropping it closes the input: the child reads what is in the queue, and then end of file.
///
/// It is an [`AsyncWrite`] as well, for copies from other readers. Flushing that waits for nothing,
/// for the queue is written in any case; shutting it down closes the input.
pub struct Stdin {
    /// `None` once it was shut down.
    queue: Option<mpsc::Sender<Bytes>>,
    /// A place in the queue that a poll waits for.
    place: Option<Place>,
}

type Place = Pin<Box<dyn Future<Output = Reserved> + Send + Sync>>;
type Reserved = Result<mpsc::OwnedPermit<Bytes>, mpsc::error::SendError<()>>;

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stdin").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// The child reads no more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StdinClosed {
    /// What was not put into the queue.
    pub unsent: Bytes,
}

impl fmt::Display for StdinClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write {} bytes to a child: it reads no more", self.unsent.len())
    }
}

impl Error for StdinClosed {}

/// What became of the input.
#[derive(Debug)]
#[non_exhaustive]
pub struct StdinReport {
    /// Bytes that went into the pipe; the child may not have read all of them.
    pub written: u64,
    /// How it ended.
    pub end: StdinEnd,
}

/// How the input of a child ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum StdinEnd {
    /// Everything was written, and the child saw end of file.
    Eof,
    /// The child closed its end first, or exited.
    BrokenPipe,
    /// Writing failed.
    Error(io::Error),
    /// The child exited while there was something left to write.
    Exited,
}

impl fmt::Display for StdinEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eof => f.write_str("all was written"),
            Self::BrokenPipe => f.write_str("the child reads no more"),
            Self::Error(error) => write!(f, "write error: {error}"),
            Self::Exited => f.write_str("the child exited first"),
        }
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let Some(queue) = &this.queue else {
            return Poll::Ready(Err(closed()));
        };
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let place = this.place.get_or_insert_with(|| Box::pin(queue.clone().reserve_owned()));
        let reserved = ready!(place.as_mut().poll(cx));
        this.place = None;
        let part = &bytes[..bytes.len().min(PART)];
        reserved.map_err(|_| closed())?.send(Bytes::copy_from_slice(part));
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        (this.queue, this.place) = (None, None);
        Poll::Ready(Ok(()))
    }
}

impl Stdin {
    /// Puts bytes into the queue, and waits while it is full.
    ///
    /// # Errors
    ///
    /// When the child reads no more; the error has what was not put into the queue.
    ///
    /// # Cancel safety
    ///
    /// More than 64 KiB go in parts: a future that is dropped may have put the first of them into
    /// the queue.
    pub async fn write(&mut self, bytes: impl Into<Bytes>) -> Result<(), StdinClosed> {
        let mut rest = bytes.into();
        self.place = None;
        while !rest.is_empty() {
            let Some(queue) = &self.queue else {
                return Err(StdinClosed { unsent: rest });
            };
            let Ok(place) = queue.reserve().await else {
                return Err(StdinClosed { unsent: rest });
            };
            place.send(rest.split_to(rest.len().min(PART)));
        }
        Ok(())
    }

    /// Closes the input; the same as dropping it.
    pub fn close(self) {}
}

/// Starts the task that writes `first`, and then what comes through the queue.
pub(super) fn pump(
    pipe: ChildStdin,
    first: Bytes,
    is_open: bool,
) -> (Option<Stdin>, Consumer<StdinReport>) {
    let (send, receive) = mpsc::channel(PARTS);
    let stdin = is_open.then_some(Stdin { queue: Some(send), place: None });
    (stdin, Consumer::spawn(write_all(pipe, first, receive)))
}

async fn write_all(
    mut pipe: ChildStdin,
    first: Bytes,
    mut queue: mpsc::Receiver<Bytes>,
) -> StdinReport {
    let mut report = StdinReport { written: 0, end: StdinEnd::Eof };
    let mut next = Some(first);
    while let Some(mut bytes) = next {
        while bytes.has_remaining() {
            let error = match pipe.write_buf(&mut bytes).await {
                Ok(n) => {
                    report.written += n as u64;
                    continue;
                }
                Err(error) => error,
            };
            report.end = match error.kind() {
                io::ErrorKind::BrokenPipe => StdinEnd::BrokenPipe,
                _ => StdinEnd::Error(error),
            };
            return report;
        }
        next = queue.recv().await;
    }
    report
}
