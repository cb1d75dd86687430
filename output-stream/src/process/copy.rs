//! Copies of an output to files, terminals and other places, see [`Outlet::tee`](crate::Outlet::tee).

use crate::consume::Consumer;
use crate::event::{EndReason, Event};
use crate::merge::Channel;
use crate::policy::{Policy, Position};
use crate::stream::Stream;
use rustix::event::{PollFd, PollFlags, poll};
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use tokio::runtime::Handle;

/// A copy of an output that did not get every byte.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CopyFailed {
    /// Of which output.
    pub channel: Channel,
    /// Where to: the path of a file, or what kind of place it is.
    pub to: String,
    /// Bytes that were written.
    pub written: u64,
    /// What went wrong.
    pub error: Arc<io::Error>,
}

impl fmt::Display for CopyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channel, to, written, error } = self;
        write!(f, "copy {channel} to {to}: failed after {written} bytes: {error}")
    }
}

impl Error for CopyFailed {}

/// Where a copy goes.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) to: String,
    pub(super) file: File,
}

/// A copy that is being made.
#[derive(Debug)]
pub(super) struct Copy {
    channel: Channel,
    to: String,
    task: Consumer<Result<(), (u64, io::Error)>>,
}

impl Copy {
    /// Copies everything that the stream will have, on a task.
    pub(super) fn start(channel: Channel, stream: &Stream, target: Target) -> Self {
        let Target { to, file } = target;
        let reader = stream.subscribe(Position::Start, Policy::Block);
        let task = Consumer::spawn(async move {
            let mut reader = reader.map_err(|error| (0, io::Error::other(error)))?;
            let (mut file, mut written) = (file, 0);
            while let Some(event) = reader.next().await {
                let bytes = match event {
                    Event::Data { bytes, .. } => bytes,
                    Event::Gap { from, to } => {
                        let why = format!("bytes {from} to {to} were lost");
                        return Err((written, io::Error::other(why)));
                    }
                    Event::End(end) => match end.reason {
                        EndReason::Aborted => {
                            return Err((written, io::Error::other(end.to_string())));
                        }
                        _ => break,
                    },
                };
                // On a thread for blocking work, which is waited for here: a terminal may take its time.
                let write = move || {
                    let result = write_all(&mut file, &bytes);
                    (file, bytes.len() as u64, result)
                };
                let (back, size, result) = match Handle::current().spawn_blocking(write).await {
                    Ok(done) => done,
                    Err(error) => return Err((written, io::Error::other(error))),
                };
                file = back;
                match result {
                    Ok(()) => written += size,
                    Err((some, error)) => return Err((written + some, error)),
                }
            }
            Ok(())
        });
        Self { channel, to, task }
    }

    /// Waits until it is whole, or will not be.
    pub(super) async fn wait(&mut self) -> Option<CopyFailed> {
        let (written, error) = match self.task.wait().await {
            Ok(Ok(())) => return None,
            Ok(Err(failed)) => failed,
            Err(error) => (0, io::Error::other(error)),
        };
        let (channel, to) = (self.channel, std::mem::take(&mut self.to));
        Some(CopyFailed { channel, to, written, error: Arc::new(error) })
    }
}

/// Writes all of it, or says how much. A descriptor that does not block is waited for.
pub(super) fn write_all(file: &mut File, bytes: &[u8]) -> Result<(), (u64, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        let error = match file.write(&bytes[written..]) {
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(n) => {
                written += n;
                continue;
            }
            Err(error) => error,
        };
        let waited = match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::WouldBlock => {
                let mut room = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::OUT)];
                poll(&mut room, None).map(drop).map_err(io::Error::from)
            }
            _ => Err(error),
        };
        match waited {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err((written as u64, error));
            }
            _ => {}
        }
    }
    Ok(())
}
