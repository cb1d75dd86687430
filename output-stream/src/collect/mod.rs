//! Keeps the start and the end of an output, and says where something is missing.

mod collected;
mod keep;
mod rope;
#[cfg(feature = "tokio")]
mod task;

pub use collected::{Collected, TextError};
pub use keep::Keep;
pub use rope::{Missing, Part};
#[cfg(feature = "tokio")]
pub use task::Collector;

#[cfg(feature = "tokio")]
use crate::event::EndReason;
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
/// assert_eq!(sink.snapshot().text(), "01\n[5 bytes omitted]\n789");
/// ```
#[derive(Debug)]
pub struct Sink {
    keep: Keep,
    head: Rope,
    /// What is missing between head and tail.
    middle: Missing,
    tail: Tail,
    total: u64,
    end: Option<End>,
}

#[derive(Debug)]
enum Tail {
    Bytes(Rope),
    Lines(Box<LineTail>),
}

/// The last lines; those at the start are in the rope of the sink.
#[derive(Debug)]
struct LineTail {
    parser: LineParser,
    /// Their number is that of the lines that [`Keep`] asks for.
    last: VecDeque<Kept>,
    /// How many lines went into the head.
    in_head: u64,
    /// What was lost behind the last line.
    lost_behind: u64,
}

/// A line that was kept.
#[derive(Debug)]
struct Kept {
    lost_before: u64,
    bytes: Bytes,
    /// How many of its bytes were dropped because it was too long.
    cut: u64,
    has_lf: bool,
}

impl Kept {
    fn missing(&self) -> Missing {
        let omitted = self.bytes.len() as u64 + self.cut + u64::from(self.has_lf);
        Missing { omitted, lost: self.lost_before }
    }

