//! `Scope`: tasks that may borrow from the caller, because a synchronous call outlives them.
//!
//! A future that promised to outlive its tasks could be forgotten, and the tasks would go on with
//! borrows that have ended. [`Runtime::scope`] is a call instead, which cannot be forgotten. Its tasks
//! live in a list that this call owns and are polled from its own loop, so that their lifetimes need
//! no `unsafe` at all; the list is emptied before the call returns or unwinds.
//!
//! Foreign code (polls, destructors of futures and outputs, wakers of joiners) runs under no borrow of
//! the list, and its panics go to a handle or end in `contain`.

use crate::error::{JoinError, Payload};
use crate::runtime::Runtime;
use crate::sync::{Mutex, lock};
use crate::{contain, coop};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

/// Polls of scoped tasks between two rounds of the runtime's loop.
const POLLS: usize = 64;

/// Spawns tasks that may borrow what lives as long as `'env`; see [`Runtime::scope`].
pub struct Scope<'env> {
    tasks: Rc<Tasks<'env>>,
}

impl Clone for Scope<'_> {
    fn clone(&self) -> Self {
        Self { tasks: Rc::clone(&self.tasks) }
    }
}

struct Tasks<'env> {
    live: RefCell<slab::Slab<Task<'env>>>,
    queue: Arc<Queue>,
    closed: Cell<bool>,
}

struct Task<'env> {
    /// `None` while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()> + 'env>>>,
    end: Rc<dyn End + 'env>,
    waker: Waker,
}

/// Which tasks are due. Wakers, and so other threads, reach nothing else of a scope.
struct Queue {
    due: Mutex<Due>,
    /// Wakes the call of `scope`.
    scope: Waker,
}

#[derive(Default)]
struct Due {
    keys: VecDeque<usize>,
    /// Whether `keys` has the key.
    queued: Vec<bool>,
}

impl Queue {
    fn push(&self, key: usize) {
        let mut due = lock(&self.due);
        if due.queued.len() <= key {
            due.queued.resize(key + 1, false);
        }
        if !std::mem::replace(&mut due.queued[key], true) {
            due.keys.push_back(key);
            drop(due);
            self.scope.wake_by_ref();
        }
    }

    fn pop(&self) -> Option<usize> {
        let mut due = lock(&self.due);
        let key = due.keys.pop_front()?;
        due.queued[key] = false;
        Some(key)
    }
}

struct WakeTask {
    queue: Arc<Queue>,
    key: usize,
}

impl Wake for WakeTask {
    fn wake(self: Arc<Self>) {
        self.queue.push(self.key);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue.push(self.key);
    }
}

/// How a task of unknown output ends.
trait End {
    /// Notes the error, unless there is an output.
    fn fail(&self, error: JoinError);
    fn is_aborted(&self) -> bool;
}

struct Outcome<T> {
    output: Cell<Option<Result<T, JoinError>>>,
    ended: Cell<bool>,
    failed: Cell<bool>,
    aborted: Cell<bool>,
    joiner: Cell<Option<Waker>>,
}

impl<T> Outcome<T> {
    fn new() -> Self {
        let no = || Cell::new(false);
        let (output, joiner) = (Cell::new(None), Cell::new(None));
        Self { output, ended: no(), failed: no(), aborted: no(), joiner }
    }

    fn end(&self, output: Result<T, JoinError>) {
        if !self.ended.replace(true) {
            self.failed.set(output.is_err());
            self.output.set(Some(output));
            self.joiner.take().into_iter().for_each(contain::wake);
        }
    }
}

impl<T> End for Outcome<T> {
    fn fail(&self, error: JoinError) {
        self.end(Err(error));
    }

    fn is_aborted(&self) -> bool {
        self.aborted.get()
    }
}

