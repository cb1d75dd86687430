//! The result of a collector.

use crate::event::End;
use bytes::Bytes;
use std::borrow::Cow;
use std::fmt;

/// What a collector kept, and how much it left out.
///
/// `head().len() + omitted() + tail().len()` is [`total`](Self::total); what was
/// [`lost`](Self::lost) before it came here is not in it.
#[derive(Clone)]
pub struct Collected {
    head: Bytes,
    tail: Bytes,
    total: u64,
    lost: u64,
    end: Option<End>,
}

impl Collected {
    pub(crate) fn new(
        head: Vec<Bytes>,
        tail: Vec<Bytes>,
        total: u64,
        lost: u64,
        end: Option<End>,
    ) -> Self {
        Self { head: join(head), tail: join(tail), total, lost, end }
    }

    /// The start of the output, as far as it was to be kept.
    #[must_use]
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// The end of the output so far, without what is in the head.
    #[must_use]
    pub fn tail(&self) -> &Bytes {
        &self.tail
    }

    /// Everything that was kept, without a sign of what was left out. Free when nothing was.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        join(vec![self.head.clone(), self.tail.clone()])
    }

    /// Everything that was kept as text. Where something was left out or lost stands a line that
    /// says so; what is not UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn text(&self) -> String {
        self.to_string()
    }

    /// How many bytes arrived.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many bytes arrived and were not kept; they lie between head and tail, and at the ends
    /// of lines that were too long.
    #[must_use]
    pub fn omitted(&self) -> u64 {
        self.total - self.head.len() as u64 - self.tail.len() as u64
    }

    /// How many bytes were lost before they arrived: evicted before the collector was attached.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether this is the whole output: every byte is here, and the source was read to its end of
    /// file. What was cut by an error, an abort or a request is not, nor is what still goes on.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_unbroken() && self.end.as_ref().is_some_and(End::is_eof)
    }

    /// Whether all that arrived is here, and nothing was lost before.
    fn is_unbroken(&self) -> bool {
        self.omitted() == 0 && self.lost == 0
    }

    /// How the stream ended; `None` while it goes on.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }
}

fn join(mut pieces: Vec<Bytes>) -> Bytes {
    pieces.retain(|piece| !piece.is_empty());
    if pieces.len() > 1 {
        return pieces.concat().into();
    }
    pieces.pop().unwrap_or_default()
}

fn lossy(bytes: &Bytes) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

impl fmt::Display for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unbroken() {
            // In one piece: the border between head and tail may lie in a character.
            return f.write_str(&lossy(&self.bytes()));
        }
        f.write_str(&lossy(&self.head))?;
        let mut left_out = Vec::new();
        if self.omitted() > 0 {
            left_out.push(format!("{} bytes omitted", self.omitted()));
        }
        if self.lost > 0 {
            left_out.push(format!("{} bytes lost", self.lost));
        }
        let line_break = if self.head.is_empty() || self.head.ends_with(b"\n") { "" } else { "\n" };
        write!(f, "{line_break}[{}]\n{}", left_out.join(", "), lossy(&self.tail))
    }
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collected")
            .field("text", &self.text())
            .field("total", &self.total)
            .field("omitted", &self.omitted())
            .field("lost", &self.lost)
            .field("end", &self.end)
            .finish()
    }
}
