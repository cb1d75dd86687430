//! Orders over all jobs that a query asks for, in chunks.

use crate::driver::WorkDriver;
use crate::error::StoreError;
use crate::job::{Edit, JobId};
use crate::registry::{Order, Ordered, Query};
use std::fmt;

/// Jobs of one call: a long order holds neither the store nor the others up.
const CHUNK: usize = 500;

/// What an order over a query did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OrderedMany {
    /// Jobs that matched and were given the order.
    pub matched: u64,
    /// Of these, carried out.
    pub done: u64,
    /// Of these, refused: their state or their unique key does not allow it, or they had gone.
    pub refused: u64,
    /// Where to go on when `at_most` was reached; `None` when nothing more matched.
    pub next: Option<JobId>,
}

/// The store failed in the middle of an order over a query.
#[derive(Debug)]
#[non_exhaustive]
pub struct OrderError {
    /// What was done before, and where to go on. The last chunk may have been carried out as well, if the kind of
    /// the source is [`Unknown`](crate::StoreErrorKind::Unknown).
    pub so_far: OrderedMany,
    /// What the store said.
    pub source: StoreError,
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OrderedMany { done, refused, .. } = self.so_far;
        write!(f, "give an order to jobs: it was carried out for {done} and refused for {refused}")
    }
}

impl std::error::Error for OrderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl WorkDriver {
    /// Gives `order` to the jobs that `query` asks for, at most `at_most` of them and each once, in chunks that are
    /// a transaction each. The limit of the query does not count. Jobs that begin to match meanwhile may be missed.
    ///
    /// ```
    /// use lastout_work_runner::{MemoryRegistry, NewJob, Order, Query, State, WorkDriver};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let driver = WorkDriver::producer(std::sync::Arc::new(MemoryRegistry::new()));
    /// # for n in 0..700 { driver.enqueue(NewJob::new("capture", &n)?).await?; }
    /// let waiting = Query::all().kind("capture").state(State::Ready);
    /// let cancelled = driver.order_where(Order::Cancel, waiting, 10_000).await?;
    /// assert_eq!((cancelled.done, cancelled.next), (700, None));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`OrderError`], with what was done before.
    pub async fn order_where(
        &self,
        order: Order,
        query: Query,
        at_most: u64,
    ) -> Result<OrderedMany, OrderError> {
        let mut so_far = OrderedMany { next: query.after, ..OrderedMany::default() };
        loop {
            let left = usize::try_from(at_most - so_far.matched).unwrap_or(usize::MAX).min(CHUNK);
            if left == 0 {
                return Ok(so_far);
            }
            let mut chunk = query.clone().limit(left);
            chunk.after = so_far.next;
            let page = self.registry().page(chunk).await;
            let page = page.map_err(|source| OrderError { so_far, source })?;
            let jobs: Vec<JobId> = page.jobs.iter().map(|row| row.id).collect();
            let ordered = match jobs.is_empty() {
                true => Ok(Vec::new()),
                false => self.registry().order(order.clone(), jobs).await,
            };
            let ordered = ordered.map_err(|source| OrderError { so_far, source })?;
            for ordered in ordered {
                so_far.matched += 1;
                match ordered {
                    Ordered::Now(_) | Ordered::Deleted => so_far.done += 1,
                    _ => so_far.refused += 1,
                }
            }
            so_far.next = page.next;
            if page.next.is_none() {
                return Ok(so_far);
            }
        }
    }

    /// Makes a job due that is scheduled for later.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn run_now(&self, job: JobId) -> Result<Ordered, StoreError> {
        self.order(Order::RunNow, job).await
    }

    /// Changes the queue, the priority or the due time of a job that waits. One that runs or has ended is refused.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; of the kind [`Invalid`](crate::StoreErrorKind::Invalid) for a name that no queue can have.
    pub async fn edit(&self, job: JobId, edit: Edit) -> Result<Ordered, StoreError> {
        self.order(Order::Edit(edit), job).await
    }

    /// Deletes a job that has ended. One that lives is refused: cancel it first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn delete(&self, job: JobId) -> Result<Ordered, StoreError> {
        self.order(Order::Delete, job).await
    }
}
