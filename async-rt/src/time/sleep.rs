//! `Sleep`, and the small functions around it.

use super::clock::Nanos;
use super::wheel::TimerKey;
use crate::coop;
use crate::handle::Handle;
use crate::owner::Owner;
use crate::task::raw::WakerSlot;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Ready at its deadline, never before. Dropping it disarms its timer, in constant time.
///
/// It outlives its runtime: polled in another runtime it goes on there; polled by another executor it
/// asks to be polled again until its deadline has passed.
///
/// # Cancel safety
/// Cancel safe: a deadline stays where it is.
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    owner: Rc<Owner>,
    deadline: Nanos,
    /// Armed at the first pending poll.
    timer: Option<TimerKey>,
    elapsed: bool,
}

impl Sleep {
    pub(crate) fn new(owner: Rc<Owner>, deadline: Nanos) -> Self {
        Self { owner, deadline, timer: None, elapsed: false }
    }

    /// When it ends. A deadline beyond the range of the clock, 548 years after the runtime's start, is
    /// shown as the end of that range.
    pub fn deadline(&self) -> Instant {
        self.owner.clock.instant(self.deadline)
    }

    /// Whether the deadline has passed and a poll would be ready.
    pub fn is_elapsed(&self) -> bool {
        self.elapsed || self.owner.clock.now() >= self.deadline
    }

    /// Sets another deadline. A task that waits goes on waiting.
    pub fn reset(&mut self, deadline: Instant) {
        self.reset_to(self.owner.clock.nanos(deadline));
    }

    pub(crate) fn reset_to(&mut self, deadline: Nanos) {
        self.elapsed = false;
        self.deadline = deadline;
        if let Some(timer) = self.timer.take() {
            let mut wheel = self.owner.wheel.borrow_mut();
            let waker = wheel.remove(timer);
            self.timer = (!waker.is_empty()).then(|| wheel.insert(deadline, waker));
        }
    }

    pub(crate) fn owner(&self) -> &Rc<Owner> {
        &self.owner
    }

    pub(crate) fn deadline_nanos(&self) -> Nanos {
        self.deadline
    }

    fn disarm(&mut self) {
        if let Some(timer) = self.timer.take() {
            let waker = self.owner.wheel.borrow_mut().remove(timer);
            drop(waker);
        }
    }

    /// The runtime has ended: the runtime that polls takes the timer over.
    #[cold]
    fn poll_orphaned(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.disarm();
        if let Some(owner) = Owner::current().filter(|owner| !owner.ended.get()) {
            self.deadline = owner.clock.nanos(self.owner.clock.instant(self.deadline));
            self.owner = owner;
            return self.poll_elapsed(cx);
        }
        // A virtual clock that has ended does not move any more: every deadline has passed.
        if self.owner.clock.is_virtual() || self.owner.clock.now() >= self.deadline {
            self.elapsed = true;
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// As `poll`, without spending the task's budget.
    pub(crate) fn poll_elapsed(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut fresh = None;
        loop {
            if self.elapsed {
                return Poll::Ready(());
            }
            if self.owner.ended.get() {
                return self.poll_orphaned(cx);
            }
            let mut wheel = self.owner.wheel.borrow_mut();
            match self.timer {
                Some(timer) if wheel.has_fired(timer) => {
                    drop(wheel);
                    self.disarm();
                    self.elapsed = true;
                    return Poll::Ready(());
                }
                Some(timer) if wheel.value_mut(timer).will_wake(cx.waker()) => {
                    return Poll::Pending;
                }
                Some(timer) => {
                    if let Some(slot) = fresh.take() {
                        let before = std::mem::replace(wheel.value_mut(timer), slot);
                        drop(wheel);
                        drop(before);
                        return Poll::Pending;
                    }
                }
                None if self.deadline <= self.owner.event_time() => {
                    self.elapsed = true;
                    return Poll::Ready(());
                }
                None => {
                    if let Some(slot) = fresh.take() {
                        self.timer = Some(wheel.insert(self.deadline, slot));
                        return Poll::Pending;
                    }
                }
            }
            drop(wheel);
            // Cloning a waker runs foreign code, in which the timer may fire or the runtime end.
            fresh = Some(WakerSlot::new(cx.waker()));
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_elapsed(cx) {
            Poll::Ready(()) => coop::poll_proceed(cx).map(coop::Progress::made),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("elapsed", &self.elapsed).finish_non_exhaustive()
    }
}

#[track_caller]
pub(crate) fn current() -> Rc<Owner> {
    Handle::current().owner
}

/// Waits for `duration`. `Duration::MAX` is for ever, zero is ready at the next look at the clock.
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    let owner = current();
    let deadline = owner.clock.after(duration);
    Sleep::new(owner, deadline)
}

/// Waits until `deadline`.
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    let owner = current();
    let deadline = owner.clock.nanos(deadline);
    Sleep::new(owner, deadline)
}

/// Waits until `deadline`, then runs `future`.
///
/// # Cancel safety
/// As cancel safe as `future`.
///
/// # Panics
/// Outside a runtime.
pub async fn after<F: Future>(deadline: Instant, future: F) -> F::Output {
    sleep_until(deadline).await;
    future.await
}

/// Waits for `delay`, then runs `future`.
///
/// # Cancel safety
/// As cancel safe as `future`.
///
/// # Panics
/// Outside a runtime.
pub async fn after_delay<F: Future>(delay: Duration, future: F) -> F::Output {
    sleep(delay).await;
    future.await
}

/// When the runtime last looked at sockets and timers: a clock that costs no clock read. Under a
/// virtual clock, virtual time.
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn event_time() -> Instant {
    let owner = current();
    owner.clock.instant(owner.event_time())
}

/// Lets the tasks that are ready run before this one goes on. A task that was woken before it asked
/// keeps its place: those that became ready after that wake-up run later.
///
/// # Cancel safety
/// Cancel safe.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
