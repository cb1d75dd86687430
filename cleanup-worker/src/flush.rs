//! Waiting for a worker: flush and quiesce, as futures and blocking, and the guard for the end of
//! `main`.

use crate::error::FlushError;
use crate::event::Event;
use crate::launch;
use crate::ready::Parker;
use crate::shared::Shared;
use crate::sync::Arc;
use crate::timers::Key;
use crate::wait::{Goal, inside};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Waits for a goal, until a deadline of real time.
pub(crate) struct Wait {
    shared: Arc<Shared>,
    /// The entry among the waiters of the worker.
    entry: u64,
    deadline: Instant,
    alarm: Option<Key>,
    /// Whether the one who polls watches the deadline, so that no alarm is needed.
    attended: bool,
}

impl Wait {
    pub(crate) fn new(shared: &Arc<Shared>, goal: Goal, deadline: Instant) -> Self {
        shared.check_process();
        let now = shared.config.clock.now();
        let entry = {
            let mut state = shared.state();
            let goal = match goal {
                Goal::Line(_) => Goal::Line(state.line(shared.intake(), now)),
                other => other,
            };
            let inside = inside(Shared::address(shared));
            state.waiters.add(goal, inside).id
        };
        // A cleanup that waits is no longer waited for by others that do.
        shared.tell(crate::gate::Quiet(true));
        Self { shared: Arc::clone(shared), entry, deadline, alarm: None, attended: false }
    }

    /// How much is missing, after a look at what came in; 0 when the goal is reached.
    pub(crate) fn pending(&self) -> u64 {
        let shared = &self.shared;
        let now = shared.config.clock.now();
        let mut state = shared.state();
        let late = state.take_late(shared.intake(), now);
        let waiter = state.waiters.find(self.entry);
        let pending = waiter.map_or(0, |waiter| state.pending(&waiter, shared.gate()));
        drop(state);
        if !late.is_empty() {
            shared.doom(late);
        }
        pending
    }

    /// A wait whose deadline is watched by the one who polls it.
    #[cfg(all(test, lastout_loom))]
    pub(crate) fn attended(shared: &Arc<Shared>, goal: Goal, deadline: Instant) -> Self {
        let mut wait = Self::new(shared, goal, deadline);
        wait.attended = true;
        wait
    }

    /// Polls on this thread.
    pub(crate) fn block(mut self) -> Result<(), u64> {
        self.attended = true;
        let deadline = self.deadline;
        block_on(Pin::new(&mut self), deadline)
    }

    fn is_due(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

/// Gives turns to a future of ours on this thread. It ends by itself at the deadline.
pub(crate) fn block_on<F: Future>(mut future: Pin<&mut F>, deadline: Instant) -> F::Output {
    let parker = Parker::new();
    let waker = parker.waker();
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        parker.park(Some(deadline));
    }
}

impl Future for Wait {
    /// `Err` at the deadline, with what was still missing.
    type Output = Result<(), u64>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waker = cx.waker().clone();
        let old = self.shared.state().waiters.set_waker(self.entry, waker);
        drop(old);
        // Looked at after the waker is in place: who reaches the goal from here on wakes it.
        let pending = self.pending();
        if pending == 0 {
            return Poll::Ready(Ok(()));
        }
        if self.is_due() {
            return Poll::Ready(Err(pending));
        }
        if !self.attended {
            let key = self.alarm.take();
            let alarm = &self.shared.side().alarm;
            if let Some(key) = key {
                alarm.cancel(key);
            }
            match alarm.set(self.deadline, cx.waker().clone()) {
                Some(key) => self.alarm = Some(key),
                // Nobody could end this wait in time, so it ends now: a bound is a promise.
                None => return Poll::Ready(Err(pending)),
            }
        }
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let waker = self.shared.state().waiters.remove(self.entry);
        drop(waker);
        if let Some(key) = self.alarm.take() {
            self.shared.side().alarm.cancel(key);
        }
    }
}

/// The future of [`flush`](crate::CleanupHandle::flush) and `quiesce`.
///
/// What it waits for was decided when it was made, not when it is first polled.
///
/// # Cancel safety
/// Nothing is lost: a flush that is dropped only stops waiting.
#[must_use = "a flush that is not awaited waits for nothing"]
pub struct Flush {
    wait: Wait,
    /// Whether the worker runs or could be started.
    running: bool,
}

impl Flush {
    pub(crate) fn new(shared: &Arc<Shared>, goal: Goal, timeout: Duration) -> Self {
        let deadline = crate::clock::after(Instant::now(), timeout);
        let wait = Wait::new(shared, goal, deadline);
        let pending = wait.pending();
        if pending > 0 {
            Shared::ensure_running(shared);
            // The driver may be at its nap, or may not have seen what was taken from its inbox.
            shared.side().ready.kick.wake();
        }
        let running = pending == 0 || shared.is_running();
        Self { wait, running }
    }

    /// The same on this thread.
    pub(crate) fn block(self) -> Result<(), FlushError> {
        let pending = self.wait.pending();
        if pending == 0 {
            return Ok(());
        }
        if !self.running {
            return Err(FlushError::NotRunning { pending });
        }
        let shared = &self.wait.shared;
        let inside = inside(Shared::address(shared));
        if inside.is_some_and(|inside| inside.on_driver) {
            return Err(FlushError::WouldDeadlock);
        }
        let shared = Arc::clone(shared);
        match launch::block(&shared, move || self.wait.block()) {
            Some(ended) => ended.map_err(|pending| FlushError::TimedOut { pending }),
            None => Err(FlushError::WouldDeadlock),
        }
    }
}

impl Future for Flush {
    type Output = Result<(), FlushError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.running {
            let pending = self.wait.pending();
            if pending > 0 {
                return Poll::Ready(Err(FlushError::NotRunning { pending }));
            }
        }
        let ended = Pin::new(&mut self.wait).poll(cx);
        ended.map(|ended| ended.map_err(|pending| FlushError::TimedOut { pending }))
    }
}

impl fmt::Debug for Flush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flush").field("pending", &self.wait.pending()).finish_non_exhaustive()
    }
}

/// Waits for a worker when it is dropped: the last thing in `main`, so that the cleanups of the
/// process-wide worker are done when the process ends.
///
/// A static is never dropped, so without a guard the tasks that are still queued at the end of
/// `main` end with the process. `std::process::exit` and aborts run no guard either. A guard that could
/// not wait for all of them tells the event hook: [`Event::Unflushed`].
///
/// ```
/// # use std::time::Duration;
/// let _guard = lastout_cleanup_worker::flush_guard(Duration::from_secs(5));
/// lastout_cleanup_worker::submit(async { /* … */ })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropped at once, it waits at once"]
pub struct FlushGuard {
    shared: Arc<Shared>,
    /// `None` once it has waited.
    timeout: Option<Duration>,
}

impl FlushGuard {
    pub(crate) fn new(shared: Arc<Shared>, timeout: Duration) -> Self {
        Self { shared, timeout: Some(timeout) }
    }

    /// Waits now, and tells how it went.
    ///
    /// # Errors
    /// As [`flush_blocking`](crate::CleanupHandle::flush_blocking).
    pub fn finish(mut self) -> Result<(), FlushError> {
        let timeout = self.timeout.take().unwrap_or_default();
        Flush::new(&self.shared, Goal::Line(None), timeout).block()
    }
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        if let Some(timeout) = self.timeout
            && let Err(error) = Flush::new(&self.shared, Goal::Line(None), timeout).block()
        {
            self.shared.report(&Event::Unflushed { error });
        }
    }
}

impl fmt::Debug for FlushGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlushGuard").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
