//! The wakers of a task: the one that may leave the thread, the one that a `WakerSlot` holds, and the
//! handle that aborts the task.
#![expect(unsafe_code, reason = "`RawWaker` is the interface of std for this")]

use super::context;
use super::header::{Phase, TaskPtr};
use super::refs::{self, TaskRef};
use super::slot::WakerSlot;
use crate::sync::on;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// One address for the whole program: `task_of` compares it.
pub(super) static WAKER: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// A waker of `task` without a reference of its own: something else keeps the task for as long.
#[inline]
pub(super) fn borrowed(task: TaskPtr) -> ManuallyDrop<Waker> {
    // SAFETY: the functions of `WAKER` keep the contract of wakers for any live task, and dropping
    // the waker, which would give up a reference, is prevented.
    ManuallyDrop::new(unsafe { Waker::new(task.0.as_ptr().cast_const().cast(), &WAKER) })
}

/// The task that `waker` wakes, if it is one of ours. The waker keeps it alive.
pub(super) fn task_of(waker: &Waker) -> Option<TaskPtr> {
    let ours = std::ptr::eq(waker.vtable(), &WAKER);
    ours.then(|| task(waker.data()))
}

/// The task of the data of one of our wakers, which keeps it alive.
fn task(data: *const ()) -> TaskPtr {
    TaskPtr(NonNull::new(data.cast_mut().cast()).expect("the data of our wakers is a task"))
}

unsafe fn clone(data: *const ()) -> RawWaker {
    refs::add_ref(task(data));
    RawWaker::new(data, &WAKER)
}

unsafe fn wake(data: *const ()) {
    refs::wake_by_ref(task(data));
    // SAFETY: the waker's reference is given up, and the waker is gone.
    unsafe { refs::drop_ref(task(data)) };
}

unsafe fn wake_by_ref(data: *const ()) {
    refs::wake_by_ref(task(data));
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the waker's reference is given up, and the waker is gone.
    unsafe { refs::drop_ref(task(data)) };
}

/// Of wakers that hold one of the owner's references. They exist inside a `WakerSlot` alone, on the
/// owner's thread.
static LOCAL: RawWakerVTable =
    RawWakerVTable::new(local_clone, local_wake, local_wake_by_ref, local_drop);

/// The reference that a local waker gives up.
fn local(data: *const ()) -> TaskRef {
    TaskRef(task(data))
}

unsafe fn local_clone(data: *const ()) -> RawWaker {
    let own = ManuallyDrop::new(local(data));
    let _of_the_clone = ManuallyDrop::new(TaskRef::clone(&own));
    RawWaker::new(data, &LOCAL)
}

unsafe fn local_wake(data: *const ()) {
    local(data).wake();
}

unsafe fn local_wake_by_ref(data: *const ()) {
    refs::wake_by_ref(task(data));
}

unsafe fn local_drop(data: *const ()) {
    drop(local(data));
}

impl WakerSlot {
    /// Remembers whom `waker` wakes.
    pub(crate) fn new(waker: &Waker) -> Self {
        Self::of(Self::local(waker).unwrap_or_else(|| waker.clone()))
    }

    fn local(waker: &Waker) -> Option<Waker> {
        let (task, current) = (task_of(waker)?, context::current()?);
        // The owner's cells may be read once the comparison says that we are the owner.
        if task.shared != current || task.phase.get() == Phase::Done {
            return None;
        }
        task.owners.set(task.owners.get() + 1);
        // SAFETY: the functions of `LOCAL` keep the contract of wakers on this thread, which the slot
        // does not leave; the reference counted above is the waker's.
        Some(unsafe { Waker::new(task.0.as_ptr().cast_const().cast(), &LOCAL) })
    }

    /// Whether a wake of this slot would do what `waker` does.
    pub(crate) fn will_wake(&self, waker: &Waker) -> bool {
        self.waker.as_ref().is_some_and(|known| {
            let both_ours = std::ptr::eq(known.vtable(), &LOCAL) && task_of(waker).is_some();
            known.will_wake(waker) || both_ours && known.data() == waker.data()
        })
    }
}

/// A counted reference that any thread may hold, to abort the task: its waker, and one bit more.
#[derive(Clone)]
pub(crate) struct RawAbort(Waker);

impl RawAbort {
    pub(super) fn new(task: &TaskRef) -> Self {
        Self(Waker::clone(&borrowed(task.0)))
    }

    fn task(&self) -> TaskPtr {
        task_of(&self.0).expect("it was made of a task")
    }

    pub(crate) fn abort(&self) {
        refs::mark_aborted(self.task());
        if on("i6.wake") {
            self.0.wake_by_ref();
        }
    }

    pub(crate) fn id(&self) -> usize {
        self.task().id()
    }
}
