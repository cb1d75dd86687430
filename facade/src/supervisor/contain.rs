//! Keeps the panic of a member to that member, and races what the supervisor waits for.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

/// A future of a member's.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs `make` and polls what it made; a panic of either is an error with its message. A future that
/// panicked is not polled again; the panic of a destructor goes no further either.
pub(crate) fn contained<'a, T>(make: impl FnOnce() -> Boxed<'a, T>) -> Contained<'a, T> {
    match catch_unwind(AssertUnwindSafe(make)) {
        Ok(future) => Contained::Polled(Some(future)),
        Err(panic) => Contained::Panicked(message(&*panic)),
    }
}

/// See [`contained`].
pub(crate) enum Contained<'a, T> {
    Polled(Option<Boxed<'a, T>>),
    Panicked(String),
}

impl<T> Future for Contained<'_, T> {
    type Output = Result<T, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = match &mut *self {
            Self::Polled(Some(future)) => future,
            Self::Polled(None) => return Poll::Pending,
            Self::Panicked(message) => return Poll::Ready(Err(std::mem::take(message))),
        };
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let ended = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panic) => Err(message(&*panic)),
        };
        self.discard();
        Poll::Ready(ended)
    }
}

impl<T> Contained<'_, T> {
    fn discard(&mut self) {
        if let Self::Polled(future) = self {
            discard(future.take());
        }
    }
}

impl<T> Drop for Contained<'_, T> {
    fn drop(&mut self) {
        self.discard();
    }
}

/// Drops something of a member's; its panic was printed by the hook and ends here.
pub(crate) fn discard<T>(thing: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(thing)));
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not text".to_owned())
}

/// Which of two came first; the first one when both did.
#[derive(Debug)]
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

/// Polls both, the first one first, until one has ended; the other is dropped.
pub(crate) async fn race<A: Future, B: Future>(a: A, b: B) -> Either<A::Output, B::Output> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| {
        if let Poll::Ready(a) = a.as_mut().poll(cx) {
            return Poll::Ready(Either::First(a));
        }
        b.as_mut().poll(cx).map(Either::Second)
    })
    .await
}

/// Polls all in their order, until one has ended. Without any it never ends.
pub(crate) async fn first_of<T>(mut futures: Vec<Boxed<'_, T>>) -> T {
    poll_fn(|cx| {
        for future in &mut futures {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(value);
            }
        }
        Poll::Pending
    })
    .await
}
