//! The verbs that end a process with its tree.

use super::Process;
use crate::tree::EndPolicy;
use lastout_proc_tree::{Deadline, KillError, Report, Tree};

impl Process {
    /// Asks the tree to end as the policy says, and kills what is left. [`wait`](Self::wait) tells how the root ended.
    ///
    /// # Errors
    ///
    /// When a member survived: the error names it, with the reason.
    ///
    /// # Cancel safety
    ///
    /// The signals that were sent stay sent; no member is left frozen.
    pub async fn terminate(&self, policy: &EndPolicy) -> Result<Report, KillError> {
        match self.tree.terminate(policy).await {
            Err(KillError::Io(_)) => {
                let policy = policy.clone();
                self.on_a_thread(move |tree| tree.terminate_blocking(&policy)).await
            }
            ended => ended,
        }
    }

    /// Kills the tree, and returns when no member is left.
    ///
    /// # Errors
    ///
    /// When a member survived: the error names it, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Members that were killed stay dead; the call may be repeated.
    pub async fn kill(&self, deadline: impl Into<Deadline>) -> Result<Report, KillError> {
        let deadline = deadline.into();
        match self.tree.kill(deadline).await {
            Err(KillError::Io(_)) => {
                self.on_a_thread(move |tree| tree.kill_blocking(deadline)).await
            }
            ended => ended,
        }
    }

    /// The runtime that the process was started on waits for its tree. Where that was shut down, a
    /// thread of the runtime at hand does, or the one at hand.
    async fn on_a_thread(
        &self,
        end: impl Fn(&Tree) -> Result<Report, KillError> + Clone + Send + 'static,
    ) -> Result<Report, KillError> {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (tree, end) = (self.tree.clone(), end.clone());
            if let Ok(ended) = runtime.spawn_blocking(move || end(&tree)).await {
                return ended;
            }
        }
        end(&self.tree)
    }
}
