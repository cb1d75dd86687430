//! Errors of building a runtime, spawning into a slab, and joining a task.

use std::any::Any;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::{fmt, io};

/// The payload of a panic.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Why a runtime could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// An option that must be at least one is zero.
    Zero {
        /// The option.
        option: &'static str,
    },
    /// There is no memory for an option of this size, or the kernel does not take it.
    TooLarge {
        /// The option.
        option: &'static str,
        /// Its value.
        value: usize,
    },
    /// The operating system refused something that the runtime needs.
    Os {
        /// What was refused.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero { option } => write!(f, "`{option}` of a runtime is zero"),
            Self::TooLarge { option, value } => {
                write!(f, "`{option}` of a runtime is too large: {value}")
            }
            Self::Os { what, .. } => write!(f, "the system refused to {what} of a runtime"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Zero { .. } | Self::TooLarge { .. } => None,
            Self::Os { source, .. } => Some(source),
        }
    }
}

/// Why a task has no output.
pub struct JoinError {
    /// The payload, if it panicked. The lock makes the error `Sync`, which payloads are not.
    panic: Option<Box<Mutex<Payload>>>,
}

impl JoinError {
    pub(crate) fn cancelled() -> Self {
        Self { panic: None }
    }

    pub(crate) fn panicked(payload: Payload) -> Self {
        Self { panic: Some(Box::new(Mutex::new(payload))) }
    }

    /// Whether the task was aborted, or its runtime ended first.
    pub fn is_cancelled(&self) -> bool {
        self.panic.is_none()
    }

    /// Whether the task, or the destructor of its future, panicked.
    pub fn is_panic(&self) -> bool {
        self.panic.is_some()
    }

    /// The payload of the task's panic, for [`std::panic::resume_unwind`].
    ///
    /// # Errors
    /// The error itself when the task did not panic.
    pub fn try_into_panic(self) -> Result<Payload, Self> {
        match self.panic {
            Some(payload) => Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
            None => Err(self),
        }
    }

    fn message(&self) -> Option<String> {
        let payload = self.panic.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        text.or_else(|| payload.downcast_ref::<String>().cloned())
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.panic {
            None => f.write_str("Cancelled"),
            Some(_) => f.debug_tuple("Panicked").field(&self.message()).finish(),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.panic, self.message()) {
            (None, _) => f.write_str("the task was cancelled"),
            (Some(_), Some(message)) => write!(f, "the task panicked: {message}"),
            (Some(_), None) => f.write_str("the task panicked"),
        }
    }
}

impl Error for JoinError {}

/// Why the slab did not take a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlabErrorKind {
    /// The runtime was built without a slab.
    NoSlab,
    /// Each slot is taken, and the slab does not grow.
    Full {
        /// How many slots there are.
        capacity: usize,
    },
    /// The task does not fit into a slot.
    TooLarge {
        /// Bytes that the task needs.
        needed: usize,
        /// Bytes of a slot.
        slot_size: usize,
    },
    /// The task needs a stronger alignment than slots have.
    OverAligned {
        /// The alignment that the task needs.
        needed: usize,
        /// The alignment of slots.
        slot_align: usize,
    },
    /// The runtime has ended.
    Ended,
}

impl fmt::Display for SlabErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlab => f.write_str("the runtime has no slab"),
            Self::Full { capacity } => write!(f, "all {capacity} slots of the slab are taken"),
            Self::TooLarge { needed, slot_size } => {
                write!(f, "a task of {needed} bytes does not fit into a slot of {slot_size}")
            }
            Self::OverAligned { needed, slot_align } => {
                write!(f, "a task needs an alignment of {needed} bytes, slots have {slot_align}")
            }
            Self::Ended => f.write_str("the runtime has ended"),
        }
    }
}

impl Error for SlabErrorKind {}

/// The slab did not take a future, which comes back inside.
#[non_exhaustive]
pub struct SlabError<F> {
    /// Why.
    pub kind: SlabErrorKind,
    /// What was to be spawned.
    pub future: F,
}

impl<F> fmt::Debug for SlabError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlabError").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<F> fmt::Display for SlabError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl<F> Error for SlabError<F> {}
