//! The slots of a bounded channel between threads: each holds one value, and says for itself whether
//! it does, so that a value and the news of it are one cache line.
//!
//! ```text
//!   EMPTY ── publish (a sender that has claimed the slot) ──► FULL
//!     ▲                                                         │
//!     └───────────── take, free (the receiver) ─────────────────┘
//! ```
//!
//! Three bits beside the state: `WAITS` is set by the side that sleeps until the slot changes (the
//! receiver at an empty slot, the only sender of an `spsc` at a full one), and the exchange that
//! changes the slot returns it, so exactly that thread wakes the sleeper. `ENDED` is set by a receiver
//! that will never take from the slot.
//!
//! - **I11** A taken value is whole: what its sender wrote before `publish` is visible after `take`,
//!   and what the receiver read before `free` is not overwritten.
//! - **I12** A side that sleeps at a slot is woken by the change of that slot.
//! - **I15** A value that was published is taken, or comes back to its sender from a slot that has
//!   ended; never both, never neither.
#![expect(unsafe_code, reason = "slots that two threads fill and empty in turn")]

use crate::sync::{AtomicUsize, Ordering, UnsafeCell, on, ord};
use std::mem::MaybeUninit;

/// The initial state, so that fresh memory of zeros is a ring of empty slots.
const EMPTY: usize = 0;
const FULL: usize = 1;
const WAITS: usize = 2;
const ENDED: usize = 4;

struct Slot<T> {
    state: AtomicUsize,
    /// Initialised while the state is `FULL`. Written by the sender that has claimed the slot, while
    /// it is empty; read by the receiver, while it is full.
    value: UnsafeCell<MaybeUninit<T>>,
}

/// What became of a published value.
#[must_use = "a receiver that sleeps must be woken"]
pub(super) enum Published<T> {
    /// The receiver will find it.
    Queued,
    /// The receiver sleeps at this slot: wake it.
    MustWake,
    /// The receiver never comes to this slot.
    Ended(T),
}

/// The ring. It does not drop what is in it: the receiver takes everything before it ends.
pub(super) struct Slots<T> {
    slots: Box<[Slot<T>]>,
}

// SAFETY: a value is reached by one thread at a time, and moves between threads, so `Send` is enough.
unsafe impl<T: Send> Send for Slots<T> {}
// SAFETY: as above; no reference to a value is ever given out.
unsafe impl<T: Send> Sync for Slots<T> {}

impl<T> Slots<T> {
    /// So many empty slots; `None` when they are too many for the memory. Memory of the operating
    /// system is only used once a slot is.
    #[cfg(not(lastout_loom))]
    pub(super) fn new(count: usize) -> Option<Self> {
        let layout = std::alloc::Layout::array::<Slot<T>>(count).ok()?;
        assert!(layout.size() > 0, "a channel has at least one slot");
        // SAFETY: the layout has a size.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<Slot<T>>();
        if memory.is_null() {
            return None;
        }
        let slots = std::ptr::slice_from_raw_parts_mut(memory, count);
        // SAFETY: the global allocator gave this memory for this layout; zeros are empty slots.
        Some(Self { slots: unsafe { Box::from_raw(slots) } })
    }

    #[cfg(lastout_loom)]
    pub(super) fn new(count: usize) -> Option<Self> {
        let slot = |_| Slot {
            state: AtomicUsize::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        };
        Some(Self { slots: (0..count).map(slot).collect() })
    }

    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// Puts `value` into a slot.
    ///
    /// # Safety
    /// The slot is empty, the caller alone has claimed it, and it has seen (directly or through
    /// others) that it was freed.
    #[inline]
    pub(super) unsafe fn publish(&self, index: usize, value: T) -> Published<T> {
        let slot = &self.slots[index];
        // SAFETY: the caller alone has the slot, and the receiver reads nothing while it is empty.
        slot.value.with_mut(|place| unsafe { place.cast::<T>().write(value) });
        // ORDERING: pairs with the load of `take`.
        let before =
            slot.state.swap(FULL, ord("i11.publish", Ordering::Release, Ordering::Relaxed));
        if before == EMPTY {
            return Published::Queued;
        }
        if before & ENDED == 0 || !on("i15.comes_back") {
            return Published::MustWake;
        }
        // SAFETY: the receiver set `ENDED` to say that it will not take from this slot.
        let value = slot.value.with_mut(|place| unsafe { place.cast::<T>().read() });
        slot.state.store(before, Ordering::Relaxed);
        Published::Ended(value)
    }

