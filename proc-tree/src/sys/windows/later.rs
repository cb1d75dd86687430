//! [`Later`]: a wait that blocks a thread of its own, as a future.
//!
//! The system wakes a thread and no task, and a thread waits for 64 handles at most: so each pending future has one
//! thread. It ends with the wait, or when the future is dropped.

use super::held::Event;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The result of a wait that runs on a thread. Dropping it cancels the wait.
#[derive(Debug)]
pub(super) struct Later<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    cancel: Event,
}

#[derive(Debug)]
struct State<T> {
    /// Set once, by the thread.
    result: Option<io::Result<T>>,
    waker: Option<Waker>,
}

impl<T: Send + 'static> Later<T> {
    /// Starts a thread for this wait, which ends soon after the event is set.
    ///
    /// # Errors
    ///
    /// When there is no event or no thread for it.
    #[expect(clippy::disallowed_methods, reason = "the future owns the thread, and cancels it")]
    pub(super) fn start(
        wait: impl FnOnce(&Event) -> io::Result<T> + Send + 'static,
    ) -> io::Result<Self> {
        let state = Mutex::new(State { result: None, waker: None });
        let shared = Arc::new(Shared { state, cancel: Event::new()? });
        let teller = Teller(Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("lastout-tree-end".into());
        thread.spawn(move || {
            let result = wait(&teller.0.cancel);
            teller.0.state().result = Some(result);
            // Dropped here, the teller wakes the task.
        })?;
        Ok(Self { shared })
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Future for Later<T> {
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        // Foreign code runs under no lock: the waker is cloned before, and the one before it dropped after.
        let waker = context.waker().clone();
        let mut state = self.shared.state();
        if let Some(result) = state.result.take() {
            return Poll::Ready(result);
        }
        let earlier = state.waker.replace(waker);
        drop(state);
        drop(earlier);
        Poll::Pending
    }
}

impl<T> Drop for Later<T> {
    fn drop(&mut self) {
        self.shared.cancel.set();
        let waker = self.shared.state().waker.take();
        drop(waker);
    }
}

/// Wakes the task when the thread ends, even by a panic.
struct Teller<T>(Arc<Shared<T>>);

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.result.get_or_insert_with(|| Err(io::Error::other("the thread of the wait ended")));
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            // A waker that panics harms its own task alone.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}
