//! The one barrier around what belongs to a user: hooks, what a driver gives, wakers, and the payload of a panic.

use std::any::Any;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `user`; when it panics, what the panic said.
pub(crate) fn contain<T>(user: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(user)).map_err(said)
}

/// What a panic said. The destructor of its payload may panic as well.
pub(crate) fn said(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("a panic").to_owned();
    if let Err(second) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        // Two payloads that panic in turn would go on for ever: the second one is never dropped.
        let _ = ManuallyDrop::new(second);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_panic_escapes_whatever_its_payload_does() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any(Self);
            }
        }
        assert_eq!(contain(|| 7), Ok(7));
        assert_eq!(contain(|| std::panic::panic_any(Bomb)), Err("a panic".into()));
        assert_eq!(contain(|| panic!("n = {}", 3)), Err("n = 3".into()));
    }
}