    /// The value of a slot, if it is full; [`free`](Self::free) it before anything else happens.
    ///
    /// # Safety
    /// The caller is the receiver, has not ended at this slot, and freed it after each earlier take.
    #[inline]
    pub(super) unsafe fn take(&self, index: usize) -> Option<T> {
        let slot = &self.slots[index];
        // ORDERING: pairs with the exchange of `publish`.
        let state = slot.state.load(ord("i11.take", Ordering::Acquire, Ordering::Relaxed));
        if state & FULL == 0 {
            return None;
        }
        // SAFETY: a full slot is initialised, and senders leave it alone.
        Some(slot.value.with_mut(|place| unsafe { place.cast::<T>().read() }))
    }

    /// The receiver gives a slot back that it has emptied; whether the sender sleeps at it.
    #[inline]
    pub(super) fn free(&self, index: usize) -> bool {
        // ORDERING: pairs with the load of `is_free`.
        let order = ord("i11.free", Ordering::Release, Ordering::Relaxed);
        self.slots[index].state.swap(EMPTY, order) & WAITS != 0
    }

    /// As [`free`](Self::free), where no sender sleeps at a slot and another operation that follows
    /// publishes it.
    #[inline]
    pub(super) fn free_unpublished(&self, index: usize) {
        self.slots[index].state.store(EMPTY, Ordering::Relaxed);
    }

    /// Whether a slot holds no value, asked by the only sender about the slot that is next.
    #[inline]
    pub(super) fn is_free(&self, index: usize) -> bool {
        // ORDERING: pairs with the exchange of `free`.
        let order = ord("i11.is_free", Ordering::Acquire, Ordering::Relaxed);
        self.slots[index].state.load(order) & FULL == 0
    }

    /// How many slots from this one on are full, up to the first that is not.
    pub(super) fn full_from(&self, index: usize) -> usize {
        self.run_from(index, |state| state & FULL != 0)
    }

    /// How many slots from this one on are empty, up to the first that is not.
    pub(super) fn free_from(&self, index: usize) -> usize {
        self.run_from(index, |state| state & FULL == 0)
    }

    fn run_from(&self, index: usize, is: impl Fn(usize) -> bool) -> usize {
        let round = self.slots[index..].iter().chain(&self.slots[..index]);
        round.take_while(|slot| is(slot.state.load(Ordering::Relaxed))).count()
    }

    /// The receiver, whose waker is in its place, is about to sleep at an empty slot; `false` when
    /// the slot is full.
    pub(super) fn wait_for_value(&self, index: usize) -> bool {
        // The waker is published by the lock of its place.
        let (order, state) = (Ordering::Relaxed, &self.slots[index].state);
        match state.compare_exchange(EMPTY, WAITS, order, order) {
            Ok(_) => true,
            Err(seen) => seen & FULL == 0 || !on("i12.full_meanwhile"),
        }
    }

    /// The only sender, whose waker is in its place, is about to sleep at a full slot; `false` when
    /// the slot is free.
    pub(super) fn wait_for_room(&self, index: usize) -> bool {
        let (order, state) = (Ordering::Relaxed, &self.slots[index].state);
        match state.compare_exchange(FULL, FULL | WAITS, order, order) {
            Ok(_) => true,
            Err(seen) => seen & FULL != 0 || !on("i12.free_meanwhile"),
        }
    }

    /// The receiver will never take from this slot; `false`, and nothing ended, when it is full.
    pub(super) fn end(&self, index: usize) -> bool {
        let (order, state) = (Ordering::Relaxed, &self.slots[index].state);
        let mut seen = state.load(order);
        while seen & FULL == 0 {
            match state.compare_exchange(seen, seen | ENDED, order, order) {
                Ok(_) => return true,
                Err(changed) => seen = changed,
            }
        }
        false
    }
}
