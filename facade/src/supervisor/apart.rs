//! Runs code of a member where it can be left behind: on a thread of its own.
//!
//! A drain, a start and a destructor may block. Here they block their own thread, and the supervisor
//! goes on at the deadline. Where the system starts no more threads, the supervisor polls them itself,
//! and waits for one that blocks.

use crate::supervisor::clock::Clock;
use crate::supervisor::contain::{Boxed, Contained, Either, call, contained, race, wake_all};
use crate::supervisor::stop::{Level, Stop};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Polls what `make` makes on a thread of its own.
///
/// The output is that of the future, or the message of its panic, or `None` after a
/// [`cancel`](Apart::cancel). Dropping this cancels, too; the future is dropped on its own thread.
pub(crate) fn apart<T: Send + 'static>(
    name: &str,
    clock: &Clock,
    make: impl FnOnce() -> Boxed<'static, T> + Send + 'static,
) -> Apart<T> {
    let cancel = Arc::new(Stop::default());
    let (cancelled, clock) = (Arc::clone(&cancel), clock.clone());
    // The closure comes back through this when no thread takes it.
    let make = Arc::new(Mutex::new(Some(make)));
    let taken = Arc::clone(&make);
    let thread = on_thread(name, move || {
        let make = lock(&taken).take();
        // The runtime may be gone: that is a panic of its own.
        let ran = call(|| {
            clock.block_on(async {
                let work = contained(|| make.expect("one thread takes it")());
                match race(work, cancelled.reached(Level::Drain)).await {
                    Either::First(output) => Some(output),
                    Either::Second(()) => None,
                }
            })
        });
        ran.unwrap_or_else(|panic| Some(Err(panic)))
    });
    let work = match thread {
        Some(waiting) => Work::Thread(waiting),
        None => match lock(&make).take() {
            Some(make) => Work::Inline(contained(make)),
            None => Work::Over,
        },
    };
    Apart { cancel, work }
}

/// The output of code that runs apart.
#[must_use = "dropping it cancels the work"]
pub(crate) struct Apart<T> {
    cancel: Arc<Stop>,
    work: Work<T>,
}

enum Work<T> {
    Thread(Waiting<Option<Result<T, String>>>),
    Inline(Contained<'static, T>),
    Over,
}

impl<T> Apart<T> {
    /// Drops the future at its next turn.
    pub(crate) fn cancel(&mut self) {
        self.cancel.raise(Level::Drain);
        if let Work::Inline(_) = self.work {
            self.work = Work::Over;
        }
    }

    /// Goes on without anybody who waits. What runs on no thread of its own is dropped.
    pub(crate) fn detach(mut self) {
        self.cancel = Arc::default();
    }

    /// Whether the thread has come to its end.
    pub(crate) fn is_over(&self) -> bool {
        match &self.work {
            Work::Thread(waiting) => waiting.is_over(),
            Work::Inline(_) => false,
            Work::Over => true,
        }
    }
}

impl<T> Future for Apart<T> {
    type Output = Option<Result<T, String>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.work {
            Work::Thread(waiting) => Pin::new(waiting).poll(cx),
            Work::Inline(work) => Pin::new(work).poll(cx).map(Some),
            Work::Over => Poll::Ready(None),
        }
    }
}

impl<T> Drop for Apart<T> {
    fn drop(&mut self) {
        self.cancel.raise(Level::Drain);
    }
}

/// Calls `work` on a thread of its own; `None` when the system starts no more threads.
#[expect(clippy::disallowed_methods, reason = "the one place that starts threads for members")]
pub(crate) fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<Waiting<T>> {
    let slot = Arc::new(Mutex::new(Slot { output: None, is_over: false, waker: None }));
    let theirs = Arc::clone(&slot);
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let output = work();
        let waker = {
            let mut slot = lock(&theirs);
            (slot.output, slot.is_over) = (Some(output), true);
            slot.waker.take()
        };
        wake_all(waker.into_iter().collect());
    });
    // Nobody joins it: it may never return.
    thread.is_ok().then_some(Waiting { slot })
}

/// Waits for what a thread returns.
pub(crate) struct Waiting<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

struct Slot<T> {
    output: Option<T>,
    is_over: bool,
    waker: Option<Waker>,
}

impl<T> Waiting<T> {
    fn is_over(&self) -> bool {
        lock(&self.slot).is_over
    }
}

impl<T> Future for Waiting<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let waker = cx.waker().clone();
        let mut slot = lock(&self.slot);
        let (poll, unused) = match slot.output.take() {
            Some(output) => (Poll::Ready(output), Some(waker)),
            None => (Poll::Pending, slot.waker.replace(waker)),
        };
        drop(slot);
        drop(unused);
        poll
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
