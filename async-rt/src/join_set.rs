//! `JoinSet`: many tasks of one output type, joined in the order in which they end.

use crate::coop;
use crate::error::JoinError;
use crate::handle::Handle;
use crate::join::JoinHandle;
use crate::task::raw::WakerSlot;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// Owns tasks. Dropping it aborts those that have not ended.
///
/// ```
/// use lastout_async_rt::{JoinSet, Runtime};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sum = Runtime::new()?.block_on(async {
///     let mut tasks = JoinSet::new();
///     (1..=3).for_each(|n| tasks.spawn(async move { n }));
///     let mut sum = 0;
///     while let Some(output) = tasks.join_next().await {
///         sum += output.expect("no task panics");
///     }
///     sum
/// });
/// assert_eq!(sum, 6);
/// # Ok(())
/// # }
/// ```
pub struct JoinSet<T: 'static> {
    tasks: slab::Slab<JoinHandle<T>>,
    ended: Rc<Ended>,
}

#[derive(Default)]
struct Ended {
    keys: RefCell<VecDeque<usize>>,
    joiner: Cell<WakerSlot>,
}

/// Tells the set of the end of a task, however it ends.
struct Tell {
    ended: Rc<Ended>,
    key: usize,
}

impl Drop for Tell {
    fn drop(&mut self) {
        self.ended.keys.borrow_mut().push_back(self.key);
        self.ended.joiner.take().wake();
    }
}

impl<T: 'static> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: 'static> JoinSet<T> {
    /// An empty set.
    pub fn new() -> Self {
        Self { tasks: slab::Slab::new(), ended: Rc::default() }
    }

    /// Spawns a task of the set.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn spawn<F: Future<Output = T> + 'static>(&mut self, future: F) {
        self.spawn_on(future, &Handle::current());
    }

    /// Spawns a task of the set on the runtime of `handle`, inside or outside that runtime. One set may
    /// hold tasks of several runtimes of its thread.
    #[track_caller]
    pub fn spawn_on<F: Future<Output = T> + 'static>(&mut self, future: F, handle: &Handle) {
        let key = self.tasks.vacant_key();
        let tell = Tell { ended: Rc::clone(&self.ended), key };
        let task = handle.spawn_boxed(async move {
            let _tell = tell;
            future.await
        });
        self.tasks.insert(task);
    }

    /// The output of a task that has ended; `None` when none has, or the set is empty.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        let key = self.ended.keys.borrow().front().copied()?;
        // It is not while the destructor that tells runs.
        if !self.tasks[key].is_finished() {
            return None;
        }
        let Poll::Ready(output) = self.tasks[key].poll_output(&Context::from_waker(Waker::noop()))
        else {
            return None;
        };
        self.ended.keys.borrow_mut().pop_front();
        drop(self.tasks.remove(key));
        coop::made_progress();
        Some(output)
    }

    /// The output of the next task that ends; `None` when the set is empty.
    ///
    /// # Cancel safety
    /// Cancel safe: no output is lost.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    /// Polls what [`join_next`](Self::join_next) awaits, for hand-written futures.
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        if self.tasks.is_empty() {
            return Poll::Ready(None);
        }
        let progress = ready!(coop::poll_proceed(cx));
        let next = || self.ended.keys.borrow_mut().pop_front();
        let key = next().or_else(|| {
            drop(self.ended.joiner.replace(WakerSlot::new(cx.waker())));
            // Cloning and dropping a waker runs foreign code, in which a task may have ended.
            let key = next();
            if key.is_some() {
                drop(self.ended.joiner.take());
            }
            key
        });
        let Some(key) = key else { return Poll::Pending };
        match self.tasks[key].poll_output(cx) {
            Poll::Ready(output) => {
                progress.made();
                drop(self.tasks.remove(key));
                Poll::Ready(Some(output))
            }
            // Asked inside the destructor that tells: the handle wakes once the task is over.
            Poll::Pending => {
                self.ended.keys.borrow_mut().push_front(key);
                Poll::Pending
            }
        }
    }

    /// How many tasks have not been joined.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether every task has been joined.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Aborts every task; they can still be joined.
    pub fn abort_all(&self) {
        self.tasks.iter().for_each(|(_, task)| task.abort());
    }

    /// Aborts every task and waits until all of them are gone.
    ///
    /// # Cancel safety
    /// The tasks stay aborted.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// Lets every task go on without the set.
    pub fn detach_all(&mut self) {
        self.tasks.clear();
        self.ended = Rc::default();
    }
}

impl<T: 'static> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.abort_all();
    }
}

impl<T: 'static> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish()
    }
}
