//! Text that arrives in pieces, without a character that is broken between two of them.

use crate::event::{End, Event};
use crate::subscriber::Subscriber;
use std::future::{Future, poll_fn};
use std::task::{Context, Poll, ready};

/// Decodes UTF-8 that comes in pieces; pure. What is not UTF-8 becomes U+FFFD.
///
/// ```
/// use lastout_output_stream::TextDecoder;
///
/// let mut decoder = TextDecoder::new();
/// let (first, second) = "né".as_bytes().split_at(2);
/// assert_eq!((decoder.push(first), decoder.push(second)), ("n".into(), "é".into()));
/// ```
#[derive(Debug, Default)]
pub struct TextDecoder {
    /// The first bytes of a character: at most three.
    begun: Vec<u8>,
}

impl TextDecoder {
    /// A decoder at the start of a character.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes all characters that end in `bytes`.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let joined;
        let mut rest = bytes;
        if !self.begun.is_empty() {
            self.begun.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.begun);
            rest = &joined;
        }
        let mut text = String::with_capacity(rest.len());
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    return text;
                }
                Err(error) => error,
            };
            let (valid, bad) = rest.split_at(error.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            let Some(len) = error.error_len() else {
                self.begun = bad.to_vec();
                return text;
            };
            text.push(char::REPLACEMENT_CHARACTER);
            rest = &bad[len..];
        }
    }

    /// Nothing follows: a character that has only begun is none.
    pub fn finish(&mut self) -> String {
        let begun = std::mem::take(&mut self.begun);
        String::from_utf8_lossy(&begun).into_owned()
    }
}

/// Text of a process in a message of ours: what would move the cursor or colour the screen is shown
/// and not done.
#[cfg(any(feature = "process", feature = "tokio"))]
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// The text of a stream, see [`Subscriber::text`].
#[must_use = "a reader that blocks and is not read holds up the source"]
#[derive(Debug)]
pub struct Text {
    subscriber: Subscriber,
    decoder: TextDecoder,
    end: Option<End>,
}

impl Subscriber {
    /// Reads text in the pieces in which it arrives, from here on.
    pub fn text(self) -> Text {
        Text { subscriber: self, decoder: TextDecoder::new(), end: None }
    }
}

impl Text {
    /// The next piece, never empty; `None` at the end. Where bytes were lost stands U+FFFD.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    #[expect(clippy::should_implement_trait, reason = "the async `next`; an iterator would block")]
    pub fn next(&mut self) -> impl Future<Output = Option<String>> + Send + Sync {
        poll_fn(|cx| self.poll_next(cx))
    }

    /// The building block of [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<String>> {
        loop {
            let text = match ready!(self.subscriber.poll_next(cx)) {
                Some(Event::Data { bytes, .. }) => self.decoder.push(&bytes),
                Some(Event::Gap { .. }) => {
                    let mut text = self.decoder.finish();
                    if text.is_empty() {
                        text.push(char::REPLACEMENT_CHARACTER);
                    }
                    text
                }
                Some(Event::End(end)) => {
                    self.end = Some(end);
                    self.decoder.finish()
                }
                None => return Poll::Ready(None),
            };
            if !text.is_empty() {
                return Poll::Ready(Some(text));
            }
        }
    }

    /// How the stream ended, once it has.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pieces_do_not_matter(text in "\\PC{0,40}", mess in prop::collection::vec(any::<u8>(), 0..9), cuts in prop::collection::vec(1usize..6, 0..60)) {
            let mut all = text.into_bytes();
            all.extend(mess);
            let mut decoder = TextDecoder::new();
            let (mut rest, mut got) = (&all[..], String::new());
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                got += &decoder.push(piece);
                rest = after;
            }
            got += &decoder.push(rest);
            got += &decoder.finish();
            prop_assert_eq!(got, String::from_utf8_lossy(&all).into_owned());
        }
    }
}
