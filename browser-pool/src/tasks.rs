//! The one module that starts tasks: it keeps every handle, and ends what still runs.

use crate::contain::{contain, said};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};

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
                Some(task) => {
                    // Its payload is a driver's.
                    if let Some(Ok(payload)) = task.await.err().map(JoinError::try_into_panic) {
                        said(payload);
                    }
                }
                None => return,
            }
        }
    }
}

/// Runs something that blocks for milliseconds, on a thread of its own; `None` when it panicked. When no
/// thread can be had it runs right here: the pool of the runtime may be occupied for ever by others, and
/// panics when it can start none.
#[expect(clippy::disallowed_methods, reason = "awaited right here; it touches a few files")]
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    let work = Arc::new(Mutex::new(Some((work, done))));
    let theirs = work.clone();
    let run = move |work: &Mutex<Option<_>>| {
        let taken = work.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((work, done)): Option<(_, tokio::sync::oneshot::Sender<T>)> = taken else {
            return;
        };
        let work: Box<dyn FnOnce() -> T + Send> = Box::new(work);
        if let Ok(value) = contain(work) {
            // Whoever waited may have gone.
            drop(done.send(value));
        }
    };
    let thread = std::thread::Builder::new().name("browser-pool files".into());
    if thread.spawn(move || run(&theirs)).is_err() {
        run(&work);
    }
    result.await.ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocking_work_needs_no_thread_of_the_runtime_and_a_panic_is_no_result() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build();
        let runtime = runtime.unwrap();
        let (free, occupied) = std::sync::mpsc::channel::<()>();
        let occupies = runtime.spawn_blocking(move || occupied.recv().is_err());
        runtime.block_on(async {
            assert_eq!(blocking(|| 7).await, Some(7));
            let quiet = || -> u8 { std::panic::resume_unwind(Box::new("scripted")) };
            assert_eq!(blocking(quiet).await, None);
            drop(free);
            assert!(occupies.await.unwrap());
        });
    }
}
