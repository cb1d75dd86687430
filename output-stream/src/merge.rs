//! Two streams in the order in which they were read.

use crate::event::Event;
#[cfg(feature = "process")]
use crate::lines::TooLong;
use crate::lines::{Ending, Line, LineOptions, LineParser, LinesEnd};
use crate::subscriber::Subscriber;
use crate::turn::{self, Turn};
use bytes::{Buf, Bytes};
use std::fmt;
use std::future::{Future, poll_fn};
#[cfg(feature = "stream")]
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Which of the two merged streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a process has two outputs")]
pub enum Channel {
    /// The first: standard output.
    Out,
    /// The second: standard error.
    Err,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Out => "stdout",
            Self::Err => "stderr",
        })
    }
}

/// An event of one of two streams.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Merged {
    /// Whose it is.
    pub channel: Channel,
    /// The number of the read it comes from; 0 for gaps, ends, and streams without a
    /// [`Sequence`](crate::Sequence).
    pub sequence: u64,
    /// What happened.
    pub event: Event,
}

/// Merges two subscribers, whose streams share a [`Sequence`](crate::Sequence).
///
/// The events of each come in their order, and the data of both in the order of their reads. That
/// is close to the order in which they were written, and not the same: two pipes do not remember it.
/// Each stream brings its own end; after both comes nothing. Streams without a common sequence are
/// merged as they arrive.
pub fn merge(out: Subscriber, err: Subscriber) -> Merge {
    Merge { out: Side::new(out), err: Side::new(err) }
}

#[cfg(feature = "tokio")]
impl Merge {
    /// Waits for text that no newline ends.
    pub fn prompts(self) -> crate::Prompts {
        crate::Prompts::new(self)
    }
}

/// Two merged streams, see [`merge`].
#[must_use = "a reader that blocks and is not read holds up the source"]
#[derive(Debug)]
pub struct Merge {
    out: Side,
    err: Side,
}

#[derive(Debug)]
struct Side {
    subscriber: Subscriber,
    pending: Option<(Event, u64)>,
    is_over: bool,
}

impl Side {
    fn new(subscriber: Subscriber) -> Self {
        Self { subscriber, pending: None, is_over: false }
    }

    /// Looks for an event; whether there is one now and was none before.
    fn look(&mut self, cx: &mut Context<'_>) -> bool {
        if self.is_over || self.pending.is_some() {
            return false;
        }
        match self.subscriber.poll_stamped(cx) {
            Poll::Ready(Some(next)) => self.pending = Some(next),
            Poll::Ready(None) => self.is_over = true,
            Poll::Pending => {}
        }
        self.pending.is_some()
    }
}

impl Merge {
    /// The next event; `None` after both ends.
    ///
    /// # Cancel safety
    ///
    /// An event is taken in the moment in which it is returned; dropping the future loses nothing.
    #[expect(clippy::should_implement_trait, reason = "the async `next`; an iterator would block")]
    pub fn next(&mut self) -> impl Future<Output = Option<Merged>> + Send + Sync {
        poll_fn(|cx| self.poll_next(cx))
    }

    /// The building block of [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Merged>> {
        ready!(turn::poll_may(cx));
        self.out.look(cx);
        // Whoever was found empty is asked again after the other had something: only then it is
        // certain that all its later bytes are younger.
        if self.err.look(cx) {
            self.out.look(cx);
        }
        let channel = match (&self.out.pending, &self.err.pending) {
            (Some((_, out)), Some((_, err))) if err < out => Channel::Err,
            (Some(_), _) => Channel::Out,
            (None, Some(_)) => Channel::Err,
            (None, None) if self.out.is_over && self.err.is_over => return Poll::Ready(None),
            (None, None) => return Poll::Pending,
        };
        let side = match channel {
            Channel::Out => &mut self.out,
            Channel::Err => &mut self.err,
        };
        let taken = side.pending.take();
        turn::took();
        Poll::Ready(taken.map(|(event, sequence)| Merged { channel, sequence, event }))
    }

    /// Reads the lines of both.
    pub fn lines(self, options: LineOptions) -> MergedLines {
        let half = || Half { parser: LineParser::new(options), end: None };
        let (out, err) = (half(), half());
        MergedLines { merge: self, out, err, at: None, turn: Turn::default() }
    }
}