/// The output of a scoped task, to be awaited. Dropping it detaches the task; the scope still waits
/// for it.
///
/// # Cancel safety
/// Awaiting `&mut handle` loses nothing when it is cancelled.
#[must_use = "a join handle that is dropped detaches its task; call `detach` to say so"]
pub struct ScopedJoinHandle<'env, T> {
    outcome: Rc<Outcome<T>>,
    tasks: Weak<Tasks<'env>>,
    key: usize,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Whether the output is there, or was there and has been taken.
    pub fn is_finished(&self) -> bool {
        self.outcome.ended.get()
    }

    /// Drops the task's future at its next turn; awaiting the handle then gives a [`JoinError`] that
    /// is cancelled. A task that is done keeps its output.
    pub fn abort(&self) {
        if self.is_finished() {
            return;
        }
        let Some(tasks) = self.tasks.upgrade() else { return };
        self.outcome.aborted.set(true);
        tasks.queue.push(self.key);
    }

    /// Lets the task go on without a reader of its output; the scope still waits for it.
    pub fn detach(self) {}
}

impl<T> Future for ScopedJoinHandle<'_, T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    /// When it was ready before.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let progress = ready!(coop::poll_proceed(cx));
        if !self.is_finished() {
            let waker = cx.waker().clone();
            contain::discard(self.outcome.joiner.replace(Some(waker)));
        }
        // Cloning and dropping a waker runs foreign code, in which the task may have ended.
        if !self.is_finished() {
            return Poll::Pending;
        }
        progress.made();
        let output = self.outcome.output.take();
        Poll::Ready(output.expect("a join handle was polled after it was ready"))
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finished = self.is_finished();
        f.debug_struct("ScopedJoinHandle").field("finished", &finished).finish_non_exhaustive()
    }
}

impl<'env> Scope<'env> {
    /// Spawns a task, which runs beside the others until it ends, even if its handle is dropped.
    /// After the end of the scope the future is dropped at once, and the handle says that it was
    /// cancelled, or has the panic of its destructor.
    pub fn spawn<F>(&self, future: F) -> ScopedJoinHandle<'env, F::Output>
    where
        F: Future + 'env,
        F::Output: 'env,
    {
        let (outcome, tasks) = (Rc::new(Outcome::new()), Rc::downgrade(&self.tasks));
        let mut handle = ScopedJoinHandle { outcome, tasks, key: usize::MAX };
        if self.tasks.closed.get() {
            let dropped = contain::drop_value(future);
            handle.outcome.fail(error_of(None, dropped.err()));
            return handle;
        }
        let (done, end) = (Rc::clone(&handle.outcome), Rc::clone(&handle.outcome));
        let mut live = self.tasks.live.borrow_mut();
        let entry = live.vacant_entry();
        handle.key = entry.key();
        let queue = Arc::clone(&self.tasks.queue);
        entry.insert(Task {
            future: Some(Box::pin(async move { done.end(Ok(future.await)) })),
            end,
            waker: Waker::from(Arc::new(WakeTask { queue, key: handle.key })),
        });
        drop(live);
        self.tasks.queue.push(handle.key);
        handle
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("tasks", &self.tasks.live.borrow().len()).finish()
    }
}

