//! What the tests of this crate share: a pattern to recognise bytes by, and an auditor of events.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part")]

use lastout_output_stream::{End, Event};
use std::time::{Duration, Instant};

/// The byte that stands at `offset` in every test stream.
pub(crate) fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// `len` bytes of the pattern from `offset` on.
pub(crate) fn pattern(offset: u64, len: usize) -> Vec<u8> {
    (offset..offset + len as u64).map(byte_at).collect()
}

/// Waits for a condition of another task, with a generous deadline.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition never came true");
        tokio::task::yield_now().await;
    }
}

/// Checks that events are contiguous, carry the pattern, and end once; adds them up.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) at: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) lost_after_first_data: u64,
    pub(crate) gaps: Vec<(u64, u64)>,
    pub(crate) end: Option<End>,
}

impl Account {
    pub(crate) fn starting_at(at: u64) -> Self {
        Self { at, ..Self::default() }
    }

    pub(crate) fn take(&mut self, event: &Event) {
        assert!(self.end.is_none(), "{event:?} after the end");
        match event {
            Event::Data { offset, bytes } => {
                assert_eq!(*offset, self.at, "a hole or a repetition");
                assert!(!bytes.is_empty());
                let wrong = bytes.iter().zip(*offset..).find(|(b, at)| **b != byte_at(*at));
                assert!(wrong.is_none(), "a wrong byte at {wrong:?}");
                self.at += bytes.len() as u64;
                self.delivered += bytes.len() as u64;
            }
            Event::Gap { from, to } => {
                assert_eq!(*from, self.at);
                assert!(to > from);
                self.gaps.push((*from, *to));
                self.at = *to;
                self.lost += to - from;
                if self.delivered > 0 {
                    self.lost_after_first_data += to - from;
                }
            }
            Event::End(end) => self.end = Some(end.clone()),
        }
    }
}
