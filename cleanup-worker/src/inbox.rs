//! The way in: a stack of nodes that any thread pushes on with one atomic swap.
//!
//! `head` holds the newest node, or one of three words when there is none:
//!
//! ```text
//!            push: nothing to do               push: wake the worker
//!   EMPTY ───────────────────► node … ◄─────────────────── ASLEEP
//!     ▲ ▲                      │   │                          ▲
//!     │ └──────── take ────────┘   └─ seal_by_force ► SEALED  │
//!     └──────────────────────────── doze ─────────────────────┘
//! ```
//!
//! A lazy node does not wake the worker. It is pushed with a tag in its word, and a plain push that finds
//! the tag looks whether the worker sleeps below it. A taker other than the worker puts `ASLEEP` back when it empties the
//! stack of a sleeping worker.
//!
//! A taker turns the chain around, so tasks come out in the order of each producer. There is one
//! taker at a time: taking needs `&mut` [`Taker`], which lives under the lock of the worker.
//!
//! Invariants:
//!
//! - **I1** A taken node is whole and its producer has let go of it: the swap publishes the content,
//!   the link is the last thing that a producer does to a node. A taker that meets a node not yet
//!   linked keeps its place and comes back ([`Taken::Stalled`]); it never waits there.
//! - **I2** Nothing is stranded: a node pushed before the seal is taken by the thread that seals, and a
//!   producer that finds `SEALED` knows that it is late.
//! - **I3** No wake is lost and none is spent in vain: a plain push over a sleeping worker wakes it, also
//!   when lazy pushes came between, and exactly one push of a burst does.
//! - **I4** The waker belongs to the worker, except from the moment a producer takes `asleep` until it has
//!   linked its node; the worker does not doze before it has seen the link.
#![expect(unsafe_code, reason = "an intrusive lock-free stack")]

use crate::node::{Header, Keep, Node};
use crate::sync::{AtomicPtr, AtomicU32, UnsafeCell, on, ord, process, spin_loop, write_owned};
use std::ptr::{NonNull, null_mut, without_provenance_mut};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::task::Waker;

/// The words that are no node, and the tag, fit below the alignment of a node.
const WORDS: usize = 8;
const LAZY: usize = 1;
const ASLEEP: usize = 2;
const SEALED: usize = 4;
const UNLINKED: usize = 6;

const fn word<K: Keep>(word: usize) -> *mut Header<K> {
    const { assert!(align_of::<Header<K>>() >= WORDS) };
    without_provenance_mut(word)
}

/// What stands in the link of a node until its producer has linked it; it says whether the node is lazy, so
/// that a push reads no other line of it.
pub(crate) const fn unlinked<K: Keep>(lazy: bool) -> *mut Header<K> {
    word(if lazy { UNLINKED | LAZY } else { UNLINKED })
}

fn is_node<K: Keep>(word: *mut Header<K>) -> bool {
    word.addr() >= WORDS
}

/// How often a taker looks again at a node that its producer has not linked yet, before it leaves.
/// The producer is two instructions away unless it was interrupted.
const PATIENCE: usize = if cfg!(lastout_loom) { 1 } else { 64 };

/// The shared end: producers push here.
pub(crate) struct Inbox<K: Keep> {
    head: AtomicPtr<Header<K>>,
    /// 1 while the worker sleeps and its waker has not been taken (I4). Read by a push that finds `ASLEEP`
    /// or the tag, so the usual push does not touch it.
    asleep: AtomicU32,
    /// The sleeping worker's waker (I4).
    waker: UnsafeCell<Option<Waker>>,
    wakes: process::AtomicU64,
}

// SAFETY: nodes are `Send`; the waker cell is handed from thread to thread by I4.
unsafe impl<K: Keep> Send for Inbox<K> {}
// SAFETY: as above.
unsafe impl<K: Keep> Sync for Inbox<K> {}

