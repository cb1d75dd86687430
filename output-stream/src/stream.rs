//! The handle of a stream, and what keeps its pump alive.

use crate::config::Config;
use crate::core::{Core, Pump};
use crate::error::SubscribeError;
use crate::event::{End, EndReason};
use crate::lines::{LineOptions, Lines};
use crate::policy::{Policy, Position};
use crate::prepared::Prepared;
use crate::pump::Duty;
use crate::shared::Shared;
use crate::state::Orders;
use crate::stats::Stats;
use crate::subscriber::Subscriber;
use crate::text::Text;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

/// A bounded, replayable stream of bytes with any number of readers.
///
/// Clones are handles of the same stream. The pump runs for as long as a handle or a subscriber is
/// there; when the last of them is dropped the source is dropped too, and a child that still writes
/// to it sees a broken pipe.
#[derive(Debug, Clone)]
pub struct Stream {
    core: Arc<Core>,
}

/// Waits for the end of a stream; leaves nothing behind when it is dropped before.
#[derive(Debug)]
struct Ended {
    core: Arc<Core>,
    place: Option<usize>,
}

impl Future for Ended {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let Self { core, place } = self.get_mut();
        let end = core.shared.poll_end(place, cx);
        if end.is_ready() {
            *place = None;
        }
        end
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.core.shared.leave_end(place);
        }
    }
}

impl Stream {
    /// A stream without a pump, to attach subscribers before the first byte is read.
    pub(crate) fn idle(config: &Config) -> Self {
        Self {
            core: Arc::new(Core {
                shared: Arc::new(Shared::new(config)),
                name: config.name.clone(),
                chunk_size: config.chunk_size,
                pump: OnceLock::new(),
            }),
        }
    }

    /// A stream that nobody reads into yet, so that readers can be attached before the first byte.
    ///
    /// A [`Policy::Block`] reader that is attached to it gets every byte there will ever be; one
    /// that comes to a running stream gets what that retains, and a gap before it.
    ///
    /// ```
    /// # #[cfg(feature = "tokio")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lastout_output_stream::{Config, LineOptions, Stream};
    ///
    /// let prepared = Stream::prepare(Config::default());
    /// let mut lines = prepared.lines(LineOptions::default())?;
    /// let stream = prepared.spawn(&b"one\ntwo\n"[..]);
    /// assert_eq!(lines.next().await.unwrap().text(), "one");
    /// # drop(stream);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "tokio"))]
    /// # fn main() {}
    /// ```
    pub fn prepare(config: Config) -> Prepared {
        Prepared::new(Self::idle(&config))
    }

    /// The lines from the start of the stream on, for a reader that is to have all of them.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe).
    pub fn lines(&self, options: LineOptions) -> Result<Lines, SubscribeError> {
        Ok(self.subscribe(Position::Start, Policy::Block)?.lines(options))
    }

    /// The text from the start of the stream on, for a reader that is to have all of it.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe).
    pub fn text(&self) -> Result<Text, SubscribeError> {
        Ok(self.subscribe(Position::Start, Policy::Block)?.text())
    }

    fn duty(&self) -> Duty {
        Duty::new(self.core.shared.clone(), self.core.name.clone(), self.core.chunk_size)
    }

    fn set_pump(&self, pump: Pump) {
        self.core.pump.set(pump).expect("a stream is started once");
    }

