//! What only one start can take, although a builder may be cloned.

use crate::prepared::Prepared;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Something that one start takes. The clones of a builder share it: the first start has it, and every
/// other one is refused.
pub struct Once<T> {
    held: Arc<Mutex<Option<T>>>,
}

impl<T> Once<T> {
    pub(super) fn new(value: T) -> Self {
        Self { held: Arc::new(Mutex::new(Some(value))) }
    }

    /// Whether it is still there and answers to this.
    #[cfg(feature = "tokio")]
    pub(super) fn is(&self, what: impl FnOnce(&T) -> bool) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(what)
    }

    /// `None` when a start has taken it before.
    pub(super) fn take(&self) -> Option<T> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T> Clone for Once<T> {
    fn clone(&self) -> Self {
        Self { held: self.held.clone() }
    }
}

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

impl From<Prepared> for Once<Prepared> {
    fn from(prepared: Prepared) -> Self {
        Self::new(prepared)
    }
}
