//! Cuts bytes into lines: pure, without copying what lies in one slice.
//!
//! A line that is spread over slices is gathered in the *stash*, which never holds more than
//! `max_len + 1` bytes: the one more tells whether the line is too long, whether the cut would fall
//! into a character, and whether a CR before the LF is all that is too much.

use super::bytes::LineBytes;
use super::found::{Found, Place, Step, TooLong, char_boundary};
use super::line::{Ending, Line, LineRef};
use super::options::{LineOptions, OnLong, Separator};
use ::bytes::{Buf, Bytes};
use memchr::{memchr, memchr2};
use std::ops::ControlFlow;

/// Turns slices into lines.
///
/// ```
/// use lastout_output_stream::{LineOptions, LineParser};
/// use std::ops::ControlFlow;
///
/// let mut parser = LineParser::new(LineOptions::default());
/// let mut lines = Vec::new();
/// let mut keep = |line: lastout_output_stream::LineRef<'_>| {
///     lines.push((line.offset, line.text().into_owned()));
///     ControlFlow::Continue(())
/// };
/// for (offset, bytes) in [(0, "one\r\ntw"), (7, "o\nthree")] {
///     let _ = parser.feed(offset, bytes.as_bytes(), &mut keep);
/// }
/// let _ = parser.finish(&mut keep);
/// assert_eq!(lines, [(0, "one".into()), (5, "two".into()), (9, "three".into())]);
/// ```
#[derive(Debug)]
pub struct LineParser {
    options: LineOptions,
    /// The first bytes of the unfinished line.
    stash: Vec<u8>,
    /// The last piece that was cut off the stash.
    piece: Vec<u8>,
    /// Where the unfinished line starts.
    start: u64,
    /// How many of its bytes did not fit into the stash.
    over: u64,
    /// The last of these, or of the stash.
    last: u8,
    /// The last line ended with CR: an LF right here belongs to it.
    skip_lf: bool,
    lost_before: u64,
}

impl LineParser {
    /// A parser at the start of a line.
    #[must_use]
    pub fn new(options: LineOptions) -> Self {
        Self {
            options,
            stash: Vec::new(),
            piece: Vec::new(),
            start: 0,
            over: 0,
            last: 0,
            skip_lf: false,
            lost_before: 0,
        }
    }

