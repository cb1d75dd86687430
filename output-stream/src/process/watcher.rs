//! The task that waits for the end of a process: its exit, its time limit, and its last bytes.

use super::REST;
use super::error::ExitError;
use super::output::Exit;
use crate::contain::discard;
use crate::event::End;
use crate::stream::Stream;
use lastout_proc_tree::{KillError, Policy, Signal, Tree};
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::process::ExitStatus;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How long a tree that was asked to end has for it.
const GRACE: Duration = Duration::from_secs(5);

/// How a tree is ended whose time is over.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    /// This signal to the root, to the rest when the root is gone, and the kill after so long.
    Ask(Signal, Duration),
    /// As the policy says.
    Exactly(Policy),
}

impl Default for Ending {
    fn default() -> Self {
        Self::Ask(Signal::TERM, GRACE)
    }
}

/// Ends a process when it is ready.
pub(super) type Cancel = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a root is waited for.
pub(super) trait Root: Send + Sync {
    type Sleep: Future<Output = ()> + Send;

    /// Waits for its exit. The future may be dropped, and made again.
    fn exit(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + Send;

    fn sleep_until(&self, time: Instant) -> Self::Sleep;

    fn now(&self) -> Instant;
}

/// What the watcher needs.
#[derive(Debug)]
pub(super) struct Watcher<R> {
    pub(super) root: R,
    /// Weak: dropping the process must drop the tree, which ends it.
    pub(super) tree: Weak<Tree>,
    pub(super) stdout: Stream,
    pub(super) stderr: Stream,
    /// Before the fork.
    pub(super) begin: Instant,
    pub(super) time: Option<Duration>,
    pub(super) ending: Ending,
    pub(super) linger: Duration,
}

/// How and when the root exited.
type Left = (io::Result<ExitStatus>, Duration);

impl<R: Root> Watcher<R> {
    /// Watches until the process has exited and its outputs have ended.
    pub(super) async fn run(mut self, cancel: Option<Cancel>) -> Result<Exit, ExitError> {
        let limit = self.limit().map(|limit| self.root.sleep_until(limit));
        let mut stop = Stop { limit: limit.map(Box::pin), cancel };
        let left = stop.unless(root_exit(&mut self.root, self.begin)).await;
        let mut stopped = left.as_ref().err().copied();
        let (status, elapsed) = match left {
            Ok(left) => left,
            Err(_) => self.end_with_root().await?,
        };
        let status = status.map_err(|error| ExitError::Status(Arc::new(error)))?;
        if stopped.is_none() && !self.linger.is_zero() {
            stopped = self.let_linger(&mut stop).await?;
        }
        let (stdout, stderr) = self.last_bytes().await;
        let now = self.root.now();
        let over = match stopped {
            Some(_) => Some(now),
            None => self.limit().map(|limit| limit.max(now)),
        };
        let cause = self.tree.upgrade().and_then(|tree| tree.root_end()).map(|end| end.cause);
        Ok(Exit {
            status,
            cause,
            timed_out: stopped == Some(Stopped::Time),
            cancelled: stopped == Some(Stopped::Cancelled),
            stdout,
            stderr,
            elapsed,
            time_limit: self.time,
            copies: Vec::new(),
            on_line: None,
            until: over.and_then(|over| over.checked_add(REST)),
        })
    }

    /// When its time is over.
    fn limit(&self) -> Option<Instant> {
        self.time.and_then(|time| self.begin.checked_add(time))
    }

    /// Ends the tree, and notes how and when the root exited meanwhile.
    async fn end_with_root(&mut self) -> Result<Left, ExitError> {
        let tree = self.tree.upgrade();
        let mut exit = pin!(root_exit(&mut self.root, self.begin));
        let mut ending = pin!(end(tree.as_deref(), &self.ending));
        let mut left = None;
        let ended = poll_fn(|cx| {
            let exit = if left.is_none() { exit.as_mut().poll(cx) } else { Poll::Pending };
            if let Poll::Ready(exit) = exit {
                left = Some(exit);
                if let (Some(tree), Ending::Ask(signal, _)) = (&tree, &self.ending) {
                    // Those whom the root has not told. Who cannot be asked is killed later.
                    let _ = tree.signal(*signal);
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

    /// Waits for descendants that write on, and ends them when they are stopped; whether it came to that.
    async fn let_linger<L: Future<Output = ()>>(
        &self,
        stop: &mut Stop<L>,
    ) -> Result<Option<Stopped>, ExitError> {
        let Err(stopped) = stop.unless(self.lingers()).await else {
            return Ok(None);
        };
        // The root is gone: everybody is asked at once.
        end(self.tree.upgrade().as_deref(), &self.ending).await?;
        Ok(Some(stopped))
    }

    /// Waits until the outputs end, or for as long as they may linger.
    async fn lingers(&self) {
        let until = self.root.now().checked_add(self.linger);
        let mut until = until.map(|until| Box::pin(self.root.sleep_until(until)));
        let mut ended = pin!(self.ended());
        poll_fn(|cx| {
            if ended.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            until.as_mut().map_or(Poll::Pending, |until| until.as_mut().poll(cx))
        })
        .await;
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

/// What ends a tree before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Time,
    Cancelled,
}

/// Waits for whatever stops a process.
struct Stop<L> {
    limit: Option<Pin<Box<L>>>,
    cancel: Option<Cancel>,
}

impl<L: Future<Output = ()>> Stop<L> {
    /// What `work` gives, unless the process is stopped first.
    async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            if self.is_cancelled(cx) {
                return Poll::Ready(Err(Stopped::Cancelled));
            }
            match &mut self.limit {
                Some(limit) => limit.as_mut().poll(cx).map(|()| Err(Stopped::Time)),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn is_cancelled(&mut self, cx: &mut Context<'_>) -> bool {
        self.cancel.as_mut().is_some_and(|cancel| is_ready(cancel, cx))
    }
}

/// Polls what cancels. A panic of it counts as ready.
pub(super) fn is_ready(cancel: &mut Cancel, cx: &mut Context<'_>) -> bool {
    match catch_unwind(AssertUnwindSafe(|| cancel.as_mut().poll(cx))) {
        Ok(poll) => poll.is_ready(),
        Err(panic) => {
            discard(panic);
            true
        }
    }
}

impl<L> Drop for Stop<L> {
    /// The future is its owner's: a panic of its destructor ends here.
    fn drop(&mut self) {
        let cancel = self.cancel.take();
        discard(cancel);
    }
}

async fn root_exit(root: &mut impl Root, begin: Instant) -> Left {
    let status = root.exit().await;
    (status, root.now().saturating_duration_since(begin))
}

async fn end(tree: Option<&Tree>, ending: &Ending) -> Result<(), ExitError> {
    // A process that was dropped meanwhile has ended its tree itself.
    let Some(tree) = tree else { return Ok(()) };
    let ended = match ending {
        Ending::Ask(signal, grace) => {
            tree.terminate(&Policy::new().ask_root(*signal, *grace)).await
        }
        Ending::Exactly(policy) => tree.terminate(policy).await,
    };
    ended.map(drop).map_err(|error: KillError| ExitError::Terminate(Arc::new(error)))
}
