//! The ring of a channel with one sender: each side counts what it has done, and writes that number
//! for the other, which keeps a copy and looks again only when the copy says full or empty.
//!
//! - **I11**, the part of this file: a taken value is whole: what the sender wrote before it counted is
//!   visible after the receiver saw the count, and the other way round for a place that is free again.
#![expect(unsafe_code, reason = "places that two threads fill and empty in turn")]

use super::sleepers::Alone;
use crate::sync::{AtomicUsize, Ordering, UnsafeCell, ord};
use std::mem::MaybeUninit;

/// The places, and both counts. It does not drop what is in it: the receiver takes it out.
pub(super) struct Ring<T> {
    /// Those from `head` up to `tail` are initialised; the others are the sender's.
    places: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// Values that were put in, since ever. Written by the sender.
    tail: Alone<AtomicUsize>,
    /// Values that were taken out, since ever. Written by the receiver.
    head: Alone<AtomicUsize>,
}

// SAFETY: a value is reached by one thread at a time, and moves between threads, so `Send` is enough.
unsafe impl<T: Send> Send for Ring<T> {}
// SAFETY: as above; no reference to a value is ever given out.
unsafe impl<T: Send> Sync for Ring<T> {}

/// One side's count, the place that belongs to it, and its copy of the other's count.
#[derive(Default)]
pub(super) struct Position {
    count: usize,
    place: usize,
    other: usize,
}

impl Position {
    /// What this side has done, since ever.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Counts one more.
    #[inline]
    fn step(&mut self, places: usize) {
        self.count = self.count.wrapping_add(1);
        self.place += 1;
        if self.place == places {
            self.place = 0;
        }
    }
}

impl<T> Ring<T> {
    /// So many places; `None` when they are too many for the memory, which the operating system gives
    /// when a place is used first.
    pub(super) fn new(count: usize) -> Option<Self> {
        let mut places = Vec::new();
        places.try_reserve_exact(count).ok()?;
        #[cfg(not(lastout_loom))]
        // SAFETY: there is room for so many, and they need not be initialised.
        unsafe {
            places.set_len(count);
        }
        #[cfg(lastout_loom)]
        places.extend((0..count).map(|_| UnsafeCell::new(MaybeUninit::uninit())));
        Some(Self {
            places: places.into_boxed_slice(),
            tail: Alone(AtomicUsize::new(0)),
            head: Alone(AtomicUsize::new(0)),
        })
    }

    /// The sender asks whether a place is free.
    #[inline]
    pub(super) fn has_room(&self, sender: &mut Position) -> bool {
        if sender.count.wrapping_sub(sender.other) == self.places.len() {
            // ORDERING: pairs with the store of `take`.
            let order = ord("i11.room_seen", Ordering::Acquire, Ordering::Relaxed);
            sender.other = self.head.0.load(order);
        }
        sender.count.wrapping_sub(sender.other) != self.places.len()
    }

    /// Puts a value in.
    ///
    /// # Safety
    /// The caller is the sender, and [`has_room`](Self::has_room) said so since the last call.
    #[inline]
    pub(super) unsafe fn put(&self, sender: &mut Position, value: T) {
        // SAFETY: a free place is the sender's, and the place of a position is in the ring.
        let place = unsafe { self.places.get_unchecked(sender.place) };
        // SAFETY: as above; the receiver has seen no count that has it.
        place.with_mut(|place| unsafe { place.cast::<T>().write(value) });
        sender.step(self.places.len());
        // ORDERING: pairs with the load of `take`.
        let order = ord("i11.put", Ordering::Release, Ordering::Relaxed);
        self.tail.0.store(sender.count, order);
    }

    /// Takes the value of the last [`put`](Self::put) back.
    ///
    /// # Safety
    /// The caller is the sender, and the receiver will never take that value.
    #[cold]
    pub(super) unsafe fn take_back(&self, sender: &mut Position) -> T {
        sender.count = sender.count.wrapping_sub(1);
        sender.place = sender.place.checked_sub(1).unwrap_or(self.places.len() - 1);
        self.tail.0.store(sender.count, Ordering::Relaxed);
        // SAFETY: it was initialised by `put`, and is not taken twice.
        self.places[sender.place].with_mut(|place| unsafe { place.cast::<T>().read() })
    }

    /// The receiver asks whether a value is there.
    #[inline]
    pub(super) fn has_value(&self, receiver: &mut Position) -> bool {
        if receiver.count == receiver.other {
            // ORDERING: pairs with the store of `put`.
            let order = ord("i11.value_seen", Ordering::Acquire, Ordering::Relaxed);
            receiver.other = self.tail.0.load(order);
        }
        receiver.count != receiver.other
    }

    /// Takes the next value out.
    ///
    /// # Safety
    /// The caller is the receiver, and [`has_value`](Self::has_value) said so since the last call.
    #[inline]
    pub(super) unsafe fn take(&self, receiver: &mut Position) -> T {
        // SAFETY: the place of a position is in the ring.
        let place = unsafe { self.places.get_unchecked(receiver.place) };
        // SAFETY: what was counted is initialised, and the sender leaves it alone until it is counted back.
        let value = place.with_mut(|place| unsafe { place.cast::<T>().read() });
        receiver.step(self.places.len());
        // ORDERING: pairs with the load of `has_room`.
        let order = ord("i11.taken", Ordering::Release, Ordering::Relaxed);
        self.head.0.store(receiver.count, order);
        value
    }

    /// Free places, for the sender.
    pub(super) fn room(&self, sender: &Position) -> usize {
        let used = sender.count.wrapping_sub(self.head.0.load(Ordering::Relaxed));
        self.places.len() - used
    }

    /// Values that wait, for the receiver.
    pub(super) fn len(&self, receiver: &Position) -> usize {
        self.tail.0.load(Ordering::Relaxed).wrapping_sub(receiver.count)
    }
}
