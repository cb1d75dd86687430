//! A tokio task as a supervised service.

use crate::supervisor::contain::contained;
use crate::supervisor::drain::{Drain, DrainFuture, EndedFuture, Failure, Until};
use crate::supervisor::stopping::{Body, Stopping, Witness};
use std::fmt;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A service made of one future, on the current tokio runtime.
///
/// ```
/// use lastout::supervisor::Task;
/// use lastout::{Restart, Supervisor};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = Supervisor::builder()
///     .service("ticker", Restart::on_failure(), || async {
///         Ok(Task::spawn(|stopping| async move {
///             stopping.asked().await; // … serve until then
///             Ok(())
///         }))
///     })
///     .build()?;
/// supervisor.handle().stop();
/// assert!(supervisor.run().await.is_clean());
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it aborts the task"]
pub struct Task {
    body: Arc<Body>,
    task: JoinHandle<()>,
}

impl Task {
    /// Spawns the future. It fails when it returns an error or panics; when it returns `Ok`, its work
    /// is done.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[expect(
        clippy::disallowed_methods,
        reason = "the module that owns the task: it keeps the handle, aborts it, and waits for its end"
    )]
    pub fn spawn<F>(make: impl FnOnce(Stopping) -> F) -> Self
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let body = Arc::new(Body::default());
        let future = make(body.stopping());
        let witness = Witness(Arc::clone(&body));
        let task = tokio::spawn(async move {
            let result = contained(|| Box::pin(future)).await;
            witness.0.end(result);
        });
        Self { body, task }
    }
}

impl Drain for Task {
    fn drain(&self, _until: Until) -> DrainFuture<'_> {
        self.body.ask();
        Box::pin(self.body.drained("tasks"))
    }

    fn force(&self, _until: Until) -> DrainFuture<'_> {
        self.body.ask();
        self.task.abort();
        Box::pin(self.body.drained("tasks"))
    }

    fn ended(&self) -> EndedFuture<'_> {
        Box::pin(self.body.ended())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.body.ask();
        self.task.abort();
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("is_over", &self.body.is_over()).finish_non_exhaustive()
    }
}