    /// Writes it down with a hole where bytes are missing.
    fn parts(&self) -> [Part; 4] {
        let lf = if self.has_lf { Bytes::from_static(b"\n") } else { Bytes::new() };
        [
            Part::Missing(Missing::lost(self.lost_before)),
            Part::Bytes(self.bytes.clone()),
            Part::Missing(Missing::omitted(self.cut)),
            Part::Bytes(lf),
        ]
    }
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
                lost_behind: 0,
            })),
        };
        let head = Rope::default();
        Self { keep, head, middle: Missing::default(), tail, total: 0, end: None }
    }

    /// Adds an event.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Data { offset, bytes } => {
                self.total = self.total.saturating_add(bytes.len() as u64);
                match &mut self.tail {
                    Tail::Bytes(_) => self.take_bytes(bytes.clone()),
                    Tail::Lines(_) => self.take_lines(*offset, bytes),
                }
            }
            Event::Gap { from, to } => self.take_gap(to.saturating_sub(*from)),
            Event::End(end) => {
                self.end_line(None);
                self.end = Some(end.clone());
            }
        }
    }

    /// Nothing more comes, for whoever collects is gone. An end that came before stays.
    #[cfg(feature = "tokio")]
    pub(crate) fn cut_short(&mut self) {
        if self.end.is_none() {
            self.take(&Event::End(End::new(EndReason::Aborted, self.total)));
        }
    }

    /// What is kept now. Shares the bytes; costs time by the number of pieces, not of bytes.
    #[must_use]
    pub fn snapshot(&self) -> Collected {
        let (_, mut parts) = self.head.last(u64::MAX);
        let mut middle = self.middle;
        let mut tail = Vec::new();
        match &self.tail {
            Tail::Bytes(rope) => {
                let (before, kept) = rope.last(self.keep.tail);
                middle.add(before);
                tail = kept;
            }
            Tail::Lines(lines) => {
                tail.extend(lines.last.iter().flat_map(Kept::parts));
                tail.push(Part::Missing(Missing::lost(lines.lost_behind)));
                tail.extend(self.unfinished(lines));
            }
        }
        parts.push(Part::Missing(middle));
        parts.extend(tail);
        Collected::new(parts, self.total, self.end.clone())
    }

    /// A line that has only begun is part of what was seen so far, if it is one of those to keep.
    fn unfinished(&self, lines: &LineTail) -> [Part; 2] {
        let (begun, over) = lines.parser.unfinished_parts();
        let is_kept = lines.in_head < self.keep.head || self.keep.tail > 0;
        let (bytes, omitted) = match is_kept {
            true => (Bytes::copy_from_slice(begun), over),
            false => (Bytes::new(), over + begun.len() as u64),
        };
        [Part::Bytes(bytes), Part::Missing(Missing::omitted(omitted))]
    }

    fn take_bytes(&mut self, mut bytes: Bytes) {
        let Self { keep, head, middle, tail: Tail::Bytes(tail), .. } = self else {
            return;
        };
        let room = keep.head - head.len();
        let to_head = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if to_head > 0 {
            head.push(bytes.split_to(to_head));
        }
        if bytes.is_empty() {
            return;
        }
        if keep.tail == 0 {
            middle.add(Missing::omitted(bytes.len() as u64));
        } else {
            tail.push(bytes);
            middle.add(tail.shrink_to(keep.tail));
        }
    }

    fn take_gap(&mut self, lost: u64) {
        let missing = Missing::lost(lost);
        match &mut self.tail {
            Tail::Bytes(_) if self.head.len() < self.keep.head => self.head.push_missing(missing),
            Tail::Bytes(tail) if tail.is_empty() => self.middle.add(missing),
            Tail::Bytes(tail) => tail.push_missing(missing),
            Tail::Lines(_) => self.end_line(Some(lost)),
        }
    }

    fn take_lines(&mut self, offset: u64, bytes: &Bytes) {
        let Self { keep, head, middle, tail: Tail::Lines(tail), .. } = self else {
            return;
        };
        let LineTail { parser, last, in_head, lost_behind } = &mut **tail;
        let mut lines = Lines { keep: *keep, head, middle, last, in_head, lost_behind };
        let fed = parser.feed(offset, bytes, |line| lines.add(line));
        debug_assert!(fed.is_ok(), "long lines are truncated");
    }

    /// The line at hand ends here: because so much behind it is lost, or because nothing follows.
    fn end_line(&mut self, lost: Option<u64>) {
        let Self { keep, head, middle, tail: Tail::Lines(tail), .. } = self else {
            return;
        };
        let LineTail { parser, last, in_head, lost_behind } = &mut **tail;
        let mut lines = Lines { keep: *keep, head, middle, last, in_head, lost_behind };
        let add = |line: LineRef<'_>| lines.add(line);
        let Some(lost) = lost else {
            let _ = parser.finish(add);
            return;
        };
        let _ = parser.gap(lost, add);
        *lost_behind = lost_behind.saturating_add(lost);
    }
}

/// Where a line goes.
struct Lines<'a> {
    keep: Keep,
    head: &'a mut Rope,
    middle: &'a mut Missing,
    last: &'a mut VecDeque<Kept>,
    in_head: &'a mut u64,
    lost_behind: &'a mut u64,
}

impl Lines<'_> {
    fn add(&mut self, line: LineRef<'_>) -> ControlFlow<()> {
        *self.lost_behind = 0;
        let kept = Kept {
            lost_before: line.lost_before,
            bytes: Bytes::copy_from_slice(line.bytes),
            cut: line.cut,
            has_lf: line.ending == Ending::Lf,
        };
        if *self.in_head < self.keep.head {
            *self.in_head += 1;
            for part in kept.parts() {
                match part {
                    Part::Bytes(bytes) => self.head.push(bytes),
                    Part::Missing(missing) => self.head.push_missing(missing),
                }
            }
            return ControlFlow::Continue(());
        }
        self.last.push_back(kept);
        while self.last.len() as u64 > self.keep.tail {
            let gone = self.last.pop_front();
            self.middle.add(gone.map_or(Missing::default(), |line| line.missing()));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
