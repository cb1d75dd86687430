//! `spawn_blocking`, and the task that it returns.

use super::pool::{Ended, Pool, Work};
use super::stats::{BlockingRefused, BlockingStats, RunningClosure};
use crate::channel::oneshot;
use crate::contain;
use crate::error::{JoinError, Payload};
use crate::handle::Handle;
use crate::runtime::Runtime;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The output of a closure on the blocking pool, to be awaited from any task or thread. Dropping it
/// detaches the closure, which runs to its end.
///
/// Its error is a panic of the closure, or that it never ran: it was aborted, or still waited for a
/// thread when the runtime ended.
///
/// # Cancel safety
/// Awaiting `&mut task` loses nothing when it is cancelled.
#[must_use = "a blocking task that is dropped detaches its closure; call `detach` to say so"]
pub struct BlockingTask<R> {
    output: oneshot::Receiver<Result<R, Payload>>,
    pool: Arc<Pool>,
    id: u64,
}

impl<R> BlockingTask<R> {
    /// Drops the closure if no thread has taken it; awaiting the task then gives a [`JoinError`] that
    /// is cancelled. A closure that runs goes on: a thread cannot be ended from outside.
    pub fn abort(&self) {
        self.pool.abort(self.id);
    }

    /// Lets the closure go on without a reader. Its output is dropped, a panic only counted, and so is
    /// what the destructor of the output panics with.
    pub fn detach(self) {
        contain::discard(self.output);
    }
}

impl<R> Future for BlockingTask<R> {
    type Output = Result<R, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.output).poll(cx).map(|received| match received {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(payload)) => Err(JoinError::panicked(payload)),
            Err(_) => Err(JoinError::cancelled()),
        })
    }
}

impl<R> fmt::Debug for BlockingTask<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingTask").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a thread of the pool gets.
struct Closure<R, W> {
    /// `None` once it has been called.
    work: Option<W>,
    /// `Some` between the call and the way back.
    outcome: Option<Result<R, Payload>>,
    give: oneshot::Sender<Result<R, Payload>>,
}

impl<R: Send, W: FnOnce() -> R + Send> Work for Closure<R, W> {
    fn run(&mut self) -> Ended {
        let work = self.work.take().expect("a closure is called once");
        let outcome = contain::call(work);
        let ended = if outcome.is_ok() { Ended::Completed } else { Ended::Panicked };
        self.outcome = Some(outcome);
        ended
    }

    fn tell(self: Box<Self>) {
        let Self { outcome, give, .. } = *self;
        let outcome = outcome.expect("the closure was called");
        // The wake-up and the destructor of an output without a reader are user code.
        contain::run(|| contain::discard(give.send(outcome)));
    }
}

impl Handle {
    /// Runs `work`, which may block, on a thread of the runtime's blocking pool. The pool starts
    /// threads as they are needed, at most
    /// [`Builder::blocking_threads`](crate::Builder::blocking_threads) of them; a closure that finds
    /// them all busy waits its turn, first in, first out.
    ///
    /// The runtime's end cancels closures that wait and does not wait for those that run.
    ///
    /// # Errors
    /// When too many closures wait, when the first thread cannot be started, and after the runtime's
    /// end. The closure comes back.
    #[track_caller]
    pub fn spawn_blocking<R, W>(&self, work: W) -> Result<BlockingTask<R>, BlockingRefused<W>>
    where
        R: Send + 'static,
        W: FnOnce() -> R + Send + 'static,
    {
        let pool = &self.owner.blocking;
        let (give, output) = oneshot::channel();
        let submitted = pool.submit(Location::caller(), work, |work| {
            Box::new(Closure { work: Some(work), outcome: None, give })
        });
        match submitted {
            Ok(id) => Ok(BlockingTask { output, pool: Arc::clone(pool), id }),
            Err((kind, work)) => Err(BlockingRefused { kind, work }),
        }
    }

    /// What the blocking pool of the runtime has done so far.
    pub fn blocking_stats(&self) -> BlockingStats {
        self.owner.blocking.stats()
    }

    /// The closures that run on the blocking pool now, oldest first.
    pub fn blocking_running(&self) -> Vec<RunningClosure> {
        self.owner.blocking.running()
    }
}

impl Runtime {
    /// What the blocking pool has done so far.
    pub fn blocking_stats(&self) -> BlockingStats {
        self.handle().blocking_stats()
    }
}

/// Runs `work`, which may block, on the blocking pool of the runtime of this thread; see
/// [`Handle::spawn_blocking`].
///
/// ```
/// use lastout_async_rt::{Runtime, spawn_blocking};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let length = Runtime::new()?.block_on(async {
///     // Reading a file blocks: it is done beside the runtime's thread.
///     let text = spawn_blocking(|| std::fs::read_to_string("Cargo.toml"))?.await??;
///     Ok::<_, Box<dyn std::error::Error>>(text.len())
/// })?;
/// assert!(length > 0);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// When too many closures wait, when the first thread cannot be started, and after the runtime's
/// end. The closure comes back.
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn spawn_blocking<R, W>(work: W) -> Result<BlockingTask<R>, BlockingRefused<W>>
where
    R: Send + 'static,
    W: FnOnce() -> R + Send + 'static,
{
    Handle::current().spawn_blocking(work)
}