impl Tasks<'_> {
    /// Polls tasks that are due; ready when none is left.
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        for _ in 0..POLLS {
            if self.live.borrow().is_empty() {
                return Poll::Ready(());
            }
            match self.queue.pop() {
                Some(key) => self.run(key),
                None => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn run(&self, key: usize) {
        let (mut future, end, waker) = {
            let mut live = self.live.borrow_mut();
            // A late wake of a task that has ended, or one for its successor: harmless.
            let Some(task) = live.get_mut(key) else { return };
            let Some(future) = task.future.take() else { return };
            (future, Rc::clone(&task.end), task.waker.clone())
        };
        let polled = if end.is_aborted() {
            Ok(Poll::Ready(()))
        } else {
            coop::begin_turn();
            let mut cx = Context::from_waker(&waker);
            contain::call(|| future.as_mut().poll(&mut cx))
        };
        if let Ok(Poll::Pending) = polled {
            self.live.borrow_mut()[key].future = Some(future);
            return;
        }
        let gone = self.live.borrow_mut().remove(key);
        let dropped = contain::drop_value(future);
        end.fail(error_of(polled.err(), dropped.err()));
        // The last to know the outcome of a task whose handle is gone drops its output.
        contain::discard((end, gone));
    }

    /// Takes no more tasks, and drops those that are left.
    fn close(&self) {
        self.closed.set(true);
        loop {
            let left = {
                let mut live = self.live.borrow_mut();
                let key = live.iter().next().map(|(key, _)| key);
                key.map(|key| live.remove(key))
            };
            let Some(Task { future, end, .. }) = left else { return };
            let dropped = contain::drop_value(future);
            end.fail(error_of(None, dropped.err()));
            contain::discard(end);
        }
    }
}

/// A poll and a destructor panicked, or neither: the error has the first of the payloads.
fn error_of(polled: Option<Payload>, dropped: Option<Payload>) -> JoinError {
    let (panic, surplus) = match (polled, dropped) {
        (None, dropped) => (dropped, None),
        both => both,
    };
    contain::discard(surplus);
    panic.map_or_else(JoinError::cancelled, JoinError::panicked)
}

/// Ends a scope, even while it unwinds.
struct Close<'env>(Rc<Tasks<'env>>);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Runtime {
    /// Runs the future that `work` makes, and the tasks that it spawns into the scope, until all of
    /// them have ended. The tasks may borrow from the caller.
    ///
    /// This is a call and not a future, because a future can be forgotten, and its tasks would
    /// outlive what they borrow. Scoped tasks are polled as part of this call, beside the tasks of the
    /// runtime, and do not appear in its counts. Each of their wakes takes a short lock: for the
    /// shortest path use [`spawn_boxed`](crate::spawn_boxed).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let words = ["tasks", "may", "borrow"].map(String::from);
    /// let words = &words;
    /// let letters = lastout_async_rt::Runtime::new()?.scope(|scope| async move {
    ///     let lengths: Vec<_> =
    ///         words.iter().map(|word| scope.spawn(async move { word.len() })).collect();
    ///     let mut letters = 0;
    ///     for length in lengths {
    ///         letters += length.await.expect("no panic");
    ///     }
    ///     letters
    /// });
    /// assert_eq!(letters, 14);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// What they borrow must outlive the call:
    ///
    /// ```compile_fail,E0597
    /// let runtime = lastout_async_rt::Runtime::new().unwrap();
    /// runtime.scope(|scope| async move {
    ///     let here = 1;
    ///     scope.spawn(async { assert_eq!(*&here, 1) }).detach();
    /// });
    /// ```
    ///
    /// # Panics
    /// As [`block_on`](Self::block_on); with the panic of that future, after the tasks that are left
    /// have been dropped. The panic of another task goes to its handle.
    pub fn scope<'env, F, W>(&self, work: W) -> F::Output
    where
        W: FnOnce(Scope<'env>) -> F,
        F: Future + 'env,
        F::Output: 'env,
    {
        let output = self.block_on(async {
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let queue = Arc::new(Queue { due: Mutex::new(Due::default()), scope: waker });
            let tasks = Rc::new(Tasks {
                live: RefCell::new(slab::Slab::new()),
                queue,
                closed: Cell::new(false),
            });
            let _close = Close(Rc::clone(&tasks));
            let scope = Scope { tasks };
            let first = scope.spawn(work(scope.clone()));
            poll_fn(|cx| match (scope.tasks.poll(cx), first.outcome.failed.get()) {
                (_, true) | (Poll::Ready(()), _) => Poll::Ready(()),
                (Poll::Pending, false) => Poll::Pending,
            })
            .await;
            first.await
        });
        match output.map_err(JoinError::try_into_panic) {
            Ok(output) => output,
            Err(Ok(panic)) => resume_unwind(panic),
            Err(Err(_)) => unreachable!("the first task is not aborted: its handle is here"),
        }
    }
}
