//! The waker of a task, and the handle that aborts it: the two references that may leave the thread.
#![expect(unsafe_code, reason = "`RawWaker` is the interface of std for this")]

use super::header::{self, TaskPtr, TaskRef};
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
    header::add_ref(task(data));
    RawWaker::new(data, &WAKER)
}

unsafe fn wake(data: *const ()) {
    header::wake_by_ref(task(data));
    // SAFETY: the waker's reference is given up, and the waker is gone.
    unsafe { header::drop_ref(task(data)) };
}

unsafe fn wake_by_ref(data: *const ()) {
    header::wake_by_ref(task(data));
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the waker's reference is given up, and the waker is gone.
    unsafe { header::drop_ref(task(data)) };
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
        header::mark_aborted(self.task());
        if on("i6.wake") {
            self.0.wake_by_ref();
        }
    }

    pub(crate) fn id(&self) -> usize {
        self.task().id()
    }
}
