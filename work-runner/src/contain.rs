//! The one barrier around everything that belongs to a user: handlers, futures, destructors, hooks,
//! stores, `Display` of an error, and the payload of a panic.

use std::any::Any;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic said. Its payload is gone, even if the destructor of that panics.
#[derive(Debug)]
pub(crate) struct Panicked(pub(crate) String);

/// Runs `user`. What it leaves half done is dropped by the caller and never used again.
pub(crate) fn contain<R>(user: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(user)).map_err(|payload| {
        let text = message(&*payload);
        discard(payload);
        Panicked(text)
    })
}

/// Drops a user's value; a panic of its destructor is told.
pub(crate) fn drop_contained<T>(value: T) -> Result<(), Panicked> {
    contain(move || drop(value))
}

/// Writes a user's error and its sources in one line.
pub(crate) fn text_of(error: &(dyn std::error::Error + 'static)) -> String {
    /// A source may be the error itself, and then the line would never end.
    const MOST_SOURCES: usize = 16;
    let chain = || {
        let sources = std::iter::successors(Some(error), |error| error.source());
        let texts: Vec<String> = sources.take(MOST_SOURCES).map(ToString::to_string).collect();
        texts.join(": ")
    };
    contain(chain).unwrap_or_else(|Panicked(text)| format!("an error whose Display panics: {text}"))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

fn discard(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        // Two payloads that panic in turn would go on for ever: the second one is never dropped.
        let _ = ManuallyDrop::new(second);
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;
    use std::fmt;

    #[test]
    fn nothing_of_a_user_escapes() {
        #[derive(Debug)]
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any(Self);
            }
        }
        impl fmt::Display for Bomb {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("no text")
            }
        }
        impl std::error::Error for Bomb {}
        assert_eq!(contain(|| std::panic::panic_any(Bomb)).unwrap_err().0, "no message");
        assert_eq!(contain(|| panic!("n = {}", 3)).unwrap_err().0, "n = 3");
        let bomb = ManuallyDrop::new(Bomb);
        assert!(text_of(&*bomb).contains("no text"));
        assert!(drop_contained(Bomb).is_err());
    }
}
