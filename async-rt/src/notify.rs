//! `Notify` and `Semaphore`: waiting for a word, and for permits, among the tasks of one thread.

use crate::channel::permits::{Permits, Woken};
use crate::channel::store::{Acquire, Store};
use crate::task::raw::WakerSlot;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;

type Shared = Rc<RefCell<Permits<WakerSlot>>>;

async fn acquire(shared: &Shared, permits: usize) -> bool {
    let mut acquire =
        Acquire::<Permits<WakerSlot>, WakerSlot, Shared>::new(shared.clone(), permits);
    poll_fn(|cx| acquire.poll(cx)).await.is_ok()
}

/// Tells a task that something happened. Clones tell the same tasks.
#[derive(Clone)]
pub struct Notify {
    permits: Shared,
}

impl Default for Notify {
    fn default() -> Self {
        Self::new()
    }
}

impl Notify {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self { permits: Store::new(Permits::at_most(0, 1)) }
    }

    /// Tells the task that has waited longest, or the next one to wait if none does. Two calls
    /// before a task waits are one.
    pub fn notify_one(&self) {
        let mut woken = Woken::default();
        self.permits.with(|permits| permits.release(1, &mut woken));
        woken.wake();
    }

    /// Tells every task that waits now, and none that comes later.
    pub fn notify_waiters(&self) {
        let mut woken = Woken::default();
        self.permits.with(|permits| permits.wake_waiting(&mut woken));
        woken.wake();
    }

    /// Waits to be told.
    ///
    /// # Cancel safety
    /// Cancel safe: a word of [`notify_one`](Self::notify_one) that was meant for a cancelled waiter
    /// goes to the next one, or is kept for it, once.
    pub async fn notified(&self) {
        acquire(&self.permits, 1).await;
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.permits.with(|permits| permits.available() > 0);
        f.debug_struct("Notify").field("told", &told).finish()
    }
}

/// A number of permits, given to tasks in the order in which they ask.
#[derive(Clone)]
pub struct Semaphore {
    permits: Shared,
    /// All permits, whether a task has them or not.
    total: Rc<Cell<usize>>,
}

/// More permits than a `usize` counts: none was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooManyPermits {
    /// All permits of the semaphore, whether a task has them or not.
    pub total: usize,
    /// The permits that were to be added.
    pub added: usize,
}

impl fmt::Display for TooManyPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { total, added } = self;
        write!(f, "semaphore of {total} permits cannot count {added} more")
    }
}

impl std::error::Error for TooManyPermits {}

/// The semaphore was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SemaphoreClosed;

impl fmt::Display for SemaphoreClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("semaphore was closed")
    }
}

impl std::error::Error for SemaphoreClosed {}

impl Semaphore {
    /// A semaphore with that many permits; zero is a semaphore that gives none until some are added.
    pub fn new(permits: usize) -> Self {
        Self { permits: Store::new(Permits::new(permits)), total: Rc::new(Cell::new(permits)) }
    }

    /// Waits for `count` permits, which the guard gives back.
    ///
    /// A call that asks for more than [`total`](Self::total) waits until [`add`](Self::add) has brought
    /// what is missing, for ever if it never does; the tasks that ask later wait behind it.
    ///
    /// # Errors
    /// When the semaphore is closed.
    ///
    /// # Cancel safety
    /// Cancel safe: permits that were granted to a cancelled waiter go to the next.
    pub async fn acquire(&self, count: usize) -> Result<Permit, SemaphoreClosed> {
        if acquire(&self.permits, count).await {
            Ok(Permit { permits: self.permits.clone(), count })
        } else {
            Err(SemaphoreClosed)
        }
    }

    /// `count` permits, if they are there and no task waits.
    pub fn try_acquire(&self, count: usize) -> Option<Permit> {
        let taken = self.permits.with(|permits| permits.try_take(count));
        taken.is_ok().then(|| Permit { permits: self.permits.clone(), count })
    }

    /// All permits of the semaphore, whether a task has them or not.
    pub fn total(&self) -> usize {
        self.total.get()
    }

    /// Permits that no task has.
    pub fn available(&self) -> usize {
        self.permits.with(|permits| permits.available())
    }

    /// Adds permits.
    ///
    /// # Errors
    /// When there would be more than a `usize` counts; then none is added.
    pub fn add(&self, count: usize) -> Result<(), TooManyPermits> {
        let total = self.total.get();
        let sum = total.checked_add(count).ok_or(TooManyPermits { total, added: count })?;
        self.total.set(sum);
        release(&self.permits, count);
        Ok(())
    }

    /// Refuses every task that waits, and every one that comes later.
    pub fn close(&self) {
        let mut woken = Woken::default();
        self.permits.with(|permits| permits.close(&mut woken));
        woken.wake();
    }
}

fn release(permits: &Shared, count: usize) {
    let mut woken = Woken::default();
    permits.with(|permits| permits.release(count, &mut woken));
    woken.wake();
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("available", &self.available()).finish()
    }
}

/// Permits of a [`Semaphore`], given back when dropped.
#[must_use = "permits that are dropped are given back"]
pub struct Permit {
    permits: Shared,
    count: usize,
}

impl Permit {
    /// How many they are.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        release(&self.permits, self.count);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("count", &self.count).finish()
    }
}
