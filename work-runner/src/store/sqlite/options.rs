//! How a file is opened.

use crate::clock::Clock;
#[cfg(doc)]
use crate::error::StoreErrorKind;
use crate::registry::DEFAULT_MAX_BYTES;
use std::time::Duration;

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Durability {
    /// The loss of power: each commit is on the disk before it is answered.
    #[default]
    Full,
    /// The death of the process: after a loss of power the last commits may be missing, the file is
    /// whole. Answers do not wait for the disk.
    Normal,
}

/// How a file is opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// What a commit survives.
    pub durability: Durability,
    /// The clock of the store; the system's unless a test moves it.
    pub clock: Clock,
    /// The size that the file may grow to, in pages of 4 KiB; as far as the disk goes unless set.
    pub max_pages: Option<i64>,
    /// How long a call waits for its turn, and then for a lock of another process, before it fails with
    /// [`StoreErrorKind::Unavailable`] and is not applied; 10 s unless set.
    pub call_timeout: Duration,
    /// The longest payload, result and progress, in bytes; 1 MiB unless set.
    pub max_bytes: usize,
    /// Whether opening creates the file and its tables, and brings older ones up to date; yes unless set.
    pub migrate: bool,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            clock: Clock::default(),
            max_pages: None,
            call_timeout: Duration::from_secs(10),
            max_bytes: DEFAULT_MAX_BYTES,
            migrate: true,
        }
    }
}

impl SqliteOptions {
    /// Full durability on the system's clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a commit survives.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The size that the file may grow to, in pages of 4 KiB. Beyond it calls fail with
    /// [`StoreErrorKind::Full`].
    #[must_use]
    pub fn max_pages(mut self, pages: i64) -> Self {
        self.max_pages = Some(pages);
        self
    }

    /// How long a call waits for its turn and for a lock, from a millisecond to a day.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout.clamp(Duration::from_millis(1), Duration::from_secs(86_400));
        self
    }

    /// The longest payload, result and progress that it takes, in bytes.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Whether opening creates the file and its tables, and brings older ones up to date. If not, a file that is
    /// not there is [`StoreErrorKind::Missing`], one of another version is [`StoreErrorKind::SchemaVersion`], and
    /// no table is changed. Set it to
    /// false in a program that only looks at the store of another program.
    ///
    /// ```
    /// use lastout_work_runner::StoreErrorKind;
    /// use lastout_work_runner::sqlite::{SqliteOptions, SqliteRegistry};
    ///
    /// let as_it_is = SqliteOptions::new().migrate(false);
    /// let refused = SqliteRegistry::open_with("no/such/jobs.db", &as_it_is).unwrap_err();
    /// assert_eq!(refused.kind(), StoreErrorKind::Missing);
    /// ```
    #[must_use]
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// The clock of the store.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}
