//! The inbox: an intrusive stack that any thread pushes to and only the owner empties.
//!
//! The head word says everything there is to know, so no second flag can disagree with it:
//!
//! ```text
//!   null ──park──► PARKED          push onto null or a node: nothing else to do
//!    ▲ ▲             │ push        push onto PARKED: that pusher, and only it, unparks the owner
//!    │ └──take_all── node ◄─push─┐
//!    └──take_all──── node ───────┘        close, from any state ──► CLOSED (final)
//! ```
//!
//! - **I1** What a producer wrote before `push` is visible to the owner after `take_all`.
//! - **I2** A node pushed while the owner is parked, or is about to park, unparks it: `park` fails
//!   unless the inbox is empty, and the push that replaces `PARKED` says so to its caller.
//! - **I3** After `close` no node enters, and each node that entered before comes out once.
#![expect(unsafe_code, reason = "an intrusive list of nodes that other threads link")]

use crate::sync::{AtomicPtr, Ordering, on, ord};
use std::fmt;
use std::ptr::{self, NonNull};

/// A thing that an [`Inbox`] links.
///
/// # Safety
/// `next` returns the same field at each call, and only the inbox uses that field.
pub(crate) unsafe trait Node: Sized {
    /// The link.
    fn next(&self) -> &AtomicPtr<Self>;
}

/// What a push found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The owner is awake, or another pusher unparks it.
    Queued,
    /// The owner sleeps: the caller must unpark it.
    MustUnpark,
    /// Nothing was pushed; the caller still owns the node.
    Closed,
}

/// The stack; see the module.
pub(crate) struct Inbox<N> {
    head: AtomicPtr<N>,
}

/// Nodes taken out of an inbox, oldest first.
pub(crate) struct Batch<N> {
    first: *mut N,
}

fn parked<N>() -> *mut N {
    ptr::without_provenance_mut(1)
}

fn closed<N>() -> *mut N {
    ptr::without_provenance_mut(2)
}

fn is_node<N>(head: *mut N) -> bool {
    head.addr() > 2
}

impl<N: Node> Inbox<N> {
    pub(crate) fn new() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Adds `node`, from any thread.
    ///
    /// # Safety
    /// `node` is in no inbox now, and it stays alive until a [`Batch`] has returned it (or until
    /// this call returned [`Pushed::Closed`]).
    pub(crate) unsafe fn push(&self, node: NonNull<N>) -> Pushed {
        // SAFETY: the caller keeps the node alive, and no other thread frees it before it is published.
        let link = unsafe { node.as_ref() }.next();
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head == closed() && on("i3.refuse") {
                return Pushed::Closed;
            }
            let below = if is_node(head) { head } else { ptr::null_mut() };
            link.store(below, Ordering::Relaxed);
            // ORDERING: pairs with the swap of `take_all` and `close`: publishes link and payload.
            let publish = ord("i1.publish", Ordering::Release, Ordering::Relaxed);
            let exchange =
                self.head.compare_exchange_weak(head, node.as_ptr(), publish, Ordering::Relaxed);
            match exchange {
                Ok(_) if head == parked() && on("i2.unpark") => return Pushed::MustUnpark,
                Ok(_) => return Pushed::Queued,
                Err(seen) => head = seen,
            }
        }
    }

    /// Announces that the owner is about to sleep; `false`, and no announcement, when there is
    /// something to take first.
    pub(crate) fn park(&self) -> bool {
        if !on("i2.park_if_empty") {
            self.head.store(parked(), Ordering::Relaxed);
            return true;
        }
        let (empty, order) = (ptr::null_mut(), Ordering::Relaxed);
        match self.head.compare_exchange(empty, parked(), order, order) {
            Ok(_) => true,
            Err(seen) => seen == parked(),
        }
    }

    /// Whether `take_all` would find a node: a plain load, cheap enough for every turn.
    pub(crate) fn has_nodes(&self) -> bool {
        is_node(self.head.load(Ordering::Relaxed))
    }

    /// Whether [`close`](Self::close) was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.head.load(Ordering::Relaxed) == closed()
    }

    /// Empties the inbox and withdraws a `park`. Only the owner calls this, and not after `close`.
    pub(crate) fn take_all(&self) -> Batch<N> {
        // ORDERING: pairs with the exchange of `push`.
        let order = ord("i1.take", Ordering::Acquire, Ordering::Relaxed);
        Self::oldest_first(self.head.swap(ptr::null_mut(), order))
    }

    /// Refuses every later push, and returns what came before. Only the owner calls this.
    pub(crate) fn close(&self) -> Batch<N> {
        // ORDERING: pairs with the exchange of `push`.
        let order = ord("i3.close", Ordering::Acquire, Ordering::Relaxed);
        Self::oldest_first(self.head.swap(closed(), order))
    }

    fn oldest_first(mut node: *mut N) -> Batch<N> {
        let mut first = ptr::null_mut();
        while is_node(node) {
            // SAFETY: `push` keeps a linked node alive until a batch has returned it.
            let link = unsafe { &*node }.next();
            let below = link.load(Ordering::Relaxed);
            link.store(first, Ordering::Relaxed);
            (first, node) = (node, below);
        }
        Batch { first }
    }
}

impl<N: Node> Batch<N> {
    pub(crate) const EMPTY: Self = Self { first: ptr::null_mut() };

    /// The oldest node; from here on the caller owns what the pusher gave up.
    pub(crate) fn pop(&mut self) -> Option<NonNull<N>> {
        let node = NonNull::new(self.first)?;
        // SAFETY: the node has not been returned yet, so `push` keeps it alive.
        self.first = unsafe { node.as_ref() }.next().load(Ordering::Relaxed);
        Some(node)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }
}

impl<N> fmt::Debug for Inbox<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.head.load(Ordering::Relaxed);
        let state = match head.addr() {
            0 => "empty",
            1 => "parked",
            2 => "closed",
            _ => "has nodes",
        };
        f.debug_tuple("Inbox").field(&state).finish()
    }
}

impl<N> fmt::Debug for Batch<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("empty", &self.first.is_null()).finish()
    }
}
