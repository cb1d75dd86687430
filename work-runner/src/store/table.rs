//! What the shared transitions need from a store inside one transaction.
//!
//! Memory and SQLite answer at once, PostgreSQL over a connection: the methods are async, and
//! [`at_once`] runs the shared code where no answer is ever awaited.

use crate::error::StoreError;
use crate::job::{JobId, JobRecord};
use crate::lease::WorkerId;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Rows inside one open transaction. What is loaded stays as it is until the transaction ends.
pub(crate) trait Table {
    /// The wall clock of the store, the same for the whole transaction.
    fn now_ms(&self) -> i64;

    /// The clock that leases are measured by, the same for the whole transaction.
    fn lease_now_ms(&self) -> i64;

    /// The rows of `jobs` that exist, in no special order.
    async fn load(&mut self, jobs: &[JobId]) -> Result<Vec<JobRecord>, StoreError>;

    /// Writes all columns of a row back.
    async fn save(&mut self, row: &JobRecord) -> Result<(), StoreError>;

    /// Writes down that a row cannot be read, with the reason in `row.error`; nothing else of it changes.
    /// Returns whether it held a place of its limit key.
    async fn set_aside(&mut self, row: &JobRecord) -> Result<bool, StoreError>;

    /// Stores a new row under a new id, which it sets; or returns the job that holds its key.
    async fn insert(&mut self, row: &mut JobRecord) -> Result<Option<JobId>, StoreError>;

    /// Deletes a row that has ended.
    async fn delete(&mut self, job: JobId) -> Result<(), StoreError>;

    /// Another row than `row` that holds its unique key.
    async fn key_holder(&mut self, row: &JobRecord) -> Result<Option<JobId>, StoreError>;

    /// About to take or give places of several limit keys, in any order: makes sure that two
    /// transactions do not wait for each other over it. Called when the rows are loaded.
    async fn lock_keys(&mut self, keys: &[&str]) -> Result<(), StoreError> {
        let _ = keys;
        Ok(())
    }

    /// Takes a place of the limit `key` unless `max` are taken.
    async fn take_slot(&mut self, key: &str, max: i32) -> Result<bool, StoreError>;

    /// Gives a place of the limit `key` back.
    async fn give_slot(&mut self, key: &str) -> Result<(), StoreError>;

    /// The first held job of `key`, by rank; or of the keys that have a place free.
    async fn next_held(&mut self, key: Option<&str>) -> Result<Option<JobRecord>, StoreError>;

    /// Makes ready, in one write, scheduled jobs without a limit key that have come due.
    async fn promote_plain(&mut self, limit: usize) -> Result<usize, StoreError>;

    /// Scheduled jobs with a limit key that have come due.
    async fn due_with_key(&mut self, limit: usize) -> Result<Vec<JobRecord>, StoreError>;

    /// Running jobs of `owner`.
    async fn running_of(
        &mut self,
        owner: WorkerId,
        limit: usize,
    ) -> Result<Vec<JobRecord>, StoreError>;

    /// The ids of the running jobs of `owner`.
    async fn running_ids(&mut self, owner: WorkerId) -> Result<Vec<JobId>, StoreError>;

    /// Running jobs whose owner nobody knows, or whose own lease has run out.
    async fn adrift(&mut self, limit: usize) -> Result<Vec<JobRecord>, StoreError>;

    /// Workers whose lease has run out.
    async fn expired_workers(&mut self) -> Result<Vec<WorkerId>, StoreError>;

    /// Forgets a worker and what it was to be told. Returns whether it was known.
    async fn forget_worker(&mut self, worker: WorkerId) -> Result<bool, StoreError>;

    /// Tells `owner`, at its next look, that `job` is to end or is no longer its own.
    async fn signal(&mut self, owner: WorkerId, job: JobId) -> Result<(), StoreError>;

    /// The owner has nothing more to learn about `job`.
    async fn unsignal(&mut self, job: JobId) -> Result<(), StoreError>;
}

/// Runs shared code over a table that answers every call at once.
///
/// # Panics
///
/// When the table does not: that is a defect of the table.
pub(crate) fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a table without I/O waited"),
    }
}
