//! The task that waits for the end of a process: its exit, its time limit, and its last bytes.

use super::error::ExitError;
use super::output::Exit;
use crate::event::End;
use crate::stream::Stream;
use lastout_proc_tree::{KillError, Policy, Signal, TokioChild, Tree};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// How long a tree that was asked to end has for it.
const GRACE: Duration = Duration::from_secs(5);

/// What the watcher knows.
pub(super) type Known = Option<Result<Exit, ExitError>>;

/// How a tree is ended whose time is over.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    /// SIGTERM to the root, to the rest when the root is gone, and the kill after so long.
    Ask(Duration),
    /// As the policy says.
    Exactly(Policy),
}

impl Default for Ending {
    fn default() -> Self {
        Self::Ask(GRACE)
    }
}

/// What the watcher needs.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) child: TokioChild,
    /// Weak: dropping the process must drop the tree, which ends it.
    pub(super) tree: Weak<Tree>,
    pub(super) stdout: Stream,
    pub(super) stderr: Stream,
    /// Before the fork.
    pub(super) begin: Instant,
    pub(super) time: Option<Duration>,
    pub(super) ending: Ending,
    pub(super) linger: Duration,
    pub(super) known: watch::Sender<Known>,
}

/// How and when the root exited.
type Left = (io::Result<ExitStatus>, Duration);

impl Watcher {
    /// Watches until the process has exited and its outputs have ended.
    pub(super) async fn run(mut self) {
        let result = self.watch().await;
        self.known.send_replace(Some(result));
    }

    async fn watch(&mut self) -> Result<Exit, ExitError> {
        let limit = self.time.and_then(|time| self.begin.checked_add(time));
        let left = by(limit, root_exit(&mut self.child, self.begin)).await;
        let mut timed_out = left.is_none();
        let (status, elapsed) = match left {
            Some(left) => left,
            None => self.end_with_root().await?,
        };
        let status = status.map_err(|error| ExitError::Status(Arc::new(error)))?;
        if !timed_out && !self.linger.is_zero() {
            timed_out = self.let_linger(limit).await?;
        }
        let (stdout, stderr) = self.last_bytes().await;
        let time_limit = self.time;
        let (copies, on_line) = (Vec::new(), None);
        Ok(Exit { status, timed_out, stdout, stderr, elapsed, time_limit, copies, on_line })
    }

    /// Ends the tree, and notes how and when the root exited meanwhile.
    async fn end_with_root(&mut self) -> Result<Left, ExitError> {
        let tree = self.tree.upgrade();
        let mut exit = pin!(root_exit(&mut self.child, self.begin));
        let mut ending = pin!(end(tree.as_deref(), &self.ending));
        let mut left = None;
        let ended = poll_fn(|cx| {
            if left.is_none()
                && let Poll::Ready(exit) = exit.as_mut().poll(cx)
            {
                left = Some(exit);
                if let (Some(tree), Ending::Ask(_)) = (&tree, &self.ending) {
                    // Those whom the root has not told. Who cannot be asked is killed later.
                    let _ = tree.signal(Signal::TERM);
                }
            }
            ending.as_mut().poll(cx)
        });
        ended.await?;
        match left {
            Some(left) => Ok(left),
            None => Ok(exit.await),
        }
    }

    /// Waits for descendants that write on, and ends them at the time limit; whether it came to that.
    async fn let_linger(&self, limit: Option<Instant>) -> Result<bool, ExitError> {
        let linger = Instant::now().checked_add(self.linger);
        let is_limited = limit.is_some_and(|limit| linger.is_none_or(|linger| limit < linger));
        let until = if is_limited { limit } else { linger };
        if by(until, self.ended()).await.is_some() || !is_limited {
            return Ok(false);
        }
        // The root is gone: everybody is asked at once.
        end(self.tree.upgrade().as_deref(), &self.ending).await?;
        Ok(true)
    }

    /// Reads what is in the pipes, whatever the readers do, and waits for nobody who holds them.
    async fn last_bytes(&self) -> (End, End) {
        self.stdout.drain();
        self.stderr.drain();
        self.ended().await
    }

    async fn ended(&self) -> (End, End) {
        (self.stdout.ended().await, self.stderr.ended().await)
    }
}

async fn root_exit(child: &mut TokioChild, begin: Instant) -> Left {
    let status = child.wait().await;
    (status, begin.elapsed())
}

async fn end(tree: Option<&Tree>, ending: &Ending) -> Result<(), ExitError> {
    // A process that was dropped meanwhile has ended its tree itself.
    let Some(tree) = tree else { return Ok(()) };
    let ended = match ending {
        Ending::Ask(grace) => tree.terminate(&Policy::term(*grace)).await,
        Ending::Exactly(policy) => tree.terminate(policy).await,
    };
    ended.map(drop).map_err(|error: KillError| ExitError::Terminate(Arc::new(error)))
}

/// What `work` gives, unless the time comes first.
async fn by<T>(time: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match time {
        Some(time) => timeout_at(time, work).await.ok(),
        None => Some(work.await),
    }
}
