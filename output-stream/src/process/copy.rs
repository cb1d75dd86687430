//! Copies of an output to files, terminals and other places, see [`Outlet::tee`](crate::Outlet::tee).

#[cfg(feature = "tokio")]
pub(super) mod task;

use crate::event::{EndReason, Event};
use crate::merge::Channel;
use bytes::Bytes;
use rustix::io::Errno;
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A copy of an output that did not get every byte.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CopyFailed {
    /// Of which output.
    pub channel: Channel,
    /// Where to: the path of a file, or what kind of place it is.
    pub to: String,
    /// Bytes that were written, those in a write that did not return left out.
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

/// What a copy, and whoever writes for it, share.
#[derive(Debug, Default)]
pub(super) struct Progress {
    written: AtomicU64,
    /// Nothing more is to be written.
    is_stopped: AtomicBool,
}

impl Progress {
    /// Nothing more is to be written.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Fails when it was stopped.
    pub(super) fn go_on(&self) -> io::Result<()> {
        match self.is_stopped.load(Ordering::Relaxed) {
            true => Err(Self::too_long()),
            false => Ok(()),
        }
    }

    fn too_long() -> io::Error {
        io::Error::new(ErrorKind::TimedOut, "it took too long to write")
    }

    pub(super) fn failed(&self, channel: Channel, to: String, error: io::Error) -> CopyFailed {
        let written = self.written.load(Ordering::Relaxed);
        CopyFailed { channel, to, written, error: Arc::new(error) }
    }
}

/// What an event adds to a copy; `None` at the end.
pub(super) fn bytes_of(event: Event) -> io::Result<Option<Bytes>> {
    match event {
        Event::Data { bytes, .. } => Ok(Some(bytes)),
        Event::Gap { from, to } => Err(io::Error::other(format!("bytes {from} to {to} were lost"))),
        Event::End(end) if matches!(end.reason, EndReason::Aborted) => {
            Err(io::Error::other(end.to_string()))
        }
        Event::End(_) => Ok(None),
    }
}

/// Whatever is ready to be written to takes so many bytes without a wait.
const ROOM: usize = 4096;

/// How much may be written at once. A file takes all, and never lets a writer wait for a reader.
pub(super) fn room_of(file: &File) -> io::Result<usize> {
    Ok(if file.metadata()?.is_file() { usize::MAX } else { ROOM })
}

/// Writes as much as there is room for, and counts it.
pub(super) fn write_some(
    file: impl AsFd,
    bytes: &mut &[u8],
    size: usize,
    progress: &Progress,
) -> io::Result<()> {
    match rustix::io::write(file, &bytes[..bytes.len().min(size)]) {
        Ok(0) => Err(ErrorKind::WriteZero.into()),
        Ok(n) => {
            progress.written.fetch_add(n as u64, Ordering::Relaxed);
            *bytes = &bytes[n..];
            Ok(())
        }
        Err(Errno::INTR | Errno::AGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
