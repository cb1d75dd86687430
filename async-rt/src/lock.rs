//! [`Mutex`] and [`RwLock`]: a value that the tasks of one thread lend to each other across awaits.
//!
//! Tasks get the value in the order in which they asked. A task that is cancelled while it waits, or while it has the
//! value, passes it on. A panic of a task that has the value does not spoil it for the others.
//!
//! ```
//! use lastout_async_rt::lock::Mutex;
//! use lastout_async_rt::{Runtime, spawn_boxed, time::yield_now};
//! use std::rc::Rc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sum = Runtime::new()?.block_on(async {
//!     let sum = Rc::new(Mutex::new(0));
//!     let tasks: Vec<_> = (1..=3)
//!         .map(|n| {
//!             let sum = Rc::clone(&sum);
//!             spawn_boxed(async move {
//!                 let mut sum = sum.lock().await;
//!                 let before = *sum;
//!                 yield_now().await; // no other task changes it meanwhile
//!                 *sum = before + n;
//!             })
//!         })
//!         .collect();
//!     for task in tasks {
//!         task.await?;
//!     }
//!     Ok::<_, lastout_async_rt::JoinError>(*sum.lock().await)
//! })?;
//! assert_eq!(sum, 6);
//! # Ok(())
//! # }
//! ```

use crate::channel::permits::{Permits, Woken};
use crate::channel::store::{Acquire, Store};
use crate::task::raw::WakerSlot;
use std::cell::{Ref, RefCell, RefMut};
use std::fmt;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

type Shared = Rc<RefCell<Permits<WakerSlot>>>;

/// The permits of a writer; a reader has one of them.
const ALL: usize = usize::MAX;

/// Permits that are given back when this is dropped, after the borrow they stand for.
struct Held {
    permits: Shared,
    count: usize,
}

impl Held {
    async fn wait(permits: &Shared, count: usize) -> Self {
        let mut acquire =
            Acquire::<Permits<WakerSlot>, WakerSlot, Shared>::new(permits.clone(), count);
        let taken = poll_fn(|cx| acquire.poll(cx)).await;
        debug_assert!(taken.is_ok(), "the permits of a lock are never closed");
        Self { permits: permits.clone(), count }
    }

    fn now(permits: &Shared, count: usize) -> Option<Self> {
        permits.with(|state| state.try_take(count)).ok()?;
        Some(Self { permits: permits.clone(), count })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut woken = Woken::default();
        self.permits.with(|permits| permits.release(self.count, &mut woken));
        woken.wake();
    }
}

/// A value that one task has at a time.
pub struct Mutex<T: ?Sized> {
    permits: Shared,
    value: RefCell<T>,
}

impl<T> Mutex<T> {
    /// A value that no task has.
    pub fn new(value: T) -> Self {
        Self { permits: Store::new(Permits::new(1)), value: RefCell::new(value) }
    }

    /// The value, which no task can have any more.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until no other task has the value.
    ///
    /// # Cancel safety
    /// Cancel safe: the turn of a cancelled call goes to the next task.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        let held = Held::wait(&self.permits, 1).await;
        MutexGuard { value: self.value.borrow_mut(), _held: held }
    }

    /// The value, if no task has it or waits for it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let held = Held::now(&self.permits, 1)?;
        Some(MutexGuard { value: self.value.borrow_mut(), _held: held })
    }

    /// The value, which no task can have while this is borrowed.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value is formatted by foreign code, which finds it taken.
        let (value, mut lock) = (self.try_lock(), f.debug_struct("Mutex"));
        match &value {
            Some(value) => lock.field("value", &value).finish(),
            None => lock.finish_non_exhaustive(),
        }
    }
}

/// The value of a [`Mutex`], passed on when this is dropped.
#[must_use = "a guard that is dropped passes the value on"]
pub struct MutexGuard<'a, T: ?Sized> {
    // Dropped in this order: the next task finds the value free.
    value: RefMut<'a, T>,
    _held: Held,
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

/// A value that many tasks read at a time, or one changes. Readers that come after a writer wait for
/// it, so writers are not starved.
pub struct RwLock<T: ?Sized> {
    permits: Shared,
    value: RefCell<T>,
}

impl<T> RwLock<T> {
    /// A value that no task has.
    pub fn new(value: T) -> Self {
        Self { permits: Store::new(Permits::new(ALL)), value: RefCell::new(value) }
    }

    /// The value, which no task can have any more.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until no task changes the value, and none that came earlier waits to change it.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn read(&self) -> ReadGuard<'_, T> {
        let held = Held::wait(&self.permits, 1).await;
        ReadGuard { value: self.value.borrow(), _held: held }
    }

    /// Waits until no task has the value.
    ///
    /// # Cancel safety
    /// Cancel safe: the turn of a cancelled call goes to the next task.
    pub async fn write(&self) -> WriteGuard<'_, T> {
        let held = Held::wait(&self.permits, ALL).await;
        WriteGuard { value: self.value.borrow_mut(), _held: held }
    }

    /// The value to read, if no task changes it or waits for it.
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        let held = Held::now(&self.permits, 1)?;
        Some(ReadGuard { value: self.value.borrow(), _held: held })
    }

    /// The value to change, if no task has it or waits for it.
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        let held = Held::now(&self.permits, ALL)?;
        Some(WriteGuard { value: self.value.borrow_mut(), _held: held })
    }

    /// The value, which no task can have while this is borrowed.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value is formatted by foreign code, which finds it taken.
        let (value, mut lock) = (self.try_read(), f.debug_struct("RwLock"));
        match &value {
            Some(value) => lock.field("value", &value).finish(),
            None => lock.finish_non_exhaustive(),
        }
    }
}

/// The value of a [`RwLock`], to read.
#[must_use = "a guard that is dropped passes the value on"]
pub struct ReadGuard<'a, T: ?Sized> {
    // Dropped in this order, like the fields of the other guards.
    value: Ref<'a, T>,
    _held: Held,
}

impl<T: ?Sized> Deref for ReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

/// The value of a [`RwLock`], to change.
#[must_use = "a guard that is dropped passes the value on"]
pub struct WriteGuard<'a, T: ?Sized> {
    value: RefMut<'a, T>,
    _held: Held,
}

impl<T: ?Sized> Deref for WriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for WriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}
