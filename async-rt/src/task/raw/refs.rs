//! References to a task, and what is done through them from any thread: wake, abort, free.
//!
//! - **I4** A wake that found `QUEUED` set is seen by the poll that follows: the owner clears
//!   `QUEUED` before it polls, by an operation that acquires what every such wake released.
//! - **I5** The memory is freed exactly once, after the last access of every thread, whoever drops
//!   the last reference. The future and its output are gone by then: only the owner drops those.
//! - **I6** What is marked for abortion before a wake is seen by the poll that the wake causes.
#![expect(unsafe_code, reason = "counted references to memory that the last of them frees")]

use super::context;
use super::header::{ABORTED, Header, Phase, QUEUED, REF, TaskPtr};
use super::schedule::Schedule;
use super::shared::{Shared, SharedPtr};
use crate::error::JoinError;
use crate::inbox::{Batch, Pushed};
use crate::sync::{Ordering, ord};
use std::ops::Deref;

/// Shows a model that this thread uses the task's memory.
#[cfg_attr(
    not(lastout_loom),
    expect(clippy::missing_const_for_fn, unused_variables, reason = "for models")
)]
fn touch(task: TaskPtr) {
    #[cfg(lastout_loom)]
    task.memory.get();
}

/// One of the owner's references to a task. It stays on the owner's thread.
pub(super) struct TaskRef(pub(super) TaskPtr);

impl Deref for TaskRef {
    type Target = Header;
    fn deref(&self) -> &Header {
        &self.0
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        self.owners.set(self.owners.get() + 1);
        Self(self.0)
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        let left = self.owners.get() - 1;
        self.owners.set(left);
        if left == 0 {
            // SAFETY: the owners gave up their `REF`, and no owner is left to use the task.
            unsafe { drop_ref(self.0) };
        }
    }
}

impl TaskRef {
    /// Drops the output of a finished task.
    pub(super) fn clear(&self) {
        debug_assert_eq!(self.phase.get(), Phase::Done);
        // SAFETY: the task is alive and `Done`: no poll is in its stage, and no output is lent.
        unsafe { (self.vtable.clear)(self.0) }
    }

    /// Moves the output of a finished task out, for its one join handle, whose `T` it is.
    pub(super) fn take_output<T>(&self) -> Option<Result<T, JoinError>> {
        debug_assert_eq!(self.phase.get(), Phase::Done);
        let mut output = None;
        // SAFETY: the task is `Done`, and `T` is its output type, as the join handle was made for it.
        unsafe { (self.vtable.take)(self.0, (&raw mut output).cast()) };
        output
    }

    /// The next dispatch drops the future.
    pub(super) fn abort(&self) {
        mark_aborted(self.0);
        self.wake();
    }

    pub(super) fn id(&self) -> usize {
        self.0.id()
    }

    /// Wakes the task, from its owner's thread, inside the runtime or not.
    pub(super) fn wake(&self) {
        wake_by_ref(self.0);
    }
}

/// Adds a reference. The caller must hold a reference.
pub(super) fn add_ref(task: TaskPtr) {
    // Relaxed: the new reference comes from an old one, which orders what it must.
    task.word.fetch_add(REF, Ordering::Relaxed);
}

/// Gives up a reference, and the memory with the last one.
///
/// # Safety
/// The caller owns a `REF` of `task` and does not touch the task afterwards.
pub(super) unsafe fn drop_ref(task: TaskPtr) {
    touch(task);
    let word = &task.word;
    // ORDERING: pairs with every other `drop_ref` and with `receive`: what they did to the task
    // happens before it is freed. A word that is one reference is ours alone: no exchange needed.
    let (load, both) = (
        ord("i5.load", Ordering::Acquire, Ordering::Relaxed),
        ord("i5.drop", Ordering::AcqRel, Ordering::Relaxed),
    );
    let sole = |word: usize| word & !ABORTED == REF;
    if sole(word.load(load)) || sole(word.fetch_sub(REF, both)) {
        // SAFETY: that was the last reference, and the inbox holds none.
        unsafe { free(task) }
    }
}

