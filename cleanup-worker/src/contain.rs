//! Panic barriers around everything that belongs to a user: polls, closures, destructors, hooks.

use std::any::Any;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic said. The payload itself is gone, even if its destructor panics.
#[derive(Debug)]
pub(crate) struct Panicked(pub(crate) String);

/// Runs `user`, whatever it does. What it leaves half done is dropped by the caller, never used.
pub(crate) fn contain<R>(user: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(user)).map_err(|payload| {
        let message = message(payload.as_ref());
        discard(payload);
        Panicked(message)
    })
}

/// Drops a user value and gives the panic of its destructor.
pub(crate) fn drop_contained<T>(value: T) -> Result<(), Panicked> {
    contain(move || drop(value))
}

/// Drops a user value; a panic in its destructor is dropped as well.
pub(crate) fn drop_quietly<T>(value: T) {
    let _ = drop_contained(value);
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

/// A payload's destructor may panic too. The payload of that panic is left to the allocator, or two
/// payloads that panic in turn would go on for ever.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        let _ = ManuallyDrop::new(second);
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;
    use std::panic::panic_any;

    #[test]
    fn the_message_survives_and_the_payload_does_not_escape() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic_any(Self);
            }
        }
        let said = |result: Result<(), Panicked>| result.unwrap_err().0;
        assert_eq!(said(contain(|| panic!("plain"))), "plain");
        assert_eq!(said(contain(|| panic!("n = {}", 3))), "n = 3");
        assert_eq!(said(contain(|| panic_any(Bomb))), "a panic without a message");
    }
}
