//! Named pipes among the files of a process: the start waits until their other ends are open, and no longer than the
//! time limit. Each is opened without blocking, and looked at again and again.

use super::builder::ProcessBuilder;
use super::once::Once;
use super::outlet::{Inlet, Outlet};
use super::route::Named;
use super::watcher::{Cancel, is_ready};
use crate::contain::discard;
use lastout_proc_tree::SpawnError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, tee};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// How often the other end of a named pipe is looked for. The system does not tell when it is opened.
const LOOK: Duration = Duration::from_millis(10);

/// The named pipes of one start. What is open stays open with this, so that the process finds it so.
pub(super) struct Fifos {
    shown: String,
    since: Instant,
    time: Option<Duration>,
    limit: Option<Instant>,
    /// Taken from the builder, and put back in the end.
    cancel: Option<Cancel>,
    left: Vec<Fifo>,
    open: Vec<Fifo>,
}

struct Fifo {
    path: PathBuf,
    which: &'static str,
    /// Our own end.
    file: Option<File>,
}

impl Fifos {
    /// Those that the builder names, unless they were waited for.
    pub(super) fn of(builder: &mut ProcessBuilder, now: Instant) -> Option<Self> {
        let mut left = Vec::new();
        if builder.is_awaited {
            return None;
        }
        if let Some(Inlet::File(path)) = &builder.stdin {
            add(&mut left, path, "stdin");
        }
        for (outlet, which) in [(&builder.stdout, "stdout"), (&builder.stderr, "stderr")] {
            outlet.iter().for_each(|outlet| add_outlet(&mut left, outlet, which));
        }
        if left.is_empty() {
            return None;
        }
        let since = builder.begin.unwrap_or(now);
        Some(Self {
            shown: builder.shown(),
            since,
            time: builder.time,
            limit: builder.time.and_then(|time| since.checked_add(time)),
            cancel: builder.cancel.as_ref().and_then(Once::take),
            left,
            open: Vec::new(),
        })
    }

    /// Looks once: whether the other ends of all of them are open. Fails when there is no more time for that.
    fn look(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, SpawnError> {
        let mut at = 0;
        while let Some(fifo) = self.left.get_mut(at) {
            let is_open = fifo.look();
            match is_open.map_err(|error| self.fail(at, &error))? {
                true => self.open.push(self.left.swap_remove(at)),
                false => at += 1,
            }
        }
        if self.left.is_empty() {
            return Ok(true);
        }
        if self.cancel.as_mut().is_some_and(|cancel| is_ready(cancel, cx)) {
            let why = "it was cancelled before the other end was opened";
            return Err(self.fail(0, &io::Error::new(ErrorKind::Interrupted, why)));
        }
        if self.limit.is_some_and(|limit| now >= limit) {
            let limit = self.time.unwrap_or_default();
            let why =
                format!("its time limit of {limit:?} was over before the other end was opened");
            return Err(self.fail(0, &io::Error::new(ErrorKind::TimedOut, why)));
        }
        Ok(false)
    }

    fn fail(&self, at: usize, error: &io::Error) -> SpawnError {
        let Fifo { path, which, .. } = &self.left[at];
        Named(&self.shown).fail(&format!("open {} for {which}", path.display()), error)
    }

    /// Waits on the thread of the caller.
    pub(super) fn wait_blocking(&mut self) -> Result<(), SpawnError> {
        let mut cx = Context::from_waker(Waker::noop());
        while !self.look(&mut cx, Instant::now())? {
            // A signal makes it look earlier.
            let _ =
                poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() }));
        }
        Ok(())
    }

    /// Waits as a future, which may be dropped.
    #[cfg(feature = "tokio")]
    pub(super) async fn wait(&mut self) -> Result<(), SpawnError> {
        loop {
            let now = tokio::time::Instant::now().into_std();
            let look = std::future::poll_fn(|cx| std::task::Poll::Ready(self.look(cx, now)));
            if look.await? {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Tells the builder that they were waited for, and since when.
    pub(super) fn conclude(&mut self, builder: &mut ProcessBuilder) {
        builder.is_awaited = true;
        builder.begin = Some(self.since);
        if let Some(cancel) = self.cancel.take() {
            builder.cancel = Some(Once::new(cancel));
        }
    }
}

impl Drop for Fifos {
    /// The future is its owner's: a panic of its destructor ends here.
    fn drop(&mut self) {
        let cancel = self.cancel.take();
        discard(cancel);
    }
}

#[cfg(feature = "tokio")]
impl ProcessBuilder {
    /// Waits until the other ends of its named pipes are open. What is returned has to live until the start.
    pub(super) async fn awaited(&mut self) -> Result<Option<Fifos>, SpawnError> {
        let Some(mut fifos) = Fifos::of(self, tokio::time::Instant::now().into_std()) else {
            return Ok(None);
        };
        fifos.wait().await?;
        fifos.conclude(self);
        Ok(Some(fifos))
    }
}

fn add(fifos: &mut Vec<Fifo>, path: &Path, which: &'static str) {
    // What cannot be looked at cannot be opened either, and the start says so.
    if path.metadata().is_ok_and(|found| found.file_type().is_fifo()) {
        fifos.push(Fifo { path: path.to_owned(), which, file: None });
    }
}

fn add_outlet(fifos: &mut Vec<Fifo>, outlet: &Outlet, which: &'static str) {
    match outlet {
        Outlet::File { path, .. } => add(fifos, path, which),
        Outlet::Several(outlets) => {
            outlets.iter().for_each(|outlet| add_outlet(fifos, outlet, which));
        }
        _ => {}
    }
}

impl Fifo {
    /// Whether its other end is open.
    fn look(&mut self) -> io::Result<bool> {
        let is_input = self.which == "stdin";
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            match open(options.read(is_input).write(!is_input), &self.path) {
                Ok(file) => self.file = Some(file),
                // It has no reader.
                Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {}
                Err(error) => return Err(error),
            }
        }
        match &self.file {
            Some(file) if is_input => has_writer(file),
            file => Ok(file.is_some()),
        }
    }
}

/// Whether a process has it open for writing, or has had it since it was opened here.
fn has_writer(file: &File) -> io::Result<bool> {
    let mut asked = [PollFd::new(file, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if matches!(poll(&mut asked, Some(&now)), Ok(found) if found > 0) {
        return Ok(true);
    }
    // Of an empty pipe, nothing is copied when it has no writer, and a writer is to be waited for.
    let (_reader, scratch): (OwnedFd, OwnedFd) = pipe_with(PipeFlags::CLOEXEC)?;
    match tee(file, &scratch, 1, SpliceFlags::NONBLOCK) {
        Ok(copied) => Ok(copied > 0),
        Err(Errno::AGAIN) => Ok(true),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Opens a file without waiting for anything, and then lets its reads and writes wait as usual.
pub(super) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = options.custom_flags(flags).open(path)?;
    rustix::io::ioctl_fionbio(&file, false)?;
    Ok(file)
}
