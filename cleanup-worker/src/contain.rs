//! Code of users: the panic barrier around every poll, closure, destructor and hook, and where it runs.

use crate::fork;
use std::any::Any;
use std::cell::RefCell;
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

/// One worker in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(usize, u32);

impl Identity {
    /// By the address of the worker, and the generation of the process: see [`fork`].
    pub(crate) fn new(worker: usize, generation: u32) -> Self {
        Self(worker, generation)
    }

    /// Whether that process is this one, and not the parent of a fork.
    pub(crate) fn is_of_this_process(self) -> bool {
        fork::is_generation(self.1)
    }
}

/// A task in flight, by its slot. The slot says whether it is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskRef {
    pub(crate) slot: usize,
    pub(crate) id: u64,
}

/// Where code of a user runs just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inside {
    /// Which worker, and in which process: a child that a task forks is not inside of that task.
    pub(crate) worker: Identity,
    /// Whether this is the thread that polls, rather than one of the pool.
    pub(crate) on_driver: bool,
    /// The task, unless it is code around tasks: a hook, a waker.
    pub(crate) task: Option<TaskRef>,
}

crate::sync::thread_local! {
    /// Where this thread is just now, the innermost last: a task of one worker may drop what another one gave
    /// up. Never touched by a submit.
    static CURRENT: RefCell<Vec<Inside>> = const { RefCell::new(Vec::new()) };
}

/// Where the calling code runs in that worker.
pub(crate) fn inside(worker: Identity) -> Option<Inside> {
    let find = |current: &RefCell<Vec<Inside>>| {
        current.borrow().iter().rev().find(|inside| inside.worker == worker).copied()
    };
    CURRENT.try_with(find).ok().flatten()
}

/// Runs code of a user, so that what it calls knows where it is.
pub(crate) fn run_inside<R>(inside: Inside, work: impl FnOnce() -> R) -> R {
    struct Leave(bool);
    impl Drop for Leave {
        fn drop(&mut self) {
            if self.0 {
                let _ = CURRENT.try_with(|current| current.borrow_mut().pop());
            }
        }
    }
    let _leave = Leave(CURRENT.try_with(|current| current.borrow_mut().push(inside)).is_ok());
    work()
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
