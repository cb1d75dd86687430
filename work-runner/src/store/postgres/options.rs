//! How a registry uses its database.

use super::schema;
#[cfg(doc)]
use crate::error::StoreErrorKind;
use crate::registry::DEFAULT_MAX_BYTES;
use std::time::Duration;

/// How the registry uses its database.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// The schema of its tables; `lastout` unless set. Up to 48 of `a-z`, `0-9` and `_`.
    pub schema: String,
    /// Connections for calls; 4 unless set. One more is kept for beats, one for lists and counts, and one
    /// more listens.
    pub connections: usize,
    /// Whether to listen for the pokes of other processes; yes unless set. Behind a pooler that
    /// shares connections between transactions it must be off.
    pub listen: bool,
    /// The longest that a call may take, and a millisecond more for each job of an enqueue; 10 s unless
    /// set. A connection that does not answer by then is ended and replaced.
    pub call_timeout: Duration,
    /// How long the first connection is tried again while the server is away or starting; 10 s unless
    /// set. Later ones have 10 s each.
    pub connect_within: Duration,
    /// The longest payload, result and progress, in bytes; 1 MiB unless set.
    pub max_bytes: usize,
    /// Whether connecting creates the tables, and brings older ones up to date; yes unless set.
    pub migrate: bool,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            schema: schema::DEFAULT.to_owned(),
            connections: 4,
            listen: true,
            call_timeout: Duration::from_secs(10),
            connect_within: Duration::from_secs(10),
            max_bytes: DEFAULT_MAX_BYTES,
            migrate: true,
        }
    }
}

impl PostgresOptions {
    /// Schema `lastout`, four connections, listening.
    pub fn new() -> Self {
        Self::default()
    }

    /// The schema of its tables.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Connections for calls, from one to a thousand.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.clamp(1, 1000);
        self
    }

    /// The longest that a call may take, from a millisecond to a day.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout.clamp(Duration::from_millis(1), Duration::from_secs(86_400));
        self
    }

    /// How long the first connection is tried again while the server is away or starting, up to a day.
    /// With zero it is tried once. A try that has begun is not cut short: it may take twice the
    /// `connect_timeout` of the connection string for each host, which is 10 s unless set.
    ///
    /// ```
    /// use lastout_work_runner::StoreErrorKind;
    /// use lastout_work_runner::postgres::{PostgresOptions, PostgresRegistry};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let once = PostgresOptions::new().connect_within(Duration::ZERO);
    /// let refused = PostgresRegistry::connect_with("host=/nowhere user=app", &once).await;
    /// assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Unavailable);
    /// # }
    /// ```
    #[must_use]
    pub fn connect_within(mut self, within: Duration) -> Self {
        self.connect_within = within.min(Duration::from_secs(86_400));
        self
    }

    /// The longest payload, result and progress that it takes, in bytes.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Whether connecting creates the tables, and brings older ones up to date. If not, a schema without tables
    /// and one of another version are refused with [`StoreErrorKind::SchemaVersion`] and left as they are: what
    /// only looks at the stores of others should connect like this, and needs no right to create anything.
    #[must_use]
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// Whether to listen for pokes.
    #[must_use]
    pub fn listen(mut self, listen: bool) -> Self {
        self.listen = listen;
        self
    }
}
