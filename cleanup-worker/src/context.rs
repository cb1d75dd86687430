//! What a cleanup can ask of the worker that runs it: a thread for a closure that blocks, and time.
//!
//! A closure that blocks is a task of its own as well: [`Blocking`].

use crate::clock::Key;
use crate::contain::{Inside, Panicked, TaskRef, contain, drop_quietly, inside, run_inside};
use crate::error::BlockingError;
use crate::node::Keep;
use crate::pool::{Handed, Job};
use crate::shared::Shared;
use crate::sync::Arc;
use crate::task::{Cleanup, Finish, Outcome};
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc as StdArc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

impl Keep for Arc<Shared> {
    type Context = CleanupContext;
    type Outcome = Outcome;
}

/// Handed to [`Cleanup::run`]: blocking calls, sleeps and the worker's handle,
/// none of which needs a runtime.
#[derive(Clone)]
pub struct CleanupContext {
    shared: Arc<Shared>,
    inside: Inside,
}

impl CleanupContext {
    pub(crate) fn new(shared: Arc<Shared>, inside: Inside) -> Self {
        Self { shared, inside }
    }

    /// Runs a closure that blocks, on the worker's pool, and gives its value.
    ///
    /// When the system refuses the pool its first thread, the closure runs on the worker's own:
    /// slower for the others, but done.
    ///
    /// # Errors
    /// When the closure panics, or the worker has ended.
    ///
    /// # Cancel safety
    /// A closure that has not started is dropped with the future. One that runs cannot be stopped: it
    /// goes on, and [`Stats::stuck_blocking`](crate::Stats::stuck_blocking) counts it meanwhile.
    pub fn blocking<R, F>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<R, BlockingError>> + Send + 'static
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        BlockingCall::new(Arc::clone(&self.shared), self.inside, work)
    }

    /// Waits, by the clock of the worker; a worker that has ended ends the sleep.
    ///
    /// # Cancel safety
    /// Nothing is lost: a sleep that is dropped is over.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        Sleep {
            due: crate::clock::after(self.shared.config.clock.now(), duration),
            shared: Arc::clone(&self.shared),
            key: None,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What the clock of the worker shows.
    pub(crate) fn now(&self) -> Instant {
        self.shared.config.clock.now()
    }
}

impl fmt::Debug for CleanupContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanupContext").finish_non_exhaustive()
    }
}

struct Sleep {
    shared: Arc<Shared>,
    due: Instant,
    key: Option<Key>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.config.clock.now() >= self.due {
            return Poll::Ready(());
        }
        self.cancel();
        let waker = cx.waker().clone();
        let key = self.shared.state().wake_at(self.due, waker);
        // Without a worker nothing would end the sleep.
        if key.is_none() {
            return Poll::Ready(());
        }
        self.key = key;
        // Polled elsewhere than on the driver, the driver has to hear of the new time.
        self.shared.side().ready.kick.wake();
        Poll::Pending
    }
}

impl Sleep {
    fn cancel(&mut self) {
        if let Some(key) = self.key.take() {
            let old = self.shared.state().cancel(key);
            drop_quietly(old);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}

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
    progress: Mutex<Progress<R>>,
    shared: Arc<Shared>,
    /// The task whose time stands while the closure waits for a thread.
    task: Option<TaskRef>,
    stands: AtomicBool,
}

enum Progress<R> {
    /// For a thread.
    Waiting(Option<Waker>),
    Running(Option<Waker>),
    /// The call is gone, but the closure goes on.
    Deserted,
    Done(Option<Result<R, BlockingError>>),
}

impl<R> Meeting<R> {
    fn lock(&self) -> MutexGuard<'_, Progress<R>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The closure waits for a thread from here on: the time of its task stands.
    fn stand(&self) {
        if let Some(task) = self.task {
            self.stands.store(true, Relaxed);
            self.shared.state().stand(task, self.shared.config.clock.now());
        }
    }

    /// The closure waits no longer. The first call counts, later ones do nothing.
    fn go_on(&self) {
        let Some(task) = self.task.filter(|_| self.stands.swap(false, Relaxed)) else { return };
        if self.shared.state().go_on(task, self.shared.config.clock.now()) {
            self.shared.side().ready.kick.wake();
        }
    }

    /// The closure has its thread; `false` when the call is gone, or the worker has ended.
    fn begin(&self) -> bool {
        {
            let mut progress = self.lock();
            let Progress::Waiting(waker) = &mut *progress else { return false };
            if !self.shared.state().closure_begins(self.task) {
                return false;
            }
            *progress = Progress::Running(waker.take());
        }
        self.go_on();
        true
    }

