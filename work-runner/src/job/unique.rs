//! Unique keys: given by the caller, or made of what a job is and when it is enqueued.

use super::digest::sha256;
use super::new::check_name;
use crate::error::StoreError;

/// How long a unique key refuses a second job with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum UniqueWhile {
    /// Until the first job ends.
    #[default]
    Live,
    /// Until the first job is pruned from the store.
    Kept,
}

/// What a new job asks of its unique key.
#[derive(Debug, Clone)]
pub(crate) struct Unique {
    pub(crate) key: String,
    pub(crate) scope: UniqueWhile,
    /// A key of its own for each period; 0 for one key for all times.
    pub(crate) period_ms: i64,
}

impl Unique {
    pub(crate) fn new(key: String, scope: UniqueWhile) -> Self {
        Self { key, scope, period_ms: 0 }
    }

    /// The key of all jobs with this kind and payload.
    pub(crate) fn by_args(kind: &str, payload: &[u8]) -> Self {
        // The length of the kind keeps it apart from the payload.
        let length = (kind.len() as u64).to_be_bytes();
        let digest = sha256(&[&length, kind.as_bytes(), payload]);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self::new(format!("args:{hex}"), UniqueWhile::default())
    }

    /// The key of a job that is enqueued at `now_ms`.
    pub(crate) fn key_at(&self, now_ms: i64) -> String {
        match self.period_ms {
            0 => self.key.clone(),
            period => format!("{}@{}", self.key, now_ms.saturating_sub(now_ms.rem_euclid(period))),
        }
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.scope == UniqueWhile::Kept
    }

    /// Whether every store can keep its longest key.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        check_name("the unique key", &self.key_at(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_a_key_of_its_own() {
        let hour = 3_600_000;
        let unique = |period_ms| Unique { period_ms, ..Unique::new("k".into(), UniqueWhile::Kept) };
        let hourly = unique(hour);
        assert_eq!(hourly.key_at(5 * hour), hourly.key_at(6 * hour - 1));
        assert_ne!(hourly.key_at(5 * hour), hourly.key_at(6 * hour));
        assert_eq!(hourly.key_at(-1), format!("k@{}", -hour), "before the epoch, too");
        assert_eq!(unique(0).key_at(7), "k");
        for period in [1, 7, i64::MAX] {
            for now in [0, 1, i64::MAX - 1, i64::MAX, -1] {
                let key = unique(period).key_at(now);
                assert!(key.starts_with("k@") && key.len() <= 22, "{key}");
            }
        }
    }

    #[test]
    fn kind_and_payload_make_the_key() {
        let key = |kind, payload: &[u8]| Unique::by_args(kind, payload).key;
        assert_eq!(key("a", b"1"), key("a", b"1"));
        let all = [key("a", b"1"), key("a", b"2"), key("b", b"1"), key("a1", b""), key("", b"a1")];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one), "{one}");
        }
        // Written down: what one build stores, every later one must find.
        assert_eq!(
            key("a", b"1"),
            "args:999e0c7730b1cf304261b046dba8c23b8f5b788c76949cb47eb2d8420e66cdaf"
        );
    }
}
