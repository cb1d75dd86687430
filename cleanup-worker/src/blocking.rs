//! Closures that block: as a task of their own, and as a call from within a cleanup.

use crate::contain::{Panicked, contain, drop_quietly};
use crate::context::CleanupContext;
use crate::error::BlockingError;
use crate::pool::{Handed, Job, Pool};
use crate::shared::Shared;
use crate::sync::Arc as SharedArc;
use crate::task::{Cleanup, Finish, Outcome};
use crate::wait::{Inside, run_inside};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A closure that blocks, as a task: it runs on the worker's pool.
///
/// ```
/// use lastout_cleanup_worker::Blocking;
///
/// # let path = std::env::temp_dir().join(format!("lastout-doc-{}", std::process::id()));
/// # std::fs::write(&path, b"")?;
/// lastout_cleanup_worker::submit(Blocking(move || std::fs::remove_file(path)))?;
/// # lastout_cleanup_worker::flush_blocking(std::time::Duration::from_secs(60))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "a name for what the closure is")]
pub struct Blocking<F>(pub F);

impl<F, R> Cleanup for Blocking<F>
where
    F: FnOnce() -> R + Send + 'static,
    R: Finish + Send + 'static,
{
    async fn run(self, cx: CleanupContext) -> Outcome {
        match cx.blocking(self.0).await {
            Ok(value) => value.finish(),
            // A task that is one closure panics when the closure does.
            Err(BlockingError::Panicked(message)) => std::panic::resume_unwind(Box::new(message)),
            Err(error) => Err(error.into()),
        }
    }
}

impl<F> fmt::Debug for Blocking<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").finish_non_exhaustive()
    }
}

/// Where a call and its closure meet.
struct Meeting<R> {
    state: Mutex<Progress<R>>,
}

enum Progress<R> {
    Waiting(Option<Waker>),
    Running(Option<Waker>),
    /// Nobody waits any more, but the closure goes on.
    Deserted,
    Done(Option<Result<R, BlockingError>>),
}

impl<R> Meeting<R> {
    fn lock(&self) -> MutexGuard<'_, Progress<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool begins; `false` when nobody waits for it any more.
    fn begin(&self) -> bool {
        let mut state = self.lock();
        match &mut *state {
            Progress::Waiting(waker) => {
                *state = Progress::Running(waker.take());
                true
            }
            _ => false,
        }
    }

    /// The closure has ended; `true` when it went on alone.
    fn end(&self, result: Result<R, BlockingError>) -> bool {
        let before = std::mem::replace(&mut *self.lock(), Progress::Done(Some(result)));
        match before {
            Progress::Waiting(Some(waker)) | Progress::Running(Some(waker)) => {
                let _ = contain(move || waker.wake());
                false
            }
            Progress::Deserted => {
                let unused = std::mem::replace(&mut *self.lock(), Progress::Done(None));
                drop_quietly(unused);
                true
            }
            _ => false,
        }
    }
}

/// Ends the meeting also when the pool drops the closure unrun.
struct Closure<R, F> {
    meeting: Arc<Meeting<R>>,
    work: Option<F>,
    pool: Arc<Pool>,
    inside: Inside,
}

impl<R, F: FnOnce() -> R> Closure<R, F> {
    fn run(mut self) {
        let Some(work) = self.work.take() else { return };
        if !self.meeting.begin() {
            return drop_quietly(work);
        }
        let result = run_inside(self.inside, || contain(work));
        let result = result.map_err(|Panicked(message)| BlockingError::Panicked(message));
        if self.meeting.end(result) {
            self.pool.stuck_ends();
        }
    }
}

impl<R, F> Drop for Closure<R, F> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            drop_quietly(work);
            self.meeting.end(Err(BlockingError::Closed));
        }
    }
}

/// One blocking call from within a cleanup.
pub(crate) struct BlockingCall<R, F> {
    shared: SharedArc<Shared>,
    inside: Inside,
    work: Option<F>,
    meeting: Arc<Meeting<R>>,
}

impl<R, F> Unpin for BlockingCall<R, F> {}

impl<R, F> BlockingCall<R, F> {
    pub(crate) fn new(shared: SharedArc<Shared>, inside: Inside, work: F) -> Self {
        let state = Mutex::new(Progress::Waiting(None));
        Self {
            shared,
            inside: Inside { on_driver: false, ..inside },
            work: Some(work),
            meeting: Arc::new(Meeting { state }),
        }
    }
}

impl<R, F> Future for BlockingCall<R, F>
where
    R: Send + 'static,
    F: FnOnce() -> R + Send + 'static,
{
    type Output = Result<R, BlockingError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(work) = self.work.take() {
            let pool = Arc::clone(&self.shared.side().pool);
            let closure = Closure {
                meeting: Arc::clone(&self.meeting),
                work: Some(work),
                pool: Arc::clone(&pool),
                inside: self.inside,
            };
            let job: Job = Box::new(move || closure.run());
            match pool.hand(job) {
                Handed::Over => {}
                Handed::Back(job) => job(),
                Handed::Stopped => return Poll::Ready(Err(BlockingError::Closed)),
            }
        }
        match &mut *self.meeting.lock() {
            Progress::Waiting(waker) | Progress::Running(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Progress::Done(result) => {
                Poll::Ready(result.take().unwrap_or(Err(BlockingError::Closed)))
            }
            Progress::Deserted => Poll::Ready(Err(BlockingError::Closed)),
        }
    }
}

impl<R, F> Drop for BlockingCall<R, F> {
    fn drop(&mut self) {
        let mut state = self.meeting.lock();
        let before = match &*state {
            Progress::Waiting(_) => std::mem::replace(&mut *state, Progress::Done(None)),
            Progress::Running(_) => {
                // Counted before the closure can see that it is alone, so the count stays exact.
                self.shared.side().pool.stuck_begins();
                std::mem::replace(&mut *state, Progress::Deserted)
            }
            Progress::Done(_) | Progress::Deserted => return,
        };
        drop(state);
        drop(before);
    }
}