    /// The closure has ended, or does not begin.
    fn end(&self, result: Result<R, BlockingError>) {
        let before = {
            let mut progress = self.lock();
            if matches!(*progress, Progress::Running(_)) {
                // Before its task can hear of it, and end.
                self.shared.state().closure_ends(self.task);
            }
            std::mem::replace(&mut *progress, Progress::Done(Some(result)))
        };
        match before {
            Progress::Waiting(Some(waker)) | Progress::Running(Some(waker)) => {
                let _ = contain(move || waker.wake());
            }
            Progress::Deserted => {
                let unused = std::mem::replace(&mut *self.lock(), Progress::Done(None));
                drop_quietly(unused);
                self.shared.state().closure_ends(None);
            }
            _ => {}
        }
    }
}

/// Ends the meeting even if the pool drops the closure unrun.
struct Closure<R, F> {
    meeting: StdArc<Meeting<R>>,
    work: Option<F>,
    inside: Inside,
}

impl<R, F: FnOnce() -> R> Closure<R, F> {
    fn run(mut self, on_driver: bool) {
        let Some(work) = self.work.take() else { return };
        if !self.meeting.begin() {
            drop_quietly(work);
            self.meeting.go_on();
            return self.meeting.end(Err(BlockingError::Closed));
        }
        let result = run_inside(Inside { on_driver, ..self.inside }, || contain(work));
        if !self.inside.worker.is_of_this_process() {
            // The closure forked, and this is the child: the call is the parent's.
            let _ = ManuallyDrop::new(result);
            return;
        }
        let result = result.map_err(|Panicked(message)| BlockingError::Panicked(message));
        self.meeting.end(result);
    }
}

impl<R, F> Drop for Closure<R, F> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            drop_quietly(work);
            self.meeting.go_on();
            self.meeting.end(Err(BlockingError::Closed));
        }
    }
}

/// One blocking call from within a cleanup.
pub(crate) struct BlockingCall<R, F> {
    inside: Inside,
    work: Option<F>,
    meeting: StdArc<Meeting<R>>,
}

impl<R, F> Unpin for BlockingCall<R, F> {}

impl<R, F> BlockingCall<R, F> {
    pub(crate) fn new(shared: Arc<Shared>, inside: Inside, work: F) -> Self {
        let progress = Mutex::new(Progress::Waiting(None));
        let (task, stands) = (inside.task, AtomicBool::new(false));
        let meeting = StdArc::new(Meeting { progress, shared, task, stands });
        Self { inside, work: Some(work), meeting }
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
            let meeting = StdArc::clone(&self.meeting);
            let pool = &meeting.shared.side().pool;
            let closure =
                Closure { meeting: StdArc::clone(&meeting), work: Some(work), inside: self.inside };
            let job: Job = Box::new(move |on_driver| closure.run(on_driver));
            meeting.stand();
            match pool.hand(job) {
                Handed::Over => {}
                // Its time is its own again: no thread is free before then, perhaps none ever.
                Handed::Hopeless => meeting.go_on(),
                Handed::Back(job) => {
                    let here = inside(self.inside.worker);
                    job(here.is_some_and(|here| here.on_driver));
                }
                Handed::Stopped => return Poll::Ready(Err(BlockingError::Closed)),
            }
        }
        let new = cx.waker().clone();
        let mut progress = self.meeting.lock();
        match &mut *progress {
            Progress::Waiting(waker) | Progress::Running(waker) => {
                let old = waker.replace(new);
                drop(progress);
                drop_quietly(old);
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
        let shared = &self.meeting.shared;
        let mut progress = self.meeting.lock();
        let (after, deserted) = match &*progress {
            Progress::Waiting(_) => (Progress::Done(None), false),
            Progress::Running(_) => {
                // Counted before the closure can see that it is alone, so the count stays exact.
                shared.state().closure_deserted(self.meeting.task);
                (Progress::Deserted, true)
            }
            // A value that is not taken is dropped here, inside the task, and not by a thread of the pool.
            Progress::Done(_) => (Progress::Done(None), false),
            Progress::Deserted => return,
        };
        let before = std::mem::replace(&mut *progress, after);
        drop(progress);
        drop_quietly(before);
        self.meeting.go_on();
        if deserted {
            shared.replace_stuck();
        }
    }
}
