//! Waiting for a line.

use crate::collect::{Collected, Keep, Sink};
use crate::error::SubscribeError;
use crate::event::Event;
use crate::lines::{Ending, Line, LineOptions, LineRef, Lines, LinesEnd};
use crate::policy::{Policy, Position};
use crate::stream::Stream;
use crate::text::printable;
use bytes::Bytes;
use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

/// How much of what it saw a failed wait gives back.
const SEEN: u64 = 64 * 1024;

/// No line matched.
#[derive(Debug)]
#[non_exhaustive]
pub struct WaitError {
    /// Why it was given up.
    pub reason: WaitErrorReason,
    /// The last 64 KiB of what was seen, also of a line that was not finished, as text with LF
    /// endings; offsets in it count from the first line that was seen.
    pub seen: Box<Collected>,
}

/// Why waiting for a line was given up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WaitErrorReason {
    /// The time ran out.
    Timeout(Duration),
    /// There are no more lines.
    Ended(LinesEnd),
    /// The stream could not be subscribed to.
    Subscribe(SubscribeError),
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            WaitErrorReason::Timeout(within) => {
                write!(f, "wait for a line: none matched within {within:?}")?;
            }
            WaitErrorReason::Ended(end) => {
                write!(f, "wait for a line: none matched before the end: {end}")?;
            }
            WaitErrorReason::Subscribe(_) => return f.write_str("wait for a line"),
        }
        let text = self.seen.text();
        match text.trim_end().lines().last() {
            Some(last) => write!(f, "; last line: {}", printable(last)),
            None => f.write_str("; there was no output"),
        }
    }
}

impl Error for WaitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            WaitErrorReason::Subscribe(error) => Some(error),
            WaitErrorReason::Timeout(_) | WaitErrorReason::Ended(_) => None,
        }
    }
}

impl Stream {
    /// Waits until a line from the start of the stream on, or from the oldest byte that is retained,
    /// matches; gives the line, and the lines behind it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lastout_output_stream::{Config, Stream};
    /// use std::time::Duration;
    ///
    /// let stream = Stream::spawn(&b"booting\nlistening on :80\nhello\n"[..], Config::default());
    /// let within = Duration::from_secs(5);
    /// let (line, mut rest) =
    ///     stream.wait_for(within, |line| line.text().starts_with("listening")).await?;
    /// assert_eq!((line.text(), line.offset), ("listening on :80".into(), 8));
    /// assert_eq!(rest.next().await.unwrap().text(), "hello");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// With what was seen, when the time runs out or the stream ends first.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with its timer enabled. A predicate that panics does so
    /// for the caller alone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the next call starts again at the start of the stream.
    pub async fn wait_for(
        &self,
        within: Duration,
        is_match: impl FnMut(&LineRef<'_>) -> bool,
    ) -> Result<(Line, Lines), WaitError> {
        self.wait_for_line(within, LineOptions::default(), is_match).await
    }

    /// [`wait_for`](Self::wait_for) with other lines.
    pub(crate) async fn wait_for_line(
        &self,
        within: Duration,
        options: LineOptions,
        is_match: impl FnMut(&LineRef<'_>) -> bool,
    ) -> Result<(Line, Lines), WaitError> {
        let subscriber = self.subscribe(Position::Start, Policy::Block).map_err(|error| {
            let seen = Box::new(Sink::new(Keep::nothing()).snapshot());
            WaitError { reason: WaitErrorReason::Subscribe(error), seen }
        })?;
        let mut lines = subscriber.lines(options);
        let line = lines.wait_for(within, is_match).await?;
        Ok((line, lines))
    }
}

impl Lines {
    /// Waits until a line matches, and leaves the cursor behind it.
    ///
    /// A line matches when it is complete; for a prompt without an ending see
    /// [`unfinished`](Self::unfinished).
    ///
    /// # Errors
    ///
    /// With what was seen, when the time runs out or the lines end first. What was seen is behind
    /// the cursor.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with its timer enabled. When the predicate panics, the
    /// line that it panicked on is behind the cursor.
    ///
    /// # Cancel safety
    ///
    /// The lines that were seen before the future is dropped are behind the cursor.
    pub async fn wait_for(
        &mut self,
        within: Duration,
        mut is_match: impl FnMut(&LineRef<'_>) -> bool,
    ) -> Result<Line, WaitError> {
        let mut seen = Seen::new();
        let mut matched = None;
        let search = self.for_each(|line| {
            if is_match(&line) {
                matched = Some(line.to_line());
                return ControlFlow::Break(());
            }
            seen.line(&line);
            ControlFlow::Continue(())
        });
        let timeout = tokio::time::timeout(within, search).await;
        if let Some(line) = matched {
            return Ok(line);
        }
        let reason = match (timeout, self.end()) {
            (Ok(_), Some(end)) => WaitErrorReason::Ended(end.clone()),
            _ => WaitErrorReason::Timeout(within),
        };
        seen.bytes(self.unfinished());
        Err(WaitError { reason, seen: Box::new(seen.sink.snapshot()) })
    }
}

/// The tail of what did not match.
struct Seen {
    sink: Sink,
    offset: u64,
}

impl Seen {
    fn new() -> Self {
        Self { sink: Sink::new(Keep::tail(SEEN)), offset: 0 }
    }

    fn line(&mut self, line: &LineRef<'_>) {
        if line.lost_before > 0 {
            self.sink.take(&Event::Gap { from: 0, to: line.lost_before });
        }
        self.bytes(line.bytes);
        if !matches!(line.ending, Ending::Split | Ending::Gap | Ending::End) {
            self.bytes(b"\n");
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        self.sink.take(&Event::Data { offset, bytes: Bytes::copy_from_slice(bytes) });
    }
}
