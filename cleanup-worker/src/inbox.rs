//! The way in: a stack of nodes that any thread pushes on with one atomic swap.
//!
//! `head` holds the newest node, or one of three words when there is none:
//!
//! ```text
//!            push: wake nobody                 push: wake the worker
//!   EMPTY ───────────────────► node … ◄─────────────────── ASLEEP
//!     ▲ ▲                      │   │                          ▲
//!     │ └──────── take ────────┘   └─ seal_by_force ► SEALED  │
//!     └──────────────────────────── doze ─────────────────────┘
//! ```
//!
//! Whoever takes turns the chain around, so tasks come out in the order of each producer. There is
//! one taker at a time: taking needs `&mut` [`Taker`], which lives under the lock of the worker.
//!
//! Invariants:
//!
//! - **I1** A taken node is whole and its producer has let go of it: the swap publishes the content,
//!   the link is the last thing that a producer does to a node. A taker that meets a node not yet
//!   linked keeps its place and comes back ([`Taken::Stalled`]); it never waits there.
//! - **I2** Nothing is stranded: a node pushed before the seal is taken by whoever seals, and a
//!   producer that finds `SEALED` knows that it is late and takes the stack itself.
//! - **I3** No wake is lost and none is spent in vain: the worker says that it sleeps in the word
//!   that the push swaps, so exactly one producer sees it, and only from an empty inbox.
//! - **I4** The waker belongs to the worker, except from the swap that finds `ASLEEP` until that
//!   producer has linked its node; nobody dozes before the link is seen.
#![expect(unsafe_code, reason = "an intrusive lock-free stack")]

use crate::node::{Header, Node};
use crate::shared::Shared;
use crate::sync::{Arc, AtomicPtr, UnsafeCell, on, ord, process, spin_loop, write_owned};
use std::ptr::{NonNull, null_mut, without_provenance_mut};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::task::Waker;

const EMPTY: *mut Header = null_mut();
const ASLEEP: *mut Header = without_provenance_mut(2);
const SEALED: *mut Header = without_provenance_mut(3);

/// How often a taker looks again at a node that its producer has not linked yet, before it leaves.
/// The producer is two instructions away unless it was interrupted.
const PATIENCE: usize = if cfg!(lastout_loom) { 1 } else { 64 };

/// The shared end: producers push here.
pub(crate) struct Inbox {
    head: AtomicPtr<Header>,
    /// The sleeping worker's waker (I4).
    waker: UnsafeCell<Option<Waker>>,
    wakes: process::AtomicU64,
}

// SAFETY: nodes are `Send`; the waker cell is handed from thread to thread by I4.
unsafe impl Send for Inbox {}
// SAFETY: as above.
unsafe impl Sync for Inbox {}

/// What a push has to do next.
#[must_use]
pub(crate) enum Pushed {
    /// Nothing: the worker is awake, or another producer woke it.
    Joined,
    /// Wake the worker.
    Edge(Waker),
    /// Nobody will come: take the stack and count what is in it as abandoned. Holds what keeps the
    /// queue alive meanwhile, if the node was the one to hold it.
    Late(Option<Arc<Shared>>),
}

