//! Waiting for a worker: flush and quiesce, as futures and blocking, and the guard for the end of
//! `main`.

use super::Goal;
use crate::clock::{Key, RETRY};
use crate::contain::{drop_quietly, inside};
use crate::driver::{self, ensure_running};
use crate::error::FlushError;
use crate::event::Event;
use crate::ready::Parker;
use crate::shared::Shared;
use crate::sweep::sweep;
use crate::sync::Arc;
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
    /// When the one who polls is to look again.
    next_look: Instant,
    alarm: Option<Watch>,
    /// Whether the one who polls watches the deadline, so that no alarm is needed.
    attended: bool,
    /// How it ended. From then on it has no entry, even if it is kept: its task waits no longer.
    over: Option<Result<(), u64>>,
}

/// What wakes a wait at its deadline.
enum Watch {
    Alarm(Key),
    /// The driver, where the alarm has no thread.
    Driver(Key),
}

impl Wait {
    pub(crate) fn new(shared: &Arc<Shared>, goal: Goal, deadline: Instant) -> Self {
        shared.check_process();
        let now = shared.config.clock.now();
        let task = inside(Shared::identity(shared)).and_then(|inside| inside.task);
        let (entry, nudge) = shared.state().wait(goal, task, shared.intake(), now);
        nudge.wake();
        Self {
            shared: Arc::clone(shared),
            entry,
            deadline,
            next_look: deadline,
            alarm: None,
            attended: false,
            over: None,
        }
    }

    /// Whether the goal is reached, after a look at what came in.
    pub(crate) fn is_reached(&self) -> bool {
        if let Some(over) = self.over {
            return over.is_ok();
        }
        let shared = &self.shared;
        let now = shared.config.clock.now();
        let mut state = shared.state();
        let (reached, nudge) = state.is_reached(self.entry, shared.intake(), now);
        let left = state.must_sweep_here();
        drop(state);
        nudge.wake();
        if left {
            sweep(shared, usize::MAX);
        }
        reached
    }

    /// Ends the wait, whether its owner keeps it or not.
    fn end(&mut self, ended: Result<(), u64>) -> Result<(), u64> {
        if self.over.is_none() {
            self.over = Some(ended);
            let waker = self.shared.state().stop_waiting(self.entry);
            drop_quietly(waker);
            self.unwatch();
        }
        ended
    }

    /// How much is missing, at least 1.
    pub(crate) fn pending(&self) -> u64 {
        self.shared.state().pending(self.entry, self.shared.gate())
    }

    /// A wait whose deadline is watched by the one who polls it.
    #[cfg(all(test, lastout_loom))]
    pub(crate) fn attended(shared: &Arc<Shared>, goal: Goal, deadline: Instant) -> Self {
        let mut wait = Self::new(shared, goal, deadline);
        wait.attended = true;
        wait
    }

    /// Polls on this thread, until the deadline at the latest.
    pub(crate) fn block(mut self) -> Result<(), u64> {
        self.attended = true;
        let parker = Parker::new();
        let waker = parker.waker();
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut self).poll(&mut cx) {
                return ended;
            }
            parker.park(Some(self.next_look));
        }
    }

    /// At the deadline, or sooner where the system refused the worker its thread, to ask for it again.
    fn plan_next_look(&mut self, now: Instant) {
        let shared = &self.shared;
        if !shared.is_running() {
            ensure_running(shared);
        }
        let retry = if shared.is_running() { self.deadline } else { now + RETRY };
        self.next_look = retry.min(self.deadline);
    }

    /// Has the wait woken when it is to look again; `false` when nothing can.
    fn watch(&mut self, cx: &Context<'_>) -> bool {
        self.unwatch();
        let shared = &self.shared;
        let alarm = shared.side().alarm.set(self.next_look, cx.waker().clone()).map(Watch::Alarm);
        self.alarm = alarm.or_else(|| {
            // A driver that goes by another clock does not know when the deadline is.
            let driven = shared.config.clock.is_real() && shared.is_running();
            let waker = driven.then(|| cx.waker().clone())?;
            let key = shared.state().wake_at(self.next_look, waker)?;
            shared.side().ready.kick.wake();
            Some(Watch::Driver(key))
        });
        self.alarm.is_some()
    }

    fn unwatch(&mut self) {
        match self.alarm.take() {
            Some(Watch::Alarm(key)) => self.shared.side().alarm.cancel(key),
            Some(Watch::Driver(key)) => {
                let waker = self.shared.state().cancel(key);
                drop_quietly(waker);
            }
            None => {}
        }
    }
}

impl Future for Wait {
    /// `Err` at the deadline, with what was still missing.
    type Output = Result<(), u64>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(over) = self.over {
            return Poll::Ready(over);
        }
        let waker = cx.waker().clone();
        let old = self.shared.state().set_waker(self.entry, waker);
        drop_quietly(old);
        // Looked at after the waker is in place: what reaches the goal from here on wakes it.
        if self.is_reached() {
            return Poll::Ready(self.end(Ok(())));
        }
        let now = Instant::now();
        if now >= self.deadline {
            let pending = self.pending();
            return Poll::Ready(self.end(Err(pending)));
        }
        self.plan_next_look(now);
        if !self.attended && !self.watch(cx) {
            // Without a thread to watch the time, this task does it between the others.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let _ = self.end(Ok(()));
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
        let reached = wait.is_reached();
        if !reached {
            ensure_running(shared);
            // The driver may be at its nap, or may not have seen what was taken from its inbox.
            shared.side().ready.kick.wake();
        }
        // What was given up may be left to a thread that is not the driver.
        let running = reached || shared.is_running() || shared.state().is_sweeping();
        Self { wait, running }
    }

    /// Waits on this thread.
    pub(crate) fn block(self) -> Result<(), FlushError> {
        if self.wait.is_reached() {
            return Ok(());
        }
        if !self.running {
            return Err(FlushError::NotRunning { pending: self.wait.pending() });
        }
        let shared = Arc::clone(&self.wait.shared);
        if inside(Shared::identity(&shared)).is_some_and(|inside| inside.on_driver) {
            return Err(FlushError::WouldDeadlock);
        }
        match driver::block(&shared, move || self.wait.block()) {
            Some(ended) => ended.map_err(|pending| FlushError::TimedOut { pending }),
            None => Err(FlushError::WouldDeadlock),
        }
    }
}

impl Future for Flush {
    type Output = Result<(), FlushError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.running && !self.wait.is_reached() {
            let pending = self.wait.pending();
            let ended = self.wait.end(Err(pending));
            return Poll::Ready(ended.map_err(|pending| FlushError::NotRunning { pending }));
        }
        let ended = Pin::new(&mut self.wait).poll(cx);
        ended.map(|ended| ended.map_err(|pending| FlushError::TimedOut { pending }))
    }
}

impl fmt::Debug for Flush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flush").field("reached", &self.wait.is_reached()).finish_non_exhaustive()
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
    pub fn finish_blocking(mut self) -> Result<(), FlushError> {
        let timeout = self.timeout.take().unwrap_or_default();
        Flush::new(&self.shared, Goal::Unlined, timeout).block()
    }
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        let Some(timeout) = self.timeout else { return };
        if let Err(error) = Flush::new(&self.shared, Goal::Unlined, timeout).block() {
            self.shared.report(&Event::Unflushed { error });
        }
    }
}

impl fmt::Debug for FlushGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlushGuard").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
