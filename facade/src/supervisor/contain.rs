//! Keeps the panic of a member to that member, and races what the supervisor waits for.
//!
//! Every call into code of a member goes through this file: [`contained`] for futures, [`call`] for
//! functions, [`discard`] for destructors, [`wake_all`] for wakers.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// A future of a member's.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs `make` and polls what it made; a panic of either is an error with its message. A future that
/// panicked is not polled again; the panic of a destructor goes no further either.
pub(crate) fn contained<'a, T>(make: impl FnOnce() -> Boxed<'a, T>) -> Contained<'a, T> {
    match call(make) {
        Ok(future) => Contained::Polled(Some(future)),
        Err(panic) => Contained::Panicked(panic),
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
        let ended = match call(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panic) => Err(panic),
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

/// Calls code of a member's; its panic is an error with its message.
pub(crate) fn call<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| {
        let message = message(&*panic);
        discard_payload(panic);
        message
    })
}

/// Drops something of a member's; its panic was printed by the hook and ends here.
pub(crate) fn discard<T>(thing: T) {
    let _ = call(|| drop(thing));
}

/// Wakes all of them; a waker that panics keeps nobody asleep.
pub(crate) fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        let _ = call(|| waker.wake());
    }
}

/// The destructor of a payload is code of a member's as well. One that panics leaves a payload that is
/// not touched any more: its memory is lost, and nothing else.
fn discard_payload(panic: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        let _ = ManuallyDrop::new(second);
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
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

/// Polls all in their order, until all have ended; their outputs in the same order.
pub(crate) async fn all_of<T>(futures: Vec<Boxed<'_, T>>) -> Vec<T> {
    let mut outputs: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    let mut futures: Vec<_> = futures.into_iter().map(Some).collect();
    poll_fn(|cx| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            let Some(running) = future else { continue };
            if let Poll::Ready(value) = running.as_mut().poll(cx) {
                (*future, *output) = (None, Some(value));
            }
        }
        match futures.iter().all(Option::is_none) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb(u32);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Self(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_payload_whose_destructor_panics_goes_no_further() {
        let panic = call(|| std::panic::panic_any(Bomb(2))).unwrap_err();
        assert_eq!(panic, "a value that is not text");
        discard(Bomb(2));
    }
}
