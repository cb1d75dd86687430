//! `WakerSlot`: a place of the owner's thread that remembers whom to wake, without a locked
//! instruction when that is a task of the runtime which is running.
//!
//! `wake.rs` makes them: it knows which wakers are tasks of ours.

use crate::contain;
use std::fmt;
use std::marker::PhantomData;
use std::task::Waker;

/// A waker, or none. It stays on its thread: a task of the runtime that was running when it was
/// made is held by a reference that is not counted with a locked instruction.
///
/// Waking, dropping or replacing one may run foreign code, whose panics end here: never under a
/// borrow.
#[derive(Default)]
pub(crate) struct WakerSlot {
    pub(super) waker: Option<Waker>,
    _of_one_thread: PhantomData<*const ()>,
}

impl WakerSlot {
    pub(crate) const EMPTY: Self = Self { waker: None, _of_one_thread: PhantomData };

    pub(super) fn of(waker: Waker) -> Self {
        Self { waker: Some(waker), _of_one_thread: PhantomData }
    }

    /// Wakes the task or the waker that it holds.
    #[inline]
    pub(crate) fn wake(mut self) {
        if let Some(waker) = self.waker.take() {
            contain::wake(waker);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waker.is_none()
    }
}

impl Drop for WakerSlot {
    #[inline]
    fn drop(&mut self) {
        if let Some(waker) = self.waker.take() {
            contain::discard(waker);
        }
    }
}

impl fmt::Debug for WakerSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "WakerSlot(empty)" } else { "WakerSlot(set)" })
    }
}
