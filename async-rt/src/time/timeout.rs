//! A future with a deadline.

use super::sleep::{Sleep, sleep, sleep_until};
use crate::coop::{self, Overdue};
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

/// The deadline came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elapsed {
    /// How long the future had, from the call to the deadline.
    pub limit: Duration,
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deadline of {:?} passed", self.limit)
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
    race(sleep(duration), duration, future)
}

/// The output of `future`, if it is ready before `deadline`; polled as by [`timeout`].
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
    let sleep = sleep_until(deadline);
    let limit = deadline.saturating_duration_since(sleep.owner().clock.instant_now());
    race(sleep, limit, future)
}

async fn race<F: Future>(
    mut sleep: Sleep,
    limit: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    let (mut future, mut overdue) = (pin!(future), Overdue::default());
    poll_fn(|cx| {
        let had_left = coop::has_left();
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        // Not the budgeted poll: a future that has spent the budget must not outlive its deadline.
        ready!(sleep.poll_elapsed(cx));
        overdue.poll(had_left, cx).map(|()| Err(Elapsed { limit }))
    })
    .await
}
