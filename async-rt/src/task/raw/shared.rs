//! The half of a runtime that outlives it: what a foreign wake needs, freed by the last to need it.
//!
//! It is counted in credits. The owner holds a great many and gives one to each task without a
//! locked instruction; a task that dies on the owner's thread gives its credit back the same way.
//!
//! - **I7** `Shared` is freed exactly once, after the owner and each task have given up theirs.
#![expect(unsafe_code, reason = "counted by credits, of which the owner spends its own uncounted")]

use super::slots::Chunk;
use crate::inbox::{Inbox, Node};
use crate::sync::{AtomicUsize, Mutex, Ordering, ord};
use crate::sys::Unpark;
use std::cell::Cell;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

/// The credits that the owner starts with: more than there can be tasks.
const OWNER_CREDITS: usize = usize::MAX / 2;

/// What a box has allocated, to be freed as a box.
pub(super) fn from_box<T>(boxed: Box<T>) -> NonNull<T> {
    NonNull::new(Box::into_raw(boxed)).expect("a box is not null")
}

/// The half that outlives the owner; `N` is what the inbox links.
pub(super) struct Shared<N> {
    credits: AtomicUsize,
    pub(super) inbox: Inbox<N>,
    pub(super) unpark: Arc<dyn Unpark>,
    /// Memory of slab tasks, kept for the tasks that outlive their runtime.
    pub(super) chunks: Mutex<Vec<Chunk>>,
    #[cfg(lastout_loom)]
    memory: crate::sync::Cell<u8>,
}

/// A pointer to `Shared`. Its holder has a credit.
pub(super) struct SharedPtr<N>(NonNull<Shared<N>>);

impl<N> Clone for SharedPtr<N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for SharedPtr<N> {}

impl<N> PartialEq for SharedPtr<N> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<N> Deref for SharedPtr<N> {
    type Target = Shared<N>;
    fn deref(&self) -> &Shared<N> {
        // SAFETY: who holds the pointer holds a credit, and `Shared` lives while credits do.
        unsafe { self.0.as_ref() }
    }
}

impl<N> Shared<N> {
    /// Takes one more credit; the caller has one that stays.
    pub(super) fn hold(this: SharedPtr<N>) {
        this.credits.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives one credit up.
    ///
    /// # Safety
    /// The caller owns it, and does not use the pointer afterwards.
    pub(super) unsafe fn release(this: SharedPtr<N>) {
        // SAFETY: the caller's promise.
        unsafe { Self::release_many(this, 1) }
    }

    /// Gives `count` credits up.
    ///
    /// # Safety
    /// The caller owns them, and does not use the pointer afterwards.
    unsafe fn release_many(this: SharedPtr<N>, count: usize) {
        // ORDERING: pairs with itself: all uses happen before the last one frees.
        let order = ord("i7.release", Ordering::AcqRel, Ordering::Relaxed);
        #[cfg(lastout_loom)]
        this.memory.get();
        if this.credits.fetch_sub(count, order) == count {
            #[cfg(lastout_loom)]
            this.memory.set(1);
            // SAFETY: no credit is left, so this is the last pointer, and it came from a box.
            drop(unsafe { Box::from_raw(this.0.as_ptr()) });
        }
    }
}

/// The owner's credits.
pub(super) struct Credits<N> {
    shared: SharedPtr<N>,
    left: Cell<usize>,
}

impl<N: Node> Credits<N> {
    /// A new shared half.
    pub(super) fn new(unpark: Arc<dyn Unpark>) -> Self {
        let shared = from_box(Box::new(Shared {
            credits: AtomicUsize::new(OWNER_CREDITS),
            inbox: Inbox::new(),
            unpark,
            chunks: Mutex::new(Vec::new()),
            #[cfg(lastout_loom)]
            memory: crate::sync::Cell::new(0),
        }));
        Self { shared: SharedPtr(shared), left: Cell::new(OWNER_CREDITS) }
    }

    pub(super) fn shared(&self) -> SharedPtr<N> {
        self.shared
    }

    /// Gives a credit to a task.
    pub(super) fn spend(&self) -> SharedPtr<N> {
        self.left.set(self.left.get() - 1);
        self.shared
    }

    /// Takes the credit of a task back.
    pub(super) fn refund(&self) {
        self.left.set(self.left.get() + 1);
    }

    /// How many credits tasks hold, not counting those that foreign threads have given up.
    pub(super) fn outstanding(&self) -> usize {
        let spent = OWNER_CREDITS - self.left.get();
        let given_up = OWNER_CREDITS.saturating_sub(self.shared.credits.load(Ordering::Relaxed));
        spent.saturating_sub(given_up)
    }
}

impl<N> Drop for Credits<N> {
    fn drop(&mut self) {
        // SAFETY: these are the owner's, and the owner is gone.
        unsafe { Shared::release_many(self.shared, self.left.get()) }
    }
}
