//! A subscriber that reads lines.

mod bytes;
mod found;
mod line;
mod options;
mod parser;

pub use bytes::LineBytes;
pub use found::TooLong;
pub use line::{Ending, Line, LineRef};
pub use options::{LineOptions, LineOptionsBuilder, OnLong, Separator};
pub use parser::LineParser;

use crate::event::{End, Event};
use crate::subscriber::Subscriber;
use crate::turn::{self, Turn};
use ::bytes::{Buf, Bytes};
use found::Found;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Why there are no more lines.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LinesEnd {
    /// The stream ended.
    Stream(End),
    /// A line was too long, see [`OnLong::Fail`].
    TooLong(TooLong),
}

impl fmt::Display for LinesEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(end) => end.fmt(f),
            Self::TooLong(too_long) => too_long.fmt(f),
        }
    }
}

/// The lines of a stream, see [`Subscriber::lines`].
#[must_use = "a reader that blocks and is not read holds up the source"]
#[derive(Debug)]
pub struct Lines {
    subscriber: Subscriber,
    parser: LineParser,
    /// What is left of the last data event, and its offset.
    slice: Bytes,
    offset: u64,
    lost: u64,
    end: Option<LinesEnd>,
    turn: Turn,
}

impl Subscriber {
    /// Reads lines from here on.
    pub fn lines(self, options: LineOptions) -> Lines {
        let parser = LineParser::new(options);
        Lines {
            subscriber: self,
            parser,
            slice: Bytes::new(),
            offset: 0,
            lost: 0,
            end: None,
            turn: Turn::default(),
        }
    }
}

impl Lines {
    /// The next line; `None` when there are no more, and [`end`](Self::end) says why.
    ///
    /// # Cancel safety
    ///
    /// A line is taken in the moment in which it is returned; what is gathered of an unfinished
    /// line stays in `self`.
    #[expect(clippy::should_implement_trait, reason = "the async `next`; an iterator would block")]
    pub fn next(&mut self) -> NextLine<'_> {
        NextLine { lines: self }
    }

    /// The building block of [`next`](Self::next), for futures written by hand.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Line>> {
        ready!(self.turn.poll_may(cx));
        let line = match self.next_whole() {
            Some(line) => Some(line),
            None => ready!(self.poll_line(cx)),
        };
        self.turn.took_line();
        Poll::Ready(line)
    }

    /// The next line, if it is one of the most frequent kind and lies in the slice at hand.
    #[inline]
    fn next_whole(&mut self) -> Option<Line> {
        if self.end.is_some() {
            return None;
        }
        self.parser.next_whole(&mut self.offset, &mut self.slice)
    }

    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Option<Line>> {
        loop {
            match ready!(self.poll_more(cx)) {
                None => return Poll::Ready(None),
                Some(Some(found)) => {
                    return Poll::Ready(Some(self.parser.own(&found, &Bytes::new())));
                }
                Some(None) => {}
            }
            match self.parser.step(self.offset, &self.slice) {
                Ok((used, found)) => {
                    let line = found.map(|found| self.parser.own(&found, &self.slice));
                    self.slice.advance(used);
                    self.offset += used as u64;
                    if line.is_some() {
                        return Poll::Ready(line);
                    }
                }
                Err(error) => self.end = Some(LinesEnd::TooLong(error)),
            }
        }
    }

    /// Visits lines, without copying those that lie in one piece, until there are no more or the
    /// visitor breaks; then the next line is the one after the last that was visited.
    ///
    /// # Cancel safety
    ///
    /// No line is visited twice or left out when the future is dropped and another one made.
    pub async fn for_each(
        &mut self,
        mut visit: impl FnMut(LineRef<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        while let Some(more) = poll_fn(|cx| self.poll_more(cx)).await {
            let flow = match more {
                Some(found) => visit(self.parser.borrow(&found, &[])),
                None => self.visit_slice(&mut visit),
            };
            if flow.is_break() {
                return flow;
            }
            // A source that is always ahead must not starve the other tasks of its thread, nor keep
            // a time limit around this from being seen.
            poll_fn(|cx| {
                ready!(turn::poll_may(cx));
                turn::took();
                Poll::Ready(())
            })
            .await;
        }
        ControlFlow::Continue(())
    }

    /// Visits lines that end in the slice at hand, as many as the task may have in its turn. Also when
    /// the visitor panics, a line that it saw is behind the cursor.
    fn visit_slice(
        &mut self,
        visit: &mut impl FnMut(LineRef<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let slice = std::mem::take(&mut self.slice);
        let mut seen = Visited { lines: self, slice: &slice, at: 0 };
        let Visited { lines, at, .. } = &mut seen;
        let mut turn = Turn::default();
        let mut is_over = false;
        let visit_some = &mut |line: LineRef<'_>| {
            if visit(line).is_break() {
                is_over = true;
                return ControlFlow::Break(());
            }
            if turn.took_line() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        if let Err(error) = lines.parser.visit(lines.offset, &slice, at, visit_some) {
            lines.end = Some(LinesEnd::TooLong(error));
        }
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Why there are no more lines, once [`next`](Self::next) returned `None`.
    #[must_use]
    pub fn end(&self) -> Option<&LinesEnd> {
        self.end.as_ref()
    }

    /// Bytes that were lost in gaps between lines.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The offset of the first byte that was not yet cut into a line.
    #[must_use]
    pub fn position(&self) -> u64 {
        match self.parser.unfinished_from() {
            Some(start) => start,
            None if self.slice.is_empty() => self.subscriber.position(),
            None => self.offset,
        }
    }

    /// The bytes of a line that has begun and not ended: a prompt, for example.
    #[must_use]
    pub fn unfinished(&self) -> &[u8] {
        self.parser.unfinished()
    }

    /// The reader below, for its numbers.
    pub fn subscriber(&self) -> &Subscriber {
        &self.subscriber
    }

    /// Gets something to cut: `Some(None)` when there is a slice at hand, `Some(Some(..))` for a line
    /// that a gap or the end has finished, `None` when there is nothing more.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Option<Option<Found>>> {
        loop {
            if self.end.is_some() {
                return Poll::Ready(None);
            }
            if !self.slice.is_empty() {
                return Poll::Ready(Some(None));
            }
            let rest = match ready!(self.subscriber.poll_next(cx)) {
                Some(Event::Data { offset, bytes }) => {
                    (self.offset, self.slice) = (offset, bytes);
                    None
                }
                Some(Event::Gap { from, to }) => {
                    self.lost += to - from;
                    self.parser.step_gap(to - from)
                }
                Some(Event::End(end)) => {
                    self.end = Some(LinesEnd::Stream(end));
                    self.parser.step_rest(Ending::End)
                }
                None => return Poll::Ready(None),
            };
            if rest.is_some() {
                return Poll::Ready(Some(rest));
            }
        }
    }
}

/// Puts back what was not visited.
struct Visited<'a> {
    lines: &'a mut Lines,
    slice: &'a Bytes,
    at: usize,
}

impl Drop for Visited<'_> {
    fn drop(&mut self) {
        self.lines.slice = self.slice.slice(self.at..);
        self.lines.offset += self.at as u64;
    }
}

/// The future of [`Lines::next`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct NextLine<'a> {
    lines: &'a mut Lines,
}

impl Future for NextLine<'_> {
    type Output = Option<Line>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Line>> {
        self.lines.poll_next(cx)
    }
}

#[cfg(feature = "stream")]
impl futures_core::Stream for Lines {
    type Item = Line;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Line>> {
        Self::poll_next(&mut self, cx)
    }
}