    /// Visits all lines that end in `bytes`, which stand at `offset`; offsets beyond `u64::MAX` start
    /// at 0 again. Stops early when the visitor breaks; the number of bytes consumed up to there comes
    /// with it.
    ///
    /// # Errors
    ///
    /// [`TooLong`] with [`OnLong::Fail`].
    pub fn feed(
        &mut self,
        offset: u64,
        bytes: &[u8],
        mut visit: impl FnMut(LineRef<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<usize>, TooLong> {
        let mut at = 0;
        let flow = self.visit(offset, bytes, &mut at, &mut visit)?;
        Ok(if flow.is_break() { ControlFlow::Break(at) } else { ControlFlow::Continue(()) })
    }

    /// Visits all lines that end in `bytes` from `at` on; `at` is behind a line before it is visited.
    #[inline]
    pub(crate) fn visit(
        &mut self,
        offset: u64,
        bytes: &[u8],
        at: &mut usize,
        visit: &mut impl FnMut(LineRef<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, TooLong> {
        while *at < bytes.len() {
            if self.visit_whole(offset, bytes, at, visit).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let rest = &bytes[*at..];
            if rest.is_empty() {
                break;
            }
            let (used, found) = self.step(offset.wrapping_add(*at as u64), rest)?;
            *at += used;
            if found.is_some_and(|found| visit(self.borrow(&found, rest)).is_break()) {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The short way for most lines of most streams: they end with LF, lie in one slice and are not
    /// too long. Stops at the first that is not like that.
    #[inline]
    fn visit_whole(
        &mut self,
        offset: u64,
        bytes: &[u8],
        at: &mut usize,
        visit: &mut impl FnMut(LineRef<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let LineOptions { separator, max_len, strip_cr, .. } = self.options;
        if separator != Separator::Lf || !self.stash.is_empty() || self.lost_before > 0 {
            return ControlFlow::Continue(());
        }
        let mut start = *at;
        while let Some(len) = memchr(b'\n', &bytes[start..]) {
            if len > max_len {
                break;
            }
            let (line, ending) = match &bytes[start..start + len] {
                [content @ .., b'\r'] if strip_cr => (content, Ending::CrLf),
                line => (line, Ending::Lf),
            };
            let line_offset = offset.wrapping_add(start as u64);
            start += len + 1;
            *at = start;
            visit(LineRef { bytes: line, offset: line_offset, ending, cut: 0, lost_before: 0 })?;
        }
        ControlFlow::Continue(())
    }

    /// Takes the next line as its own off the front of a slice at `offset`, by the short way.
    #[inline]
    pub(crate) fn next_whole(&mut self, offset: &mut u64, slice: &mut Bytes) -> Option<Line> {
        let LineOptions { separator, max_len, strip_cr, .. } = self.options;
        if separator != Separator::Lf || !self.stash.is_empty() || self.lost_before > 0 {
            return None;
        }
        let len = memchr(b'\n', slice).filter(|len| *len <= max_len)?;
        let (shown, ending) = match &slice[..len] {
            [.., b'\r'] if strip_cr => (len - 1, Ending::CrLf),
            _ => (len, Ending::Lf),
        };
        let bytes = LineBytes::of(slice, 0..shown);
        let line = Line { bytes, offset: *offset, ending, cut: 0, lost_before: 0 };
        slice.advance(len + 1);
        *offset = offset.wrapping_add(len as u64 + 1);
        Some(line)
    }

    /// So many bytes were lost here: an unfinished line ends, and the next one starts after the gap.
    pub fn gap(
        &mut self,
        lost: u64,
        mut visit: impl FnMut(LineRef<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self.step_gap(lost) {
            Some(found) => visit(self.borrow(&found, &[])),
            None => ControlFlow::Continue(()),
        }
    }

    /// The stream ended here: an unfinished line is one after all.
    pub fn finish(
        &mut self,
        mut visit: impl FnMut(LineRef<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self.step_rest(Ending::End) {
            Some(found) => visit(self.borrow(&found, &[])),
            None => ControlFlow::Continue(()),
        }
    }

    /// The bytes of the unfinished line so far, as far as they are kept.
    pub(crate) fn unfinished(&self) -> &[u8] {
        &self.stash[..self.stash.len().min(self.options.max_len)]
    }

    /// The bytes of the unfinished line that are kept, and how many are not.
    pub(crate) fn unfinished_parts(&self) -> (&[u8], u64) {
        let kept = self.unfinished();
        (kept, self.over.saturating_add((self.stash.len() - kept.len()) as u64))
    }

    /// Where that line started, if there is one.
    pub(crate) fn unfinished_from(&self) -> Option<u64> {
        (!self.stash.is_empty()).then_some(self.start)
    }

    pub(crate) fn step_gap(&mut self, lost: u64) -> Option<Found> {
        let found = self.step_rest(Ending::Gap);
        self.skip_lf = false;
        self.lost_before = self.lost_before.saturating_add(lost);
        found
    }

    /// Takes the unfinished line as it is.
    pub(crate) fn step_rest(&mut self, ending: Ending) -> Option<Found> {
        (!self.stash.is_empty()).then(|| self.take_stash(ending))
    }

    /// Takes at most one line from the front of `bytes`, which are not empty.
    #[inline]
    pub(crate) fn step(&mut self, offset: u64, bytes: &[u8]) -> Step {
        if self.skip_lf {
            self.skip_lf = false;
            if bytes[0] == b'\n' {
                return Ok((1, None));
            }
        }
        let end = self.find(bytes);
        if let Some(end) = end.filter(|end| self.stash.is_empty() && *end <= self.options.max_len) {
            let (ending, len) = self.ending(bytes[end], bytes[..end].last(), end);
            let lost_before = std::mem::take(&mut self.lost_before);
            let place = Place::Slice(0..len);
            return Ok((end + 1, Some(Found { place, offset, ending, cut: 0, lost_before })));
        }
        self.step_slowly(offset, bytes, end)
    }

    /// Borrows the bytes of what was found in `bytes`.
    pub(crate) fn borrow<'a>(&'a self, found: &Found, bytes: &'a [u8]) -> LineRef<'a> {
        LineRef {
            bytes: match &found.place {
                Place::Slice(range) => &bytes[range.clone()],
                Place::Piece => &self.piece,
            },
            offset: found.offset,
            ending: found.ending,
            cut: found.cut,
            lost_before: found.lost_before,
        }
    }

    /// A line of what was found in `slice`, which shares its bytes.
    pub(crate) fn own(&self, found: &Found, slice: &Bytes) -> Line {
        let Found { offset, ending, cut, lost_before, .. } = *found;
        match &found.place {
            Place::Slice(range) => {
                let bytes = LineBytes::of(slice, range.clone());
                Line { bytes, offset, ending, cut, lost_before }
            }
            Place::Piece => self.borrow(found, &[]).to_line(),
        }
    }

    #[inline]
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self.options.separator {
            Separator::Lf => memchr(b'\n', bytes),
            Separator::LfOrCr => memchr2(b'\n', b'\r', bytes),
            Separator::Byte(byte) => memchr(byte, bytes),
        }
    }

    /// What a separator says, and how long a content of `len` bytes is without a stripped CR.
    #[inline]
    fn ending(&mut self, separator: u8, last: Option<&u8>, len: usize) -> (Ending, usize) {
        match self.options.separator {
            Separator::Lf if self.options.strip_cr && last == Some(&b'\r') => {
                (Ending::CrLf, len - 1)
            }
            Separator::Lf => (Ending::Lf, len),
            Separator::LfOrCr if separator == b'\r' => {
                self.skip_lf = true;
                (Ending::Cr, len)
            }
            Separator::LfOrCr => (Ending::Lf, len),
            Separator::Byte(_) => (Ending::Byte, len),
        }
    }

    /// For lines that are spread over slices, or too long.
    fn step_slowly(&mut self, offset: u64, bytes: &[u8], end: Option<usize>) -> Step {
        if self.stash.is_empty() {
            self.start = offset;
            self.over = 0;
        }
        let content = &bytes[..end.unwrap_or(bytes.len())];
        let most = self.options.max_len.saturating_add(1);
        let fits = content.len().min(most.saturating_sub(self.stash.len()));
        self.stash.extend_from_slice(&content[..fits]);
        self.last = content.last().copied().unwrap_or(self.last);
        let rest = content.len() - fits;
        if self.stash.len() == most && self.is_too_long(rest, end.map(|end| bytes[end])) {
            match self.options.on_long {
                OnLong::Truncate => {}
                OnLong::Fail => {
                    let limit = self.options.max_len;
                    return Err(TooLong { offset: self.start, limit });
                }
                OnLong::Split => return Ok((fits, Some(self.split_stash()))),
            }
        }
        self.over = self.over.saturating_add(rest as u64);
        let Some(end) = end else {
            return Ok((bytes.len(), None));
        };
        let whole = self.stash.len();
        let (ending, _) = self.ending(bytes[end], Some(&self.last.clone()), whole);
        Ok((end + 1, Some(self.take_stash(ending))))
    }

    /// Whether a full stash is more than a line of the greatest length and the CR of its ending.
    fn is_too_long(&self, rest: usize, separator: Option<u8>) -> bool {
        let may_strip = self.options.strip_cr && self.options.separator == Separator::Lf;
        let is_ending = rest == 0 && self.over == 0 && self.stash.last() == Some(&b'\r');
        !(may_strip && is_ending && separator.is_none_or(|byte| byte == b'\n'))
    }

    /// Cuts a piece of the greatest length off a full stash.
    fn split_stash(&mut self) -> Found {
        let len = char_boundary(&self.stash, self.options.max_len);
        self.piece.clear();
        self.piece.extend_from_slice(&self.stash[..len]);
        self.stash.drain(..len);
        let offset = self.start;
        self.start = self.start.wrapping_add(len as u64);
        let lost_before = std::mem::take(&mut self.lost_before);
        Found { place: Place::Piece, offset, ending: Ending::Split, cut: 0, lost_before }
    }

    /// The whole stash is a line.
    fn take_stash(&mut self, ending: Ending) -> Found {
        let stripped = u64::from(ending == Ending::CrLf);
        let total = self.stash.len() as u64 + self.over - stripped;
        let mut len = self.stash.len();
        if self.over == 0 {
            len -= usize::from(ending == Ending::CrLf);
        }
        if len > self.options.max_len {
            len = char_boundary(&self.stash, self.options.max_len);
        }
        std::mem::swap(&mut self.piece, &mut self.stash);
        self.piece.truncate(len);
        self.stash.clear();
        self.over = 0;
        let cut = total - len as u64;
        let lost_before = std::mem::take(&mut self.lost_before);
        Found { place: Place::Piece, offset: self.start, ending, cut, lost_before }
    }
}

#[cfg(test)]
mod tests;
