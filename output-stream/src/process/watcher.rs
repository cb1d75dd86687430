//! The task that waits for the end of a process: its exit, its time limit, and its last bytes.

use super::error::ExitError;
use super::output::Exit;
use crate::event::End;
use crate::stream::Stream;
use lastout_proc_tree::{Policy, TokioChild, Tree};
use std::process::ExitStatus;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// After the exit, readers that block have this long to take what is left in the pipes.
const READERS: Duration = Duration::from_secs(10);

/// What the watcher knows.
pub(super) type Known = Option<Result<Exit, ExitError>>;

/// What the watcher needs.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) child: TokioChild,
    /// Weak: dropping the process must drop the tree, which ends it.
    pub(super) tree: Weak<Tree>,
    pub(super) stdout: Stream,
    pub(super) stderr: Stream,
    pub(super) time: Option<Duration>,
    pub(super) policy: Policy,
    pub(super) linger: Duration,
    pub(super) known: watch::Sender<Known>,
}

impl Watcher {
    /// Watches until the process has exited and its outputs have ended.
    pub(super) async fn run(mut self) {
        let begin = Instant::now();
        let result = self.watch(begin).await;
        self.known.send_replace(Some(result));
    }

    async fn watch(&mut self, begin: Instant) -> Result<Exit, ExitError> {
        let (status, timed_out) = self.exit(begin).await?;
        let elapsed = begin.elapsed();
        let (stdout, stderr) = self.last_bytes().await;
        Ok(Exit { status, timed_out, stdout, stderr, elapsed })
    }

    /// Waits for the exit, and brings it about when the time is over.
    async fn exit(&mut self, begin: Instant) -> Result<(ExitStatus, bool), ExitError> {
        let lost = |error| ExitError::Status(Arc::new(error));
        let limit = self.time.and_then(|time| begin.checked_add(time));
        let Some(limit) = limit else {
            return Ok((self.child.wait().await.map_err(lost)?, false));
        };
        if let Ok(status) = timeout_at(limit, self.child.wait()).await {
            return Ok((status.map_err(lost)?, false));
        }
        if let Some(tree) = self.tree.upgrade() {
            let ended = tree.terminate_async(&self.policy).await;
            ended.map_err(|error| ExitError::Terminate(Arc::new(error)))?;
        }
        Ok((self.child.wait().await.map_err(lost)?, true))
    }

    /// Reads what is in the pipes, and waits for those who hold them no longer than was asked for.
    async fn last_bytes(&self) -> (End, End) {
        let both = async { (self.stdout.ended().await, self.stderr.ended().await) };
        if !self.linger.is_zero()
            && let Ok(ends) = timeout(self.linger, both).await
        {
            return ends;
        }
        self.stdout.drain();
        self.stderr.drain();
        let both = async { (self.stdout.ended().await, self.stderr.ended().await) };
        if let Ok(ends) = timeout(READERS, both).await {
            return ends;
        }
        self.stdout.close();
        self.stderr.close();
        (self.stdout.ended().await, self.stderr.ended().await)
    }
}
