//! A stream before its first byte.

use crate::stream::Stream;
use std::ops::Deref;

/// A [`Stream`] that was not started yet, see [`Stream::prepare`].
///
/// It can do all that a stream can: attach readers, collect, hand out clones. Dropping it without a
/// start ends the stream for all of them, with [`EndReason::Closed`](crate::EndReason::Closed).
#[must_use = "its readers wait until it is started"]
#[derive(Debug)]
pub struct Prepared {
    stream: Stream,
    is_started: bool,
}

impl Prepared {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, is_started: false }
    }

    /// Reads `source` on a task of the current tokio runtime, as [`Stream::spawn`].
    ///
    /// # Panics
    ///
    /// As [`Stream::spawn`].
    #[cfg(feature = "tokio")]
    #[must_use = "a stream that nobody holds is closed"]
    pub fn spawn(mut self, source: impl tokio::io::AsyncRead + Send + 'static) -> Stream {
        self.stream.start(crate::pump::task::Plain(Box::pin(source)));
        self.is_started = true;
        self.stream.clone()
    }

    /// Reads `source` on a thread of its own, as [`Stream::spawn_blocking`].
    ///
    /// # Errors
    ///
    /// Fails when the system starts no more threads; then the stream has ended.
    #[cfg(feature = "blocking")]
    pub fn spawn_blocking(
        mut self,
        source: impl std::io::Read + Send + 'static,
    ) -> std::io::Result<Stream> {
        self.stream.start_thread(source)?;
        self.is_started = true;
        Ok(self.stream.clone())
    }

    /// Starts it with a source that can be asked what it has.
    #[cfg(all(feature = "process", feature = "tokio"))]
    pub(crate) fn start(mut self, source: impl crate::pump::task::Source + Send + 'static) {
        self.stream.start(source);
        self.is_started = true;
    }
}

impl Prepared {
    /// Starts it, to be read by the thread of the caller.
    #[cfg(feature = "process")]
    pub(crate) fn start_by_caller(mut self) -> crate::pump::Duty {
        self.is_started = true;
        self.stream.start_by_caller()
    }
}

impl Deref for Prepared {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.stream
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.is_started {
            self.stream.give_up();
        }
    }
}
