//! Where a task comes from, kept in its header for people who look; empty without `insight`.

#[cfg(feature = "insight")]
use std::{cell::Cell, panic::Location, time::Instant};

/// Name, spawn location and history of a task. It may be dropped on any thread.
pub(crate) struct Origin {
    #[cfg(feature = "insight")]
    pub(crate) name: Option<Box<str>>,
    #[cfg(feature = "insight")]
    pub(crate) location: &'static Location<'static>,
    #[cfg(feature = "insight")]
    pub(crate) last_wake: Cell<Option<Instant>>,
    #[cfg(feature = "insight")]
    pub(crate) polls: Cell<u64>,
}

impl Origin {
    /// The caller of the caller, as far as `#[track_caller]` reaches.
    #[track_caller]
    #[cfg(feature = "insight")]
    pub(crate) fn here(name: Option<&str>) -> Self {
        Self {
            name: name.map(Box::from),
            location: Location::caller(),
            last_wake: Cell::new(None),
            polls: Cell::new(0),
        }
    }

    /// Nothing: the feature is off.
    #[cfg(not(feature = "insight"))]
    pub(crate) const fn here(_name: Option<&str>) -> Self {
        Self {}
    }

    #[cfg(feature = "insight")]
    pub(crate) fn woken(&self) {
        self.last_wake.set(Some(Instant::now()));
    }
}

/// A live task, for people who look.
#[cfg(feature = "insight")]
pub(crate) struct TaskView<'a> {
    pub(crate) id: usize,
    pub(crate) ready: bool,
    pub(crate) running: bool,
    pub(crate) origin: &'a Origin,
}
