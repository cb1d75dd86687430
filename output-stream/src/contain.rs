//! Values of a user that may panic: in a waker, in a destructor, or in the destructor of a payload.

#[cfg(any(feature = "tokio", feature = "process"))]
use std::any::Any;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic said. Its payload is dropped, whatever that does.
#[cfg(any(feature = "tokio", feature = "process"))]
pub(crate) fn message(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    discard(panic);
    text.unwrap_or_else(|| "a value that is no text".into())
}

/// Drops a foreign value, whatever its destructor does. The payload of a payload is kept for ever, unless it
/// is a message.
#[cfg_attr(lastout_loom, allow(dead_code, reason = "models let panics through"))]
pub(crate) fn discard<T>(value: T) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) else { return };
    let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) else { return };
    if !another.is::<&str>() && !another.is::<String>() {
        let _kept = ManuallyDrop::new(another);
    }
}
