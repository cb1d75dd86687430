//! The poke: a hint that there may be work. Never state, never queued, never lost while it matters.

use crate::signal::{Signal, Signals};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Wakes a runner. Clones poke the same runner.
///
/// Poking is idempotent and debounced: a thousand pokes during a drive cause exactly one more drive,
/// and a poke before the runner listens is not lost. It may be called from any thread, with or without
/// a runtime.
#[derive(Clone, Default)]
pub struct Poke {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    signals: Signals,
    given: AtomicU64,
}

/// A poke that does not keep the runner's poke alive.
#[derive(Clone)]
pub(crate) struct WeakPoke(Weak<Inner>);

impl Poke {
    /// A poke that nobody listens to yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that there may be work.
    pub fn poke(&self) {
        self.inner.given.fetch_add(1, Ordering::Relaxed);
        self.inner.signals.raise(Signal::POKED);
    }

    /// How often it was poked.
    pub fn count(&self) -> u64 {
        self.inner.given.load(Ordering::Relaxed)
    }

    /// Waits for a poke and takes it: all pokes before this returns are one.
    ///
    /// # Cancel safety
    ///
    /// A poke is not lost when this future is dropped.
    pub async fn poked(&self) {
        self.inner.signals.raised(Signal::POKED).await;
    }

    /// What the engine of a worker listens to: pokes, and what changes in its process.
    pub(crate) fn signals(&self) -> &Signals {
        &self.inner.signals
    }

    pub(crate) fn downgrade(&self) -> WeakPoke {
        WeakPoke(Arc::downgrade(&self.inner))
    }
}

impl WeakPoke {
    /// Whether it pokes the same runner as `poke`.
    pub(crate) fn is(&self, poke: &Poke) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&poke.inner))
    }

    /// Pokes, if anybody is left to be poked. Returns whether somebody is.
    pub(crate) fn poke(&self) -> bool {
        let Some(inner) = self.0.upgrade() else {
            return false;
        };
        Poke { inner }.poke();
        true
    }
}

impl fmt::Debug for Poke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poke").field("count", &self.count()).finish()
    }
}
