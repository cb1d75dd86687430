//! The verbs that end a tree or wait for its end: `kill`, `shutdown`, `terminate`, `wait_empty`.
//!
//! Each is a future, and has a form with the suffix `_blocking` that blocks the calling thread. Both step
//! the same machine, an [`Ending`], and wait for the same descriptors in between.

use crate::deadline::Deadline;
use crate::ending::Ending;
use crate::error::{KillError, WaitError};
use crate::policy::Policy;
use crate::report::Report;
use crate::signal::Signal;
use crate::tree::Tree;
use std::time::Instant;

impl Tree {
    /// Kills every member, and completes when none is left. It runs on any executor.
    ///
    /// # Errors
    ///
    /// When a member is left at the deadline, or cannot be killed at all: [`KillError::Survivors`].
    /// All other members are dead. It may be called again.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves no member stopped; members that were killed by then are dead. The tree
    /// is still armed.
    pub async fn kill(&self, deadline: impl Into<Deadline>) -> Result<Report, KillError> {
        let begin = Instant::now();
        let inner = self.inner();
        let mut ending = Ending::kill(inner, deadline.into().instant()).map_err(KillError::Io)?;
        ending.drive().await.map_err(KillError::Io)?;
        inner.report(ending.outcome().map_err(KillError::Io)?, begin)
    }

    /// [`kill`](Self::kill), blocking the calling thread.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    pub fn kill_blocking(&self, deadline: impl Into<Deadline>) -> Result<Report, KillError> {
        let begin = Instant::now();
        let inner = self.inner();
        let mut ending = Ending::kill(inner, deadline.into().instant()).map_err(KillError::Io)?;
        ending.run().map_err(KillError::Io)?;
        inner.report(ending.outcome().map_err(KillError::Io)?, begin)
    }

    /// Sends SIGTERM to every member, waits for the tree to be empty until the deadline, and then kills
    /// what is left, which takes 5 s at most. It runs on any executor.
    ///
    /// [`terminate`](Self::terminate) is the same with other steps.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    ///
    /// # Cancel safety
    ///
    /// Signals that were sent stay sent; no member is left stopped. The tree is still armed.
    pub async fn shutdown(&self, deadline: impl Into<Deadline>) -> Result<Report, KillError> {
        self.terminate(&polite(deadline.into())).await
    }

    /// [`shutdown`](Self::shutdown), blocking the calling thread.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    pub fn shutdown_blocking(&self, deadline: impl Into<Deadline>) -> Result<Report, KillError> {
        self.terminate_blocking(&polite(deadline.into()))
    }

    /// Asks the tree to end as the policy says, and kills what is left: at once after a request that could
    /// not be made. It runs on any executor.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    ///
    /// # Cancel safety
    ///
    /// Signals that were sent stay sent; no member is left stopped. The tree is still armed.
    pub async fn terminate(&self, policy: &Policy) -> Result<Report, KillError> {
        let begin = Instant::now();
        for request in &policy.steps {
            // Whoever could not be asked is killed.
            if self.inner().ask(*request).is_ok() && self.wait_empty(request.grace).await.is_ok() {
                return Ok(self.inner().ended_by_itself(begin));
            }
        }
        let mut report = self.kill(policy.kill).await?;
        report.elapsed = begin.elapsed();
        Ok(report)
    }

    /// [`terminate`](Self::terminate), blocking the calling thread.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    pub fn terminate_blocking(&self, policy: &Policy) -> Result<Report, KillError> {
        let begin = Instant::now();
        for request in &policy.steps {
            // Whoever could not be asked is killed.
            if self.inner().ask(*request).is_ok() && self.wait_empty_blocking(request.grace).is_ok()
            {
                return Ok(self.inner().ended_by_itself(begin));
            }
        }
        let mut report = self.kill_blocking(policy.kill)?;
        report.elapsed = begin.elapsed();
        Ok(report)
    }

    /// Completes when no member is left; an end of the root alone is not enough. It runs on any executor.
    ///
    /// # Errors
    ///
    /// When a member is alive at the deadline.
    ///
    /// # Cancel safety
    ///
    /// It only looks: nothing is lost.
    pub async fn wait_empty(&self, deadline: impl Into<Deadline>) -> Result<(), WaitError> {
        let inner = self.inner();
        let mut ending = Ending::wait(inner, deadline.into().instant()).map_err(WaitError::Io)?;
        ending.drive().await.map_err(WaitError::Io)?;
        ending.awaited()
    }

    /// [`wait_empty`](Self::wait_empty), blocking the calling thread.
    ///
    /// # Errors
    ///
    /// As [`wait_empty`](Self::wait_empty).
    pub fn wait_empty_blocking(&self, deadline: impl Into<Deadline>) -> Result<(), WaitError> {
        let inner = self.inner();
        let mut ending = Ending::wait(inner, deadline.into().instant()).map_err(WaitError::Io)?;
        ending.run().map_err(WaitError::Io)?;
        ending.awaited()
    }
}

/// The request of a shutdown: all members are asked at once.
fn polite(deadline: Deadline) -> Policy {
    let grace = deadline.instant().saturating_duration_since(Instant::now());
    Policy::new().ask_all(Signal::TERM, grace)
}
