//! Waiting for text that no newline ends: prompts.

use crate::collect::{Keep, Sink};
use crate::event::{End, Event};
use crate::lines::LinesEnd;
use crate::merge::{Channel, Merge};
use crate::wait::{WaitError, WaitErrorReason};
use bytes::{Bytes, BytesMut};
use memchr::memmem;
use std::borrow::Cow;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How much of each output is kept for a match.
const SEEN: usize = 64 * 1024;

/// Waits for prompts in two outputs, see [`Process::prompts`](crate::Process::prompts).
///
/// What was matched is behind it: the next wait sees what comes after that. Of what does not match, the last
/// 64 KiB of each output are kept; nothing is matched across bytes that are missing.
#[must_use = "a reader that blocks and is not read holds up the source"]
#[derive(Debug)]
pub struct Prompts {
    merge: Merge,
    out: BytesMut,
    err: BytesMut,
    dropped: u64,
    end: Option<End>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt {
    /// In which output.
    pub channel: Channel,
    /// Everything that came in it since the match before, up to the end of this one.
    pub bytes: Bytes,
}

impl Prompt {
    /// As text; what is not UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

impl Prompts {
    pub(crate) fn new(merge: Merge) -> Self {
        Self { merge, out: BytesMut::new(), err: BytesMut::new(), dropped: 0, end: None }
    }

    /// Waits until this text is in either output, whether or not a newline is behind it. An empty text matches
    /// at once.
    ///
    /// # Errors
    ///
    /// With what was seen, when the time runs out or both outputs end first. What was seen can still be matched.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with its timer enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: what was seen can still be matched.
    pub async fn wait_for(
        &mut self,
        within: Duration,
        text: impl AsRef<[u8]>,
    ) -> Result<Prompt, WaitError> {
        let text = text.as_ref();
        self.wait_until(within, |_, seen| memmem::find(seen, text).map(|at| at + text.len())).await
    }

    /// Waits until `find` finds something in what came since the match before, and gives where that ends. For a
    /// regular expression: `|_, seen| regex.find(seen).map(|found| found.end())`.
    ///
    /// # Errors
    ///
    /// As [`wait_for`](Self::wait_for).
    ///
    /// # Panics
    ///
    /// As [`wait_for`](Self::wait_for). When `find` panics, nothing is lost.
    ///
    /// # Cancel safety
    ///
    /// As [`wait_for`](Self::wait_for).
    pub async fn wait_until(
        &mut self,
        within: Duration,
        mut find: impl FnMut(Channel, &[u8]) -> Option<usize>,
    ) -> Result<Prompt, WaitError> {
        let until = Instant::now().checked_add(within);
        let mut looks_at = [true, true];
        loop {
            for (channel, looks) in [Channel::Out, Channel::Err].into_iter().zip(looks_at) {
                let seen = self.seen(channel);
                if !looks {
                    continue;
                }
                if let Some(end) = find(channel, seen) {
                    let bytes = seen.split_to(end.min(seen.len())).freeze();
                    return Ok(Prompt { channel, bytes });
                }
            }
            let next = self.merge.next();
            let next = match until {
                Some(until) => timeout_at(until, next).await,
                None => Ok(next.await),
            };
            let merged = match (next, &self.end) {
                (Ok(Some(merged)), _) => merged,
                (Ok(None), Some(end)) => {
                    return Err(self.fail(WaitErrorReason::Ended(LinesEnd::Stream(end.clone()))));
                }
                _ => return Err(self.fail(WaitErrorReason::Timeout(within))),
            };
            looks_at = [merged.channel == Channel::Out, merged.channel == Channel::Err];
            self.take(merged.channel, merged.event);
        }
    }

    /// Bytes that were seen, did not match, and are not kept, or that never arrived.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn take(&mut self, channel: Channel, event: Event) {
        let seen = self.seen(channel);
        let gone = match event {
            Event::Data { bytes, .. } => {
                seen.extend_from_slice(&bytes);
                let over = seen.len().saturating_sub(SEEN);
                drop(seen.split_to(over));
                over as u64
            }
            Event::Gap { from, to } => {
                let over = seen.len() as u64;
                seen.clear();
                over + (to - from)
            }
            Event::End(end) => {
                self.end = Some(end);
                0
            }
        };
        self.dropped += gone;
    }

    fn seen(&mut self, channel: Channel) -> &mut BytesMut {
        match channel {
            Channel::Out => &mut self.out,
            Channel::Err => &mut self.err,
        }
    }

    fn fail(&self, reason: WaitErrorReason) -> WaitError {
        let mut sink = Sink::new(Keep::tail(SEEN as u64));
        let mut offset = 0;
        for seen in [&self.err, &self.out] {
            if !seen.is_empty() {
                let bytes = Bytes::copy_from_slice(seen);
                sink.take(&Event::Data { offset, bytes });
                offset += seen.len() as u64;
            }
        }
        WaitError { reason, seen: Box::new(sink.snapshot()) }
    }
}
