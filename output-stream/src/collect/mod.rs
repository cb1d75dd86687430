//! Keeps the start and the end of an output, and counts what lies between.

mod collected;
mod keep;
mod rope;
#[cfg(feature = "tokio")]
mod task;

pub use collected::Collected;
pub use keep::Keep;
#[cfg(feature = "tokio")]
pub use task::Collector;

use crate::event::{End, Event};
use crate::lines::{Ending, LineOptions, LineParser, LineRef};
use bytes::Bytes;
use keep::Unit;
use rope::Rope;
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// Collects events into what [`Keep`] asks for; pure, for those who read events themselves.
///
/// ```
/// use bytes::Bytes;
/// use lastout_output_stream::{Event, Keep, Sink};
///
/// let mut sink = Sink::new(Keep::head_tail(2, 3));
/// sink.take(&Event::Data { offset: 0, bytes: Bytes::from("0123456789") });
/// let kept = sink.snapshot();
/// assert_eq!((&kept.head()[..], &kept.tail()[..], kept.omitted()), (&b"01"[..], &b"789"[..], 5));
/// ```
#[derive(Debug)]
pub struct Sink {
    keep: Keep,
    head: Rope,
    tail: Tail,
    total: u64,
    lost: u64,
    end: Option<End>,
}

#[derive(Debug)]
enum Tail {
    Bytes(Rope),
    Lines(Box<LineTail>),
}

/// The lines: those at the start are in the rope of the sink.
#[derive(Debug)]
struct LineTail {
    parser: LineParser,
    last: VecDeque<Bytes>,
    /// How many lines went into the head.
    in_head: u64,
}

impl Sink {
    /// An empty collection.
    #[must_use]
    pub fn new(keep: Keep) -> Self {
        let tail = match keep.unit {
            Unit::Bytes => Tail::Bytes(Rope::default()),
            Unit::Lines => Tail::Lines(Box::new(LineTail {
                parser: LineParser::new(LineOptions { strip_cr: false, ..LineOptions::default() }),
                last: VecDeque::new(),
                in_head: 0,
            })),
        };
        let head = Rope::default();
        Self { keep, head, tail, total: 0, lost: 0, end: None }
    }

    /// Adds an event.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Data { offset, bytes } => {
                self.total += bytes.len() as u64;
                match &mut self.tail {
                    Tail::Bytes(_) => self.take_bytes(bytes.clone()),
                    Tail::Lines(_) => self.take_lines(*offset, bytes),
                }
            }
            Event::Gap { from, to } => {
                self.lost += to.saturating_sub(*from);
                self.end_line(true);
            }
            Event::End(end) => {
                self.end_line(false);
                self.end = Some(end.clone());
            }
        }
    }

    /// Nothing more comes, for whoever collects is gone. An end that came before stays.
    #[cfg(feature = "tokio")]
    pub(crate) fn cut_short(&mut self) {
        if self.end.is_none() {
            self.take(&Event::End(End::Aborted));
        }
    }

    /// What is kept now. Shares the bytes; costs time by the number of pieces, not of bytes.
    #[must_use]
    pub fn snapshot(&self) -> Collected {
        let head = self.head.last(u64::MAX);
        let mut tail = match &self.tail {
            Tail::Bytes(rope) => rope.last(self.keep.tail),
            Tail::Lines(lines) => lines.last.iter().cloned().collect(),
        };
        if let Tail::Lines(lines) = &self.tail {
            // A line that has only begun is part of what was seen so far.
            tail.push(Bytes::copy_from_slice(lines.parser.unfinished()));
        }
        Collected::new(head, tail, self.total, self.lost, self.end.clone())
    }

    fn take_bytes(&mut self, mut bytes: Bytes) {
        let room = self.keep.head - self.head.len();
        let to_head = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if to_head > 0 {
            self.head.push(bytes.split_to(to_head));
        }
        if let Tail::Bytes(tail) = &mut self.tail
            && !bytes.is_empty()
            && self.keep.tail > 0
        {
            tail.push(bytes);
            tail.shrink_to(self.keep.tail);
        }
    }

    fn take_lines(&mut self, offset: u64, bytes: &Bytes) {
        let Self { keep, head, tail: Tail::Lines(tail), .. } = self else {
            return;
        };
        let LineTail { parser, last, in_head } = &mut **tail;
        let fed = parser.feed(offset, bytes, |line| {
            add_line(*keep, head, last, in_head, line);
            ControlFlow::Continue(())
        });
        debug_assert!(fed.is_ok(), "long lines are truncated");
    }

    fn end_line(&mut self, is_gap: bool) {
        let Self { keep, head, tail: Tail::Lines(tail), .. } = self else {
            return;
        };
        let LineTail { parser, last, in_head } = &mut **tail;
        let add = |line: LineRef<'_>| {
            add_line(*keep, head, last, in_head, line);
            ControlFlow::Continue(())
        };
        let _ = if is_gap { parser.gap(add) } else { parser.finish(add) };
    }
}

/// Puts a line where it belongs, with its LF.
fn add_line(
    keep: Keep,
    head: &mut Rope,
    last: &mut VecDeque<Bytes>,
    in_head: &mut u64,
    line: LineRef<'_>,
) {
    let to_head = *in_head < keep.head;
    if !to_head && keep.tail == 0 {
        return;
    }
    let mut bytes = Vec::with_capacity(line.bytes.len() + 1);
    bytes.extend_from_slice(line.bytes);
    if line.ending == Ending::Lf {
        bytes.push(b'\n');
    }
    if to_head {
        *in_head += 1;
        head.push(bytes.into());
        return;
    }
    last.push_back(bytes.into());
    while last.len() as u64 > keep.tail {
        last.pop_front();
    }
}

#[cfg(test)]
mod tests;
