//! A copy that a task makes, on the threads of the runtime for blocking work.

use super::{CopyFailed, Progress, Target, bytes_of, room_of, write_some};
use crate::consume::Consumer;
use crate::merge::Channel;
use crate::policy::{Policy, Position};
use crate::stream::Stream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use tokio::runtime::Handle;

/// A copy that is being made.
#[derive(Debug)]
pub(in crate::process) struct Copy {
    channel: Channel,
    to: String,
    progress: Arc<Progress>,
    task: Consumer<io::Result<()>>,
}

impl Copy {
    /// Copies everything that the stream will have, on a task.
    pub(in crate::process) fn start(channel: Channel, stream: &Stream, target: Target) -> Self {
        let Target { to, file } = target;
        let reader = stream.subscribe(Position::Start, Policy::Block);
        let progress = Arc::new(Progress::default());
        let shared = progress.clone();
        let task = Consumer::spawn(async move {
            let mut reader = reader.map_err(io::Error::other)?;
            let size = room_of(&file)?;
            let mut file = file;
            while let Some(event) = reader.next().await {
                let Some(bytes) = bytes_of(event)? else { break };
                // On a thread for blocking work, which is waited for here: a terminal may take its time.
                let shared = shared.clone();
                let write = move || write_all(&file, &bytes, size, &shared).map(|()| file);
                file =
                    Handle::current().spawn_blocking(write).await.map_err(io::Error::other)??;
            }
            Ok(())
        });
        Self { channel, to, progress, task }
    }

    /// Waits until it is whole, or will not be.
    pub(in crate::process) async fn wait(&mut self) -> Option<CopyFailed> {
        let error = match self.task.wait().await {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => error,
            Err(error) => io::Error::other(error),
        };
        Some(self.progress.failed(self.channel, std::mem::take(&mut self.to), error))
    }

    /// Leaves a write behind that does not return.
    pub(in crate::process) fn give_up(&mut self) -> CopyFailed {
        self.progress.failed(self.channel, std::mem::take(&mut self.to), Progress::too_long())
    }

    /// Writes nothing more: it has had its time.
    pub(in crate::process) fn stop(&self) {
        self.progress.stop();
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Writes all of it, and counts it. Room is waited for before each part, so that it can be stopped.
fn write_all(file: &File, mut bytes: &[u8], size: usize, progress: &Progress) -> io::Result<()> {
    while !bytes.is_empty() {
        let is_ready = is_ready(file)?;
        progress.go_on()?;
        if is_ready {
            write_some(file, &mut bytes, size, progress)?;
        }
    }
    Ok(())
}

/// How often a writer that waits for room looks whether it is to stop.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Waits for room for a while.
fn is_ready(file: &File) -> io::Result<bool> {
    let mut room = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::OUT)];
    match poll(&mut room, Some(&LOOK)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
