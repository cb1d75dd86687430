//! What an operator may change about a job that waits: where, when and how urgently it is to run, never what.

use super::new::{Due, check_name};
use super::{JobRecord, millis, rank, wall_millis};
use crate::error::StoreError;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A change of a job that waits; see [`edit`](crate::WorkDriver::edit). What is not named stays as it is.
///
/// ```
/// use lastout_work_runner::{Edit, MemoryRegistry, NewJob, Ordered, State, WorkDriver};
/// use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let driver = WorkDriver::producer(std::sync::Arc::new(MemoryRegistry::new()));
/// let id = driver.enqueue(NewJob::new("capture", &"https://example.org")?).await?.id();
/// let tonight = Edit::new().queue("slow").priority(-5).delay(Duration::from_secs(6 * 3600));
/// assert_eq!(driver.edit(id, tonight).await?, Ordered::Now(State::Scheduled));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Edit {
    queue: Option<Arc<str>>,
    priority: Option<i16>,
    due: Option<Due>,
}

impl Edit {
    /// A change of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the job to another queue.
    pub fn queue(mut self, queue: impl Into<Arc<str>>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Changes the priority.
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Starts no earlier than `delay` from now on the clock of the store.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.due = Some(Due::In(millis(delay)));
        self
    }

    /// Starts no earlier than `at`. The store compares it with its own clock.
    pub fn run_at(mut self, at: SystemTime) -> Self {
        self.due = Some(Due::At(wall_millis(at)));
        self
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let queue = self.queue.as_deref().unwrap_or_default();
        check_name("the name of the queue", queue)
    }

    /// Changes `row`, except for its state; returns whether it is to wait for a time to come.
    pub(crate) fn change(self, row: &mut JobRecord, now_ms: i64) -> bool {
        row.queue = self.queue.unwrap_or_else(|| Arc::clone(&row.queue));
        row.priority = self.priority.unwrap_or(row.priority);
        row.run_at = self.due.map_or(row.run_at, |due| due.at(now_ms));
        row.rank = rank(row.run_at, row.priority);
        row.run_at > now_ms
    }
}