/// Wakes a task, from any thread.
#[inline]
pub(super) fn wake_by_ref(task: TaskPtr) {
    touch(task);
    if context::with_owner(task.shared, |schedule| schedule.schedule(task)).is_some() {
        return;
    }
    // ORDERING: pairs with the clearing of `QUEUED` in `receive`, even if it was set already.
    let release = ord("i4.wake", Ordering::Release, Ordering::Relaxed);
    if task.word.fetch_or(QUEUED, release) & QUEUED != 0 {
        return;
    }
    // SAFETY: `QUEUED` was clear, so the task is in no inbox; now `QUEUED` is the inbox's reference.
    match unsafe { task.shared.inbox.push(task.0) } {
        Pushed::Queued => {}
        Pushed::MustUnpark => task.shared.unpark.unpark(),
        // SAFETY: the inbox refused its reference, which so is ours to give up.
        Pushed::Closed => unsafe { receive(task) },
    }
}

/// Marks the task for abortion; a wake must follow.
pub(super) fn mark_aborted(task: TaskPtr) {
    // ORDERING: published by the wake that follows, in the same word.
    task.word.fetch_or(ABORTED, Ordering::Relaxed);
}

/// Takes the inbox's reference back. Returns the task to its runtime when that was the last.
///
/// # Safety
/// `QUEUED` is set and the inbox does not hold the task any more; no access follows.
pub(super) unsafe fn receive(task: TaskPtr) {
    let word = &task.word;
    // ORDERING: acquires what the wakes since the push released (I4), and joins the chain of
    // `drop_ref`, since a later one may be the last.
    let order = ord("i4.receive", Ordering::AcqRel, Ordering::Release);
    let before = word.fetch_and(!QUEUED, order);
    if before & !ABORTED == QUEUED {
        // SAFETY: no reference is left, and the inbox has given up its own.
        unsafe { free(task) }
    }
}

/// Hands up to `limit` tasks of `batch` to their owner, which runs this; returns how many.
pub(super) fn deliver(batch: &mut Batch<Header>, schedule: &Schedule, limit: usize) -> usize {
    let mut count = 0;
    while count < limit {
        // `QUEUED`, which came with the entry, keeps the task alive.
        let Some(task) = batch.pop().map(TaskPtr) else {
            break;
        };
        count += 1;
        // A task that is not done is kept by the table, so it may be scheduled before the receipt,
        // and the receipt comes before the poll that the wake asks for.
        if task.owners.get() > 0 {
            schedule.schedule(task);
        }
        // SAFETY: the entry is out of the inbox, and nothing follows.
        unsafe { receive(task) };
    }
    count
}

/// Frees a task without references: a slab slot by sending it home, if the thread is foreign.
///
/// # Safety
/// `task` has no references and is in no inbox.
unsafe fn free(task: TaskPtr) {
    let (shared, vtable) = (task.shared, task.vtable);
    if vtable.in_slab && context::with_owner(shared, |_| ()).is_none() {
        // ORDERING: published by the push.
        task.word.store(QUEUED, Ordering::Relaxed);
        // SAFETY: the word says that the inbox owns the task, and it is in no inbox.
        if unsafe { push_home(task, shared) } {
            return;
        }
    }
    #[cfg(lastout_loom)]
    {
        // A model sees this as the last use, which must come after all others.
        task.memory.set(1);
        task.owners.set(0);
    }
    // SAFETY: this thread is the last to know the task; its stage is empty.
    unsafe { (vtable.free)(task) };
    if context::with_owner(shared, |schedule| schedule.reclaim(task, vtable.in_slab)).is_none() {
        // SAFETY: the task's credit goes with the task.
        unsafe { Shared::release(shared) }
    }
}

/// Sends a dead slab task to its owner; `false` when the owner does not receive any more.
///
/// # Safety
/// `task` is alive, in no inbox, and its word says `QUEUED`.
unsafe fn push_home(task: TaskPtr, shared: SharedPtr<Header>) -> bool {
    // The receipt takes the task's credit: another one keeps the unparker alive until the end.
    Shared::hold(shared);
    // SAFETY: the caller's promise.
    let pushed = unsafe { shared.inbox.push(task.0) };
    if pushed == Pushed::MustUnpark {
        shared.unpark.unpark();
    }
    // SAFETY: gives up the credit taken above.
    unsafe { Shared::release(shared) };
    pushed != Pushed::Closed
}
