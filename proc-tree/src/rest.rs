//! What a drop could not do in its time.

use crate::inner::Inner;
use std::sync::Arc;

/// Gives the kill of what is left to the process-wide cleanup worker, which counts its outcome.
#[cfg(feature = "cleanup")]
pub(crate) fn hand_over(inner: &Arc<Inner>) {
    // A worker that is full or closed refuses, and nobody is there to be told.
    let _ = lastout_cleanup_worker::submit(Rest(Arc::clone(inner)));
}

/// Without the worker the rest is left to the members themselves.
#[cfg(not(feature = "cleanup"))]
pub(crate) fn hand_over(_inner: &Arc<Inner>) {}

#[cfg(feature = "cleanup")]
struct Rest(Arc<Inner>);

#[cfg(feature = "cleanup")]
impl lastout_cleanup_worker::Cleanup for Rest {
    async fn run(
        self,
        _cx: lastout_cleanup_worker::CleanupContext,
    ) -> lastout_cleanup_worker::Outcome {
        use crate::ending::Ending;
        use std::time::{Duration, Instant};

        /// Members that wait inside the kernel come out of it, or nobody can help.
        const LONG: Duration = Duration::from_secs(60);

        let begin = Instant::now();
        let mut ending = Ending::kill(&self.0, begin + LONG)?;
        ending.drive().await?;
        let outcome = ending.outcome()?;
        self.0.report(outcome, begin)?;
        Ok(())
    }

    fn options(&self) -> lastout_cleanup_worker::Options {
        lastout_cleanup_worker::Options::new().label("process tree")
    }
}
