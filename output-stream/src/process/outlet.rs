//! Where the outputs of a process go, and where its input comes from.

use super::food::Food;
use super::once::Once;
use crate::config::Config;
use crate::prepared::Prepared;
use bytes::{Bytes, BytesMut};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where an output of a process goes.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lastout_output_stream::{Outlet, Process};
///
/// let log = std::env::temp_dir().join(format!("log-of-outlets-{}", std::process::id()));
/// let output = Process::shell("echo one; echo two >&2; echo three")
///     .stderr_to_stdout() // one pipe: the order is that of the writes
///     .stdout(Outlet::tee([Outlet::default(), Outlet::file(&log)]))
///     .output_blocking()?
///     .check()?;
/// assert_eq!(output.stdout.text(), "one\ntwo\nthree\n");
/// assert_eq!(std::fs::read_to_string(&log)?, "one\ntwo\nthree\n");
/// # std::fs::remove_file(&log)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Outlet {
    /// To a [`Stream`](crate::Stream) with this configuration.
    Stream(Box<Config>),
    /// To this stream, which may have readers already: they get every byte from the first one on.
    Prepared(Once<Prepared>),
    /// Nowhere: there is no pipe, and the stream has ended from the start.
    Discard,
    /// To the same place as ours; the stream has ended from the start.
    Inherit,
    /// To this file, which the start opens; the process writes to it without a pipe, and the stream has
    /// ended from the start.
    File {
        /// Which one. It is made if it does not exist.
        path: PathBuf,
        /// Whether what the file has is kept, and added to. Otherwise the start makes it empty.
        append: bool,
    },
    /// To this open file, pipe or socket, which the process writes to itself. The stream has ended from the
    /// start.
    Descriptor(Arc<OwnedFd>),
    /// To the same place as standard output. For standard error only.
    Stdout,
    /// To all of these: to at most one stream, and from there to the others, each of which gets every byte
    /// and may slow the process down.
    Several(Vec<Self>),
}

impl Outlet {
    /// To this file, which is made, or made empty, when the process starts.
    #[must_use]
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self::File { path: path.as_ref().to_owned(), append: false }
    }

    /// To the end of this file, which is made if it does not exist.
    #[must_use]
    pub fn append(path: impl AsRef<Path>) -> Self {
        Self::File { path: path.as_ref().to_owned(), append: true }
    }

    /// To all of these: the terminal and a stream, a file and a stream, two files.
    ///
    /// The process writes to one pipe, and what comes out of it is copied to each. A copy that fails, such as one
    /// to a disk that is full, ends alone; [`Exit::copies`](crate::Exit::copies) names it, and the process
    /// counts as failed. More than one stream is refused at the start.
    #[must_use]
    pub fn tee(outlets: impl IntoIterator<Item = impl Into<Self>>) -> Self {
        Self::Several(outlets.into_iter().map(Into::into).collect())
    }
}

impl Default for Outlet {
    fn default() -> Self {
        Config::default().into()
    }
}

impl From<Config> for Outlet {
    fn from(config: Config) -> Self {
        Self::Stream(Box::new(config))
    }
}

impl From<Prepared> for Outlet {
    fn from(prepared: Prepared) -> Self {
        Self::Prepared(prepared.into())
    }
}

impl From<File> for Outlet {
    fn from(file: File) -> Self {
        Self::Descriptor(Arc::new(file.into()))
    }
}

impl From<OwnedFd> for Outlet {
    fn from(descriptor: OwnedFd) -> Self {
        Self::Descriptor(Arc::new(descriptor))
    }
}

/// Where the input of a process comes from. Text and bytes of any kind can be turned into it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lastout_output_stream::{Inlet, Process};
///
/// let numbers = (1..=3).map(|n| n.to_string());
/// let output = Process::builder("wc").arg("-l").stdin(Inlet::lines(numbers)).output_blocking()?;
/// assert_eq!(output.check()?.stdout.text().trim(), "3");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Inlet {
    /// There is none: it reads end of file.
    #[default]
    Null,
    /// From the same place as the caller's. A terminal is refused for a process in
    /// [a group of its own](crate::ProcessBuilder::own_group).
    Inherit,
    /// These bytes, and then end of file.
    Bytes(Bytes),
    /// From `Process::stdin`. A blocking form closes it at once.
    Piped,
    /// From this file, which the start opens and the process reads itself.
    File(PathBuf),
    /// From this open file, pipe or socket, which the process reads itself. Several starts share its position.
    Descriptor(Arc<OwnedFd>),
    /// From a reader or from [lines](Self::lines), and then end of file. One start can have it.
    Source(Once<Food>),
}

impl Inlet {
    /// From this file, which is opened when the process starts.
    #[must_use]
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self::File(path.as_ref().to_owned())
    }

    /// From this reader to its end, as fast as the process reads.
    ///
    /// A reader that fails, or panics, ends the input: the process reads end of file, and
    /// [`StdinReport`](crate::StdinReport) and [`Output::check`](crate::Output::check) say so.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn reader(reader: impl tokio::io::AsyncRead + Send + 'static) -> Self {
        Self::Source(Once::new(Food::Reader(Box::pin(reader))))
    }

    /// Each item, with LF behind it, as fast as the process reads. The iterator runs on a thread of the
    /// runtime, or in a blocking form on the thread of the caller: while it blocks, that thread does nothing else,
    /// and the line before may wait for the next one. For lines that come slowly there is [`Inlet::Piped`].
    #[must_use]
    pub fn lines<I>(lines: I) -> Self
    where
        I: IntoIterator<Item: AsRef<[u8]>, IntoIter: Send + 'static>,
    {
        let mut lines = lines.into_iter();
        // Not `fuse`, which drops the iterator here: a panic of that would count as one of `next`.
        let mut is_over = false;
        let more = move |room: &mut BytesMut| {
            let line = if is_over { None } else { lines.next() };
            is_over = line.is_none();
            if let Some(line) = line {
                room.extend_from_slice(line.as_ref());
                room.extend_from_slice(b"\n");
            }
            !is_over
        };
        Self::Source(Once::new(Food::Lines(Box::new(more))))
    }
}

impl From<File> for Inlet {
    fn from(file: File) -> Self {
        Self::Descriptor(Arc::new(file.into()))
    }
}

impl From<OwnedFd> for Inlet {
    fn from(descriptor: OwnedFd) -> Self {
        Self::Descriptor(Arc::new(descriptor))
    }
}

/// What can be had without a copy.
macro_rules! owned {
    ($($owned:ty),*) => {$(
        impl From<$owned> for Inlet {
            fn from(bytes: $owned) -> Self {
                Self::Bytes(bytes.into())
            }
        }
    )*};
}

owned!(Bytes, BytesMut, Vec<u8>, Box<[u8]>, String);

/// What is copied, for it may not live as long as the process.
macro_rules! borrowed {
    ($($borrowed:ty),*) => {$(
        impl From<$borrowed> for Inlet {
            fn from(bytes: $borrowed) -> Self {
                Self::Bytes(Bytes::copy_from_slice(bytes.as_ref()))
            }
        }
    )*};
}

borrowed!(&str, &String, &[u8], &Vec<u8>);

impl<const N: usize> From<[u8; N]> for Inlet {
    fn from(bytes: [u8; N]) -> Self {
        Self::from(&bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for Inlet {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes))
    }
}
