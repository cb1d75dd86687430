//! The ways to wait at an end of a channel, each written once: a future and a stream of what a task
//! awaits, and for a plain thread calls that poll, and park in between.

use crate::handle::Handle;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Wakes a parked thread.
struct Unparks(Thread);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// A blocking call may be made here, even if it would not have to wait.
///
/// # Panics
/// Inside a runtime, whose tasks would all stand still.
#[track_caller]
pub(crate) fn assert_outside() {
    assert!(
        Handle::try_current().is_none(),
        "a blocking call inside a runtime stops all its tasks: await instead"
    );
}

/// What `poll` becomes ready with; `None` when `timeout` passes first. It polls at least once.
///
/// # Panics
/// Inside a runtime.
#[track_caller]
pub(crate) fn wait<R>(
    timeout: Option<Duration>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>,
) -> Option<R> {
    assert_outside();
    // A time beyond what the clock counts is no bound.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let waker = Waker::from(Arc::new(Unparks(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = poll(&mut cx) {
            return Some(output);
        }
        match deadline {
            None => thread::park(),
            Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                _ => return None,
            },
        }
    }
}

/// As [`wait`], for the output of a future.
///
/// # Panics
/// Inside a runtime.
#[track_caller]
pub(crate) fn output<F: Future>(timeout: Option<Duration>, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    wait(timeout, |cx| future.as_mut().poll(cx))
}

/// Awaits the next value, and makes the receiver a stream. `$none` says when there is no next one.
macro_rules! awaits_values {
    ($none:literal) => {
        impl<T> Receiver<T> {
            /// The next value;
            #[doc = $none]
            ///
            /// # Cancel safety
            /// Cancel safe: no value is lost.
            pub async fn recv(&mut self) -> Option<T> {
                std::future::poll_fn(|cx| self.poll_recv(cx)).await
            }
        }

        impl<T> futures_core::Stream for Receiver<T> {
            type Item = T;

            fn poll_next(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
                self.get_mut().poll_recv(cx)
            }
        }
    };
}

/// Waits for the next value on a plain thread.
macro_rules! blocks_for_values {
    () => {
        impl<T> Receiver<T> {
            /// The next value, for a plain thread, which sleeps until there is one; `None` as in
            /// [`recv`](Self::recv).
            ///
            /// # Panics
            /// Inside a runtime.
            #[track_caller]
            pub fn recv_blocking(&mut self) -> Option<T> {
                waiting::wait(None, |cx| self.poll_recv(cx)).flatten()
            }

            /// Does what [`recv_blocking`](Self::recv_blocking) does, for `timeout` at most.
            ///
            /// # Errors
            /// When the time passed, or no value will come.
            ///
            /// # Panics
            /// Inside a runtime.
            #[track_caller]
            pub fn recv_timeout_blocking(
                &mut self,
                timeout: std::time::Duration,
            ) -> Result<T, RecvTimeoutError> {
                match waiting::wait(Some(timeout), |cx| self.poll_recv(cx)) {
                    Some(value) => value.ok_or(RecvTimeoutError::Closed),
                    None => Err(RecvTimeoutError::TimedOut),
                }
            }
        }
    };
}

/// Sends on a plain thread, by the sender's `try_send`, `room_within` and `post`. `$reference` is how
/// they take the sender.
macro_rules! blocks_to_send {
    ([$($reference:tt)+] $sender:ident) => {
        impl<T> Sender<T> {
            /// Sends `value` from a plain thread, which sleeps until there is room.
            ///
            /// # Errors
            /// When the receiver is gone or closed; the value comes back.
            ///
            /// # Panics
            /// Inside a runtime.
            #[track_caller]
            pub fn send_blocking($($reference)+ $sender, value: T) -> Result<(), SendError<T>> {
                let sent = $sender.send_within(value, None);
                sent.map_err(|error| SendError(error.into_inner()))
            }

            /// Does what [`send_blocking`](Self::send_blocking) does, for `timeout` at most.
            ///
            /// # Errors
            /// When the time passed, or the receiver is gone or closed; the value comes back.
            ///
            /// # Panics
            /// Inside a runtime.
            #[track_caller]
            pub fn send_timeout_blocking(
                $($reference)+ $sender,
                value: T,
                timeout: std::time::Duration,
            ) -> Result<(), SendTimeoutError<T>> {
                $sender.send_within(value, Some(timeout))
            }

            #[track_caller]
            fn send_within(
                $($reference)+ $sender,
                value: T,
                timeout: Option<std::time::Duration>,
            ) -> Result<(), SendTimeoutError<T>> {
                waiting::assert_outside();
                let value = match $sender.try_send(value) {
                    Ok(()) => return Ok(()),
                    Err(TrySendError::Closed(value)) => return Err(SendTimeoutError::Closed(value)),
                    Err(TrySendError::Full(value)) => value,
                };
                match $sender.room_within(timeout) {
                    Some(Ok(())) => $sender.post(value).map_err(SendTimeoutError::Closed),
                    Some(Err(_)) => Err(SendTimeoutError::Closed(value)),
                    None => Err(SendTimeoutError::TimedOut(value)),
                }
            }
        }
    };
}

pub(super) use {awaits_values, blocks_for_values, blocks_to_send};
