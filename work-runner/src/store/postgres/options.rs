//! How a registry uses its database.

use super::schema;

/// How the registry uses its database.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// The schema of its tables; `lastout` unless set. Up to 48 of `a-z`, `0-9` and `_`.
    pub schema: String,
    /// Connections for calls; 4 unless set. One more is kept for beats, one more listens.
    pub connections: usize,
    /// Whether to listen for the pokes of other processes; yes unless set. Behind a pooler that
    /// shares connections between transactions it must be off.
    pub listen: bool,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { schema: schema::DEFAULT.to_owned(), connections: 4, listen: true }
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

    /// Connections for calls, at least one.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Whether to listen for pokes.
    #[must_use]
    pub fn listen(mut self, listen: bool) -> Self {
        self.listen = listen;
        self
    }
}