/// What a take found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Taken {
    /// The inbox was emptied.
    All,
    /// A producer stands between its two stores; what it and those before it pushed comes later.
    Stalled,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicPtr::new(EMPTY),
            waker: UnsafeCell::new(None),
            wakes: process::AtomicU64::new(0),
        }
    }

    /// Pushes: one swap, one store. A lazy node leaves a sleeping worker to its timer.
    #[inline]
    pub(crate) fn push(&self, node: Node) -> Pushed {
        let half = self.swap_in(node);
        self.link(half)
    }

    /// The first of the two stores of a push. A test stops a producer here.
    #[inline]
    pub(crate) fn swap_in(&self, node: Node) -> Half {
        let node = node.into_raw();
        // ORDERING: releases the node's content to `Taker::take`, through all later swaps (I1);
        // acquires the waker that `doze` left (I4).
        let order = ord("i1.publish", AcqRel, Relaxed);
        let previous = self.head.swap(node.as_ptr(), order);
        Half { node, previous }
    }

    /// The second store; the node is not touched afterwards.
    #[inline]
    pub(crate) fn link(&self, half: Half) -> Pushed {
        let (node, previous) = (half.node, half.previous);
        if half.is_first() {
            return self.link_first(node, previous);
        }
        // SAFETY: no taker owns the node before it sees the link that is stored below.
        let header = unsafe { node.as_ref() };
        // ORDERING: releases this thread's hold on the node, acquired in `Walk::step` (I1).
        header.next.store(previous, ord("i1.link", Release, Relaxed));
        Pushed::Joined
    }

    #[cold]
    #[inline(never)]
    fn link_first(&self, node: NonNull<Header>, previous: *mut Header) -> Pushed {
        // SAFETY: as in `link`.
        let header = unsafe { node.as_ref() };
        let pushed = if previous == SEALED {
            Pushed::Late(header.keep.clone())
        } else if header.meta.origin.lazy {
            Pushed::Joined
        } else {
            // SAFETY: by I4 the waker is this producer's until it links.
            let waker = self.waker.with_mut(|waker| unsafe { (*waker).take() });
            self.wakes.fetch_add(1, Relaxed);
            waker.map_or(Pushed::Joined, Pushed::Edge)
        };
        // ORDERING: as in `link`; also gives the waker's cell back to `doze` (I4).
        header.next.store(EMPTY, ord("i4.return", Release, Relaxed));
        pushed
    }

    /// How often a push found the worker asleep and woke it.
    pub(crate) fn wakes(&self) -> u64 {
        self.wakes.load(Relaxed)
    }

    /// In a forked child: the tasks of the parent are the parent's. They are neither run nor
    /// dropped here, as their destructors would act a second time on what the parent still has.
    pub(crate) fn abandon_inherited(&self) {
        self.head.store(EMPTY, Relaxed);
        self.wakes.store(0, Relaxed);
    }

    /// Whether there is something to take, for a cheap look without the lock.
    pub(crate) fn is_occupied(&self) -> bool {
        is_node(self.head.load(Relaxed))
    }
}

/// Pushes an armed node, which itself keeps alive the queue it is pushed to, and does what is to be
/// done next. The usual case needs no stack frame: a swap waits for every store before it.
#[inline]
pub(crate) fn push_kept(node: Node) {
    let Some(shared) = node.header().keep.as_ref().map(Arc::as_ptr) else {
        return drop_unqueued(node);
    };
    // SAFETY: the node's reference is dropped by the taker, and it can take the node only once it is
    // linked, which is the last thing that a push does with the queue.
    let inbox = unsafe { (*shared).inbox() };
    let half = inbox.swap_in(node);
    if half.is_first() {
        return push_kept_first(inbox, half);
    }
    let _ = inbox.link(half);
}

#[cold]
#[inline(never)]
fn push_kept_first(inbox: &Inbox, half: Half) {
    Shared::after_first(inbox.link(half));
}

/// An armed node has its queue from `arm` until it is taken, so this is for the compiler.
#[cold]
#[inline(never)]
fn drop_unqueued(node: Node) {
    drop(node);
}

/// A push between its two stores.
pub(crate) struct Half {
    node: NonNull<Header>,
    previous: *mut Header,
}

impl Half {
    /// Whether the inbox was empty and the worker has to be woken, or will not come.
    #[inline]
    fn is_first(&self) -> bool {
        self.previous == ASLEEP || self.previous == SEALED
    }
}

fn is_node(word: *mut Header) -> bool {
    word != EMPTY && word != ASLEEP && word != SEALED
}

/// The one taker's end.
pub(crate) struct Taker {
    /// A chain that was taken but could not be walked to its end yet.
    walk: Walk,
    sealed: bool,
}

/// A chain being turned around: `rest` from the newest node down, `done` from the oldest walked up.
struct Walk {
    rest: *mut Header,
    done: *mut Header,
}

// SAFETY: the chain holds nodes, which are `Send`, and the walk is their only owner.
unsafe impl Send for Walk {}

impl Taker {
    pub(crate) fn new() -> Self {
        let (rest, done) = (EMPTY, EMPTY);
        Self { walk: Walk { rest, done }, sealed: false }
    }