/// What a push has to do next.
#[must_use]
pub(crate) enum Pushed<K> {
    /// Nothing: the worker is awake, or another producer wakes it, or the node is lazy.
    Joined,
    /// Wake the worker.
    Wake(Waker),
    /// The inbox is sealed: take the stack and give up what is in it. Holds what keeps the queue alive
    /// meanwhile, if the node was the one to hold it.
    Late(Option<K>),
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

impl<K: Keep> Inbox<K> {
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicPtr::new(null_mut()),
            asleep: AtomicU32::new(0),
            waker: UnsafeCell::new(None),
            wakes: process::AtomicU64::new(0),
        }
    }

    /// Pushes: one swap, one store.
    #[inline]
    pub(crate) fn push(&self, node: Node<K>) -> Pushed<K> {
        let half = self.swap_in(node);
        self.link(half)
    }

    /// The first of the two stores of a push. A test stops a producer here.
    #[inline]
    pub(crate) fn swap_in(&self, node: Node<K>) -> Half<K> {
        let node = node.into_raw();
        // SAFETY: the node is still this producer's.
        let tag = unsafe { node.as_ref() }.next.load(Relaxed).addr() & LAZY;
        // ORDERING: releases the node's content to `Taker::take`, through all later swaps (I1);
        // acquires the waker that `doze` left (I4).
        let order = ord("i1.publish", AcqRel, Relaxed);
        let previous = self.head.swap(node.as_ptr().map_addr(|addr| addr | tag), order);
        Half { node, previous }
    }

    /// The second store; the node is not touched afterwards.
    #[inline]
    pub(crate) fn link(&self, half: Half<K>) -> Pushed<K> {
        let (node, previous) = (half.node, half.previous);
        if half.is_special() {
            return self.link_special(node, previous);
        }
        // SAFETY: no taker owns the node before it sees the link that is stored below.
        let header = unsafe { node.as_ref() };
        // ORDERING: releases this thread's hold on the node, acquired in `Walk::step` (I1).
        header.next.store(previous, ord("i1.link", Release, Relaxed));
        Pushed::Joined
    }

    #[cold]
    #[inline(never)]
    fn link_special(&self, node: NonNull<Header<K>>, previous: *mut Header<K>) -> Pushed<K> {
        // SAFETY: as in `link`.
        let header = unsafe { node.as_ref() };
        let lazy = header.next.load(Relaxed).addr() & LAZY != 0;
        let behind_lazy = is_node(previous);
        let pushed = if previous.addr() == SEALED {
            Pushed::Late(header.keep.clone())
        } else if lazy || (behind_lazy && !on("i3.behind_lazy")) {
            Pushed::Joined
        } else {
            self.take_waker().map_or(Pushed::Joined, Pushed::Wake)
        };
        let below = if behind_lazy { previous } else { null_mut() };
        // ORDERING: as in `link`; also gives the waker's cell back to `doze` (I4).
        header.next.store(below, ord("i4.return", Release, Relaxed));
        pushed
    }

    /// Takes the waker of a worker that sleeps; one caller gets it.
    fn take_waker(&self) -> Option<Waker> {
        // ORDERING: acquires the waker from `doze`; releases this push to the worker that finds it taken.
        if self.asleep.swap(0, ord("i4.take", AcqRel, Relaxed)) == 0 {
            return None;
        }
        self.wakes.fetch_add(1, Relaxed);
        // SAFETY: by I4 the waker is this producer's until it links.
        self.waker.with_mut(|waker| unsafe { (*waker).take() })
    }

    /// How often a push found the worker asleep and woke it.
    pub(crate) fn wakes(&self) -> u64 {
        self.wakes.load(Relaxed)
    }

    /// In a forked child: the tasks of the parent are the parent's. They are neither run nor
    /// dropped here, as their destructors would act a second time on what the parent still has.
    pub(crate) fn abandon_inherited(&self) {
        self.head.store(null_mut(), Relaxed);
        self.asleep.store(0, Relaxed);
        self.wakes.store(0, Relaxed);
    }

    /// Whether there is something to take, for a cheap look without the lock.
    pub(crate) fn is_occupied(&self) -> bool {
        is_node(self.head.load(Relaxed))
    }
}

