//! The header of a task: what its owner knows, and the one word that foreign threads touch.
//!
//! ```text
//!   word:  │ references of wakers and abort handles, + 1 for all owners together │ABORTED│QUEUED│
//! ```
//!
//! The memory of a task lives while its word is not zero. `QUEUED` is the reference of the inbox,
//! so a foreign wake costs one exchange on the word, and the owner's receipt one more.
//!
//! `refs.rs` has the operations on the word; `cell.rs` has the types behind the header.
#![expect(unsafe_code, reason = "a task is one allocation, reached through untyped pointers")]

use super::shared::SharedPtr;
use super::slot::WakerSlot;
use crate::error::{JoinError, Payload};
use crate::inbox::Node;
use crate::sync::{AtomicPtr, AtomicUsize, Cell, Ordering};
use crate::task::origin::Origin;
use std::cell::Cell as OwnCell;
use std::ops::Deref;
use std::ptr::NonNull;
use std::task::Context;

/// The inbox holds this task. Set by a foreign wake, cleared by the owner.
pub(super) const QUEUED: usize = 1;
/// The next dispatch drops the future instead of polling it. Set by any thread, never cleared.
pub(super) const ABORTED: usize = 2;
/// One counted reference.
pub(super) const REF: usize = 4;

/// Where a task is between two dispatches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The future is in place, and no code of it runs.
    Idle,
    /// The owner is inside the future: in its poll, or in its destructor.
    Running,
    /// The future is gone; the output is there until it is taken or dropped.
    Done,
}

/// What a poll came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Polled {
    /// The future waits.
    Pending,
    /// The output is in place.
    Completed,
    /// The poll panicked, or the destructor of the future that was done.
    Panicked,
}

/// Where a panicking poll leaves its payload.
pub(super) type Thrown = OwnCell<Option<Payload>>;

type PollTask = unsafe fn(TaskPtr, &mut Context<'_>, &Thrown) -> Polled;

/// What the owner can do to a task without knowing its type. All of them are for the owner's
/// thread, on a live task, and contain the panics of foreign code.
pub(super) struct VTable {
    /// Polls the future; stores the output, or hands out the payload of its panic. The phase is
    /// `Running`.
    pub(super) poll: PollTask,
    /// Drops the future in place; the payload if its destructor panicked. The phase is `Running`.
    pub(super) drop_future: unsafe fn(TaskPtr) -> Option<Payload>,
    /// Stores the error as the output; the future is gone. The phase is `Running`.
    pub(super) fail: unsafe fn(TaskPtr, JoinError),
    /// Moves the output to an `Option<Result<T, JoinError>>`. The phase is `Done`.
    pub(super) take: unsafe fn(TaskPtr, *mut ()),
    /// Drops the output. The phase is `Done`.
    pub(super) clear: unsafe fn(TaskPtr),
    /// Frees the memory of a task without future and output; any thread, the last reference is gone.
    pub(super) free: unsafe fn(TaskPtr),
    /// Whether the memory is a slot of the runtime's slab.
    pub(super) in_slab: bool,
}

/// The first field of every task.
#[repr(C)]
pub(super) struct Header {
    pub(super) word: AtomicUsize,
    next: AtomicPtr<Self>,
    pub(super) vtable: &'static VTable,
    /// The task holds one credit of it.
    pub(super) shared: SharedPtr<Self>,
    /// Counts the owner's references: the table, the join handle, waker slots, and the ready queue
    /// once the task is done.
    /// All of them together hold one `REF`, given up when this reaches zero.
    pub(super) owners: Cell<u32>,
    /// Index in the owner's table, set when the task enters it, until the phase is `Done`.
    pub(super) key: Cell<u32>,
    pub(super) phase: Cell<Phase>,
    /// The ready queue holds this task.
    pub(super) ready: Cell<bool>,
    /// A join handle waits, or may come to wait, for the output.
    pub(super) joined: Cell<bool>,
    /// The task serves the runtime itself and is in no count.
    pub(super) hidden: bool,
    /// The next task of the ready queue, while this one is in it.
    pub(super) after: Cell<Option<TaskPtr>>,
    /// Wakes who awaits the join handle.
    pub(super) joiner: Cell<WakerSlot>,
    /// Who spawned it, for people who look; nothing when the feature is off.
    pub(super) origin: Origin,
    #[cfg(lastout_loom)]
    pub(super) memory: Cell<u8>,
}

/// The owner's references that a new task has: the table's and the join handle's.
const FIRST_OWNERS: u32 = 2;

impl Header {
    /// A task that the table and a join handle are about to hold.
    pub(super) fn new(
        vtable: &'static VTable,
        shared: SharedPtr<Self>,
        hidden: bool,
        origin: Origin,
    ) -> Self {
        Self {
            word: AtomicUsize::new(REF),
            next: AtomicPtr::new(std::ptr::null_mut()),
            vtable,
            shared,
            owners: Cell::new(FIRST_OWNERS),
            key: Cell::new(u32::MAX),
            phase: Cell::new(Phase::Idle),
            ready: Cell::new(false),
            joined: Cell::new(true),
            hidden,
            after: Cell::new(None),
            joiner: Cell::new(WakerSlot::EMPTY),
            origin,
            #[cfg(lastout_loom)]
            memory: Cell::new(0),
        }
    }

    pub(super) fn is_aborted(&self) -> bool {
        // ORDERING: Relaxed is enough: a foreign mark is followed by a wake, whose receipt acquires.
        self.word.load(Ordering::Relaxed) & ABORTED != 0
    }
}

// SAFETY: `next` is this field at each call, and it is private to this file.
unsafe impl Node for Header {
    fn next(&self) -> &AtomicPtr<Self> {
        &self.next
    }
}

/// A pointer to a task. Its holder keeps the task alive: by a counted reference of any kind, or as the
/// last to know it. Copying it counts nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskPtr(pub(super) NonNull<Header>);

impl Deref for TaskPtr {
    type Target = Header;
    fn deref(&self) -> &Header {
        // SAFETY: the holder of the pointer keeps the task alive, and no code forms `&mut Header`.
        unsafe { self.0.as_ref() }
    }
}

impl TaskPtr {
    pub(super) fn id(self) -> usize {
        self.0.addr().get()
    }

    /// Polls the future, whose phase the caller, the owner, has set to `Running`.
    #[inline]
    pub(super) fn poll(self, cx: &mut Context<'_>, thrown: &Thrown) -> Polled {
        debug_assert_eq!(self.phase.get(), Phase::Running);
        // SAFETY: the task is alive and `Running`, so no other code is in its stage.
        unsafe { (self.vtable.poll)(self, cx, thrown) }
    }

    /// Drops the future, whose phase the caller, the owner, has set to `Running`.
    pub(super) fn drop_future(self) -> Option<Payload> {
        debug_assert_eq!(self.phase.get(), Phase::Running);
        // SAFETY: the task is alive and `Running`, so no other code is in its stage.
        unsafe { (self.vtable.drop_future)(self) }
    }

    /// Stores the error as the output; the future is gone, the phase is `Running`.
    pub(super) fn fail(self, error: JoinError) {
        debug_assert_eq!(self.phase.get(), Phase::Running);
        // SAFETY: the task is alive and `Running`, so no other code is in its stage.
        unsafe { (self.vtable.fail)(self, error) }
    }
}