/// The lines of two merged streams.
#[must_use = "a reader that blocks and is not read holds up the source"]
#[derive(Debug)]
pub struct MergedLines {
    merge: Merge,
    out: Half,
    err: Half,
    /// The slice that is being cut, whose it is, and its offset.
    at: Option<(Channel, u64, Bytes)>,
    turn: Turn,
}

#[derive(Debug)]
struct Half {
    parser: LineParser,
    end: Option<LinesEnd>,
}

impl MergedLines {
    /// The next line of either; `None` after both have ended.
    ///
    /// # Cancel safety
    ///
    /// A line is taken in the moment in which it is returned; dropping the future loses nothing.
    #[expect(clippy::should_implement_trait, reason = "the async `next`; an iterator would block")]
    pub fn next(&mut self) -> impl Future<Output = Option<(Channel, Line)>> + Send + Sync {
        poll_fn(|cx| self.poll_next(cx))
    }

    /// The building block of [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Channel, Line)>> {
        ready!(self.turn.poll_may(cx));
        let line = ready!(self.poll_line(cx));
        self.turn.took_line();
        Poll::Ready(line)
    }

    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Channel, Line)>> {
        loop {
            if let Some((channel, line)) = self.cut() {
                return Poll::Ready(Some((channel, line)));
            }
            let Some(merged) = ready!(self.merge.poll_next(cx)) else {
                return Poll::Ready(None);
            };
            let channel = merged.channel;
            let half = self.half(channel);
            let found = match merged.event {
                // After a line that was too long nothing of this stream is cut any more.
                Event::Data { .. } if half.end.is_some() => None,
                Event::Data { offset, bytes } => {
                    self.at = Some((channel, offset, bytes));
                    None
                }
                Event::Gap { .. } | Event::End(_) if half.end.is_some() => None,
                Event::Gap { from, to } => half.parser.step_gap(to - from),
                Event::End(end) => {
                    half.end = Some(LinesEnd::Stream(end));
                    half.parser.step_rest(Ending::End)
                }
            };
            if let Some(found) = found {
                let line = self.half(channel).parser.borrow(&found, &[]).to_line();
                return Poll::Ready(Some((channel, line)));
            }
        }
    }

    /// The line that was too long to go on with, of either of the two.
    #[cfg(feature = "process")]
    pub(crate) fn too_long(&self) -> Option<TooLong> {
        [&self.out.end, &self.err.end].into_iter().find_map(|end| match end {
            Some(LinesEnd::TooLong(error)) => Some(*error),
            _ => None,
        })
    }

    /// Why one of the two has no more lines.
    #[must_use]
    pub fn end(&self, channel: Channel) -> Option<&LinesEnd> {
        match channel {
            Channel::Out => self.out.end.as_ref(),
            Channel::Err => self.err.end.as_ref(),
        }
    }

    fn half(&mut self, channel: Channel) -> &mut Half {
        match channel {
            Channel::Out => &mut self.out,
            Channel::Err => &mut self.err,
        }
    }

    /// Cuts the next line off the slice at hand.
    fn cut(&mut self) -> Option<(Channel, Line)> {
        let (channel, mut offset, mut slice) = self.at.take()?;
        let half = self.half(channel);
        if let Some(line) = half.parser.next_whole(&mut offset, &mut slice) {
            self.at = Some((channel, offset, slice));
            return Some((channel, line));
        }
        while !slice.is_empty() {
            match half.parser.step(offset, &slice) {
                Ok((used, found)) => {
                    let line = found.map(|found| half.parser.own(&found, &slice));
                    slice.advance(used);
                    offset += used as u64;
                    if let Some(line) = line {
                        self.at = Some((channel, offset, slice));
                        return Some((channel, line));
                    }
                }
                Err(error) => {
                    half.end = Some(LinesEnd::TooLong(error));
                    return None;
                }
            }
        }
        None
    }
}

#[cfg(feature = "stream")]
impl futures_core::Stream for Merge {
    type Item = Merged;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Merged>> {
        Self::poll_next(&mut self, cx)
    }
}

#[cfg(feature = "stream")]
impl futures_core::Stream for MergedLines {
    type Item = (Channel, Line);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Self::poll_next(&mut self, cx)
    }
}