    pub(crate) fn is_stalled(&self) -> bool {
        is_node(self.walk.rest)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The worker, awake, takes all there is: `ASLEEP` becomes `EMPTY`.
    pub(crate) fn take_awake(&mut self, inbox: &Inbox, mut sink: impl FnMut(Node)) -> Taken {
        if self.finish(&mut sink) == Taken::Stalled {
            return Taken::Stalled;
        }
        if !self.sealed && inbox.head.load(Relaxed) == ASLEEP {
            self.start(inbox, EMPTY);
        }
        self.take(inbox, sink)
    }

    /// Anybody else takes all there is, and leaves alone what the worker said about its sleep.
    pub(crate) fn take(&mut self, inbox: &Inbox, mut sink: impl FnMut(Node)) -> Taken {
        // First the rest of the chain that was taken before, then what came after it.
        if self.finish(&mut sink) == Taken::Stalled {
            return Taken::Stalled;
        }
        // Once a node is on the stack, only a taker removes it, and that is us.
        if inbox.is_occupied() {
            self.start(inbox, if self.sealed { SEALED } else { EMPTY });
        }
        self.finish(sink)
    }

    /// Goes to sleep, unless something came in: then `false`, and the worker looks again.
    pub(crate) fn doze(&mut self, inbox: &Inbox, waker: &Waker) -> bool {
        if self.is_stalled() || self.sealed {
            return false;
        }
        inbox.waker.with_mut(|slot| {
            // SAFETY: every link was seen (not stalled), and `ASLEEP` is not up: I4 gives us the cell.
            let slot = unsafe { &mut *slot };
            if slot.as_ref().is_none_or(|old| !old.will_wake(waker)) {
                *slot = Some(waker.clone());
            }
        });
        if !on("i3.recheck") {
            inbox.head.store(ASLEEP, Release);
            return true;
        }
        // ORDERING: releases the waker to the producer whose swap finds it (I4).
        let order = ord("i4.waker", Release, Relaxed);
        inbox.head.compare_exchange(EMPTY, ASLEEP, order, Relaxed).is_ok()
    }

    /// Seals an inbox that is empty; `false` when it is not. Afterwards every push is late.
    pub(crate) fn try_seal(&mut self, inbox: &Inbox) -> bool {
        if self.is_stalled() {
            return false;
        }
        while !self.sealed {
            let word = inbox.head.load(Relaxed);
            if is_node(word) && on("i2.seal") {
                return false;
            }
            // ORDERING: nothing is published; producers that find the word act under the lock.
            self.sealed = inbox.head.compare_exchange(word, SEALED, Relaxed, Relaxed).is_ok();
        }
        true
    }

    /// Takes what is there and seals in the same step. Under a stalled walk nothing newer may be
    /// taken, so it is not sealed then, and the caller comes back.
    pub(crate) fn seal_by_force(&mut self, inbox: &Inbox, mut sink: impl FnMut(Node)) -> Taken {
        if self.finish(&mut sink) == Taken::Stalled {
            return Taken::Stalled;
        }
        if !self.sealed {
            self.start(inbox, SEALED);
            self.sealed = true;
        }
        self.finish(sink)
    }

    fn start(&mut self, inbox: &Inbox, leave: *mut Header) {
        // ORDERING: acquires the content of every node in the chain (I1).
        let order = ord("i1.take", Acquire, Relaxed);
        let newest = inbox.head.swap(leave, order);
        self.walk.rest = if is_node(newest) { newest } else { EMPTY };
    }

    fn finish(&mut self, mut sink: impl FnMut(Node)) -> Taken {
        while is_node(self.walk.rest) {
            if !self.walk.step() {
                return Taken::Stalled;
            }
        }
        let mut oldest = std::mem::replace(&mut self.walk.done, EMPTY);
        while let Some(header) = NonNull::new(oldest) {
            // SAFETY: walked, so its producer let go of it and the chain owned it.
            let node = unsafe { Node::from_raw(header) };
            oldest = node.header().next.load(Relaxed);
            sink(node);
        }
        Taken::All
    }
}

impl Walk {
    /// Moves one node from `rest` to `done`; `false` when its producer has not linked it.
    fn step(&mut self) -> bool {
        let Some(mut header) = NonNull::new(self.rest) else {
            return true;
        };
        for _ in 0..PATIENCE {
            // ORDERING: acquires the producer's last use of the node (I1) and of the waker (I4).
            // SAFETY: nodes of the chain are live until they are handed to the sink.
            let next = unsafe { header.as_ref() }.next.load(Acquire);
            if next != Header::PENDING {
                // SAFETY: linked, so the chain is the only owner.
                write_owned(unsafe { &mut header.as_mut().next }, self.done);
                self.done = header.as_ptr();
                self.rest = next;
                return true;
            }
            spin_loop();
        }
        false
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // Nobody pushes any more, so every node on the stack is linked.
        let _ = Taker::new().take(self, crate::contain::drop_quietly);
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let _ = self.finish(crate::contain::drop_quietly);
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests;
