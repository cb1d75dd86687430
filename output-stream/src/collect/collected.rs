//! The result of a collector.

use super::rope::{Missing, Part};
use crate::event::End;
use bytes::Bytes;
use std::error::Error;
use std::fmt;
use std::mem;

/// Why an output cannot be had as text.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TextError {
    /// Bytes are missing.
    Missing {
        /// How many arrived and were not kept.
        omitted: u64,
        /// How many were lost before they arrived.
        lost: u64,
    },
    /// It is not UTF-8.
    NotUtf8 {
        /// Where the first byte stands that belongs to no character.
        at: u64,
    },
    /// It was not read to its end.
    NotRead(End),
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Missing { omitted, lost } => {
                write!(f, "it is not whole: {}", Missing { omitted, lost })
            }
            Self::NotUtf8 { at } => write!(f, "it is not UTF-8 at byte {at}"),
            Self::NotRead(ref end) => write!(f, "it was not read to its end: {end}"),
        }
    }
}

impl Error for TextError {}

/// What a collector kept, how much it left out, and where.
#[derive(Clone)]
pub struct Collected {
    parts: Vec<Part>,
    total: u64,
    end: Option<End>,
}

impl Collected {
    /// Joins neighbours: each two parts have a border between them that means something.
    pub(super) fn new(parts: impl IntoIterator<Item = Part>, total: u64, end: Option<End>) -> Self {
        let mut joined = Vec::new();
        let mut run = Vec::new();
        for part in parts {
            match part {
                Part::Bytes(bytes) => run.push(bytes),
                Part::Missing(missing) if missing.is_nothing() => {}
                Part::Missing(missing) => {
                    flush(&mut run, &mut joined);
                    if let Some(Part::Missing(last)) = joined.last_mut() {
                        last.add(missing);
                    } else {
                        joined.push(Part::Missing(missing));
                    }
                }
            }
        }
        flush(&mut run, &mut joined);
        Self { parts: joined, total, end }
    }

    /// What was kept and what is missing, in the order of the output. No two parts of one kind follow
    /// each other: two runs of bytes have a hole between them.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Everything that was kept. Where something was left out or lost stands a line that says so, as
    /// in [`text`](Self::text); [`parts`](Self::parts) has the bytes alone. Free when nothing is
    /// missing.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        match &self.parts[..] {
            [] => Bytes::new(),
            [Part::Bytes(bytes)] => bytes.clone(),
            parts => {
                let mut out = Vec::new();
                parts.iter().for_each(|part| write_part(&mut out, part));
                out.into()
            }
        }
    }

    /// Everything that was kept as text. Where something was left out or lost stands a line that
    /// says so; what is not UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Everything as text, if all of it is here and UTF-8. [`text`](Self::text) is the lossy form; for other
    /// encodings decode [`bytes`](Self::bytes) with a crate such as `encoding_rs`.
    ///
    /// # Errors
    ///
    /// When a byte is missing, and when the bytes are not UTF-8.
    pub fn utf8(&self) -> Result<String, TextError> {
        let Missing { omitted, lost } = self.missing();
        if omitted > 0 || lost > 0 {
            return Err(TextError::Missing { omitted, lost });
        }
        String::from_utf8(self.bytes().into())
            .map_err(|error| TextError::NotUtf8 { at: error.utf8_error().valid_up_to() as u64 })
    }

    /// How many bytes arrived: those that were kept and those that were [`omitted`](Self::omitted).
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many bytes arrived and were not kept.
    #[must_use]
    pub fn omitted(&self) -> u64 {
        self.missing().omitted
    }

    /// How many bytes were lost before they arrived: evicted before the collector was attached, or
    /// while it lagged behind.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.missing().lost
    }

    /// Whether this is the whole output: every byte is here, and the source was read to its end of
    /// file. What was cut by an error, an abort or a request is not, nor is what still goes on.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing().is_nothing() && self.end.as_ref().is_some_and(End::is_eof)
    }

    /// How the stream ended; `None` while it goes on.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    fn missing(&self) -> Missing {
        let mut all = Missing::default();
        for part in &self.parts {
            if let Part::Missing(missing) = part {
                all.add(*missing);
            }
        }
        all
    }
}

fn flush(run: &mut Vec<Bytes>, joined: &mut Vec<Part>) {
    let mut run = mem::take(run);
    run.retain(|bytes| !bytes.is_empty());
    if run.len() > 1 {
        joined.push(Part::Bytes(run.concat().into()));
    } else {
        joined.extend(run.pop().map(Part::Bytes));
    }
}

/// Writes bytes as they are, and a line of its own for what is missing.
fn write_part(out: &mut Vec<u8>, part: &Part) {
    match part {
        Part::Bytes(bytes) => out.extend_from_slice(bytes),
        Part::Missing(missing) => {
            if out.last().is_some_and(|last| *last != b'\n') {
                out.push(b'\n');
            }
            out.extend_from_slice(format!("[{missing}]\n").as_bytes());
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { omitted, lost } = *self;
        if omitted > 0 {
            write!(f, "{} omitted", bytes(omitted))?;
        }
        if omitted > 0 && lost > 0 {
            f.write_str(", ")?;
        }
        if lost > 0 || omitted == 0 {
            write!(f, "{} lost", bytes(lost))?;
        }
        Ok(())
    }
}

fn bytes(count: u64) -> String {
    format!("{count} {}", if count == 1 { "byte" } else { "bytes" })
}

impl fmt::Display for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collected")
            .field("text", &self.text())
            .field("total", &self.total)
            .field("omitted", &self.omitted())
            .field("lost", &self.lost())
            .field("end", &self.end)
            .finish()
    }
}
