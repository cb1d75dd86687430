//! The body of a task: its future or its output, behind the header, and the functions that know its
//! type. The stage never moves between its creation and the end of the future, so it may be pinned.
#![expect(unsafe_code, reason = "the only place that turns an untyped task into its type")]

use super::header::{Header, Polled, TaskPtr, Thrown, VTable};
use super::shared::from_box;
use super::slots::{SLOT_ALIGN, Slot};
use crate::contain;
use crate::error::{JoinError, Payload};
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

#[repr(C)]
struct TaskCell<F: Future> {
    header: Header,
    stage: UnsafeCell<Stage<F>>,
}

enum Stage<F: Future> {
    Future(F),
    Output(Result<F::Output, JoinError>),
    Empty,
}

/// Size and alignment of the task of a future.
pub(crate) const fn layout_of<F: Future>() -> (usize, usize) {
    (size_of::<TaskCell<F>>(), align_of::<TaskCell<F>>())
}

/// The functions of tasks of `F`, in a box of their own or in a slot.
pub(super) struct Kind<F>(PhantomData<F>);

impl<F: Future> Kind<F> {
    pub(super) const BOXED: VTable = Self::vtable(false);
    pub(super) const SLAB: VTable = Self::vtable(true);

    const fn vtable(in_slab: bool) -> VTable {
        let free = if in_slab { free_slot::<F> } else { free_box::<F> as unsafe fn(_) };
        VTable {
            poll: poll::<F>,
            drop_future: drop_future::<F>,
            fail: fail::<F>,
            take: take::<F>,
            clear: clear::<F>,
            free,
            in_slab,
        }
    }
}

pub(super) fn boxed<F: Future>(header: Header, future: F) -> TaskPtr {
    let stage = UnsafeCell::new(Stage::Future(future));
    TaskPtr(from_box(Box::new(TaskCell { header, stage })).cast())
}

pub(super) fn placed<F: Future>(slot: Slot, header: Header, future: F) -> TaskPtr {
    let (size, align) = layout_of::<F>();
    assert!(size <= slot.size && align <= SLOT_ALIGN, "the caller has checked that the task fits");
    let cell: NonNull<TaskCell<F>> = slot.start.cast();
    let stage = UnsafeCell::new(Stage::Future(future));
    // SAFETY: the slot fits by the assertion, and who has a `Slot` is its only user.
    unsafe { cell.write(TaskCell { header, stage }) };
    TaskPtr(cell.cast())
}

/// # Safety
/// `task` is a live task of `F`, on the owner's thread, and no other code is in its stage for `'a`.
unsafe fn stage<'a, F: Future>(task: TaskPtr) -> &'a mut Stage<F> {
    // SAFETY: a task of `F` starts with its header, and is alive.
    let cell = unsafe { task.0.cast::<TaskCell<F>>().as_ref() };
    // SAFETY: the caller promises exclusive access to the stage.
    unsafe { &mut *cell.stage.get() }
}

/// Drops what is in the stage, in place; what its destructor panicked with.
fn empty<F: Future>(stage: &mut Stage<F>) -> Result<(), Payload> {
    // The assignment takes place even if the destructor of the old value panics.
    contain::call(|| *stage = Stage::Empty)
}

unsafe fn poll<F: Future>(task: TaskPtr, cx: &mut Context<'_>, thrown: &Thrown) -> Polled {
    // SAFETY: the caller has set the phase to `Running`.
    let stage = unsafe { stage::<F>(task) };
    let polled = contain::call(|| {
        let Stage::Future(future) = &mut *stage else {
            unreachable!("a finished task is not polled")
        };
        // SAFETY: the future stays in its stage until it is dropped there.
        unsafe { Pin::new_unchecked(future) }.poll(cx)
    });
    let panic = match polled {
        Ok(Poll::Pending) => return Polled::Pending,
        Ok(Poll::Ready(output)) => complete(stage, output).err(),
        Err(payload) => Some(payload),
    };
    let outcome = if panic.is_some() { Polled::Panicked } else { Polled::Completed };
    thrown.set(panic);
    outcome
}

/// Replaces the future, which is done, by its output; what its destructor panicked with.
fn complete<F: Future>(stage: &mut Stage<F>, output: F::Output) -> Result<(), Payload> {
    if let Err(payload) = empty(stage) {
        contain::discard(output);
        return Err(payload);
    }
    *stage = Stage::Output(Ok(output));
    Ok(())
}

unsafe fn drop_future<F: Future>(task: TaskPtr) -> Option<Payload> {
    // SAFETY: the caller has set the phase to `Running`.
    let stage = unsafe { stage::<F>(task) };
    empty(stage).err()
}

unsafe fn fail<F: Future>(task: TaskPtr, error: JoinError) {
    // SAFETY: the caller has set the phase to `Running`.
    let stage = unsafe { stage::<F>(task) };
    debug_assert!(matches!(stage, Stage::Empty), "the future is dropped first");
    *stage = Stage::Output(Err(error));
}

unsafe fn take<F: Future>(task: TaskPtr, out: *mut ()) {
    // SAFETY: the phase is `Done`, and the one join handle asks.
    let stage = unsafe { stage::<F>(task) };
    let taken = match stage {
        Stage::Output(_) => std::mem::replace(stage, Stage::Empty),
        Stage::Future(_) | Stage::Empty => return,
    };
    if let Stage::Output(output) = taken {
        // SAFETY: the caller passes an `Option` of this task's output, alive and its own.
        unsafe { *out.cast::<Option<Result<F::Output, JoinError>>>() = Some(output) };
    }
}

unsafe fn clear<F: Future>(task: TaskPtr) {
    // SAFETY: the phase is `Done`, and no join handle is left to take the output.
    let stage = unsafe { stage::<F>(task) };
    contain::run(|| *stage = Stage::Empty);
}

unsafe fn free_box<F: Future>(task: TaskPtr) {
    // SAFETY: the task came from `boxed`, and the caller is the last to know it.
    drop(unsafe { Box::from_raw(task.0.cast::<TaskCell<F>>().as_ptr()) });
}

unsafe fn free_slot<F: Future>(task: TaskPtr) {
    // SAFETY: the task came from `placed`, and the caller is the last to know it.
    unsafe { task.0.cast::<TaskCell<F>>().drop_in_place() }
}
