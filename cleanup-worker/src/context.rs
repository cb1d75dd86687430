//! What a cleanup can ask of the worker that runs it: a thread for a closure that blocks, and time.
//!
//! A closure that blocks is a task of its own as well: [`Blocking`].

use crate::clock::Key;
use crate::contain::{Inside, Panicked, TaskRef, contain, drop_quietly, inside, run_inside};
use crate::error::BlockingError;
use crate::node::Keep;
use crate::pool::{Handed, Job, Ticket};
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

/// Where a call and its closure meet. What is taken out here under the lock has one owner: a closure is run by the
/// thread that took it, or dropped by the call that did.
struct Meeting<R, F> {
    progress: Mutex<Progress<R, F>>,
    shared: Arc<Shared>,
    /// The task whose time stands while the closure waits for a thread.
    task: Option<TaskRef>,
    stands: AtomicBool,
}

struct Progress<R, F> {
    stage: Stage,
    /// Until it begins.
    work: Option<F>,
    /// Until the call takes it.
    result: Option<Result<R, BlockingError>>,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// For a thread.
    Waiting,
    Running,
    /// The call is gone, but the closure goes on.
    Deserted,
    Done,
}

impl<R, F> Meeting<R, F> {
    fn lock(&self) -> MutexGuard<'_, Progress<R, F>> {
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

    /// The closure has its thread; `None` when the call is gone, or the worker has ended.
    fn begin(&self) -> Option<F> {
        let work = {
            let mut progress = self.lock();
            if progress.stage != Stage::Waiting || !self.shared.state().closure_begins(self.task) {
                return None;
            }
            progress.stage = Stage::Running;
            progress.work.take()
        };
        self.go_on();
        work
    }

    /// The closure does not begin any more.
    fn decline(&self) {
        let work = {
            let mut progress = self.lock();
            if progress.stage != Stage::Waiting {
                return;
            }
            progress.work.take()
        };
        drop_quietly(work);
        self.go_on();
        self.end(Err(BlockingError::Closed));
    }

    /// The closure has ended, or does not begin.
    fn end(&self, result: Result<R, BlockingError>) {
        let (stage, waker) = {
            let mut progress = self.lock();
            if progress.stage == Stage::Running {
                // Before its task can hear of it, and end.
                self.shared.state().closure_ends(self.task);
            }
            progress.result = Some(result);
            (std::mem::replace(&mut progress.stage, Stage::Done), progress.waker.take())
        };
        if stage == Stage::Deserted {
            let unused = self.lock().result.take();
            drop_quietly(unused);
            self.shared.state().closure_ends(None);
        }
        if let Some(waker) = waker {
            let _ = contain(move || waker.wake());
        }
    }
}

/// A closure on its way to a thread.
struct Closure<R, F> {
    meeting: StdArc<Meeting<R, F>>,
    inside: Inside,
}

impl<R, F: FnOnce() -> R> Closure<R, F> {
    fn run(self, on_driver: bool) {
        let Some(work) = self.meeting.begin() else { return };
        let result = run_inside(Inside { on_driver, ..self.inside }, || contain(work));
        if !self.inside.worker.is_of_this_process() {
            // The closure forked, and this is the child: the call is the parent's.
            let _ = ManuallyDrop::new((self, result));
            return;
        }
        let result = result.map_err(|Panicked(message)| BlockingError::Panicked(message));
        self.meeting.end(result);
    }
}

impl<R, F> Drop for Closure<R, F> {
    /// Ends the meeting even if the closure did not begin.
    fn drop(&mut self) {
        self.meeting.decline();
    }
}

/// One blocking call from within a cleanup.
pub(crate) struct BlockingCall<R, F> {
    meeting: StdArc<Meeting<R, F>>,
    inside: Inside,
    handed: bool,
    /// The closure among those that wait for a thread.
    ticket: Option<Ticket>,
}

impl<R, F> Unpin for BlockingCall<R, F> {}

impl<R, F> BlockingCall<R, F> {
    pub(crate) fn new(shared: Arc<Shared>, inside: Inside, work: F) -> Self {
        let progress =
            Progress { stage: Stage::Waiting, work: Some(work), result: None, waker: None };
        let (task, stands) = (inside.task, AtomicBool::new(false));
        let progress = Mutex::new(progress);
        let meeting = StdArc::new(Meeting { progress, shared, task, stands });
        Self { meeting, inside, handed: false, ticket: None }
    }
}

impl<R, F> BlockingCall<R, F>
where
    R: Send + 'static,
    F: FnOnce() -> R + Send + 'static,
{
    fn hand_over(&mut self) {
        let meeting = &self.meeting;
        let closure = Closure { meeting: StdArc::clone(meeting), inside: self.inside };
        let job: Job = Box::new(move |on_driver| closure.run(on_driver));
        meeting.stand();
        match meeting.shared.side().pool.hand(job) {
            Handed::Over(ticket) => self.ticket = Some(ticket),
            Handed::Hopeless(ticket) => {
                self.ticket = Some(ticket);
                // Its time is its own again: no thread is free before then, perhaps none ever.
                meeting.go_on();
            }
            Handed::Back(job) => {
                let here = inside(self.inside.worker);
                job(here.is_some_and(|here| here.on_driver));
            }
            // Dropped there, it has ended the meeting.
            Handed::Stopped => {}
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
        if !std::mem::replace(&mut self.handed, true) {
            self.hand_over();
        }
        let new = cx.waker().clone();
        let mut progress = self.meeting.lock();
        if progress.stage == Stage::Done {
            let result = progress.result.take();
            drop(progress);
            return Poll::Ready(result.unwrap_or(Err(BlockingError::Closed)));
        }
        let old = progress.waker.replace(new);
        drop(progress);
        drop_quietly(old);
        Poll::Pending
    }
}

impl<R, F> Drop for BlockingCall<R, F> {
    fn drop(&mut self) {
        let shared = &self.meeting.shared;
        let (stage, left) = {
            let mut progress = self.meeting.lock();
            let stage = progress.stage;
            progress.stage = Stage::Done;
            if stage == Stage::Running {
                // Counted before the closure can see that it is alone, so the count stays exact.
                shared.state().closure_deserted(self.meeting.task);
                progress.stage = Stage::Deserted;
            }
            (stage, (progress.work.take(), progress.result.take(), progress.waker.take()))
        };
        // What did not begin, or was not taken, is dropped here, inside the task, and not by a thread of the pool.
        let (work, result, waker) = left;
        drop_quietly(work);
        drop_quietly(result);
        drop_quietly(waker);
        self.meeting.go_on();
        match stage {
            Stage::Waiting => {
                let job = self.ticket.take().and_then(|ticket| shared.side().pool.cancel(ticket));
                drop(job);
            }
            Stage::Running => shared.replace_stuck(),
            Stage::Deserted | Stage::Done => {}
        }
    }
}
