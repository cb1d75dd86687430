//! The one module that starts tasks: it keeps every handle, and ends what still runs.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// The tasks of one pool, on the runtime on which it was started.
#[derive(Debug)]
pub(crate) struct Tasks {
    runtime: Handle,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Tasks {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime, running: Mutex::new(Vec::new()) }
    }

    /// Starts a task. On a runtime that is gone the future is dropped at once.
    #[expect(clippy::disallowed_methods, reason = "this module owns the tasks of the pool")]
    pub(crate) fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Not under the lock: a future that is dropped here runs the destructors in it.
        let handle = self.runtime.spawn(task);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|task| !task.is_finished());
        running.push(handle);
    }

    /// Waits until every task has ended.
    pub(crate) async fn join(&self) {
        loop {
            let next = self.running.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match next {
                Some(task) => drop(task.await),
                None => return,
            }
        }
    }
}

/// Runs something that blocks for milliseconds; `None` when it panicked or the runtime ends.
#[expect(clippy::disallowed_methods, reason = "awaited right here; it touches a few files")]
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// Does the same with each item, on a thread for each, and returns when all is done. An item for
/// which no thread can be had is dealt with on this one.
pub(crate) fn side_by_side<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync) {
    let mut items: Vec<_> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    let last = items.pop();
    let take = |item: &Mutex<Option<T>>| {
        let item = item.lock().unwrap_or_else(PoisonError::into_inner).take();
        item.into_iter().for_each(&work);
    };
    std::thread::scope(|scope| {
        for item in &items {
            let thread = std::thread::Builder::new().name("browser-pool end".into());
            // Joined by the scope. When it was refused, the item is still in its place.
            if thread.spawn_scoped(scope, || take(item)).is_err() {
                take(item);
            }
        }
        last.iter().for_each(take);
    });
}
