//! The input of a child: a bounded queue and the task that writes it.

use crate::consume::Consumer;
use bytes::{Buf, Bytes};
use std::error::Error;
use std::fmt;
use std::io;
use tokio::io::AsyncWriteExt;
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
#[derive(Debug)]
pub struct Stdin {
    queue: mpsc::Sender<Bytes>,
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
        while !rest.is_empty() {
            let Ok(place) = self.queue.reserve().await else {
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
    let stdin = is_open.then_some(Stdin { queue: send });
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
