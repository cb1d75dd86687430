//! The memory of slab tasks: slots of one size and alignment, cut from chunks that never move.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// The alignment of every slot, and the unit of its size.
pub(crate) const SLOT_ALIGN: usize = 128;

/// Bytes of a slot for at least `asked`; `None` when there is no such number.
pub(crate) fn slot_bytes(asked: usize) -> Option<usize> {
    asked.div_ceil(SLOT_ALIGN).max(1).checked_mul(SLOT_ALIGN)
}

#[repr(align(128))]
pub(super) struct Unit {
    _bytes: [u8; SLOT_ALIGN],
}

/// Memory of many slots.
pub(super) type Chunk = Vec<MaybeUninit<Unit>>;

/// A free slot; who has this value may use the memory.
pub(crate) struct Slot {
    pub(super) start: NonNull<u8>,
    /// Bytes of the slot.
    pub(super) size: usize,
}

/// Which slots are free. The chunks themselves live in the shared half of the runtime, because a
/// task may outlive the rest.
pub(super) struct Slots {
    free: Vec<NonNull<u8>>,
    units: usize,
    /// Slots of the next chunk, if another one is allowed.
    next_chunk: Option<usize>,
    capacity: usize,
}

impl Slots {
    /// Slots of at least `slot_size` bytes, of which `count` exist from the start.
    pub(super) fn new(slot_size: usize, count: usize, unbounded: bool) -> (Self, Chunk) {
        let units = slot_size.div_ceil(SLOT_ALIGN).max(1);
        let next_chunk = unbounded.then_some(count.max(16));
        let mut slots = Self { free: Vec::new(), units, next_chunk, capacity: 0 };
        let chunk = slots.chunk(count).expect("the builder has found memory for it");
        (slots, chunk)
    }

    /// Memory for `count` more slots; `None` when there is none.
    fn chunk(&mut self, count: usize) -> Option<Chunk> {
        let units = count.checked_mul(self.units)?;
        let mut chunk = Chunk::new();
        chunk.try_reserve_exact(units).ok()?;
        chunk.resize_with(units, MaybeUninit::uninit);
        // A slot that comes back must find room: it may be a destructor that gives it back.
        let capacity = self.capacity.checked_add(count)?;
        self.free.try_reserve(capacity).ok()?;
        self.capacity = capacity;
        let slots = chunk.chunks_exact_mut(self.units);
        self.free.extend(slots.rev().map(|slot| NonNull::from(slot).cast()));
        Some(chunk)
    }

    /// A chunk to keep, when no slot is free, there may be more, and there is memory.
    pub(super) fn grow(&mut self) -> Option<Chunk> {
        let count = self.next_chunk?;
        let chunk = self.chunk(count)?;
        self.next_chunk = Some(count.saturating_mul(2));
        Some(chunk)
    }

    /// Bytes of each slot.
    pub(super) fn size(&self) -> usize {
        self.units * SLOT_ALIGN
    }

    /// How many slots there are, free or not.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn take(&mut self) -> Option<Slot> {
        let size = self.size();
        self.free.pop().map(|start| Slot { start, size })
    }

    /// Makes the slot at `start` free again. No user of it is left.
    pub(super) fn give_back(&mut self, start: NonNull<u8>) {
        self.free.push(start);
    }
}
