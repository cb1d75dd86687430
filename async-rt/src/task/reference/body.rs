//! A future, its output, and the claim on it.

use super::name::{Name, Polled, RefAbort};
use crate::contain;
use crate::error::{JoinError, Payload};
use crate::task::raw::WakerSlot;
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

pub(super) struct Body<F: Future> {
    pub(super) future: Option<Pin<Box<F>>>,
    pub(super) output: Rc<Output<F::Output>>,
}

pub(super) struct Output<T> {
    pub(super) value: Cell<Option<Result<T, JoinError>>>,
    pub(super) done: Cell<bool>,
    pub(super) joined: Cell<bool>,
    pub(super) joiner: Cell<WakerSlot>,
}

impl<F: Future> Polled for Body<F> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Payload>> {
        let future = self.future.as_mut().expect("a finished task is not polled");
        let value = match contain::call(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => value,
            Err(payload) => return Poll::Ready(Err(payload)),
        };
        if let Err(payload) = self.drop_future() {
            contain::discard(value);
            return Poll::Ready(Err(payload));
        }
        self.output.value.set(Some(Ok(value)));
        Poll::Ready(Ok(()))
    }

    fn drop_future(&mut self) -> Result<(), Payload> {
        contain::drop_value(self.future.take())
    }

    fn fail(&self, error: JoinError) {
        self.output.value.set(Some(Err(error)));
    }

    fn settle(&self) {
        self.output.done.set(true);
        if self.output.joined.get() {
            self.output.joiner.take().wake();
        } else {
            contain::discard(self.output.value.take());
        }
    }

    fn is_joined(&self) -> bool {
        self.output.joined.get()
    }
}

/// The owner's claim on an output.
pub(crate) struct RefJoin<T> {
    pub(super) output: Rc<Output<T>>,
    pub(super) name: Arc<Name>,
}

impl<T> RefJoin<T> {
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        if self.output.done.get() {
            return Poll::Ready(self.output.value.take());
        }
        drop(self.output.joiner.replace(WakerSlot::new(cx.waker())));
        // Cloning and dropping a waker runs foreign code, in which the task may have ended.
        if self.output.done.get() {
            return Poll::Ready(self.output.value.take());
        }
        Poll::Pending
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.output.done.get()
    }

    pub(crate) fn abort(&self) {
        self.abort_handle().abort();
    }

    pub(crate) fn abort_handle(&self) -> RefAbort {
        RefAbort(Arc::clone(&self.name))
    }

    pub(crate) fn id(&self) -> usize {
        self.name.number as usize
    }
}

impl<T> Drop for RefJoin<T> {
    fn drop(&mut self) {
        self.output.joined.set(false);
        drop(self.output.joiner.take());
        if self.output.done.get() {
            contain::discard(self.output.value.take());
        }
    }
}
