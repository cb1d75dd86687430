//! Copies of an output to files, terminals and other places, see [`Outlet::tee`](crate::Outlet::tee).

use crate::consume::Consumer;
use crate::event::{EndReason, Event};
use crate::merge::Channel;
use crate::policy::{Policy, Position};
use crate::stream::Stream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    progress: Arc<Progress>,
    task: Consumer<io::Result<()>>,
}

/// What the copy, and the thread that writes for it, share.
#[derive(Debug, Default)]
struct Progress {
    written: AtomicU64,
    /// Nothing more is to be written.
    is_stopped: AtomicBool,
}

impl Copy {
    /// Copies everything that the stream will have, on a task.
    pub(super) fn start(channel: Channel, stream: &Stream, target: Target) -> Self {
        let Target { to, file } = target;
        let reader = stream.subscribe(Position::Start, Policy::Block);
        let progress = Arc::new(Progress::default());
        let shared = progress.clone();
        let task = Consumer::spawn(async move {
            let mut reader = reader.map_err(io::Error::other)?;
            // A file takes all at once, and never lets a writer wait for a reader.
            let size = if file.metadata()?.is_file() { usize::MAX } else { ROOM };
            let mut file = file;
            while let Some(event) = reader.next().await {
                let bytes = match event {
                    Event::Data { bytes, .. } => bytes,
                    Event::Gap { from, to } => {
                        return Err(io::Error::other(format!("bytes {from} to {to} were lost")));
                    }
                    Event::End(end) if matches!(end.reason, EndReason::Aborted) => {
                        return Err(io::Error::other(end.to_string()));
                    }
                    Event::End(_) => break,
                };
                // On a thread for blocking work, which is waited for here: a terminal may take its time.
                let shared = shared.clone();
                let write = move || write_all(&mut file, &bytes, size, &shared).map(|()| file);
                file =
                    Handle::current().spawn_blocking(write).await.map_err(io::Error::other)??;
            }
            Ok(())
        });
        Self { channel, to, progress, task }
    }

    /// Waits until it is whole, or will not be.
    pub(super) async fn wait(&mut self) -> Option<CopyFailed> {
        let error = match self.task.wait().await {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => error,
            Err(error) => io::Error::other(error),
        };
        let (channel, to) = (self.channel, std::mem::take(&mut self.to));
        let written = self.progress.written.load(Ordering::Relaxed);
        Some(CopyFailed { channel, to, written, error: Arc::new(error) })
    }

    /// Writes nothing more: it has had its time.
    pub(super) fn stop(&self) {
        self.progress.is_stopped.store(true, Ordering::Relaxed);
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whatever is ready to be written to takes so many bytes without a wait.
const ROOM: usize = 4096;

/// How often a writer that waits for room looks whether it is to stop.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Writes all of it, and counts it. Room is waited for before each part, so that it can be stopped.
fn write_all(
    file: &mut File,
    mut bytes: &[u8],
    size: usize,
    progress: &Progress,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut room = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::OUT)];
        let is_ready = match poll(&mut room, Some(&LOOK)) {
            Ok(ready) => ready > 0,
            Err(Errno::INTR) => false,
            Err(error) => return Err(error.into()),
        };
        if progress.is_stopped.load(Ordering::Relaxed) {
            return Err(io::Error::new(ErrorKind::TimedOut, "it took too long to write"));
        }
        if !is_ready {
            continue;
        }
        match file.write(&bytes[..bytes.len().min(size)]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => {
                progress.written.fetch_add(n as u64, Ordering::Relaxed);
                bytes = &bytes[n..];
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
