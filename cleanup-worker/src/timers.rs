//! Moments at which something is due, by the clock of the worker. Pure: `now` is an argument.

use std::collections::BTreeMap;
use std::time::Instant;

/// Names one entry, and when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(Instant, u64);

#[derive(Debug)]
pub(crate) struct Timers<T> {
    entries: BTreeMap<Key, T>,
    issued: u64,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Self { entries: BTreeMap::new(), issued: 0 }
    }

    pub(crate) fn insert(&mut self, due: Instant, entry: T) -> Key {
        self.issued += 1;
        let key = Key(due, self.issued);
        self.entries.insert(key, entry);
        key
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.entries.remove(&key)
    }

    /// Takes the entry that is due first, due or not.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.entries.pop_first().map(|(_, entry)| entry)
    }

    /// Takes the entry that is due first, if it is due by `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        let first = self.entries.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When the next entry is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|(key, _)| key.0)
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn due_entries_come_in_order_and_ties_in_the_order_of_insertion() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        timers.insert(at(5), "late");
        timers.insert(at(1), "first");
        let gone = timers.insert(at(1), "gone");
        timers.insert(at(1), "second");
        assert_eq!(timers.remove(gone), Some("gone"));
        assert_eq!(timers.pop_due(start), None);
        assert_eq!(timers.pop_due(at(1)), Some("first"));
        assert_eq!(timers.pop_due(at(1)), Some("second"));
        assert_eq!(timers.pop_due(at(4)), None);
        assert_eq!(timers.next_due(), Some(at(5)));
    }
}
