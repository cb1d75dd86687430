//! What became of the input of a process.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

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
    /// The reader that it came from failed; the process saw end of file, and cannot know.
    SourceFailed(io::Error),
    /// The reader or the iterator that it came from panicked, with this message; the process saw end of file.
    SourcePanicked(String),
    /// The process was over and its input still open: a descendant held it and did not read, its owner held
    /// `Stdin`, or its source had not returned in time.
    Exited,
}

impl StdinEnd {
    /// Whether the process read end of file although there was more to come.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        matches!(self, Self::Error(_) | Self::SourceFailed(_) | Self::SourcePanicked(_))
    }
}

impl fmt::Display for StdinEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eof => f.write_str("all was written"),
            Self::BrokenPipe => f.write_str("the child reads no more"),
            Self::Error(error) => write!(f, "write error: {error}"),
            Self::SourceFailed(error) => write!(f, "its source failed: {error}"),
            Self::SourcePanicked(message) => write!(f, "its source panicked: {message}"),
            Self::Exited => f.write_str("the process ended before its input did"),
        }
    }
}

/// Whether nobody can read from the pipe any more. What cannot be asked counts as readable.
pub(super) fn has_no_reader(pipe: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(pipe, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok_and(|_| asked[0].revents().contains(PollFlags::ERR))
}
