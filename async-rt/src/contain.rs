//! The one door to foreign code: wakers, destructors, callbacks, event subscribers.
//!
//! Whatever a user or another library wrote is called from here when a panic of it must not end what
//! the caller is in the middle of: the caller's state is whole before the call, no lock and no borrow
//! is held, and the walk over the others goes on. A panic has been reported by the panic hook when it
//! arrives here; where no handle can take it, it is dropped.
//!
//! The payload of a panic is foreign, too: its destructor may panic. [`discard`] drops payloads.

use crate::error::Payload;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Runs foreign code; what it panicked with.
#[inline]
pub(crate) fn call<R>(work: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(work))
}

/// Drops a foreign value; what its destructor panicked with.
#[inline]
pub(crate) fn drop_value<T>(value: T) -> Result<(), Payload> {
    call(|| drop(value))
}

/// Drops a foreign value, a payload among them, whatever its destructor does.
///
/// The payload of a destructor that panics is dropped. The payload of a payload that panics is kept
/// for ever instead, unless it is a message: each could throw another one.
#[inline]
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = drop_value(value) {
        discard_payload(payload);
    }
}

#[cold]
fn discard_payload(payload: Payload) {
    let Err(another) = drop_value(payload) else { return };
    let is_message = another.is::<&str>() || another.is::<String>();
    if !is_message {
        let _kept = ManuallyDrop::new(another);
    }
}

/// Runs foreign code whose panic no handle can take.
#[inline]
pub(crate) fn run(work: impl FnOnce()) {
    if let Err(payload) = call(work) {
        discard_payload(payload);
    }
}

/// Wakes, whatever the waker does.
#[inline]
pub(crate) fn wake(waker: Waker) {
    run(|| waker.wake());
}

/// Wakes each of them, whatever the others do.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(wake);
}

/// Drops each of them, whatever the others do.
pub(crate) fn discard_all<T>(values: impl IntoIterator<Item = T>) {
    values.into_iter().for_each(discard);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::panic::panic_any;
    use std::rc::Rc;

    /// Panics when dropped, with a payload that does the same, so many times.
    struct Bomb(usize);

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic_any(Self(self.0 + 1));
        }
    }

    struct Counts(Rc<Cell<usize>>);

    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            panic!("a destructor");
        }
    }

    #[test]
    fn a_walk_goes_on_past_every_panic() {
        let count = Rc::new(Cell::new(0));
        discard_all((0..5).map(|_| Counts(Rc::clone(&count))));
        assert_eq!(count.get(), 5);
    }

    #[test]
    fn a_payload_that_throws_for_ever_ends() {
        discard(Bomb(0));
        run(|| panic_any(Bomb(0)));
    }
}
