//! A future with a deadline.

use super::sleep::{Sleep, sleep, sleep_until};
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// The deadline came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("finish before the deadline")
    }
}

impl Error for Elapsed {}

/// The output of `future`, if it is ready within `duration` from this call.
///
/// The future is polled before the clock is asked, so one that is ready wins against any deadline.
///
/// # Errors
/// [`Elapsed`] when the deadline came first; `future` is dropped.
///
/// # Cancel safety
/// As cancel safe as `future`, which is dropped with it.
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn timeout<F: Future>(
    duration: Duration,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    race(sleep(duration), future)
}

/// The output of `future`, if it is ready before `deadline`. See [`timeout`].
///
/// # Errors
/// [`Elapsed`] when the deadline came first; `future` is dropped.
///
/// # Cancel safety
/// As cancel safe as `future`, which is dropped with it.
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn timeout_at<F: Future>(
    deadline: Instant,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    race(sleep_until(deadline), future)
}

async fn race<F: Future>(mut sleep: Sleep, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        // Not the budgeted poll: a future that has spent the budget must not outlive its deadline.
        sleep.poll_elapsed(cx).map(|()| Err(Elapsed))
    })
    .await
}
