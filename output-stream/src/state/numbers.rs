//! What a stream tells of itself: counts, and what it has allocated.

use super::{Cursor, Fate, Id, Marks, State};
use crate::stats::{Stats, SubscriberStats};
use std::time::{Duration, Instant};

impl State {
    /// A snapshot of all numbers.
    pub(crate) fn stats(&self, now: Instant) -> Stats {
        let blocked_now =
            self.blocked_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let subscribers = self.cursors.iter().enumerate().filter_map(|(id, cursor)| {
            let cursor = cursor.as_ref()?;
            Some(self.subscriber_stats(id, cursor))
        });
        Stats {
            ingested: self.log.end(),
            chunks: self.log.chunks(),
            retained: self.log.end() - self.log.oldest(),
            memory: self.memory(),
            peak_memory: self.peak.max(self.memory()),
            blocked: self.blocked + blocked_now,
            subscribers: subscribers.collect(),
        }
    }

    pub(crate) fn stats_of(&self, id: Id) -> SubscriberStats {
        self.subscriber_stats(id, self.cursor(id))
    }

    fn subscriber_stats(&self, id: Id, cursor: &Cursor) -> SubscriberStats {
        let ends_at = match cursor.fate {
            Fate::Following => self.log.end(),
            Fate::Detached { at } => at,
            Fate::Ended => cursor.at,
        };
        SubscriberStats {
            id,
            policy: cursor.policy,
            attached_at: cursor.attached,
            position: cursor.at,
            delivered: cursor.delivered,
            lost: cursor.lost,
            lag: ends_at.saturating_sub(cursor.at),
            kept: cursor.kept_len(),
        }
    }

    fn memory(&self) -> u64 {
        let marks = self.marks.as_ref().map_or(0, Marks::memory);
        self.log.memory() + marks + self.held.memory(self.log.first_segment())
    }

    /// Called whenever something was allocated.
    pub(super) fn note_memory(&mut self) {
        self.peak = self.peak.max(self.memory());
    }
}
