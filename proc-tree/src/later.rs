//! The same as futures: [`Tree::kill_async`], [`Tree::terminate_async`], [`Tree::wait_empty_async`].
//!
//! They step the same machines as the calls that block, and wait for the same descriptors in between.

use crate::deadline::Deadline;
use crate::ending::Ending;
use crate::engine::Step;
use crate::error::{KillError, WaitError};
use crate::policy::Policy;
use crate::report::Report;
use crate::tree::Tree;
use crate::wait::Reactor;
use std::io;
use std::time::Instant;

impl Tree {
    /// [`kill`](Self::kill), on any executor.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped leaves nobody stopped; who was killed by then is dead. The tree is
    /// still armed.
    pub async fn kill_async(&self, deadline: impl Into<Deadline>) -> Result<Report, KillError> {
        let begin = Instant::now();
        let inner = self.inner();
        let mut ending = Ending::kill(inner, deadline.into().instant()).map_err(KillError::Io)?;
        drive(&inner.reactor, &mut ending).await.map_err(KillError::Io)?;
        inner.report(ending.outcome().map_err(KillError::Io)?, begin)
    }

    /// [`terminate`](Self::terminate), on any executor.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    ///
    /// # Cancel safety
    ///
    /// The signals that were sent stay sent; nobody is stopped. The tree is still armed.
    pub async fn terminate_async(&self, policy: &Policy) -> Result<Report, KillError> {
        let begin = Instant::now();
        for request in &policy.steps {
            self.inner().ask(*request).map_err(KillError::Io)?;
            match self.wait_empty_async(request.grace).await {
                Ok(()) => return Ok(self.inner().ended_by_itself(begin)),
                Err(WaitError::Deadline { .. }) => {}
                Err(WaitError::Io(error)) => return Err(KillError::Io(error)),
            }
        }
        let mut report = self.kill_async(policy.kill).await?;
        report.elapsed = begin.elapsed();
        Ok(report)
    }

    /// [`wait_empty`](Self::wait_empty), on any executor.
    ///
    /// # Errors
    ///
    /// As [`wait_empty`](Self::wait_empty).
    ///
    /// # Cancel safety
    ///
    /// It only looks: nothing is lost.
    pub async fn wait_empty_async(&self, deadline: impl Into<Deadline>) -> Result<(), WaitError> {
        let inner = self.inner();
        let mut ending = Ending::wait(inner, deadline.into().instant()).map_err(WaitError::Io)?;
        drive(&inner.reactor, &mut ending).await.map_err(WaitError::Io)?;
        inner.waited(ending.outcome().map_err(WaitError::Io)?)
    }
}

pub(crate) async fn drive(reactor: &Reactor, ending: &mut Ending<'_>) -> io::Result<()> {
    loop {
        match ending.step(Instant::now())? {
            Step::Again => {}
            Step::Wait(until) => {
                reactor.ready(ending.news(), until).await?;
            }
            Step::Done => return Ok(()),
        }
    }
}