    /// Reads `source` on a task of the current tokio runtime.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lastout_output_stream::{Config, Event, Policy, Position, Stream};
    ///
    /// let stream = Stream::spawn(&b"hello"[..], Config::default());
    /// let mut reader = stream.subscribe(Position::Start, Policy::Block)?;
    /// while let Some(event) = reader.next().await {
    ///     match event {
    ///         Event::Data { offset, bytes } => println!("{offset}: {bytes:?}"),
    ///         Event::Gap { from, to } => println!("{from}..{to} lost"),
    ///         Event::End(end) => println!("{end}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime. [`Policy::BlockFor`] needs a runtime with its timer
    /// enabled.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn spawn(source: impl tokio::io::AsyncRead + Send + 'static, config: Config) -> Self {
        Self::prepare(config).spawn(source)
    }

    /// Starts the pump of an idle stream.
    #[cfg(feature = "tokio")]
    #[expect(clippy::disallowed_methods, reason = "the one place that starts pump tasks")]
    pub(crate) fn start(&self, source: impl crate::pump::task::Source + Send + 'static) {
        self.set_pump(Pump::Task(tokio::spawn(crate::pump::task::run(self.duty(), source))));
    }

    /// Reads `source` on a thread of its own.
    ///
    /// A blocking read cannot be interrupted: when the stream is closed or dropped during one, its
    /// subscribers see the end at once, and the thread ends when that read returns.
    ///
    /// # Errors
    ///
    /// Fails when the system starts no more threads.
    #[cfg(feature = "blocking")]
    pub fn spawn_blocking(
        source: impl std::io::Read + Send + 'static,
        config: Config,
    ) -> std::io::Result<Self> {
        Self::prepare(config).spawn_blocking(source)
    }

    /// Starts the pump of an idle stream on a thread.
    #[cfg(feature = "blocking")]
    pub(crate) fn start_thread(
        &self,
        source: impl std::io::Read + Send + 'static,
    ) -> std::io::Result<()> {
        let handle = crate::pump::thread::start(self.duty(), source)?;
        self.set_pump(Pump::Thread { handle });
        Ok(())
    }

    /// Hands the pump of an idle stream to the thread of the caller.
    #[cfg(feature = "process")]
    pub(crate) fn start_by_caller(&self) -> Duty {
        self.set_pump(Pump::Elsewhere);
        self.duty()
    }

    /// Ends a stream that was never started.
    pub(crate) fn give_up(&self) {
        let shared = &self.core.shared;
        let room = shared.lock().room();
        shared.finish(EndReason::Closed, room, Instant::now());
    }

    /// Stamps the reads of an idle stream, unless its configuration says how.
    #[cfg(feature = "process")]
    pub(crate) fn join(&self, sequence: &crate::Sequence) {
        self.core.shared.lock().join(sequence);
    }

    /// A stream that has ended and never had a byte, because nobody reads its source.
    #[cfg(feature = "process")]
    pub(crate) fn empty() -> Self {
        let stream = Self::idle(&Config::default());
        let shared = &stream.core.shared;
        let room = shared.lock().room();
        shared.finish(EndReason::Closed, room, Instant::now());
        stream.set_pump(Pump::Elsewhere);
        stream
    }

    /// Adds a reader.
    ///
    /// It gets what is retained, and then what comes. To have the very first bytes of a source that
    /// may be faster than this call, attach to a [prepared](Self::prepare) stream.
    ///
    /// # Errors
    ///
    /// [`SubscribeError::Busy`] when the stream is for a single subscriber and has one;
    /// [`SubscribeError::ZeroStall`] for a stall limit of zero.
    pub fn subscribe(
        &self,
        position: Position,
        policy: Policy,
    ) -> Result<Subscriber, SubscribeError> {
        let id = self.core.shared.attach(position, policy)?;
        Ok(Subscriber::new(self.core.clone(), id))
    }

    /// Drops the history, for good: later subscribers start live, and memory is what attached
    /// subscribers have yet to read.
    pub fn seal(&self) {
        self.core.shared.seal();
    }

    /// Stops reading at once. Subscribers get what was read before, and then [`EndReason::Closed`](crate::EndReason::Closed).
    ///
    /// A stream that has ended stays as it is.
    pub fn close(&self) {
        self.core.shared.order(Orders::Stop);
        #[cfg(feature = "blocking")]
        if matches!(self.core.pump.get(), Some(Pump::Thread { .. })) {
            self.core.shared.close_now();
        }
    }

    /// Stops reading as soon as the source has nothing to give, without waiting for its end or for a
    /// reader.
    ///
    /// Whatever was written before this call is read, even when the readers are a whole window behind. A
    /// source that does not say how much it has, and is written to all the time, is read for 1 MiB more. A
    /// blocking source is not drained, because it cannot be asked what it has: it is closed when its read
    /// returns.
    pub fn drain(&self) {
        self.core.shared.order(Orders::Drain);
    }

    /// Waits until the stream has ended, however it does. Subscribers may have data left to read.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn ended(&self) -> impl Future<Output = End> + Send + Sync + use<> {
        Ended { core: self.core.clone(), place: None }
    }

    /// How the stream has ended, if it has.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.core.shared.lock().end().cloned()
    }

    /// The number of bytes read so far.
    #[must_use]
    pub fn ingested(&self) -> u64 {
        self.core.shared.lock().ingested()
    }

    /// A snapshot of all numbers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core.shared.lock().stats(Instant::now())
    }

    /// The name given in the configuration.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.core.name.as_deref()
    }
}