/// A push between its two stores.
pub(crate) struct Half<K: Keep> {
    node: NonNull<Header<K>>,
    previous: *mut Header<K>,
}

impl<K: Keep> Half<K> {
    /// Whether the worker may sleep below this node, or will not come.
    #[inline]
    pub(crate) fn is_special(&self) -> bool {
        self.previous.addr() & (WORDS - 1) != 0
    }
}

/// The one taker's end.
pub(crate) struct Taker<K: Keep> {
    /// A chain that was taken but could not be walked to its end yet.
    walk: Walk<K>,
    sealed: bool,
}

/// A chain being turned around: `rest` from the newest node down, `done` from the oldest walked up.
struct Walk<K: Keep> {
    rest: *mut Header<K>,
    done: *mut Header<K>,
}

// SAFETY: the chain holds nodes, which are `Send`, and the walk is their only owner.
unsafe impl<K: Keep> Send for Walk<K> {}

impl<K: Keep> Taker<K> {
    pub(crate) fn new() -> Self {
        Self { walk: Walk { rest: null_mut(), done: null_mut() }, sealed: false }
    }

    pub(crate) fn is_stalled(&self) -> bool {
        is_node(self.walk.rest)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The worker, awake, takes all there is: `ASLEEP` becomes `EMPTY`.
    pub(crate) fn take_awake(&mut self, inbox: &Inbox<K>, mut sink: impl FnMut(Node<K>)) -> Taken {
        Self::wake_up(inbox);
        if self.finish(&mut sink) == Taken::Stalled {
            return Taken::Stalled;
        }
        if !self.sealed && inbox.head.load(Relaxed).addr() == ASLEEP {
            self.start(inbox, null_mut());
        }
        self.take(inbox, sink)
    }

    /// The worker has its waker back, or it is with a producer whose node is on the stack already.
    fn wake_up(inbox: &Inbox<K>) {
        // ORDERING: acquires the push of the producer that took it, so that its node is seen.
        if inbox.asleep.load(Acquire) != 0 {
            // ORDERING: as above, for a producer that takes it in between.
            inbox.asleep.swap(0, AcqRel);
        }
    }

    /// Any other thread takes all there is, and leaves a sleeping worker asleep.
    pub(crate) fn take(&mut self, inbox: &Inbox<K>, mut sink: impl FnMut(Node<K>)) -> Taken {
        // First the rest of the chain from before.
        if self.finish(&mut sink) == Taken::Stalled {
            return Taken::Stalled;
        }
        // Once a node is on the stack, only a taker removes it, and that is this one.
        if inbox.is_occupied() {
            // A producer that takes it meanwhile wakes the worker, whatever is left here.
            let asleep = inbox.asleep.load(Relaxed) != 0 && on("i3.leave_asleep");
            let leave = if asleep { word(ASLEEP) } else { null_mut() };
            self.start(inbox, if self.sealed { word(SEALED) } else { leave });
        }
        self.finish(sink)
    }

    /// Goes to sleep, unless something came in: then `false`, and the worker looks again.
    pub(crate) fn doze(&mut self, inbox: &Inbox<K>, waker: &Waker) -> bool {
        if self.is_stalled() || self.sealed {
            return false;
        }
        inbox.waker.with_mut(|slot| {
            // SAFETY: every link was seen (not stalled), and `asleep` is not set: I4 gives us the cell.
            let slot = unsafe { &mut *slot };
            if slot.as_ref().is_none_or(|old| !old.will_wake(waker)) {
                *slot = Some(waker.clone());
            }
        });
        // ORDERING: releases the waker to the producer that takes it (I4). Before the word goes up, so that
        // no producer finds the word and not the waker.
        inbox.asleep.store(1, ord("i4.waker", Release, Relaxed));
        if !on("i3.recheck") {
            inbox.head.store(word(ASLEEP), Release);
            return true;
        }
        // ORDERING: releases `asleep` to the producer whose swap finds the word (I3).
        let slept = inbox.head.compare_exchange(null_mut(), word(ASLEEP), Release, Relaxed).is_ok();
        if !slept {
            Self::wake_up(inbox);
        }
        slept
    }

    /// Seals an inbox that is empty; `false` when it is not. Afterwards every push is late.
    pub(crate) fn try_seal(&mut self, inbox: &Inbox<K>) -> bool {
        if self.is_stalled() {
            return false;
        }
        while !self.sealed {
            let present = inbox.head.load(Relaxed);
            if is_node(present) && on("i2.seal") {
                return false;
            }
            // ORDERING: nothing is published; producers that find the word act under the lock.
            let sealed = inbox.head.compare_exchange(present, word(SEALED), Relaxed, Relaxed);
            self.sealed = sealed.is_ok();
        }
        true
    }

    /// Takes what is there and seals in one step; not under a stalled walk, and the caller comes back.
    pub(crate) fn seal_by_force(
        &mut self,
        inbox: &Inbox<K>,
        sink: &mut impl FnMut(Node<K>),
    ) -> Taken {
        if self.finish(&mut *sink) == Taken::Stalled {
            return Taken::Stalled;
        }
        if !self.sealed {
            self.start(inbox, word(SEALED));
            self.sealed = true;
        }
        self.finish(sink)
    }

    fn start(&mut self, inbox: &Inbox<K>, leave: *mut Header<K>) {
        // ORDERING: acquires the content of every node in the chain (I1).
        let order = ord("i1.take", Acquire, Relaxed);
        let newest = inbox.head.swap(leave, order);
        self.walk.rest = untagged(newest);
    }

    fn finish(&mut self, mut sink: impl FnMut(Node<K>)) -> Taken {
        while is_node(self.walk.rest) {
            if !self.walk.step() {
                return Taken::Stalled;
            }
        }
        let mut oldest = std::mem::replace(&mut self.walk.done, null_mut());
        while let Some(header) = NonNull::new(oldest) {
            // SAFETY: walked, so its producer let go of it and the chain owned it.
            let node = unsafe { Node::from_raw(header) };
            oldest = node.header().next.load(Relaxed);
            sink(node);
        }
        Taken::All
    }
}

/// The node of a word, or null.
fn untagged<K: Keep>(word: *mut Header<K>) -> *mut Header<K> {
    if is_node(word) { word.map_addr(|addr| addr & !LAZY) } else { null_mut() }
}

impl<K: Keep> Walk<K> {
    /// Moves one node from `rest` to `done`; `false` when its producer has not linked it.
    fn step(&mut self) -> bool {
        let Some(mut header) = NonNull::new(self.rest) else {
            return true;
        };
        for _ in 0..PATIENCE {
            // ORDERING: acquires the producer's last use of the node (I1) and of the waker (I4).
            // SAFETY: nodes of the chain are live until they are handed to the sink.
            let next = unsafe { header.as_ref() }.next.load(Acquire);
            if next.addr() & !LAZY != UNLINKED {
                // SAFETY: linked, so the chain is the only owner.
                write_owned(unsafe { &mut header.as_mut().next }, self.done);
                self.done = header.as_ptr();
                self.rest = untagged(next);
                return true;
            }
            spin_loop();
        }
        false
    }
}

impl<K: Keep> Drop for Inbox<K> {
    fn drop(&mut self) {
        // No push is left, so every node on the stack is linked.
        let _ = Taker::new().take(self, crate::contain::drop_quietly);
    }
}

impl<K: Keep> Drop for Taker<K> {
    fn drop(&mut self) {
        let _ = self.finish(crate::contain::drop_quietly);
    }
}
