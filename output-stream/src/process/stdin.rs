//! The input of a child: a bounded queue and the task that writes it.

use super::food::{Food, Meal};
use super::input::{StdinEnd, StdinReport, has_no_reader};
use super::on_tokio::Known;
use crate::consume::Consumer;
use crate::turn::let_others_run;
use bytes::{Buf, Bytes};
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::sync::{mpsc, watch};

/// The queue holds at most so many parts of at most so many bytes: 1 MiB.
const PARTS: usize = 16;
const PART: usize = 64 * 1024;

/// Writes to a child that was started with [`Inlet::Piped`](crate::Inlet::Piped).
///
/// What is written goes to a queue of at most 1 MiB, from which a task writes it to the child. A
/// child that reads slowly makes the writer wait; a child that reads no more is no error of the
/// process: each write after the child has closed its input fails with [`StdinClosed`]. What is in
/// the queue may still not arrive: the report counts the bytes that went into the pipe, and says
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
    /// The pipe, to ask whether anybody can read from it.
    pipe: Option<OwnedFd>,
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
        if this.has_no_reader() {
            return Poll::Ready(Err(closed()));
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
        (this.queue, this.place, this.pipe) = (None, None, None);
        Poll::Ready(Ok(()))
    }
}

impl Stdin {
    fn has_no_reader(&self) -> bool {
        self.pipe.as_ref().is_some_and(has_no_reader)
    }

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
            let Some(queue) = self.queue.as_ref().filter(|_| !self.has_no_reader()) else {
                return Err(StdinClosed { unsent: rest });
            };
            let Ok(place) = queue.reserve().await else {
                return Err(StdinClosed { unsent: rest });
            };
            if self.has_no_reader() {
                return Err(StdinClosed { unsent: rest });
            }
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
    first: Food,
    is_open: bool,
    end_of_file: Option<u8>,
    written: Arc<AtomicU64>,
    exit: watch::Receiver<Known>,
) -> (Option<Stdin>, Consumer<StdinReport>) {
    let (send, receive) = mpsc::channel(PARTS);
    // Without a descriptor for it the question is not asked, and the queue tells later.
    let asked = if is_open { pipe.as_fd().try_clone_to_owned().ok() } else { None };
    let stdin = is_open.then_some(Stdin { queue: Some(send), place: None, pipe: asked });
    (stdin, Consumer::spawn(write_until(pipe, first, receive, end_of_file, written, exit)))
}

/// Writes until the input ends or the process is over, whichever is first.
async fn write_until(
    pipe: ChildStdin,
    first: Food,
    queue: mpsc::Receiver<Bytes>,
    end_of_file: Option<u8>,
    written: Arc<AtomicU64>,
    mut exit: watch::Receiver<Known>,
) -> StdinReport {
    let mut state = State { written, end: StdinEnd::Eof, is_writing: false };
    let asked = pipe.as_fd().try_clone_to_owned().ok();
    let is_written = {
        let mut writing = pin!(write_all(pipe, Meal::new(first), queue, end_of_file, &mut state));
        let mut exited = pin!(exit.wait_for(Option::is_some));
        poll_fn(|cx| {
            if writing.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            exited.as_mut().poll(cx).map(|_| false)
        })
        .await
    };
    if !is_written {
        // The exit may be known before the runtime has let a write find out that nobody reads.
        let is_broken = state.is_writing && asked.is_some_and(|pipe| has_no_reader(&pipe));
        state.end = match is_broken {
            true => StdinEnd::BrokenPipe,
            false => StdinEnd::Exited,
        };
    }
    StdinReport { written: state.written.load(Ordering::Relaxed), end: state.end }
}

/// How far the writing has come.
struct State {
    written: Arc<AtomicU64>,
    end: StdinEnd,
    /// It has bytes that are not written yet.
    is_writing: bool,
}

/// Writes what the source gives, and then what comes through the queue.
async fn write_all(
    mut pipe: ChildStdin,
    mut first: Meal,
    mut queue: mpsc::Receiver<Bytes>,
    end_of_file: Option<u8>,
    state: &mut State,
) {
    let mut last = b'\n';
    let mut note = |bytes: &Bytes| last = bytes.last().copied().unwrap_or(last);
    loop {
        let (bytes, failure) = first.next().await;
        let is_over = bytes.is_empty();
        note(&bytes);
        if !write(&mut pipe, bytes, state).await {
            return;
        }
        if let Some(failure) = failure {
            state.end = failure;
            return;
        }
        if is_over {
            break;
        }
        // A source that is never out of bytes, or blocks, does not keep the exit from being seen.
        let_others_run().await;
    }
    while let Some(bytes) = queue.recv().await {
        note(&bytes);
        if !write(&mut pipe, bytes, state).await {
            return;
        }
    }
    if let Some(end) = end_of_file {
        // Once ends a line that has begun, and once more the input.
        let ends = if last == b'\n' { vec![end] } else { vec![end; 2] };
        let written = state.written.load(Ordering::Relaxed);
        write(&mut pipe, ends.into(), state).await;
        state.written.store(written, Ordering::Relaxed);
    }
}

/// Writes all of it; `false` when that failed, which the report then says.
async fn write(pipe: &mut ChildStdin, mut bytes: Bytes, state: &mut State) -> bool {
    state.is_writing = true;
    while bytes.has_remaining() {
        let error = match pipe.write_buf(&mut bytes).await {
            Ok(n) => {
                state.written.fetch_add(n as u64, Ordering::Relaxed);
                continue;
            }
            Err(error) => error,
        };
        state.end = match error.kind() {
            io::ErrorKind::BrokenPipe => StdinEnd::BrokenPipe,
            // A terminal whose other end nobody holds.
            #[cfg(feature = "pty")]
            _ if super::source::is_hangup(&error) => StdinEnd::BrokenPipe,
            _ => StdinEnd::Error(error),
        };
        return false;
    }
    state.is_writing = false;
    true
}
