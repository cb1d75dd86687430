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
        let chunk = slots.chunk(count);
        (slots, chunk)
    }

    fn chunk(&mut self, count: usize) -> Chunk {
        let mut chunk = Chunk::new();
        chunk.resize_with(count * self.units, MaybeUninit::uninit);
        self.capacity += count;
        self.free.reserve(self.capacity);
        let slots = chunk.chunks_exact_mut(self.units);
        self.free.extend(slots.rev().map(|slot| NonNull::from(slot).cast()));
        chunk
    }

    /// A chunk to keep, when no slot is free and there may be more.
    pub(super) fn grow(&mut self) -> Option<Chunk> {
        let count = self.next_chunk?;
        self.next_chunk = Some(count * 2);
        Some(self.chunk(count))
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

    /// Makes the slot at `start` free again: nobody may use it any more.
    pub(super) fn give_back(&mut self, start: NonNull<u8>) {
        self.free.push(start);
    }
}
